"""Rows through a repair: one output row per input, in input order, on several processes or with a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from llmkit.errors import DataError
from llmkit.parsing import JsonObject
from llmkit.perturb.input_rows import InputRow, RowFields, UnreadLine, options_of, with_place
from llmkit.perturb.languages import ENGLISH
from llmkit.perturb.stream import encode, read_row
from llmkit.repair.document import RepairFile
from llmkit.repair.languages import other_language
from llmkit.repair.repair import Repair, Repaired
from llmkit.steps import Walk
from llmkit.types import Steps

FIELD = "repair"
"""The field of an output row that says what was done."""


class RepairedRows(NamedTuple):
    """The result for some rows: their number, their output lines, texts by action and fired ones by detector, and an
    error if any."""

    rows: int
    lines: bytes
    actions: Counter[str]
    detectors: Counter[str]
    skipped: int = 0
    error: DataError | None = None


@dataclass
class RowRepairer:
    """The work on each row. Picklable, so that workers get it once."""

    document: RepairFile
    fields: RowFields = field(default_factory=RowFields)
    skip_bad_lines: bool = False

    def __post_init__(self) -> None:
        self.repair = Repair(self.document)

    def __reduce__(self) -> tuple[type[RowRepairer], tuple[RepairFile, RowFields, bool]]:
        return RowRepairer, (self.document, self.fields, self.skip_bad_lines)

    def repaired(self, row: InputRow) -> Steps:
        """Repairs the text of a row. Yields requests; returns a `Repaired`."""
        return (yield from self.repair.attempt(row.fields[self.fields.question], options_of(row.fields, self.fields)))

    def steps(self, row: InputRow) -> Steps:
        """Repairs one row as `made` does, where a model is asked."""
        result = RepairedRows(1, b"", Counter(), Counter())
        repaired = yield from self.repaired(row)
        return result._replace(lines=self._counted(row, repaired, result))

    def made(self, rows: Sequence[InputRow | UnreadLine]) -> RepairedRows:
        """Repairs several rows without a model, up to the first bad one unless those are skipped."""
        result, skipped = RepairedRows(len(rows), b"", Counter(), Counter()), 0
        lines: list[bytes] = []
        for input_row in rows:
            try:
                row = input_row if isinstance(input_row, InputRow) else read_row(input_row, self.fields)
            except DataError as error:
                if not self.skip_bad_lines:
                    return result._replace(lines=b"".join(lines), error=with_place(error, _place(input_row)))
                skipped += 1
                continue
            walk = Walk(self.repaired(row))
            walk.resume()  # to the end: nothing is asked
            lines.append(self._counted(row, walk.result, result))
        return result._replace(lines=b"".join(lines), skipped=skipped)

    def _counted(self, row: InputRow, repaired: Repaired, counts: RepairedRows) -> bytes:
        counts.actions[repaired.action] += 1
        if repaired.detector:
            counts.detectors[repaired.detector] += 1
        return encode(row.fields | {self.fields.question: repaired.text, FIELD: record(repaired, self.document.lang)})


def record(repaired: Repaired, lang: str = ENGLISH.code) -> JsonObject:
    """Returns the record of one repair, for JSON: the same on every machine, so without its time. It names the text's
    language where `lang`, that of the repair, is not English alone."""
    own = other_language(repaired.original, lang) or ENGLISH if lang not in ("", ENGLISH.code) else None
    reasons = {"detector": repaired.detector, "fallback": repaired.fallback, "reason": repaired.reason}
    return {
        "action": repaired.action,
        **({"lang": own.code} if own else {}),
        **{name: value for name, value in reasons.items() if value},
        "rarity": round(repaired.rarity, 4),
        "edits": [edit._asdict() for edit in repaired.edits],
    }


def _place(row: InputRow | UnreadLine) -> str:
    return row.place if isinstance(row, UnreadLine) else row.id
