"""`llmkit runs`: what was run, and what came out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from llmkit.cli.common import Json, note, print_json, print_table
from llmkit.errors import DataError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List finished runs and look into them.")

Folder = Annotated[str, typer.Option("--dir", metavar="DIR", help="The folder that holds the run folders.")]


@app.command()
def ls(folder: Folder = "runs", as_json: Json = False) -> None:
    """List the runs in a folder, the newest last."""
    from llmkit.runs.listing import listings

    rows = [asdict(listing) for listing in listings(Path(folder))]
    if as_json:
        print_json(rows)
    elif rows:
        columns = ["run", "state", "outcomes", "model", "task", "changed"]
        print_table(columns, [[row[c] for c in columns] for row in rows], right=("outcomes",))
    else:
        note(f"no runs in {folder}")


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or its name (a unique start is enough).")],
    folder: Folder = "runs",
    as_json: Json = False,
) -> None:
    """Show one run: its recipe, its state and its measurements."""
    from llmkit.runs.listing import Listing, find

    chosen = find(run, Path(folder))
    summary = asdict(Listing.of(chosen))
    metrics = chosen.metrics
    if as_json:
        print_json({**summary, "recipe": chosen.recipe, "environment": chosen.environment, "metrics": metrics})
        return
    for key, value in summary.items():
        print(f"{key:<10}{value if value is not None else '-'}")
    print(f"{'files':<10}{', '.join(chosen.files)}")
    if metrics:
        print()
        _print_metrics(metrics, chosen.folder)


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
        print_json({"run": str(result.folder), **result.metrics})
        return
    _print_metrics(result.metrics, result.folder)
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
    from llmkit.report.terminal import console
    from llmkit.runs.listing import find

    paths = [find(run, Path(folder)).folder for run in runs]
    comparison, table = paired(paths), beside(paths)
    if html:
        write_atomic(html, table.html())
        note(f"wrote {html}")
    if as_json:
        print_json({**comparison.json(), "beside": table.json()})
        return
    out = console(140)
    out.print(table.table())
    out.print(comparison.table())
    left_out = f"; {comparison.left_out} left out, their text differs" if comparison.left_out else ""
    out.print(f"{comparison.questions} shared questions{left_out}", style="dim")


def _print_metrics(metrics: dict[str, Any], path: Path) -> None:
    """Prints the tables that the run ended with; every number where it has no arms, as a training."""
    if "arms" not in metrics:
        rows = [[key, _short(value)] for key, value in _flat(metrics) if isinstance(value, int | float | str)]
        print_table(["metric", "value"], rows, right=("value",))
        return

    from llmkit.measure.gates import GateResult
    from llmkit.report.terminal import console, summary

    try:
        tables = summary(metrics, [GateResult(**row) for row in metrics.get("gates", ())])
    except (KeyError, TypeError, AttributeError, ValueError):
        problem = f"{path / 'metrics.json'}: was written by another version of llmkit"
        raise DataError(problem, "--json shows it as it is; the same llmkit command writes it again") from None
    console().print(tables)


def _flat(value: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for k, v in value.items() for pair in _flat(v, f"{key}.{k}" if key else k)]
    if isinstance(value, list):
        return [pair for i, v in enumerate(value) for pair in _flat(v, f"{key}.{i}")]
    return [(key, value)]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
