"""`llmkit runs`: what was run, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.common import Json, note, print_json, print_table
from llmkit.errors import DataError, LlmkitError, UsageError

if TYPE_CHECKING:
    from llmkit.measure.results import Metrics
    from llmkit.runs import Run
    from llmkit.runs.listing import Listing
    from llmkit.runs.samples import Sample

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List finished runs and look into them.")

Folder = Annotated[str, typer.Option("--dir", metavar="DIR", help="The folder that holds the run folders.")]


@app.command()
def ls(
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the runs as a page: verdicts, main numbers, history."),
    ] = None,
    folder: Folder = "runs",
    as_json: Json = False,
) -> None:
    """List the runs in a folder, the newest last."""
    from llmkit.runs.listing import listings

    listed = listings(Path(folder))
    if html:
        _write_page(listed, Path(folder), html)
    rows = [asdict(listing) for listing in listed]
    if as_json:
        print_json(rows)
    elif rows:
        columns = ["run", "state", "outcomes", "model", "task", "changed"]
        print_table(columns, [[row[c] for c in columns] for row in rows], right=("outcomes",))
    else:
        note(f"no runs in {folder}")


def _write_page(listed: list[Listing], folder: Path, file: Path) -> None:
    from llmkit.files import write_atomic
    from llmkit.report import html
    from llmkit.report.listing import measured, runs

    write_atomic(file, html.runs(runs(measured(listed), folder, file.absolute().parent)))
    note(f"wrote {file}")


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or its name (a unique start is enough).")],
    folder: Folder = "runs",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print its measurements as Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Show one run: its recipe, its state and its measurements."""
    from llmkit.runs.listing import Listing, find

    if markdown and as_json:
        raise UsageError("--markdown and --json exclude each other", "give one of them")
    chosen = find(run, Path(folder))
    if markdown:
        print(_markdown(chosen), end="")
        return
    summary = asdict(Listing.of(chosen))
    if as_json:
        parts = {"recipe": chosen.recipe, "environment": chosen.environment, "metrics": chosen.metrics}
        print_json({**summary, **parts})
        return
    for key, value in summary.items():
        print(f"{key:<10}{value if value is not None else '-'}")
    print(f"{'files':<10}{', '.join(chosen.files)}")
    # Only now: a damaged metrics.json still lets a user see which run this is.
    if metrics := chosen.metrics:
        print()
        _print_metrics(chosen, metrics)


@app.command()
def merge(
    shards: Annotated[list[Path], typer.Argument(metavar="SHARD...", help="The folders of all shards of one run.")],
    as_json: Json = False,
) -> None:
    """Join the shards of a run (`--shard`) into one, as if it had never been cut.

    The whole run is written where the first shard says (`output.dir`). Shards may differ in what changes no answer.
    """
    from llmkit import evaluate

    result = evaluate.merge_folders(shards)
    if as_json:
        print_json({"run": str(result.folder), **(result.metrics.as_dict() if result.metrics else {})})
        return
    if result.metrics:
        _print_measured(result.metrics)
    print(f"\nrun: {result.folder}")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Folders or names; first the one before.")],
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write the table as a page.")] = None,
    folder: Folder = "runs",
    as_json: Json = False,
) -> None:
    """Put runs beside each other, arm by arm, and pair them question by question with the first."""
    from llmkit.files import write_atomic
    from llmkit.measure.beside import beside
    from llmkit.measure.compare import compare as paired
    from llmkit.report import html as pages
    from llmkit.report import terminal
    from llmkit.report.comparison import comparison
    from llmkit.runs.listing import find

    chosen = [find(run, Path(folder)) for run in runs]
    for run in chosen:
        if run.stopped:
            note(f"note: {run.name} stopped at {run.stopped}: its values lean towards what made it stop")
    paths = [run.folder for run in chosen]
    changes, table = paired(paths), beside(paths)
    view = comparison(table, changes)
    if html:
        write_atomic(html, pages.comparison(view))
        note(f"wrote {html}")
    if as_json:
        print_json({**changes.json(), "beside": table.json()})
        return
    terminal.console(140).print(terminal.comparison(view))


def _print_metrics(run: Run, metrics: Mapping[str, Any]) -> None:
    """Prints the tables that the run ended with; every number where it has no arms, as a training."""
    if "arms" not in metrics:
        rows = [[key, _short(value)] for key, value in _flat(metrics) if isinstance(value, int | float | str)]
        print_table(["metric", "value"], rows, right=("value",))
        return
    _print_measured(_measured(run, metrics))


def _markdown(run: Run) -> str:
    from llmkit.report import markdown, view
    from llmkit.report.facts import facts

    metrics = run.metrics or {}
    if "arms" not in metrics:
        raise DataError(f"{run.folder}: has no measurements to show", "--markdown shows finished evaluations")
    return markdown.document(view.of_run(_measured(run, metrics), facts(run.folder), *_answers(run)))


def _answers(run: Run) -> tuple[list[Sample], list[Sample] | None]:
    """Returns the answers of a run, and those that it was compared with. Where one of them cannot be read any more, a
    note says so, and nothing is said of what moved."""
    from llmkit.measure import stored
    from llmkit.recipe import load

    try:
        samples = list(run.samples())
        return samples, stored.answers(load(run.recipe_file).recipe, samples) or []
    except LlmkitError as error:
        note(f"note: the answers that moved are not shown: {error.message}")
        return [], None


@app.command()
def baseline(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A folder, or the name of one; its start is enough.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")],
    folder: Folder = "runs",
    as_json: Json = False,
) -> None:
    """Write a finished run as a file of a few kB to commit, for `--baseline`: verdicts by hashed row, and no text.

    A run that is unfinished, that failed a gate, or of which too many answers failed is refused.
    """
    from llmkit.files import write_atomic
    from llmkit.measure import stored
    from llmkit.runs.listing import find

    made = stored.of_run(find(run, Path(folder)))
    content = made.as_text()
    try:
        write_atomic(out, content)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}", "choose another file with -o") from None
    if as_json:
        print_json({"file": str(out), "bytes": len(content), "rows": made.rows, "digest": made.digest, "run": made.run})
        return
    note(f"wrote {out}: {made.rows:,} rows, {len(made.answers)} cells, {len(content):,} bytes")


def _measured(run: Run, metrics: Mapping[str, Any]) -> Metrics:
    """Returns measurements with their types. DataError where they are not those of this version."""
    from llmkit.measure.results import Metrics
    from llmkit.runs.names import METRICS

    try:
        return Metrics.read(metrics)
    except DataError:
        problem = f"{run.folder / METRICS}: was written by another version of llmkit"
        raise DataError(problem, "--json shows it as it is; the command that made the run writes it again") from None


def _print_measured(metrics: Metrics) -> None:
    from llmkit.report.terminal import console, summary

    console().print(summary(metrics))


def _flat(value: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for k, v in value.items() for pair in _flat(v, f"{key}.{k}" if key else k)]
    if isinstance(value, list):
        return [pair for i, v in enumerate(value) for pair in _flat(v, f"{key}.{i}")]
    return [(key, value)]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
