"""What commands share: flags that set recipe keys, and where output goes.

A flag has no default of its own. `recipe_from(source, sets, limit=limit, ...)` turns each given flag into the recipe
key of `KEYS`, so that `--limit 50` and `--set data.limit=50` are the same thing.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.errors import UsageError
from llmkit.terminal import console, json_text, visible, write_coloured

if TYPE_CHECKING:
    from llmkit.recipe import Loaded

# parameter: (flag, recipe key)
KEYS = {
    "adapter": ("--adapter", "model.adapter"),
    "arms": ("--arms", "rop.arms"),
    "baseline": ("--baseline", "eval.baseline"),
    "base_url": ("--base-url", "engine.base_url"),
    "budget": ("--budget", "rop.search.budget"),
    "conditions": ("--conditions", "perturb.conditions"),
    "corrector": ("--corrector", "rop.corrector"),
    "data_dir": ("--data-dir", "data.data_dir"),
    "draws": ("--draws", "eval.draws"),
    "dtype": ("--dtype", "engine.dtype"),
    "engine": ("--engine", "engine.kind"),
    "eval_arms": ("--arms", "eval.arms"),
    "gates": ("--gate", "eval.gates"),
    "holdout": ("--holdout", "rop.holdout"),
    "instructions": ("--instructions", "rop.instructions"),
    "limit": ("--limit", "data.limit"),
    "max_tokens_total": ("--max-tokens-total", "eval.max_tokens_total"),
    "model": ("--model", "model.path"),
    "model_id": ("--model-id", "model.revision"),
    "name": ("--name", "output.name"),
    "optimizer": ("--optimizer", "rop.optimizer"),
    "out": ("--out", "output.dir"),
    "path": ("--path", "data.path"),
    "rate": ("--rate", "perturb.rate"),
    "scope": ("--scope", "rop.scope"),
    "search_seeds": ("--search-seeds", "rop.search_seeds"),
    "seed": ("--seed", "seed"),
    "skip_bad_lines": ("--skip-bad-lines", "data.skip_bad_lines"),
    "split": ("--split", "data.split"),
    "target": ("--target", "perturb.target"),
    "task": ("--task", "data.task"),
}

_RECIPE = "Recipe"  # the panel of flags that set recipe keys

Source = Annotated[
    str | None,
    typer.Argument(metavar="RECIPE", help="A file, a shipped recipe (`llmkit recipe ls`), or `-`."),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any recipe key. May be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor write cached answers.")]

Adapter = Annotated[str | None, typer.Option("--adapter", metavar="DIR", help="A PEFT adapter: folder or name.")]
Arms = Annotated[str | None, typer.Option("--arms", metavar="A,B", help="Ways to put a question.")]
BaseUrl = Annotated[
    list[str] | None, typer.Option("--base-url", metavar="URL", help="An OpenAI-compatible server. May be repeated.")
]
Budget = Annotated[int | None, typer.Option("--budget", metavar="N", help="Sequences a search may score.")]
Conditions = Annotated[
    str | None, typer.Option("--conditions", metavar="A,B", help="Noise, e.g. ec,sc,ec+uic or chars:1,4,7.")
]
Corrector = Annotated[str | None, typer.Option("--corrector", metavar="MODEL", help="Corrects the questions.")]
DataDir = Annotated[
    str | None, typer.Option("--data-dir", metavar="DIR", help="Question sets in their official file layout.")
]
Draws = Annotated[int | None, typer.Option("--draws", metavar="N", help="Independent noisy copies.")]
Dtype = Annotated[str | None, typer.Option("--dtype", metavar="TYPE", help="auto, float32, bfloat16 or float16.")]
EngineKind = Annotated[str | None, typer.Option("--engine", metavar="KIND", help="auto, vllm, openai or transformers.")]
Holdout = Annotated[str | None, typer.Option("--holdout", metavar="none|one-out", help="Tune on all noise but one.")]
Instructions = Annotated[
    str | None, typer.Option("--instructions", metavar="FILE", help="Instructions of an earlier run: no search.")
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="At most this many questions.")]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens-total", metavar="N", help="Stop cleanly after this many tokens. Exit 4.")
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="A hub name, a local folder, or smollm2-135m (bundled).")
]
ModelId = Annotated[
    str | None, typer.Option("--model-id", metavar="REV", help="The model's revision; for a server, the one it states.")
]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="The run's name.")]
Optimizer = Annotated[str | None, typer.Option("--optimizer", metavar="MODEL", help="Writes the instructions.")]
Out = Annotated[str | None, typer.Option("--out", metavar="DIR", help="The folder for run folders.")]
Path = Annotated[
    str | None, typer.Option("--path", metavar="FILE", help="Questions of your own: JSONL, CSV or Parquet.")
]
Rate = Annotated[
    str | None,
    typer.Option("--rate", metavar="R", help="Share of words changed, or paper; several (0,.1,.3) make a curve."),
]
Scope = Annotated[str | None, typer.Option("--scope", metavar="pooled|per_type", help="What instructions are for.")]
SearchSeeds = Annotated[int | None, typer.Option("--search-seeds", metavar="N", help="Searches, to see their spread.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="The seed of everything random.")]
SkipBadLines = Annotated[
    bool | None, typer.Option("--skip-bad-lines", help="Count malformed rows instead of stopping at the first.")
]
Split = Annotated[str | None, typer.Option("--split", metavar="SPLIT", help="train, dev or test.")]
Target = Annotated[
    str | None, typer.Option("--target", metavar="PART", help="Noise on the question, instruction or fewshot.")
]
Task = Annotated[str | None, typer.Option("--task", metavar="NAME", help="A question set (`llmkit data ls`).")]


@dataclass
class Settings:
    """The flags of `llmkit` itself."""

    debug: bool = False
    quiet: bool = False
    trust_recipe: bool = False


settings = Settings()


def recipe_from(source: str | None, sets: list[str] | None = None, **flags: Any) -> Loaded:
    """The recipe in `source` with `--set` pairs and then the given flags over it. `flags` are named as in `KEYS`."""
    return load_trusted(source, overrides(sets, **flags))


def load_trusted(source: str | None, given: list[Any]) -> Loaded:
    """`recipe.load` for a command that will act on it: a recipe from elsewhere that names environment variables, files
    or servers is asked about once on a terminal. UsageError where the answer is no or nobody can be asked."""
    from llmkit.recipe import is_trusted, load, names_from_elsewhere, trust

    loaded = load(source, given)
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


def overrides(sets: list[str] | None = None, **flags: Any) -> list[Any]:
    """`--set` pairs and given flags as overrides for `recipe.load`; a flag not given (None, empty) makes none."""
    from llmkit.recipe import Override

    made: list[Any] = list(sets or [])
    for name, value in flags.items():
        flag, key = KEYS[name]
        if value is None or value == []:
            continue
        shown = f"{flag} {value}" if isinstance(value, str | int | float) and not isinstance(value, bool) else flag
        made.append(Override(key, _value(name, value), shown))
    return made


def _value(name: str, value: Any) -> Any:
    if name in ("arms", "eval_arms"):
        return split_list(value)
    if name == "conditions":
        from llmkit.perturb.spec import spec_names

        return spec_names(value)
    if name == "rate":
        rates = [_number(part) for part in split_list(value)]
        return rates[0] if len(rates) == 1 else rates
    if name == "gates":
        from llmkit.measure.gates import parse

        return [parse(gate) for gate in value]
    return value


def split_list(text: str) -> list[str]:
    """Splits at commas.

    >>> split_list("stand, rop")
    ['stand', 'rop']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def set_up_logs() -> None:
    """Libraries print their warnings by themselves; --quiet leaves their errors only, --debug adds their notes.

    No key is in either: the HTTP client, for one, notes whole addresses.
    """
    from llmkit.logs import hush_triton
    from llmkit.secrets import LOG_FILTER

    logging.disable(logging.WARNING if settings.quiet else logging.NOTSET)
    if settings.debug:
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for handler in (logging.lastResort, *logging.getLogger().handlers):
        handler.addFilter(LOG_FILTER)
    hush_triton()


def note(text: str) -> None:
    """A line for the person at the terminal, on stderr; silent with --quiet."""
    if not settings.quiet:
        print(text, file=sys.stderr, flush=True)


def complain(message: str, hint: str | None = None) -> None:
    """`error:` and `hint:` on stderr, without keys, in colour only on a terminal."""
    from llmkit.secrets import scrub

    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    red, blue, plain = ("\x1b[1;31m", "\x1b[1;34m", "\x1b[0m") if colour else ("", "", "")
    message, hint = visible(scrub(message)), visible(scrub(hint or ""))
    lines = f"{red}error:{plain} {message}" + (f"\n{blue}hint:{plain} {hint}" if hint else "")
    write_coloured(lines, sys.stderr)


def print_json(value: Any) -> None:
    """One JSON value on stdout, readable on a terminal, strict for programs (no NaN)."""
    print(json_text(value, indent=2))


def print_table(columns: list[str], rows: list[list[Any]], right: tuple[str, ...] = (), stderr: bool = False) -> None:
    """A plain table on stdout (or stderr). Columns in `right` are aligned right. Piped, it is never cut to a width."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=False)
    for row in rows:
        table.add_row(*("" if cell is None else visible(str(cell)) for cell in row))
    console(stderr=stderr, markup=False).print(table)
