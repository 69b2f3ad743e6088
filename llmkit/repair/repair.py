"""A repair at work: detect, correct where the gate fires, and say what was done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmkit.repair.base import Corrected, CorrectorContext, chain_of
from llmkit.repair.document import RepairFile, read
from llmkit.repair.gate import Doubt, Gate, Scale
from llmkit.steps import drive
from llmkit.types import Edit, Reply, Request, Steps

Action = Literal["passed", "repaired", "unchanged"]


@dataclass(frozen=True, slots=True)
class Repaired:
    """The result for one text. `action` is "passed" where the gate did not fire, "unchanged" where it fired and the
    chain found nothing to change, else "repaired". `detector` names what made the gate fire."""

    text: str
    edits: tuple[Edit, ...] = ()
    action: Action = "passed"
    detector: str = ""
    rarity: float = 0.0
    seconds: float = 0.0
    fallback: str | None = None


class Repair:
    """A chain of correctors behind a gate. Loads in milliseconds; dictionaries are read at first use.

    >>> repair = Repair(RepairFile(chain="fold"))
    >>> repair("Each of the w\\u043erds, how many?").text
    'Each of the words, how many?'
    """

    def __init__(self, document: RepairFile) -> None:
        self.document = document
        context = CorrectorContext(document.instruction, document.shots, document.max_tokens, lang=document.lang)
        self.chain = chain_of(document.chain, context)
        gate = document.gate
        self.gate = gate and Gate(tuple(Scale(s.detector, s.knots) for s in gate.scales), gate.threshold)

    @classmethod
    def load(cls, path: str | Path) -> Repair:
        """Loads a repair.json."""
        return cls(read(path))

    def steps(self, text: str, options: Sequence[str] = ()) -> Steps:
        """Repairs one text. Yields the requests of detectors and correctors; returns a `Repaired`."""
        started = time.perf_counter()
        doubt = Doubt(0.0, "")
        if self.gate:
            doubt = yield from self.gate.doubt(text)
            if not self.gate.fires(doubt):
                return Repaired(text, rarity=doubt.rarity, seconds=time.perf_counter() - started)
        corrected: Corrected = yield from self.chain.correct(text, options)
        action: Action = "repaired" if corrected.edits else "unchanged"
        seconds = time.perf_counter() - started
        return Repaired(
            corrected.text, corrected.edits, action, doubt.detector, doubt.rarity, seconds, corrected.fallback
        )

    def __call__(self, text: str, complete: Callable[[Request], Reply] | None = None) -> Repaired:
        """Repairs one text; `complete` answers the requests of a chain that asks a model."""

        def answer(request: Request) -> Reply:
            if complete is None:
                raise ValueError("this repair asks a model: give `complete`")
            return complete(request)

        repaired: Repaired = drive(self.steps(text), answer)
        return repaired
