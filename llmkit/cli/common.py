"""Shared parts of the commands: flags that every recipe command has, the trust in recipes, and where output goes."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.errors import UsageError
from llmkit.registry import Registry, unknown
from llmkit.terminal import console, json_text, visible, write_coloured

if TYPE_CHECKING:
    from llmkit.recipe import Loaded
    from llmkit.recipe.document import Fault

Source = Annotated[
    str | None,
    typer.Argument(metavar="RECIPE", help="A file, a shipped recipe (`llmkit recipe ls`), or `-`."),
]
RecipeOrRows = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE|ROWS",
        help="A file, a shipped recipe (`llmkit recipe ls`), or `-`; or your rows: a .csv, .jsonl or .parquet file.",
    ),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any recipe key. May be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor write cached answers.")]


@dataclass
class Settings:
    """The flags of `llmkit` itself."""

    debug: bool = False
    quiet: bool = False
    trust_recipe: bool = False


settings = Settings()


def load_trusted(source: str | None, given: list[Any]) -> Loaded:
    """Loads a recipe that a command will act on.

    RecipeError for a kind of engine or of answer that nothing registers, also where the command does not use it; else
    as `trusted`.
    """
    from llmkit.recipe import load
    from llmkit.recipe.load import refuse

    loaded = load(source, given)
    if faults := unknown_kinds(loaded):
        raise refuse(faults)
    return trusted(loaded)


def trusted(loaded: Loaded) -> Loaded:
    """Returns a recipe that may be acted on.

    One from elsewhere that names environment variables, files or servers is asked about once on a terminal. UsageError
    where the answer is no or nobody can be asked.
    """
    from llmkit.recipe import is_trusted, names_from_elsewhere, trust

    named = names_from_elsewhere(loaded, FilePath.cwd())
    if not named or settings.trust_recipe or is_trusted(loaded, named):
        return loaded
    for file, what in named.items():
        print(f"{file} is not in this folder or its repository, and names {', '.join(what)}.", file=sys.stderr)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"the recipe {next(iter(named))} comes from elsewhere and was not trusted",
            "read it, then say --trust-recipe, or copy it into this folder",
        )
    if not typer.confirm("May it use them?", err=True):
        raise UsageError("the recipe was not trusted", "copy what you need of it into a recipe of your own")
    trust(loaded, named)
    return loaded


def unknown_kinds(loaded: Loaded) -> list[Fault]:
    """Returns a fault, with its place, for each kind of engine or of answer that nothing registers."""
    # The recipe's schema cannot know these names, because packages add some and the rooms that register them use it.
    from llmkit.engines import ENGINES, kind_name
    from llmkit.recipe import code_in_files, kinds_of_engine
    from llmkit.recipe.document import Fault, Origin
    from llmkit.tasks import KINDS

    faults = []
    chosen: list[tuple[str, Registry[Any], str]] = [
        ("data.kind", KINDS, loaded.recipe.data.kind),
        *((key, ENGINES, kind_name(kind)) for key, _, kind in kinds_of_engine(loaded.recipe)),
    ]
    for key, registry, name in chosen:
        if name not in registry and (registry, name) != (ENGINES, "auto"):
            error = unknown(registry.noun, name, list(registry))
            faults.append(Fault(loaded.origin(key) or Origin(0, "default"), key, f"{error.message} ({error.hint})"))
    return sorted([*faults, *code_in_files(loaded)])


def set_up_logs() -> None:
    """Sets what libraries may print: warnings, with --quiet only errors, with --debug their notes too.

    Keys are removed from all of it: the HTTP client, for one, notes whole addresses.
    """
    from llmkit.logs import hush_triton
    from llmkit.secrets import LOG_FILTER

    logging.disable(logging.WARNING if settings.quiet else logging.NOTSET)
    if settings.debug:
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for handler in filter(None, (logging.lastResort, *logging.getLogger().handlers)):
        handler.addFilter(LOG_FILTER)
    hush_triton()


def note(text: str) -> None:
    """Prints a line for the person at the terminal, on stderr; nothing with --quiet."""
    if not settings.quiet:
        print(text, file=sys.stderr, flush=True)


def complain(message: str, hint: str | None = None) -> None:
    """Prints `error:` and `hint:` on stderr, without keys, in colour only on a terminal."""
    from llmkit.secrets import scrub

    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    red, blue, plain = ("\x1b[1;31m", "\x1b[1;34m", "\x1b[0m") if colour else ("", "", "")
    message, hint = visible(scrub(message)), visible(scrub(hint or ""))
    lines = f"{red}error:{plain} {message}" + (f"\n{blue}hint:{plain} {hint}" if hint else "")
    write_coloured(lines, sys.stderr)


def print_json(value: Any) -> None:
    """Prints one JSON value on stdout, readable on a terminal, strict for programs (no NaN)."""
    print(json_text(value, indent=2))


def print_table(columns: list[str], rows: list[list[Any]], right: tuple[str, ...] = (), stderr: bool = False) -> None:
    """Prints a plain table. Columns in `right` are aligned right. Piped, it is never cut to a width."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=False)
    for row in rows:
        table.add_row(*("" if cell is None else visible(str(cell)) for cell in row))
    console(stderr=stderr, markup=False).print(table)
