"""changed.csv: the pairs of a run for whoever labels in a spreadsheet, and its verdicts read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.files import write_atomic
from llmkit.measure.answers import Pair
from llmkit.records import csv_rows, decode
from llmkit.report.labelling import ShownAnswer, shown_pair
from llmkit.report.tabular import inert
from llmkit.runs.labels import VERDICTS, Judgements, Label, Verdict, now, pair_digest
from llmkit.terminal import visible

COLUMNS = ("pair", "text", "first", "second", "verdict")
_KEYS: dict[str, Verdict] = {"1": "first", "2": "second", "b": "both", "n": "neither", "s": "skip"}
_SHOWN = 5  # faults that one error names


def write(path: Path, pairs: Sequence[Pair]) -> None:
    """Writes a row for each pair, the last column empty. UsageError where the file is there: it may hold verdicts."""
    if path.exists():
        raise UsageError(f"{path} is there already", "read its verdicts with --import, or name another file")
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for pair in pairs:
        first, second = map(_written, shown_pair(pair))
        rows.writerow([_name(pair), *map(inert, (visible(pair.row.text), first, second)), ""])
    # With a mark, because a spreadsheet would otherwise read UTF-8 as something else.
    write_atomic(path, text.getvalue().encode("utf-8-sig", "backslashreplace"))


def read(path: Path, pairs: Sequence[Pair], known: Judgements, run: str) -> list[Label]:
    """Returns the verdicts of a file as labels, those that are known already left out. A row without one says nothing.

    DataError, with the lines, where a row has a pair that is not of this run or no such verdict, or two rows disagree:
    then nothing is taken over.
    """
    by_name = {_name(pair): pair for pair in pairs}
    given: dict[str, Verdict] = {}
    faults = []
    for place, row in _rows(path):
        if isinstance(row, DataError):
            faults.append(f"{place}: {row.message}")
            continue
        if missing := [name for name in ("pair", "verdict") if name not in row]:
            raise DataError(f"{path}: no column `{missing[0]}`", f"`--csv` writes {', '.join(COLUMNS)}")
        said, name = row["verdict"].strip().lower(), row["pair"].strip()
        verdict = _KEYS.get(said) or next((known for known in VERDICTS if known == said), None)
        if not said:
            continue
        if name not in by_name:
            faults.append(f"{place}: the pair {name!r} is none of this run's")
        elif verdict is None:
            faults.append(f"{place}: {row['verdict']!r} is no verdict")
        elif given.setdefault(name, verdict) != verdict:
            faults.append(f"{place}: the pair {name!r} has another verdict above")
    if faults:
        more = f"\n... and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        hint = f"nothing was taken over; verdicts are {', '.join(VERDICTS)}, or {', '.join(_KEYS)}, or nothing"
        raise DataError("\n".join(faults[:_SHOWN]) + more, hint)
    labels = (_label(by_name[name], verdict, run) for name, verdict in given.items())
    return [label for label in labels if not _is_known(label, known)]


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    if not path.is_file():
        raise DataError(f"there is no file {path}", "`--csv FILE` writes one to fill in")
    text = decode(path.read_bytes(), str(path))
    header = text.partition("\n")[0]
    # Spreadsheets of many countries write semicolons.
    return csv_rows(io.StringIO(text, newline=""), str(path), ";" if header.count(";") > header.count(",") else ",")


def _name(pair: Pair) -> str:
    # Sixteen digits of hexadecimal can look like a number, which a spreadsheet would round.
    return f"pair-{pair_digest(*pair.digests)}"


def _written(answer: ShownAnswer) -> str:
    return "\n\n".join(part for part in (answer.answer, answer.reply, answer.remark) if part)


def _label(pair: Pair, verdict: Verdict, run: str) -> Label:
    return Label(*pair.digests, verdict, now(), "csv", run)


def _is_known(label: Label, known: Judgements) -> bool:
    """Returns whether the same was said of the pair already, so that reading a file twice changes nothing."""
    before = known.pairs.get(label.pair)
    return before is not None and before.right == label.right
