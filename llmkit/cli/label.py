"""`llmkit label`: a person looks at the answers that changed, and the run's losses and gains follow."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmkit.cli import common, flags
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmkit.labels import Labelling, Session
    from llmkit.measure.answers import Pair
    from llmkit.measure.contrasts import Contrast
    from llmkit.measure.results import Metrics

Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run folder, its name (a unique start is enough), or a proxy's log of texts."),
]
Rows = Annotated[
    int | None,
    typer.Option("--rows", metavar="N", min=1, help="Label a random part: N of the rows whose answers changed."),
]
CsvOut = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write the pairs to FILE instead, to be filled in.")
]
CsvIn = Annotated[Path | None, typer.Option("--import", metavar="FILE", help="Read the verdicts of such a file.")]
Others = Annotated[
    list[Path] | None,
    typer.Option("--labels", metavar="FILE", help="Use the labels.jsonl of another run, too. May be repeated."),
]
Folder = Annotated[str, typer.Option("--dir", metavar="DIR", help="The folder that holds the run folders.")]


def label(
    run: Run,
    rows: Rows = None,
    csv: CsvOut = None,
    from_csv: CsvIn = None,
    labels: Others = None,
    gate: flags.Gates = None,
    folder: Folder = "runs",
    as_json: common.Json = False,
) -> None:
    """Label the few changed answers that decide what was lost.

    Opens a page on this machine with one row and two of its answers at a time, which is which hidden. Rows whose
    answers are equal cancel in every difference and need no label. At the end, or after Ctrl-C, the run is measured
    again and its gates decide the exit code.
    """
    from llmkit.labels import labelling
    from llmkit.labels.labelling import files_of_earlier_runs
    from llmkit.measure import gates, missing
    from llmkit.recipe import load
    from llmkit.runs.listing import find

    if csv and from_csv:
        raise UsageError("--csv and --import exclude each other", "--csv writes a file, --import reads one")
    if run.endswith(".jsonl"):
        if labels or gate:
            raise UsageError("--labels and --gate are for runs", "a proxy's log has its labels beside it")
        _label_log(Path(run), rows, csv, from_csv, as_json)
        return
    chosen = find(run, Path(folder))
    recipe = load(chosen.recipe_file, flags.overrides(None, gates=gate)).recipe
    with labelling(chosen, recipe) as opened:
        if adopted := opened.adopt([*files_of_earlier_runs(chosen), *(labels or [])]):
            common.note(f"{adopted} labels of other runs speak of these answers, too")
        pairs = opened.open_pairs(rows)
        common.note(_outlook(opened, pairs, rows))
        if from_csv:
            _import(opened, from_csv)
        elif csv:
            _export(csv, pairs)
        elif pairs:
            _ask(opened, pairs)
        if behind := opened.behind():
            common.note(f"{behind} labelled rows do not count: they stand behind one without a label, so not at random")
        measured = opened.conclude()
        if as_json:
            common.print_json({"run": str(chosen.folder), **measured.as_dict()})
        else:
            _print(measured, opened, chosen.folder)
    missing.refuse_too_many(measured.failed, recipe.eval.max_errors)
    gates.enforce(measured.gates)


def _label_log(log: Path, rows: int | None, csv: Path | None, from_csv: Path | None, as_json: bool) -> None:
    """Labels the changed answers of a proxy's log. Their labels are kept in a file beside it."""
    from llmkit.labels import Change, Session, judged, pairs_of, table, unlabelled
    from llmkit.proxy import summary
    from llmkit.runs.labels import Judgements, append, read

    file = log.with_suffix(".labels.jsonl")
    pairs = pairs_of(Change(*texts) for texts in summary.changed(log))
    to_label = unlabelled(pairs, Judgements(read(file)))[:rows]
    common.note(f"{len(pairs)} different pairs of answers, {len(to_label)} to label now")
    if from_csv:
        append(file, table.read(from_csv, pairs, Judgements(read(file)), log.name))
    elif csv:
        _export(csv, to_label)
    elif to_label:
        _serve(Session(to_label, file, log.name), log.name, len(to_label))
    result = judged(pairs, Judgements(read(file)))
    if as_json:
        common.print_json({"log": str(log), **asdict(result)})
    else:
        print(
            f"{result.labelled} of {result.changes} changed answers are labelled: with the repair {result.better} got "
            f"better, {result.worse} worse, {result.equal} stayed as good; {result.skipped} cannot be judged"
        )


def _outlook(opened: Labelling, pairs: Sequence[Pair], rows: int | None) -> str:
    """Says before anything is asked how many pairs there are, and what labelling them would come to know."""
    counts = opened.counts()
    if not counts.pairs:
        return "no answers differ, so there is nothing to label"
    done = f", {counts.labelled} of them labelled" if counts.labelled else ""
    line = f"{counts.pairs} pairs of answers to {counts.rows} rows{done}"
    if name := opened.run.main():
        part = rows if rows is not None else 40 if counts.rows > 60 else max(counts.rows // 2, 1)
        what = f"the {'loss' if name.kind == 'drop' else 'gain'} of {name.arm}"
        line += _width(opened, name, counts.rows, f"; all of them would know {what} to about +-")
        if counts.used < part < counts.rows:
            line += _width(
                opened, name, part, f", a random {part} rows{'' if rows else f' (--rows {part})'} to about +-"
            )
    return f"{line}\n{len(pairs)} to label now"


def _width(opened: Labelling, name: Contrast, rows: int, words: str) -> str:
    half = opened.run.expected(name, rows)
    return "" if half is None else f"{words}{half:.3f}"


def _ask(opened: Labelling, pairs: Sequence[Pair]) -> None:
    _serve(opened.session(pairs), opened.folder.path.name, len(pairs))


def _serve(session: Session, title: str, pairs: int) -> None:
    """Serves the page until every pair has a verdict, or until Ctrl-C."""
    import webbrowser

    from llmkit.labels import serve

    with serve(session, title) as page:
        print(f"open this page (its address is a secret): {page.address}", file=sys.stderr, flush=True)
        if _has_browser():
            webbrowser.open(page.address)
        with suppress(KeyboardInterrupt):  # the ordinary way to stop early: each verdict is saved already
            page.wait()
    common.note(f"{session.done} of {pairs} labelled now")


def _has_browser() -> bool:
    """Returns whether somebody sits before a screen that a browser could open on; not in a pipeline."""
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(screen) and sys.stderr.isatty() and not os.environ.get("CI")


def _export(file: Path, pairs: Sequence[Pair]) -> None:
    from llmkit.labels import table

    table.write(file, pairs)
    common.note(f"wrote {file}: {len(pairs)} pairs; fill in the column `verdict`, then --import it")


def _import(opened: Labelling, file: Path) -> None:
    from llmkit.labels import table
    from llmkit.runs.labels import append

    read = table.read(file, opened.run.pairs, opened.judgements, opened.folder.path.name)
    append(opened.file, read)
    common.note(f"{len(read)} new verdicts in {file}")


def _print(measured: Metrics, opened: Labelling, folder: Path) -> None:
    from llmkit.report import summary
    from llmkit.report.notes import in_points
    from llmkit.report.terminal import console

    console().print(summary(measured))
    if name := opened.run.main():
        print(f"\n{in_points(measured, name.arm, name.condition)}")
    print(f"run: {folder}")
