"""A run that was cut into shards, made whole."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from llmkit.errors import Incomplete
from llmkit.evaluate import instructions, noise
from llmkit.evaluate.conclusion import conclude
from llmkit.evaluate.generations import joined
from llmkit.evaluate.journal import answers
from llmkit.evaluate.plan import Command, plan
from llmkit.evaluate.run import Result, finished, open_folder
from llmkit.recipe import Loaded
from llmkit.runs import RunFolder
from llmkit.runs.samples import Sample, facts_of, system_prompt_of


def merge(loaded: Loaded, command: Command, shards: Sequence[Path]) -> Result:
    """Makes one run from the folders of its shards, as if it had never been cut. Raises Incomplete where an answer is
    missing."""
    planned = plan(loaded.recipe, command)
    with ExitStack() as stack:
        system, dtype = system_prompt_of(shards[0]), facts_of(shards[0]).get("dtype")
        folder = stack.enter_context(open_folder(loaded, command, None, planned, system, dtype))
        joined(shards, folder)
        known = {row.get("key") for row in folder.entries() if row.get("error") is None}
        for shard in shards:
            rows = list(RunFolder(shard).entries())
            # Noise that a model wrote goes along, or the whole run would have to ask for it again.
            noisy = [row for row in rows if row.get("kind") == "noise" and row["error"] is None]
            for row in [*noisy, *finished(rows).values()]:
                if row["key"] not in known:
                    known.add(row["key"])
                    folder.append(dict(row))
        planned = planned.written(noise.known(folder.entries()))
        found = planned.given
        instructions.write(found, planned, folder, None)
        wanted = planned.jobs(found)
        answered = finished(folder.entries())
        missing = [job.key for job in wanted if job.key not in answered or not answers(answered[job.key], job, None)]
        if missing:
            raise Incomplete(
                f"{len(missing)} of {len(wanted)} answers are in none of the shards, the first is {missing[0]}",
                "run the shard that lacks them again: it goes on where it stopped",
            )
        ordered = [Sample.from_row(answered[job.key]) for job in wanted]
        measured, verdicts = conclude(loaded.recipe, ordered, folder)
        return Result(folder.path, ordered, measured, found, verdicts, 0)
