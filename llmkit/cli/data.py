"""`llmkit data`: which question sets there are, and what is in them."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from llmkit.cli.common import Json, Set, note, print_json, print_table
from llmkit.cli.flags import DataDir, Limit, Seed, SkipBadLines, Split, overrides

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List question sets and look into them.")


@app.command()
def ls(as_json: Json = False) -> None:
    """List the question sets that llmkit knows by name."""
    from llmkit.tasks import TASKS

    sets = [_facts(name, TASKS[name]) for name in TASKS]
    if as_json:
        print_json(sets)
    else:
        columns = ["task", "kind", "from", "about"]
        print_table(columns, [[facts[column] for column in columns] for facts in sets])


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

    own = os.path.exists(task) or "." in task
    what = [Override("data.path", task, task), "data.split=all"] if own else [Override("data.task", task, task)]
    flags = overrides(sets, split=split, limit=limit, seed=seed, data_dir=data_dir, skip_bad_lines=skip_bad_lines)
    recipe = load(None, [*what, *flags]).recipe
    questions = load_questions(recipe.data.model_copy(update={"limit": None}), seed=recipe.seed)
    shown = questions[: recipe.data.limit or 3]  # a limit takes the first of an order that does not depend on it
    if as_json:
        print_json([{**asdict(q), "meta": dict(q.meta)} for q in shown])
        return
    for question in shown:
        print(f"{question.id}\n{_indented(question.text)}\n  -> {question.gold}\n")
    skipped = f"; bad lines left out: {questions.skipped}" if questions.skipped else ""
    where = "" if recipe.data.split == "all" else f" in the {recipe.data.split} split"
    aside = "".join(f"; set aside in {split}: {count}" for split, count in sorted(questions.aside.items()))
    note(f"{len(shown)} of {len(questions)} questions{where}{skipped}{aside}")


@app.command()
def copy(
    example: Annotated[
        str, typer.Argument(metavar="EXAMPLE", help="extract, tickets or tools: an example that comes with llmkit.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where its files go.")] = Path("."),
) -> None:
    """Copy an example application to try llmkit on: rows, labels, a prompt, training data."""
    from llmkit.tasks.examples import copy_example

    for path in copy_example(example, folder):
        print(path)


def _facts(name: str, task: Any) -> dict[str, str | list[str]]:
    """Returns what `ls` says of a question set."""
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
