"""Run folders in shards that no engine made, with as many answers as benchmarks/scale.py asks for, and what it takes to
merge them.

Everything but the replies is a real run's: its plan, its noise, its requests, its journal and its seals.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from random import Random

from llmkit import evaluate
from llmkit.engines import EngineIdentity, cache_key, fields_read
from llmkit.evaluate.journal import outcome_row
from llmkit.evaluate.plan import plan
from llmkit.evaluate.run import facts_of, open_folder
from llmkit.recipe import Loaded, digest, load
from llmkit.runs import Finished, RunFolder, names, seals
from llmkit.steps import drive
from llmkit.types import Call, Reply, Request, Usage

CONDITIONS = ("ec", "typing", "woo")
SHARDS = 4
_IDENTITY = EngineIdentity(kind="openai", version="1", model="scripted", revision="1")
_TEXTS = (b'"question":"', b'"text":"', b'"said":"', b"Question: ")
_GOODS = ("apples", "pears", "plums", "lemons", "onions", "carrots", "pencils", "buttons")
_NAMES = ("Tom", "Mia", "Ben", "Zoe", "Ali", "Eva", "Max", "Ida")


def rows(count: int) -> Iterator[dict[str, str]]:
    """Yields word problems, another one for each number, with the sum as their answer."""
    for number in range(count):
        few, many = number % 89 + 2, number // 89 + 3
        name, goods = _NAMES[number % 8], _GOODS[number // 8 % 8]
        question = (
            f"{name} has {few} {goods} and buys {many} more at the market on Monday. "
            f"How many {goods} does {name} have now?"
        )
        yield {"id": f"row-{number:07d}", "question": question, "answer": str(few + many)}


def write_rows(path: Path, count: int) -> Path:
    """Writes that many rows as JSON lines."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(count))
    return path


def recipe(path: Path, runs: Path) -> Loaded:
    """Returns the recipe of a run over the rows of a file."""
    return load(
        None,
        {
            "data.path": str(path),
            "data.kind": "numeric",
            "data.split": "all",
            "model.path": "scripted",
            "engine.kind": "openai",
            "engine.base_url": ["http://127.0.0.1:9/v1"],
            "perturb.conditions": list(CONDITIONS),
            "output.dir": str(runs),
            "output.name": "scale",
        },
    )


def write_shards(loaded: Loaded) -> list[Path]:
    """Writes the shards of a finished `eval` run whose model is right about four times of five."""
    return [_write_shard(loaded, (number, SHARDS)) for number in range(1, SHARDS + 1)]


def repeated(shards: Iterable[Path], folder: Path, copies: int) -> list[Path]:
    """Writes shards with `copies` times the answers of others: every copy has ids and texts of its own."""
    made = []
    for number, shard in enumerate(shards, 1):
        target = folder / shard.name
        shutil.copytree(shard, target, ignore=shutil.ignore_patterns(names.JOURNAL, names.SEAL))
        keys: list[str] = []
        with RunFolder.reopen(target) as opened:
            for copy in range(copies):
                with open(shard / names.JOURNAL, "rb") as lines:
                    for line in lines:
                        for before in (b"row-", *_TEXTS):
                            line = line.replace(before, b"%b%d" % (before, copy))
                        opened.append_lines(line)
                        keys.append(line.split(b'"', 8)[7].decode())
            seal = seals.read(shard)
            assert seal is not None, "the shard that is repeated is finished"
            asks = seals.Asks(seal.command, seal.recipe, seal.asked, seal.rows * copies)
            seals.write(opened, (number, SHARDS), asks, keys)
        made.append(target)
    return made


def _write_shard(loaded: Loaded, shard: tuple[int, int]) -> Path:
    planned = plan(loaded.recipe, "eval", shard)
    random = Random(f"replies {shard}")
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder(loaded, "eval", shard, facts_of(planned, None)))
        jobs = planned.jobs(planned.given)
        for job in jobs:
            calls: list[Call] = []
            number = str(job.variant.question.gold) if random.random() < 0.8 else "7"

            def answer(request: Request, number: str = number, calls: list[Call] = calls) -> Reply:
                words = sum(len(message.content.split()) for message in request.messages)
                reply = Reply(
                    f"Both numbers have to be added up, so there are {number} of them now. The answer is {number}.",
                    usage=Usage(words, 19),
                )
                asked = replace(request, fields=fields_read(_IDENTITY, request))  # as the runner journals it
                calls.append(Call(asked, reply, cache_key(_IDENTITY, request), seconds=0.01))
                return reply

            result = drive(job.steps(), answer)
            folder.append(outcome_row(job, Finished(job.key, result, tuple(calls)), planned.scorer))
        asks = seals.Asks("eval", digest(loaded.recipe), planned.asked, len(planned.questions))
        seals.write(folder, shard, asks, [job.key for job in jobs])
    return folder.path


def merged(folder: Path, out: Path) -> dict[str, float]:
    """Merges the shards in a folder into a run in another one; returns seconds and the most memory this process had."""
    shards = sorted(folder.glob(f"*of{SHARDS}"))
    loaded = load(shards[0] / names.RESOLVED_RECIPE, {"output.dir": str(out)})
    start, cpu = time.perf_counter(), time.process_time()
    result = evaluate.merge(loaded, "eval", shards)
    assert result.metrics is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "outcomes": result.metrics.outcomes,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_mib": round(peak),
    }


if __name__ == "__main__":
    print(json.dumps(merged(Path(sys.argv[1]), Path(sys.argv[2]))))
