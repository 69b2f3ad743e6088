"""`llmkit cache`: what is kept between runs, and how to be rid of it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.common import Json, note, print_json, print_table
from llmkit.errors import LlmkitError, UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Size and clearing of the cache folder.")

# kind: (file patterns in the cache folder, what it is)
KINDS = {
    "responses": (("responses.sqlite*",), "answers of models: a question is not asked twice"),
    "data": (("data",), "question sets, read and normalised"),
    "tokens": (("tokens",), "training data, tokenised"),
    "models": (("models", "digests.json"), "bundled models, converted"),
}


@dataclass(frozen=True, slots=True)
class Contents:
    """One kind of thing in the cache folder. `items` is None where they cannot be counted."""

    kind: str
    bytes: int
    items: int | None
    about: str


@app.command()
def info(as_json: Json = False) -> None:
    """Show the cache folder and the size of what is in it."""
    from llmkit.resources import cache_dir

    contents = [_contents(kind) for kind in KINDS]
    if as_json:
        print_json({"folder": str(cache_dir()), "kinds": [asdict(part) for part in contents]})
        return
    note(f"{cache_dir()} (LLMKIT_CACHE chooses another)")
    table = [[part.kind, _human(part.bytes), part.items, part.about] for part in contents]
    print_table(["kind", "size", "items", "what"], table, right=("size", "items"))


@app.command()
def clear(
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="KIND", help=f"{', '.join(KINDS)}; all by default.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete cached answers, question sets or models. Run folders are never touched."""
    from llmkit.registry import unknown

    for kind in kinds or ():
        if kind not in KINDS:
            raise unknown("kind of cache", kind, KINDS)
    contents = [part for part in map(_contents, kinds or KINDS) if part.bytes]
    total = sum(part.bytes for part in contents)
    if contents and not yes:
        what = ", ".join(f"{part.kind} ({_human(part.bytes)})" for part in contents)
        if not sys.stdin.isatty():
            raise UsageError(f"this deletes {what}", "add --yes to do it without being asked")
        if not typer.confirm(f"Delete {what}?", err=True):
            raise typer.Exit(LlmkitError.exit_code)
    for part in contents:
        _delete(part.kind)
    if as_json:
        print_json({"cleared": [part.kind for part in contents], "bytes": total})
    else:
        note(f"cleared {_human(total)}" if contents else "nothing to clear")


def _contents(kind: str) -> Contents:
    files = [f for path in _paths(kind) for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file()]
    inside = [p for path in _paths(kind) if path.is_dir() for p in path.iterdir()]
    items = _replies() if kind == "responses" else sum(p.suffix != ".lock" for p in inside)
    return Contents(kind, sum(f.stat().st_size for f in files), items, KINDS[kind][1])


def _paths(kind: str) -> list[Path]:
    from llmkit.resources import cache_dir

    return sorted(path for pattern in KINDS[kind][0] for path in cache_dir().glob(pattern))


def _replies() -> int | None:
    """Returns how many answers are cached; None if the cache cannot be read."""
    if not _paths("responses"):
        return 0
    from llmkit.engines import ResponseCache

    try:
        with ResponseCache() as cache:
            return cache.info().replies
    except LlmkitError:
        return None


def _delete(kind: str) -> None:
    if kind == "responses" and _replies() is not None:
        from llmkit.engines import ResponseCache

        with ResponseCache() as cache:  # emptied, not deleted: a run in another process may be using it
            cache.clear()
        return
    try:
        for path in _paths(kind):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise LlmkitError(f"{error.filename}: cannot be deleted: {error.strerror}") from None


def _human(size: int) -> str:
    """Returns a size in bytes as people write it.

    >>> _human(1536)
    '1.5 KiB'
    """
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
