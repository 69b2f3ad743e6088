"""Runs against a server with one fault, then the same command against the same server without it."""

from __future__ import annotations

import json
import os
import random
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helpers.attack.faults import FAULTS, REFUSED, redirect
from helpers.attack.sandbox import Sandbox, invoke, wrong
from helpers.fault_server import FaultServer

from llmkit.engines.canary import PROMPTS
from llmkit.runs import Run

KEY = "sk-attack-0123456789abcdef"
COMMAND = (
    *("eval", "--model", "tiny", "--task", "arithmetic", "--limit", "2", "--conditions", "ec", "--rate", "0.3"),
    *("--set", "data.size=60", "--set", "eval.interval.draws=100", "--set", "engine.retries=0"),
    *("--set", "engine.timeout_s=1", "--gate", "stand.drop <= 0.9 point"),
)
# Which calls a fault strikes, by the text that is asked.
CALLS: dict[str, Callable[[str], bool]] = {
    "every call": lambda text: True,
    "every question": lambda text: text not in PROMPTS,
    "half of the questions": lambda text: text not in PROMPTS and zlib.crc32(text.encode()) % 2 == 0,
}


class ServerAttack:
    """One server at one address, which does as it is told."""

    def __init__(self) -> None:
        self.sandbox = Sandbox()
        self.server = FaultServer().__enter__()
        self.elsewhere = FaultServer().__enter__()
        self.faults = FAULTS | {"a redirect elsewhere": redirect(f"{self.elsewhere.url}/chat/completions")}
        self.good = self._run()[1]
        assert self.good is not None
        self._forget()

    def cases(self, seed: int) -> list[tuple[str, str]]:
        """Every fault with every pattern of calls, in an order of the seed's."""
        made = [(fault, calls) for calls in CALLS for fault in self.faults]
        random.Random(seed).shuffle(made)
        return made

    def findings(self, fault: str, calls: str, again: bool = True) -> list[str]:
        """Returns what a fault led to that it must not; with `again`, also what the same command does without the
        fault."""
        found = list(self._findings(fault, calls, again))
        self._forget()
        return [f"server, {fault}, {calls}: {what}" for what in found]

    def together(self) -> list[str]:
        """All faults in one run, each on a question of its own: what is found. Not those that make every call wait."""
        struck: dict[str, str] = {}
        waiting = sorted(name for name in self.faults if not name.startswith("429"))

        def fault(text: str, attempt: int) -> Any:
            if text not in PROMPTS and text not in struck and waiting:
                struck[text] = waiting.pop()
            return self.faults[struck[text]] if text in struck else None

        # All faults strike at once: on a busy machine a good answer then takes longer than the limit of a lone one.
        more = ("--limit", str(len(waiting)), "--set", "engine.timeout_s=5")
        self.server.fault = fault
        self.server.answered.clear()
        outcome, _ = self._run(*more)
        found = list(wrong(COMMAND, outcome))
        refused = {text for text, name in struck.items() if name not in FAULTS or name in REFUSED}
        failed = {text for row in self._rows() if row["error"] for text in struck if row["text"] in text}
        found += [
            f"{struck[text]}: {what}"
            for what, texts in (("no failure", refused - failed), ("a failure", failed - refused))
            for text in texts
        ]
        if outcome.code != 4:
            found.append(f"answers are missing, and the run ends with {outcome.code}")
        self.server.fault = lambda text, attempt: None
        outcome, metrics = self._run(*more)
        found += wrong(COMMAND, outcome)
        if metrics is None or metrics["failed"] or waiting:
            found.append(f"the same command leaves answers out, and ends with {outcome.code}")
        found += [f"answered {n} times: {struck[text]}" for text in refused if (n := self.server.answered[text]) != 1]
        found += self._journal()
        self._forget()
        return [f"servers, together: {what}" for what in found]

    def _rows(self) -> list[dict[str, Any]]:
        return [
            row
            for p in self.sandbox.work.glob("runs/*/samples.jsonl")
            for row in Run(p.parent).entries()
            if row["kind"] == "outcome"
        ]

    def _forget(self) -> None:
        """Removes what one run left, or the next would not have to ask. Who the server is stays known: that saves most
        of the calls of a start."""
        (self.sandbox.root / "cache" / "responses.sqlite").unlink(missing_ok=True)
        shutil.rmtree(self.sandbox.work / "runs", ignore_errors=True)

    def _findings(self, fault: str, calls: str, again: bool) -> Iterator[str]:
        refused = fault not in FAULTS or fault in REFUSED
        strikes = CALLS[calls]
        self.server.fault = lambda text, attempt: self.faults[fault] if strikes(text) else None
        self.server.answered.clear()
        outcome, _ = self._run()
        yield from wrong(COMMAND, outcome)
        if refused and outcome.code not in (1, 2, 4):
            yield f"answers are missing, and the run ends with {outcome.code}"
        if again:
            yield from (f"again: {what}" for what in self._again(refused))
        if self.elsewhere.tries:
            self.elsewhere.tries.clear()
            yield "questions went to another host"
        for path in self.sandbox.root.rglob("*"):
            if path.is_file() and KEY.encode() in path.read_bytes():
                yield f"the key stands in {path.name}"

    def _again(self, refused: bool) -> Iterator[str]:
        """The same command, now that the server is well."""
        self.server.fault = lambda text, attempt: None
        outcome, metrics = self._run()
        yield from wrong(COMMAND, outcome)
        if outcome.code not in (0, 3, 5):
            yield f"the same command ends with {outcome.code}: {outcome.err[-200:]}"
        elif refused and metrics != self.good:
            yield "the result is not that of an undisturbed run"
        yield from self._journal()
        if refused:
            answered = {text: n for text, n in self.server.answered.items() if text not in PROMPTS and n != 1}
            yield from (f"a question was answered {n} times: {text[:60]}" for text, n in answered.items())

    def _journal(self) -> Iterator[str]:
        for path in self.sandbox.work.glob("runs/*/samples.jsonl"):
            rows = list(Run(path.parent).entries())
            keys = [row["key"] for row in rows if row["kind"] == "outcome" and row["error"] is None]
            if len(keys) != len(set(keys)):
                yield f"{len(keys) - len(set(keys))} answers stand twice in the journal"

    def _run(self, *more: str) -> tuple[Any, Any]:
        """The outcome of the command and the metrics that it wrote, without those that are times."""
        with self.sandbox.entered():
            os.environ["OPENAI_API_KEY"] = KEY
            outcome = invoke([*COMMAND, *more, "--name", "run", "--base-url", self.server.url], seconds=30)
            files = list(Path("runs").glob("run-*/metrics.json"))
            return outcome, without_times(files[0]) if files else None

    def close(self) -> None:
        self.server.die()
        self.elsewhere.die()
        self.sandbox.close()


def without_times(path: Path) -> dict[str, Any]:
    metrics = json.loads(path.read_text(encoding="utf-8"))
    metrics.pop("timing")
    return metrics
