"""`llmkit runs`: what was run, and what came out."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from llmkit.cli.common import Json, note, print_json, print_table
from llmkit.errors import DataError
from llmkit.parsing import parse_json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List finished runs and look into them.")

Folder = Annotated[str, typer.Option("--dir", metavar="DIR", help="The folder that holds the run folders.")]


@app.command()
def ls(folder: Folder = "runs", as_json: Json = False) -> None:
    """List the runs in a folder, the newest last."""
    home = Path(folder)
    if not home.is_dir():
        raise DataError(f"no folder `{folder}`", "runs are written to `output.dir` of a recipe: name it with --dir")
    found = [_listed(path) for path in home.iterdir() if _is_run(path)]
    found.sort(key=lambda run: (run["changed"], run["run"]))
    if as_json:
        print_json(found)
    elif found:
        columns = ["run", "state", "outcomes", "model", "task", "changed"]
        print_table(columns, [[run[c] for c in columns] for run in found], right=("outcomes",))
    else:
        note(f"no runs in {folder}")


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or its name (a unique start is enough).")],
    folder: Folder = "runs",
    as_json: Json = False,
) -> None:
    """Show one run: its recipe, its state and its measurements."""
    path = _find(run, Path(folder))
    summary = _summary(path)
    metrics = _json(path / "metrics.json")
    if as_json:
        print_json({**summary, "recipe": _recipe(path), "environment": _json(path / "env.json"), "metrics": metrics})
        return
    for key in ("run", "path", "state", "outcomes", "model", "task", "changed"):
        print(f"{key:<10}{summary[key] if summary[key] is not None else '-'}")
    print(f"{'files':<10}{', '.join(sorted(p.name for p in path.iterdir() if not p.name.startswith('.')))}")
    if metrics:
        print()
        _print_metrics(metrics, path)


@app.command()
def merge(
    shards: Annotated[list[Path], typer.Argument(metavar="SHARD...", help="The folders of all shards of one run.")],
    as_json: Json = False,
) -> None:
    """Join the shards of a run (`--shard`) into one, as if it had never been cut.

    The whole run is written where the first shard says (`output.dir`). Shards may differ in what changes no answer.
    """
    from llmkit import evaluate
    from llmkit.recipe import digest, load
    from llmkit.runs.samples import facts_of

    if strange := [path for path in shards if not _is_run(path)]:
        raise DataError(
            f"{strange[0]} is no run folder", "name the folders of the shards, as `llmkit runs ls` lists them"
        )
    recipes = [load(path / "recipe.resolved.yaml") for path in shards]
    commands = [facts_of(path).get("command") for path in shards]
    for path, recipe, command in zip(shards, recipes, commands, strict=True):
        if (digest(recipe.recipe), command) != (digest(recipes[0].recipe), commands[0]):
            raise DataError(
                f"{path} is no shard of the same run as {shards[0]}: what they ask differs",
                "name the shards of one run; compare their recipe.resolved.yaml",
            )
    result = evaluate.merge(recipes[0], commands[0], shards)
    if as_json:
        print_json({"run": str(result.folder), **result.metrics.as_dict()})
        return
    _print_metrics(result.metrics.as_dict(), result.folder)
    print(f"\nrun: {result.folder}")


def _is_run(path: Path) -> bool:
    return (path / "recipe.resolved.yaml").is_file()


def _find(run: str, folder: Path) -> Path:
    if _is_run(Path(run)):
        return Path(run)
    from llmkit.registry import unknown

    runs = [p for p in folder.iterdir() if _is_run(p)] if folder.is_dir() else []
    matches = [p for p in runs if p.name == run] or [p for p in runs if p.name.startswith(run)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise DataError(f"`{run}` is the start of several runs: {', '.join(sorted(p.name for p in matches))}")
    if not runs:
        raise DataError(f"no run `{run}`: there are none in {folder}", "name their folder with --dir")
    raise unknown("run", run, [p.name for p in runs])


def _listed(path: Path) -> dict[str, Any]:
    """A run's line, also where its folder is damaged: one such run does not hide the others."""
    try:
        return _summary(path)
    except DataError:
        nothing = dict.fromkeys(("outcomes", "model", "task"))
        return {"run": path.name, "path": str(path), "state": "damaged", **nothing, "changed": _changed(path)}


def _summary(path: Path) -> dict[str, Any]:
    from llmkit.runs.folder import answered

    recipe = _recipe(path)
    model, data = (part if isinstance(part := recipe.get(name), dict) else {} for name in ("model", "data"))
    return {
        "run": path.name,
        "path": str(path),
        "state": "finished" if (path / "metrics.json").is_file() else "unfinished",
        "outcomes": answered(path),
        "model": model.get("path"),
        "task": data.get("task") or data.get("path"),
        "changed": _changed(path),
    }


def _changed(path: Path) -> str:
    latest = max(p.stat().st_mtime for p in [path, *path.iterdir()])
    return datetime.fromtimestamp(latest).isoformat(" ", "seconds")


def _recipe(path: Path) -> dict[str, Any]:
    from llmkit.recipe.document import parse

    file = path / "recipe.resolved.yaml"
    try:
        document = parse(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}", "the folder of this run is damaged") from None
    if document.faults or not isinstance(document.tree, dict):
        raise DataError(f"{file}: is no recipe", "the folder of this run is damaged")
    return document.tree


def _json(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}", "the same llmkit command writes it again") from None


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

    paths = [_find(run, Path(folder)) for run in runs]
    found, together = paired(paths), beside(paths)
    if html:
        write_atomic(html, together.html())
        note(f"wrote {html}")
    if as_json:
        print_json({**found.json(), "beside": together.json()})
        return
    out = console(140)
    out.print(together.table())
    out.print(found.table())
    left_out = f"; {found.left_out} left out, their text differs" if found.left_out else ""
    out.print(f"{found.questions} shared questions{left_out}", style="dim")


def _print_metrics(metrics: dict[str, Any], path: Path) -> None:
    """The tables that the run ended with, where it has arms; else every number."""
    if not isinstance(metrics, dict):
        raise DataError(f"{path / 'metrics.json'}: holds no measurements", "the same llmkit command writes it again")
    if "arms" not in metrics:
        rows = [[key, _short(value)] for key, value in _flat(metrics) if isinstance(value, int | float | str)]
        print_table(["metric", "value"], rows, right=("value",))
        return

    from llmkit.measure.results import GateResult
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
