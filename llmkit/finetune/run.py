"""One training run: folder, data, model, training, results. The same call goes on with what was interrupted."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import EngineError, UsageError
from llmkit.files import write_atomic
from llmkit.finetune.inputs import FILE, inputs, unchanged
from llmkit.recipe import Loaded, digest, load, to_yaml
from llmkit.recipe.schema import Recipe

SECTIONS = ("model", "data", "perturb", "finetune")  # what a training run depends on


@dataclass(frozen=True)
class FinetuneResult:
    """A finished run: where it is, and its metrics.json."""

    folder: Path
    metrics: dict[str, Any]

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"


def finetune(loaded: Loaded, *, resume: str = "auto", force: bool = False, quiet: bool = False) -> FinetuneResult:
    """Trains as the recipe says, in `<output.dir>/<name>-<digest>/`, with the adapter in `adapter/`.

    `resume`: `auto` goes on from the newest whole checkpoint of this recipe, `never` begins anew, or a checkpoint's
    folder. A finished run is returned as it is; `force` trains it again, from the first step or from the checkpoint
    that `resume` names. Raises LlmkitError for what a user can mend, and UsageError where the rows or the base model
    are no longer those of the training in the folder.
    """
    from llmkit.finetune.launch import check_launch, launch
    from llmkit.runs import RunFolder

    recipe = loaded.recipe
    key = digest(recipe, *SECTIONS)
    name = recipe.output.name or recipe.finetune.method
    with RunFolder.open(recipe.output.dir, name, key, recipe=loaded.text, resolved=to_yaml(recipe)) as folder:
        path = folder.path
        found = inputs(recipe)
        if not force and (done := finished_training(path)):
            unchanged(path, found, going_on=False)
            return done
        check_launch(recipe)
        checkpoints = path / "checkpoints"
        if resume == "never" and checkpoints.exists() and not force:
            raise UsageError(f"{checkpoints} holds an earlier training", "--force overwrites it")
        anew = resume == "never" or (force and resume == "auto")
        start = checkpoint(checkpoints, "never" if anew else resume, key, recipe.finetune.launch.kind)
        if start:
            unchanged(start.parent.parent, found, going_on=True)
        if anew or force:  # only now: nothing is lost to a request that is refused
            _clear(path, start)
        folder.write_json(FILE, found)
        if recipe.finetune.launch.kind == "single":
            work(recipe, path, key, start, quiet)
        else:
            launch(recipe, path, key, start, quiet)
        return FinetuneResult(path, json.loads((path / "metrics.json").read_text(encoding="utf-8")))


def finished_training(path: Path) -> FinetuneResult | None:
    """The run in a folder, if it came to its end."""
    metrics = path / "metrics.json"
    if metrics.is_file() and (path / "adapter" / "adapter_config.json").is_file():
        return FinetuneResult(path, json.loads(metrics.read_text(encoding="utf-8")))
    return None


def _clear(path: Path, start: Path | None) -> None:
    """Removes an earlier training. Where `start` is one of its checkpoints, that one and the logs stay."""
    checkpoints = path / "checkpoints"
    unwanted = [path / "adapter", path / "metrics.json"]
    if start is not None and start.resolve().parent == checkpoints.resolve():
        unwanted += [other for other in checkpoints.glob("checkpoint-*") if other.resolve() != start.resolve()]
    else:
        unwanted += [checkpoints, path / "tensorboard", path / "log.jsonl"]
    for part in unwanted:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def checkpoint(folder: Path, resume: str, key: str, kind: str = "single") -> Path | None:
    """The checkpoint to go on from. UsageError for one that is not whole, or of another recipe or kind of launch."""
    if resume == "never":
        return None
    if kind not in ("single", "ddp") and (resume != "auto" or any(folder.glob("checkpoint-*"))):
        raise UsageError(
            f"a training under {kind} cannot be resumed: its checkpoints hold a piece of the state for each process",
            "--resume never --force begins anew; ddp resumes",
        )
    if resume != "auto":
        path = Path(resume)
        if not _whole(path):
            raise UsageError(f"{path} is not a whole checkpoint", "give a folder checkpoint-N of a training run")
        if _key_of(path.parent) != key:
            raise UsageError(
                f"{path} is of another recipe ({_key_of(path.parent) or 'unknown'}, this one is {key})",
                "use the recipe that it was trained with: recipe.resolved.yaml in its run folder",
            )
        return path
    if _key_of(folder) != key:
        return None
    whole = [path for path in folder.glob("checkpoint-*") if _whole(path)]
    return max(whole, key=lambda path: int(path.name.partition("-")[2]), default=None)


def _whole(path: Path) -> bool:
    """Whether a checkpoint was written to its end: its state is the last file that is written."""
    names = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")
    if not all((path / name).is_file() for name in names):
        return False
    try:
        json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _key_of(folder: Path) -> str | None:
    path = folder / "recipe.digest"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def work(recipe: Recipe, path: Path, key: str, start: Path | None, quiet: bool) -> None:
    """Trains in this process, which may be one of several, and writes adapter/, metrics.json and the model card."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # before TRL's first import: llmkit tells nobody anything
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(path / "tensorboard")
    from llmkit.finetune.card import card
    from llmkit.finetune.setup import prepare

    with explained(recipe):
        setup = prepare(recipe, path, quiet)
        trainer = setup.trainer
        first = trainer.is_world_process_zero()
        if first:
            (path / "checkpoints").mkdir(exist_ok=True)
            (path / "checkpoints" / "recipe.digest").write_text(key + "\n", encoding="utf-8")
        began = time.monotonic()
        done = trainer.train(resume_from_checkpoint=str(start) if start else None)
        seconds = time.monotonic() - began
        last = setup.last_evaluation()
        metrics = setup.results(done, last, seconds, key)
        metrics["resumed_from"] = start.name if start else None
        part = path / "adapter.part"
        if first:
            shutil.rmtree(part, ignore_errors=True)
        trainer.save_model(str(part))
        if first:
            for unwanted in ("training_args.bin", "README.md"):  # a pickle, and a card without the results
                (part / unwanted).unlink(missing_ok=True)
            (part / "README.md").write_text(card(recipe, metrics), encoding="utf-8")
            shutil.rmtree(path / "adapter", ignore_errors=True)
            part.rename(path / "adapter")
            setup.save_routing(path)
            write_atomic(path / "metrics.json", json.dumps(metrics, indent=2) + "\n")


@contextmanager
def explained(recipe: Recipe) -> Iterator[None]:
    """Memory that runs out, in words."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _no_memory(recipe) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise _no_memory(recipe) from error
        raise


def _no_memory(recipe: Recipe) -> EngineError:
    optim, train = recipe.finetune.optim, recipe.finetune.train
    ideas = [f"finetune.optim.micro_batch below {optim.micro_batch or optim.batch_size} (the result stays the same)"]
    if not train.gradient_checkpointing:
        ideas.append("finetune.train.gradient_checkpointing true")
    ideas.append(f"finetune.data.max_length below {recipe.finetune.data.max_length}")
    if train.load_in == "none":
        ideas.append("finetune.train.load_in 4bit")
    return EngineError("out of memory while training", "try, in this order: " + "; ".join(ideas))


def worker(argv: list[str], quiet: bool = False) -> None:
    """One of several processes: RUN_FOLDER KEY [CHECKPOINT]."""
    if len(argv) not in (2, 3):
        raise UsageError("a worker is started by `llmkit finetune --launch`, not by hand")
    folder = Path(argv[0])
    recipe = load(folder / "recipe.resolved.yaml").recipe
    work(recipe, folder, argv[1], Path(argv[2]) if len(argv) == 3 else None, quiet)
