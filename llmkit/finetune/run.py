"""One training run: folder, data, model, training, results. The same call resumes an interrupted run."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmkit import __version__
from llmkit.engines.adapter_config import CONFIG
from llmkit.errors import EngineError, LlmkitError, UsageError
from llmkit.extras import lasting
from llmkit.files import write_atomic
from llmkit.finetune.inputs import FILE, inputs, unchanged
from llmkit.finetune.machines import Machines, Statement, decline, host, join
from llmkit.parsing import JsonObject
from llmkit.recipe import Loaded, digest, load, to_yaml
from llmkit.recipe.schema import Recipe
from llmkit.runs import Run, RunFolder, names

SECTIONS = ("model", "data", "prompts", "perturb", "finetune")  # what a training run depends on


@dataclass(frozen=True)
class FinetuneResult:
    """A finished run: where it is, and its metrics.json."""

    folder: Path
    metrics: JsonObject

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"


def finetune(
    loaded: Loaded, *, resume: str = "auto", force: bool = False, quiet: bool = False, machines: Machines | None = None
) -> FinetuneResult:
    """Trains as the recipe says, in `<output.dir>/<name>-<digest>/`, with the adapter in `adapter/`.

    `resume`: `auto` goes on from the newest whole checkpoint of this recipe, `never` begins anew, or a checkpoint's
    folder. A finished run is returned as it is; `force` trains it again, from the first step or from the checkpoint
    that `resume` names. Of several `machines` number 0 decides this, and works in the run folder; the others read it.
    Raises LlmkitError for what a user can fix, and UsageError if the rows or the base model are no longer those of the
    training in the folder.
    """
    from llmkit.finetune.launch import check_launch, launch, need_packages, processes_here

    need_packages()
    recipe = loaded.recipe
    processes_here(recipe, machines)  # what all machines find by themselves needs no meeting
    recipe_key = digest(recipe, *SECTIONS)
    run_name = recipe.output.name or recipe.finetune.method
    runs = Path(recipe.output.dir)
    run_path = runs / f"{run_name}-{recipe_key}"
    if machines is not None and machines.rank:
        told = _follow(recipe, machines, runs, run_path)
        if not told["finished"]:
            start = None if told["checkpoint"] is None else runs / told["checkpoint"]
            launch(recipe, run_path, recipe_key, start, quiet, machines)
        return FinetuneResult(run_path, Run(run_path).metrics or {})
    with ExitStack() as held:
        meeting = None if machines is None else held.enter_context(host(machines, runs))
        current_inputs = inputs(recipe)
        if meeting is not None:
            check_launch(recipe, machines)
            meeting.gather(_statement(meeting.machines, run_path, current_inputs))
        folder = held.enter_context(
            RunFolder.open(runs, run_name, recipe_key, recipe=loaded.text, resolved=to_yaml(recipe))
        )
        if not force and (earlier_result := finished_training(run_path)):
            unchanged(run_path, current_inputs, going_on=False)
            if meeting is not None:
                meeting.tell({"finished": True})
            return earlier_result
        start = _start(recipe, run_path, recipe_key, current_inputs, resume, force, machines)
        folder.write_json(FILE, current_inputs)
        if meeting is not None:
            # Relative, because the machines may have mounted the folder that they share at different places.
            meeting.tell({"finished": False, "checkpoint": start and os.path.relpath(start, runs)})
        if recipe.finetune.launch.kind == "single":
            work(recipe, run_path, recipe_key, start, quiet)
        else:
            launch(recipe, run_path, recipe_key, start, quiet, machines)
        return FinetuneResult(run_path, Run(run_path).metrics or {})


def _follow(recipe: Recipe, machines: Machines, runs: Path, run_path: Path) -> JsonObject:
    """Returns what machine 0 tells this one, once it is found to be about the same training."""
    from llmkit.finetune.launch import check_launch

    try:
        check_launch(recipe, machines)
        statement = _statement(machines, run_path, inputs(recipe))
    except LlmkitError as error:
        decline(machines, runs, error)
        raise
    return join(machines, runs, statement)


def _statement(machines: Machines, run_path: Path, current_inputs: dict[str, str | None]) -> Statement:
    return {"llmkit": __version__, "the name and recipe of the run": run_path.name, **current_inputs}


def _start(
    recipe: Recipe,
    run_path: Path,
    recipe_key: str,
    current_inputs: dict[str, str | None],
    resume: str,
    force: bool,
    machines: Machines | None,
) -> Path | None:
    """Returns the checkpoint to go on from, and clears what `resume` and `force` say is to be overwritten."""
    from llmkit.finetune.launch import check_launch

    check_launch(recipe, machines)
    checkpoints = run_path / "checkpoints"
    if resume == "never" and checkpoints.exists() and not force:
        raise UsageError(f"{checkpoints} holds an earlier training", "--force overwrites it")
    starts_anew = resume == "never" or (force and resume == "auto")
    launch = recipe.finetune.launch
    processes = 1 if launch.kind == "single" else launch.num_processes
    start = checkpoint(checkpoints, "never" if starts_anew else resume, recipe_key, launch.kind, processes)
    if start:
        unchanged(start.parent.parent, current_inputs, going_on=True)
    if starts_anew or force:  # only now: nothing is lost to a request that is refused
        _clear(run_path, start)
    return start


def finished_training(run_path: Path) -> FinetuneResult | None:
    """Returns the training in a folder if it is finished."""
    metrics = Run(run_path).metrics
    if metrics is None or not (run_path / "adapter" / CONFIG).is_file():
        return None
    return FinetuneResult(run_path, metrics)


def _clear(run_path: Path, resumed_checkpoint: Path | None) -> None:
    """Removes an earlier training. If `resumed_checkpoint` is one of its checkpoints, that one and the logs stay."""
    checkpoints = run_path / "checkpoints"
    unwanted = [run_path / "adapter", run_path / names.METRICS]
    if resumed_checkpoint is not None and resumed_checkpoint.resolve().parent == checkpoints.resolve():
        unwanted += [
            other_checkpoint
            for other_checkpoint in checkpoints.glob("checkpoint-*")
            if other_checkpoint.resolve() != resumed_checkpoint.resolve()
        ]
    else:
        unwanted += [checkpoints, run_path / "tensorboard", run_path / "log.jsonl"]
    for unwanted_path in unwanted:
        if unwanted_path.is_dir():
            shutil.rmtree(unwanted_path, ignore_errors=True)
        else:
            unwanted_path.unlink(missing_ok=True)


def checkpoint(
    folder: Path, resume: str, recipe_key: str, launch_kind: str = "single", processes: int = 1
) -> Path | None:
    """Returns the checkpoint to resume from. UsageError for one that is not whole, or of another recipe or kind of
    launch."""
    if resume == "never":
        return None
    if launch_kind not in ("single", "ddp") and (resume != "auto" or any(folder.glob("checkpoint-*"))):
        raise UsageError(
            f"a training under {launch_kind} cannot be resumed, because each process keeps its own part of the state",
            "--resume never --force starts again; ddp can resume",
        )
    if resume != "auto":
        resumed_path = Path(resume)
        if not _whole(resumed_path, processes):
            raise UsageError(
                f"{resumed_path} is not a whole checkpoint", "give a folder checkpoint-N of a training run"
            )
        if _key_of(resumed_path.parent) != recipe_key:
            raise UsageError(
                f"{resumed_path} is of another recipe ({_key_of(resumed_path.parent) or 'unknown'}, "
                f"this one is {recipe_key})",
                "use the recipe that it was trained with: recipe.resolved.yaml in its run folder",
            )
        return resumed_path
    if _key_of(folder) != recipe_key:
        return None
    whole_checkpoints = [
        resumed_path for resumed_path in folder.glob("checkpoint-*") if _whole(resumed_path, processes)
    ]
    return max(whole_checkpoints, key=lambda resumed_path: int(resumed_path.name.partition("-")[2]), default=None)


def _whole(checkpoint_path: Path, processes: int) -> bool:
    """Returns whether a checkpoint is complete: its state is the last file that the first process writes, and each
    process writes the state of its random numbers, perhaps later."""
    file_names = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")
    if not all((checkpoint_path / name).is_file() for name in file_names):
        return False
    if len(list(checkpoint_path.glob("rng_state*.pth"))) < processes:
        return False
    try:
        json.loads((checkpoint_path / "trainer_state.json").read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _key_of(folder: Path) -> str | None:
    digest_path = folder / "recipe.digest"
    return digest_path.read_text(encoding="utf-8").strip() if digest_path.is_file() else None


def work(recipe: Recipe, run_path: Path, recipe_key: str, resumed_checkpoint: Path | None, quiet: bool) -> None:
    """Trains in this process, which may be one of several, and writes adapter/, metrics.json and the model card."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # before TRL's first import, because llmkit sends no telemetry
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(run_path / "tensorboard")
    if "trl" not in sys.modules:  # else there is nothing to import, and what a caller made must not be frozen
        with lasting():
            import llmkit.finetune.trainer  # noqa: F401  and with it all that a training needs
    from llmkit.finetune.card import card
    from llmkit.finetune.setup import prepare

    with explained(recipe):
        setup = prepare(recipe, run_path, quiet)
        trainer = setup.trainer
        is_main_process = trainer.is_world_process_zero()
        if is_main_process:
            (run_path / "checkpoints").mkdir(exist_ok=True)
            (run_path / "checkpoints" / "recipe.digest").write_text(recipe_key + "\n", encoding="utf-8")
        started = time.monotonic()
        train_output = trainer.train(resume_from_checkpoint=str(resumed_checkpoint) if resumed_checkpoint else None)
        seconds = time.monotonic() - started
        last_evaluation = setup.last_evaluation()
        metrics = setup.results(train_output, last_evaluation, seconds, recipe_key)
        metrics["resumed_from"] = resumed_checkpoint.name if resumed_checkpoint else None
        unfinished_adapter = run_path / "adapter.part"
        if is_main_process:
            shutil.rmtree(unfinished_adapter, ignore_errors=True)
        trainer.save_model(str(unfinished_adapter))
        if is_main_process:
            for unwanted_name in ("training_args.bin", "README.md"):  # a pickle, and a card without the results
                (unfinished_adapter / unwanted_name).unlink(missing_ok=True)
            (unfinished_adapter / "README.md").write_text(card(recipe, metrics), encoding="utf-8")
            shutil.rmtree(run_path / "adapter", ignore_errors=True)
            unfinished_adapter.rename(run_path / "adapter")
            setup.save_routing(run_path)
            write_atomic(run_path / names.METRICS, json.dumps(metrics, indent=2) + "\n")


@contextmanager
def explained(recipe: Recipe) -> Iterator[None]:
    """Turns a lack of memory inside the block, or the loss of another process, into an EngineError that says what to
    do."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _no_memory(recipe) from error
    except torch.distributed.DistError as error:  # NCCL's
        raise _no_contact() from error
    except RuntimeError as error:
        if "gloo" in str(error):
            raise _no_contact() from error
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise _no_memory(recipe) from error
        raise


def _no_contact() -> EngineError:
    return EngineError(
        "another process of this training ended, or its machine cannot be reached",
        "see its message; the same command, on each machine of several, goes on from the newest checkpoint",
    )


def _no_memory(recipe: Recipe) -> EngineError:
    optim, train = recipe.finetune.optim, recipe.finetune.train
    suggestions = [
        f"finetune.optim.micro_batch below {optim.micro_batch or optim.batch_size} (the result stays the same)"
    ]
    if not train.gradient_checkpointing:
        suggestions.append("finetune.train.gradient_checkpointing true")
    suggestions.append(f"finetune.data.max_length below {recipe.finetune.data.max_length}")
    if train.load_in == "none":
        suggestions.append("finetune.train.load_in 4bit")
    return EngineError("out of memory while training", "try, in this order: " + "; ".join(suggestions))


def worker(argv: list[str], quiet: bool = False) -> None:
    """Runs one of several processes: RUN_FOLDER KEY [CHECKPOINT]."""
    if len(argv) not in (2, 3):
        raise UsageError("a worker is started by `llmkit finetune --launch`, not by hand")
    folder = Path(argv[0])
    recipe = load(Run(folder).recipe_file).recipe
    work(recipe, folder, argv[1], Path(argv[2]) if len(argv) == 3 else None, quiet)
