"""The warning for conditions whose replies could not be read."""

from __future__ import annotations

from dataclasses import replace

from llmkit.measure.metrics import metrics
from llmkit.recipe.schema import EvalSection, IntervalSection
from llmkit.report.notes import notes
from llmkit.types import Outcome

FAST = EvalSection(interval=IntervalSection(draws=100), family=("gain",))


def run(read: dict[str, int], asked: int = 10) -> list[str]:
    """The notes of a run of which so many replies could be read under each condition."""
    rows = [
        Outcome(f"q{i}", f"q{i}", condition, "stand", 0, "1" if i < share else None, i < share, "1")
        for condition, share in read.items()
        for i in range(asked)
    ]
    return [note for note in notes(metrics(rows, FAST, 7)).lines() if note.startswith("Warning")]


def test_a_condition_that_is_mostly_unread_is_named():
    (warning,) = run({"clean": 10, "ec": 4, "sc": 0})
    assert "`stand` under ec (6 of 10), sc (10 of 10)" in warning
    assert "clean" not in warning


def test_half_unread_and_failed_calls_are_no_warning():
    assert run({"clean": 10, "ec": 5}) == []
    failed = [
        replace(Outcome(f"q{i}", f"q{i}", c, "stand", 0, None, False, "1"), error="refused")
        for c in ("clean", "ec")
        for i in range(4)
    ]
    assert not [note for note in notes(metrics(failed, FAST, 7)).lines() if note.startswith("Warning")]
