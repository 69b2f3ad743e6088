"""Noise that a model writes for one run: asked for once, journalled, found again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from llmkit.evaluate.journal import JournalRow, call_row
from llmkit.perturb import Perturbed
from llmkit.runs import Finished, RunFolder, Runner
from llmkit.runs.names import NOISE
from llmkit.types import Ask, Edit, Steps, Strength


def known(rows: Iterable[JournalRow]) -> Ask:
    """Gives what a journal holds, and asks nobody."""
    # A copy whose call failed is not known: it is asked for again.
    written = {row["key"]: _perturbed(row) for row in rows if row.get("kind") == NOISE and row["error"] is None}
    return lambda jobs: ((name, written.get(name)) for name, _ in jobs)


def asked(rows: Iterable[JournalRow], runner: Runner, folder: RunFolder) -> Ask:
    """Gives what the journal holds, asks for the rest, and journals each copy as it comes."""
    before = known(rows)

    def ask(jobs: Iterable[tuple[str, Steps]]) -> Iterator[tuple[str, Any]]:
        steps = dict(jobs)  # generators that have not begun: dropping one asks nothing
        for name, made in before(list(steps.items())):
            if made:
                del steps[name]
                yield name, made
        for done in runner.run(steps.items()):
            folder.append(_row(done))
            yield str(done.key), done.result

    return ask


def _row(done: Finished) -> JournalRow:
    error = done.error and done.error.message
    # `asdict` leaves named tuples as they are, and JSON would drop their names.
    made = {} if error else asdict(done.result) | {"edits": [edit._asdict() for edit in done.result.edits]}
    return {
        "kind": NOISE,
        "key": done.key,
        "error": error,
        **made,
        "calls": [call_row(c) for c in done.calls],
    }


def _perturbed(row: JournalRow) -> Perturbed:
    edits = tuple(Edit(**edit) for edit in row["edits"])
    told = {name: row[name] for name in ("seed", "rejected", "reason", "detail")}
    return Perturbed(row["text"], edits, Strength(**row["strength"]), **told)
