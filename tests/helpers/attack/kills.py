"""Runs that SIGKILL, Ctrl-C or SIGTERM ends at any moment go on, and write what an undisturbed run writes."""

from __future__ import annotations

import json
import random
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from helpers.killing import Forks, marks, result, rop

RECIPE = {
    "model.path": "scripted",
    "data.task": "arithmetic",
    "data.limit": 6,
    "data.size": 60,
    "perturb.conditions": ["ec", "woo"],
    "rop.search.budget": 8,
    "rop.search.pool": 6,
    "eval.interval.draws": 100,
}
ROWS = ("perturb", "task:arithmetic", "--op", "ec,sc,uic", "--rate", "0.3", "--set", "data.size=600", "--quiet")
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
ENDS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, signal.SIGTERM: 130}


class KillAttack:
    """Undisturbed runs to compare with, and a process that starts others."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="llmkit-kills-"))
        self.landed = 0  # signals that ended a command
        self.forks = Forks(self.folder).__enter__()
        whole = self.folder / "whole.log"
        assert self.forks.run(rop(RECIPE, self.folder / "whole"), whole) == 0
        self.made = marks(whole)
        self.asked = Counter(str(what) for name, _, what in self.made if name == "answer")
        rows = self.folder / "rows.log"
        assert self.forks.run([*ROWS, "--out", str(self.folder / "rows.jsonl")], rows) == 0
        at = {name: when for name, when, _ in marks(rows)}
        self.seconds = at["end"] - at["start"]

    def run_killed(self, rng: random.Random, kills: int) -> Iterator[str]:
        """A run that is ended `kills` times at any moments."""
        where, log = self.folder / "killed", self.folder / "killed.log"
        shutil.rmtree(self.folder / "cache", ignore_errors=True)  # or there would be nothing left to ask
        shutil.rmtree(where, ignore_errors=True)
        log.unlink(missing_ok=True)
        at = {name: when for name, when, _ in reversed(self.made)}  # the first of each
        longest = {"start": at["answer"] - at["start"], "answer": 0.002, "measure": at["end"] - at["measure"]}
        ended = 0
        for _ in range(kills):
            mark = rng.choice(("start", "answer", "answer", "measure"))
            count = rng.randint(1, max(1, self.asked.total() // (kills + 1))) if mark == "answer" else 1
            sign = rng.choice(SIGNALS)
            code = self.forks.run(rop(RECIPE, where), log, mark, count, rng.uniform(0, longest[mark]), sign)
            ended += code == ENDS[sign]
            self.landed += code == ENDS[sign]
            if code not in (ENDS[sign], 0):
                yield f"{sign.name} at {mark} {count} ends with {code}: {said(log)}"
        if (code := self.forks.run(rop(RECIPE, where), log)) != 0:
            yield f"after {ended} kills the run ends with {code}: {said(log)}"
            return
        if result(where) != result(self.folder / "whole"):
            yield f"after {ended} kills the result is not that of an undisturbed run"
        asked = Counter(str(what) for name, _, what in marks(log) if name == "answer")
        if set(asked) != set(self.asked):
            yield "other questions were asked than in an undisturbed run"
        if asked.total() > self.asked.total() + ended:  # each kill may lose the one reply that nothing holds yet
            yield f"{asked.total() - self.asked.total()} questions were asked twice in {ended} kills"
        journal = next(where.glob("*/samples.jsonl")).read_text(encoding="utf-8").split("\n")[:-1]
        keys = [row["key"] for row in map(json.loads, journal) if row["kind"] == "outcome"]
        if len(keys) != len(set(keys)):
            yield "an answer stands twice in the journal"

    def rows_killed(self, rng: random.Random, kills: int) -> Iterator[str]:
        """Noisy copies whose writing is ended `kills` times and goes on."""
        out, log = self.folder / "killed.jsonl", self.folder / "killed-rows.log"
        out.unlink(missing_ok=True)
        command = [*ROWS, "--workers", rng.choice("12"), "--out", str(out)]
        for _ in range(kills):
            sign, more = rng.choice(SIGNALS), ["--resume"] if out.exists() else []
            code = self.forks.run([*command, *more], log, "start", 1, rng.uniform(0, self.seconds), sign)
            self.landed += code == ENDS[sign]
            if code not in (ENDS[sign], 0):
                yield f"perturb: {sign.name} ends with {code}: {said(log)}"
        if (code := self.forks.run([*command, *(["--resume"] if out.exists() else [])], log)) != 0:
            yield f"perturb: the command that goes on ends with {code}: {said(log)}"
        elif out.read_bytes() != (self.folder / "rows.jsonl").read_bytes():
            yield "perturb: the rows are not those of an undisturbed run"

    def findings(self, seed: int, number: int, kills: int = 4) -> list[str]:
        rng = random.Random(f"{seed}/{number}")
        attack = self.rows_killed if number % 2 else self.run_killed
        return [f"kill {seed}/{number}: {what}" for what in attack(rng, kills)]

    def close(self) -> None:
        self.forks.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)


def said(log: Path) -> str:
    return Path(f"{log}.out").read_text(encoding="utf-8", errors="replace")[-300:]
