"""`llmkit perturb` into a folder: one shard of the rows, and the check of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmkit.cli import common
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.perturb.parts import Layout, Part
    from llmkit.perturb.shards import Inputs, ShardRows
    from llmkit.perturb.stream import EditForm, RowPerturber

Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Only part I of N, as a file of the folder that --out names."),
]
Format = Annotated[
    str | None, typer.Option("--format", metavar="jsonl|parquet", help="Of the files in the folder that --out names.")
]
Compression = Annotated[
    str | None, typer.Option("--compression", metavar="none|gzip|zstd", help="Of the files in the folder.")
]
Check = Annotated[
    bool, typer.Option("--check", help="Write nothing; prove that the folder holds every row once, undamaged.")
]
NoEdits = Annotated[bool, typer.Option("--no-edits", help="Leave original and edits out of `perturbation`.")]
CompactEdits = Annotated[
    bool, typer.Option("--compact-edits", help="Write edits as [start, end, old], which give the original back.")
]


def edit_form(no_edits: bool, compact: bool) -> EditForm:
    """Returns how edits are written. UsageError where both flags are given."""
    if no_edits and compact:
        raise UsageError("--no-edits and --compact-edits exclude each other")
    return "none" if no_edits else "compact" if compact else "full"


def is_folder(sources: Sequence[str], out: str | None, *given: object) -> bool:
    """Returns whether rows go into a folder: those of several or remote sources do, and what `given` asks for."""
    names_one = out not in (None, "-") and (str(out).endswith("/") or "://" in str(out) or Path(str(out)).is_dir())
    remote = any("://" in source for source in sources)
    wanted = len(sources) > 1 or remote or names_one or any(given)
    if wanted and out in (None, "-"):
        what = "what several sources give" if len(sources) > 1 else "this output"
        raise UsageError(f"{what} goes into a folder", "name it with --out DIR")
    return wanted


def layout_of(out: str, format: str | None, compression: str | None) -> Layout:
    """Returns the layout of a folder. UsageError for a format or a compression that there is not."""
    from llmkit.perturb.parts import Layout

    if Path(out).is_file():
        raise UsageError(f"{out} is a file", "a shard is written into a folder: name one with --out DIR")
    chosen = format or "jsonl"
    packed = compression or ("zstd" if chosen == "parquet" else "none")
    if chosen not in ("jsonl", "parquet"):
        raise UsageError(f"--format {chosen}: not a format", "jsonl or parquet")
    if packed not in ("none", "gzip", "zstd"):
        raise UsageError(f"--compression {packed}: not a compression", "none, gzip or zstd")
    return Layout(out, chosen, packed)  # type: ignore[arg-type]


def write(
    work: RowPerturber, rows: ShardRows, layout: Layout, shard: tuple[int, int], workers: int, json_: bool
) -> None:
    """Writes one shard, unless it is done already, and says what there is now."""
    from llmkit.perturb.parts import Sink, job_digest, refuse_others, write_part
    from llmkit.perturb.row_progress import RowProgress
    from llmkit.perturb.stream import perturb_rows

    done = refuse_others(layout, shard, job_digest(rows.inputs, work, layout))
    if done:
        return _say(done, "done before", json_)

    def made(sink: Sink) -> tuple[int, int]:
        count = 0
        with RowProgress(f"perturb {shard[0]}/{shard[1]}", rows, quiet=common.settings.quiet) as progress:
            for chunk in perturb_rows(work, rows.unread(), workers):
                sink.write(chunk.lines)
                count += chunk.rows
                rows.skipped += chunk.skipped
                progress.advance(chunk.rows)
        return count, rows.skipped

    return _say(write_part(layout, shard, rows.inputs, work, made), "written", json_)


def _say(part: Part, state: str, json_: bool) -> None:
    if json_:
        return common.print_json(part.model_dump(mode="json"))
    skipped = f", {part.skipped} bad lines skipped" if part.skipped else ""
    common.note(f"perturb: part {part.shard} of {part.of} {state}: {part.written} rows in {part.file}{skipped}")
    return None


def check(layout: Layout, job: str | None, json_: bool) -> None:
    """Checks all parts of a folder and prints what they come to."""
    from llmkit.perturb.parts import check as proved
    from llmkit.perturb.parts import totals

    found = totals(proved(layout.folder, job))
    if json_:
        return common.print_json(found)
    print(
        f"{layout.folder}: {found['parts']} parts, {found['rows']} rows read, {found['written']} written, none missing"
    )
    return None


def refuse(**given: object) -> None:
    """Raises UsageError for what a folder does not offer: `asking` for noise that a model writes, and some flags."""
    if given.pop("asking"):
        raise UsageError("noise that a model writes goes into one file", "name it with --out FILE.jsonl")
    for flag in (name for name, value in given.items() if value):
        raise UsageError(f"--{flag} is for one file, not for a folder", "leave it out, or name a file with --out")


def inputs_of(sources: Sequence[str]) -> Inputs:
    """Returns several files as one input. UsageError for what is no file."""
    from llmkit.perturb.shards import Inputs

    for source in sources:
        if source == "-" or source.startswith(("task:", "hub:")) or source.endswith((".yaml", ".yml")):
            raise UsageError(f"{source} cannot be cut into shards", "files can: .jsonl, .csv, .parquet …")
    return Inputs(sources)
