"""A run that was cut into shards, made whole."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from llmkit import judging
from llmkit.errors import DataError, Incomplete
from llmkit.evaluate import instructions, noise
from llmkit.evaluate.conclusion import conclude
from llmkit.evaluate.journal import answers
from llmkit.evaluate.plan import Command, plan
from llmkit.evaluate.run import Result, finished, open_folder
from llmkit.measure.texts import Keeper
from llmkit.recipe import Loaded, digest, load
from llmkit.runs import Run, names
from llmkit.runs.generations import joined
from llmkit.runs.samples import Sample


def merge_folders(shards: Sequence[Path]) -> Result:
    """Joins the folders of all shards into the run that the first of them names.

    Shards may differ in what changes no answer. DataError for a folder that is no run, or of another run.
    """
    runs = [Run(shard) for shard in shards]
    if strange := [run for run in runs if not run.exists]:
        hint = "name the folders of the shards, as `llmkit runs ls` lists them"
        raise DataError(f"{strange[0].folder} is not a run folder", hint)
    recipes = [load(run.recipe_file) for run in runs]
    asked = [(digest(loaded.recipe), run.command) for loaded, run in zip(recipes, runs, strict=True)]
    for run, asks in zip(runs, asked, strict=True):
        if asks != asked[0]:
            raise DataError(
                f"{run.folder} is not a shard of the same run as {shards[0]}: what they ask differs",
                "name the shards of one run; compare their recipe.resolved.yaml",
            )
    command = next((command for command in get_args(Command) if command == runs[0].command), None)
    if command is None:
        raise DataError(f"{shards[0]}: {names.FACTS} does not say which command made it", "run that shard again")
    return merge(recipes[0], command, shards)


def merge(loaded: Loaded, command: Command, shards: Sequence[Path]) -> Result:
    """Makes one run from the folders of its shards, as if it had never been cut. Raises Incomplete where an answer is
    missing."""
    planned = plan(loaded.recipe, command)
    with ExitStack() as stack:
        first = Run(shards[0])
        facts = first.system_prompt, first.dtype, first.facts.get("repair")
        folder = stack.enter_context(open_folder(loaded, command, None, planned, *facts))
        joined(shards, folder)
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
        found = planned.given
        instructions.write(found, planned, folder, None)
        wanted = planned.jobs(found)
        answered = finished(folder.entries())
        keeper = Keeper(loaded.recipe.output.texts)
        missing = [
            job.key for job in wanted if job.key not in answered or not answers(answered[job.key], job, None, keeper)
        ]
        if missing:
            raise Incomplete(
                f"{len(missing)} of {len(wanted)} answers are in none of the shards, the first is {missing[0]}",
                "run the shard that lacks them again: it goes on where it stopped",
            )
        ordered = [Sample.from_row(answered[job.key]) for job in wanted]
        ordered = judging.joined(shards, folder.path, ordered)
        measured = conclude(loaded.recipe, ordered, folder)
        return Result(folder.path, ordered, measured, found, list(measured.gates), 0)
