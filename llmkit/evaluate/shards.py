"""A run that was cut into shards, made whole."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from llmkit import __version__, judging
from llmkit.errors import DataError, Incomplete
from llmkit.evaluate import instructions, noise
from llmkit.evaluate.conclusion import conclude
from llmkit.evaluate.journal import answers
from llmkit.evaluate.plan import Command, Plan, plan
from llmkit.evaluate.run import Result, facts_of, finished, open_folder
from llmkit.measure.texts import Keeper
from llmkit.parsing import JsonObject
from llmkit.recipe import Loaded, digest, load
from llmkit.runs import Run, RunFolder, joining, names, seals
from llmkit.runs.generations import joined
from llmkit.runs.samples import Compact, Sample


def merge_folders(shards: Sequence[Path]) -> Result:
    """Joins the folders of all shards into the run that the first of them names.

    Shards may differ in what changes no answer. DataError for a folder that is no run, or of another run.
    """
    runs = [Run(shard) for shard in shards]
    if strange := [run for run in runs if not run.exists]:
        hint = "name the folders of the shards, as `llmkit runs ls` lists them"
        raise DataError(f"{strange[0].folder} is not a run folder", hint)
    first = load(runs[0].recipe_file)
    if seals.sealed(shards) is None:  # seals have been compared already
        asked = [(digest(load(run.recipe_file).recipe), run.command) for run in runs]
        for run, asks in zip(runs, asked, strict=True):
            if asks != asked[0]:
                raise DataError(
                    f"{run.folder} is not a shard of the same run as {shards[0]}: what they ask differs",
                    "name the shards of one run; compare their recipe.resolved.yaml",
                )
    command = next((command for command in get_args(Command) if command == runs[0].command), None)
    if command is None:
        raise DataError(f"{shards[0]}: {names.FACTS} does not say which command made it", "run that shard again")
    return merge(first, command, shards)


def merge(loaded: Loaded, command: Command, shards: Sequence[Path]) -> Result:
    """Makes one run from the folders of its shards, as if it had never been cut. Raises Incomplete where an answer is
    missing.

    Sealed shards are known to be whole. Shards of earlier releases have no seals, nor do those of another version that
    are not of this one: there the run is planned again, and each answer compared with what the plan would ask.
    """
    known = seals.sealed(shards)
    with ExitStack() as stack:
        if known and known[0].llmkit == __version__:
            facts = {**Run(shards[0]).facts, "shard": None}
            folder = stack.enter_context(open_folder(loaded, command, None, facts))
            given = instructions.write_given(loaded.recipe, folder)
            joining.join(shards, known, folder)
            samples = list(map(Compact().sample, Run(folder.path).outcomes()))
        else:
            planned = plan(loaded.recipe, command)
            facts = facts_of(planned, Run(shards[0]).facts.get("repair")) | _stated(Run(shards[0]))
            folder = stack.enter_context(open_folder(loaded, command, None, facts))
            given = instructions.write_given(loaded.recipe, folder)
            joined(shards, folder)
            samples = _compared(planned, shards, folder)
        samples = judging.joined(shards, folder.path, samples)
        measured = conclude(loaded.recipe, samples, folder)
        return Result(folder.path, samples, measured, given, list(measured.gates), 0)


def _stated(first: Run) -> JsonObject:
    """Returns what only the machine that answered knows."""
    return {"system_prompt": first.system_prompt, "dtype": first.dtype}


def _compared(planned: Plan, shards: Sequence[Path], folder: RunFolder) -> list[Sample]:
    """Joins shards without seals: takes from each what it answered, and compares it with what the plan would ask."""
    known = {row.get("key") for row in folder.entries() if row.get("error") is None}
    for shard in shards:
        entries = list(Run(shard).entries())
        # Noise that a model wrote goes along, or the whole run would have to ask for it again.
        noisy = [row for row in entries if row.get("kind") == names.NOISE and row["error"] is None]
        for row in [*noisy, *finished(entries).values()]:
            if row["key"] not in known:
                known.add(row["key"])
                folder.append(row)
    planned = planned.written(noise.known(folder.entries()))
    wanted = planned.jobs(planned.given)
    answered = finished(folder.entries())
    keeper = Keeper(planned.recipe.output.texts)
    missing = [
        job.key for job in wanted if job.key not in answered or not answers(answered[job.key], job, None, keeper)
    ]
    if missing:
        raise Incomplete(
            f"{len(missing)} of {len(wanted)} answers are in none of the shards, the first is {missing[0]}",
            "run the shard that lacks them again: it goes on where it stopped",
        )
    return [Sample.from_row(answered[job.key]) for job in wanted]
