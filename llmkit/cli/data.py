"""`llmkit data`: which question sets there are, and what is in them."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from llmkit.cli.common import (
    DataDir,
    Json,
    Limit,
    Seed,
    Set,
    SkipBadLines,
    Split,
    note,
    overrides,
    print_json,
    print_table,
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List question sets and look into them.")


@app.command()
def ls(as_json: Json = False) -> None:
    """List the question sets that llmkit knows by name."""
    from llmkit.tasks import TASKS

    rows = [_row(name, TASKS[name]) for name in TASKS]
    if as_json:
        print_json(rows)
    else:
        columns = ["task", "kind", "from", "about"]
        print_table(columns, [[row[c] for c in columns] for row in rows])


@app.command()
def show(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A name from `llmkit data ls`, or a file of your own.")],
    split: Split = None,
    limit: Limit = None,
    seed: Seed = None,
    data_dir: DataDir = None,
    skip_bad_lines: SkipBadLines = None,
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Print questions as a run would ask them; three, unless --limit says otherwise."""
    from llmkit.recipe import Override, load
    from llmkit.tasks import load as load_questions

    key = "data.path" if os.path.exists(task) or "." in task else "data.task"
    flags = overrides(sets, split=split, limit=limit, seed=seed, data_dir=data_dir, skip_bad_lines=skip_bad_lines)
    recipe = load(None, [Override(key, task, task), *flags]).recipe
    questions = load_questions(recipe.data, seed=recipe.seed)
    shown = questions if recipe.data.limit else questions[:3]
    if as_json:
        print_json([{**asdict(q), "meta": dict(q.meta)} for q in shown])
        return
    for question in shown:
        print(f"{question.id}\n{_indented(question.text)}\n  -> {question.gold}\n")
    skipped = f", {questions.skipped} bad lines left out" if questions.skipped else ""
    note(f"{len(shown)} of {len(questions)} questions in the {recipe.data.split} split{skipped}")


def _row(name: str, task: Any) -> dict[str, Any]:
    hub = getattr(task, "hub", None)
    files = getattr(task, "files", None)
    return {
        "task": name,
        "kind": task.kind,
        "from": "generated" if files is None else f"--data-dir or hub {hub.name}" if hub else "--data-dir",
        "files": sorted(files.values()) if files else [],
        "about": (task.__doc__ or "").strip().partition("\n")[0],
    }


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
