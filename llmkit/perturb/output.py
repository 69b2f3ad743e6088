"""The output of a stream of rows: opened, and continued where an earlier run was cut."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from llmkit.errors import DataError, UsageError
from llmkit.perturb.input_rows import InputRow
from llmkit.perturb.stream import RowPerturber

_OTHER_FORMS = (".csv", ".tsv", ".parquet", ".gz", ".zst")


def resume(path: Path, row_perturber: RowPerturber, input_rows: Iterator[InputRow]) -> int:
    """Cuts a half-written output back to whole inputs and takes those off `input_rows`; returns how many there were.

    UsageError if the output is not what this job would have written.
    """
    inputs_done, whole_end, last_lines = _whole_inputs(path, row_perturber.per_row)
    if inputs_done:
        row = next(islice(input_rows, inputs_done - 1, None), None)
        if row is None or not row_perturber.could_write(row, last_lines):
            raise UsageError(
                f"{path} was not written by this command: row {inputs_done} differs",
                "give the same source and flags as before, or another --out",
            )
    with path.open("r+b") as file:
        file.truncate(whole_end)
    return inputs_done


def _whole_inputs(path: Path, per_row: int) -> tuple[int, int, bytes]:
    """Counts the inputs that are written whole. Returns their number, their end in the file, and the last one's
    output."""
    inputs_done, whole_end, line_end, lines_of_input, last_lines = 0, 0, 0, [], b""
    with path.open("rb") as file:
        for line in file:
            line_end += len(line)
            if not line.endswith(b"\n"):
                break
            lines_of_input.append(line)
            if len(lines_of_input) == per_row:
                inputs_done, whole_end, last_lines, lines_of_input = (
                    inputs_done + 1,
                    line_end,
                    b"".join(lines_of_input),
                    [],
                )
    return inputs_done, whole_end, last_lines


def open_output(out_path: str | None, resuming: bool | None) -> IO[bytes]:
    """Opens the output of JSON lines: standard output, or a file that must be new unless an earlier run is resumed;
    `resuming` is None where there is no resuming."""
    if out_path in (None, "-"):
        if resuming:
            raise UsageError("only an output file can be resumed", "add --out FILE")
        return sys.stdout.buffer
    path = Path(out_path)
    if path.suffix.lower() in _OTHER_FORMS:
        raise UsageError(
            f"{path}: rows are written as JSON lines, not as {path.suffix}", f"name it {path.stem.split('.')[0]}.jsonl"
        )
    if path.exists() and path.stat().st_size and not resuming:
        hint = "delete it, or give another name" if resuming is None else "use --resume to continue it, or delete it"
        raise UsageError(f"{path} exists", hint)
    try:
        return path.open("ab")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
