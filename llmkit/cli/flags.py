"""The flags that set recipe keys. Their help is what the recipe's schema says of the key, so that it stands once.

A flag has no default of its own. `recipe_from(source, sets, limit=limit, ...)` turns each given flag into the recipe
key of `KEYS`, so that `--limit 50` and `--set data.limit=50` are the same thing. This module imports the schema, and
`common` does not: commands without such flags start faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.common import load_trusted, note
from llmkit.errors import UsageError
from llmkit.recipe.schema import meaning

if TYPE_CHECKING:
    from llmkit.recipe import Loaded, Override

# parameter: (flag, recipe key)
KEYS = {
    "adapter": ("--adapter", "model.adapter"),
    "answer": ("--answer", "data.answer"),
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
    "kind": ("--kind", "data.kind"),
    "lang": ("--lang", "perturb.lang"),
    "launch": ("--launch", "finetune.launch.kind"),
    "limit": ("--limit", "data.limit"),
    "max_tokens_total": ("--max-tokens-total", "eval.max_tokens_total"),
    "method": ("--method", "finetune.method"),
    "model": ("--model", "model.path"),
    "name": ("--name", "output.name"),
    "num_processes": ("--num-processes", "finetune.launch.num_processes"),
    "op": ("--op", "perturb.conditions"),
    "optimizer": ("--optimizer", "rop.optimizer"),
    "path": ("--path", "data.path"),
    "prompt": ("--prompt", "prompts"),
    "question": ("--field", "data.question"),
    "rate": ("--rate", "perturb.rate"),
    "repair": ("--repair", "rop.repair"),
    "retries": ("--retries", "perturb.retries"),
    "revision": ("--revision", "model.revision"),
    "runs_dir": ("--dir", "output.dir"),
    "scope": ("--scope", "rop.scope"),
    "search_seeds": ("--search-seeds", "rop.search_seeds"),
    "seed": ("--seed", "seed"),
    "skip_bad_lines": ("--skip-bad-lines", "data.skip_bad_lines"),
    "split": ("--split", "data.split"),
    "target": ("--target", "perturb.target"),
    "task": ("--task", "data.task"),
    "temperature": ("--temperature", "rop.temperature"),
}

RENAMED = {"model_id": ("--model-id", "revision"), "out": ("--out", "runs_dir")}
"""Earlier names of flags, each with the parameter that took its place. They are accepted, and the new name is noted."""


def flag(name: str, metavar: str | None = None, more: str = "") -> Any:
    """Returns the option of a parameter in `KEYS`. `more` follows the meaning of its key, for what only a flag has."""
    spelling, key = KEYS[name]
    return typer.Option(spelling, metavar=metavar, help=f"{meaning(key)} {more}".strip())


def renamed(name: str) -> Any:
    """Returns the hidden option of an earlier name."""
    return typer.Option(RENAMED[name][0], hidden=True)


Adapter = Annotated[str | None, flag("adapter", "DIR")]
AnswerField = Annotated[str | None, flag("answer", "NAME")]
Arms = Annotated[str | None, flag("arms", "A,B")]
Baseline = Annotated[str | None, flag("baseline", "RUN|FILE")]
BaseUrl = Annotated[list[str] | None, flag("base_url", "URL", "May be repeated.")]
Budget = Annotated[int | None, flag("budget", "N")]
Conditions = Annotated[str | None, flag("conditions", "A,B")]
Corrector = Annotated[str | None, flag("corrector", "MODEL")]
DataDir = Annotated[str | None, flag("data_dir", "DIR")]
Draws = Annotated[int | None, flag("draws", "N")]
Dtype = Annotated[str | None, flag("dtype", "auto|float32|bfloat16|float16")]
EngineKind = Annotated[str | None, flag("engine", "KIND", "`python:package.module:function` asks a function of yours.")]
EvalArms = Annotated[str | None, flag("eval_arms", "A,B")]
QuestionField = Annotated[str | None, flag("question", "NAME")]
Gates = Annotated[list[str] | None, flag("gates", "GATE", 'For example "rop.gain@ec >= 0.05 low". May be repeated.')]
Holdout = Annotated[str | None, flag("holdout", "none|one-out")]
Instructions = Annotated[str | None, flag("instructions", "FILE")]
Kind = Annotated[str | None, flag("kind", "KIND")]
Lang = Annotated[str | None, flag("lang", "auto|CODE")]
Launch = Annotated[str | None, flag("launch", "single|ddp|fsdp2|zero2|zero3")]
Limit = Annotated[int | None, flag("limit", "N")]
MaxTokens = Annotated[int | None, flag("max_tokens_total", "N")]
Method = Annotated[str | None, flag("method", "NAME")]
Model = Annotated[str | None, flag("model", "MODEL")]
Name = Annotated[str | None, flag("name", "NAME")]
NumProcesses = Annotated[int | None, flag("num_processes", "N")]
Optimizer = Annotated[str | None, flag("optimizer", "MODEL")]
Path = Annotated[str | None, flag("path", "FILE")]
Prompt = Annotated[list[str] | None, flag("prompt", "FILE", "May be repeated.")]
Rate = Annotated[str | None, flag("rate", "R", "Several (0,.1,.3) make a curve.")]
Repair = Annotated[str | None, flag("repair", "FILE")]
Revision = Annotated[str | None, flag("revision", "REV")]
RunsDir = Annotated[str | None, flag("runs_dir", "DIR")]
Scope = Annotated[str | None, flag("scope", "pooled|per_type")]
SearchSeeds = Annotated[int | None, flag("search_seeds", "N")]
Seed = Annotated[int | None, flag("seed", "N")]
SkipBadLines = Annotated[bool | None, typer.Option("--skip-bad-lines", help=meaning("data.skip_bad_lines"))]
Split = Annotated[str | None, flag("split", "train|dev|test|all")]
Target = Annotated[str | None, flag("target", "question|instruction|fewshot")]
Task = Annotated[str | None, flag("task", "NAME")]
Temperature = Annotated[float | None, flag("temperature", "T")]

ModelId = Annotated[str | None, renamed("model_id")]
Out = Annotated[str | None, renamed("out")]


def recipe_from(source: str | None, sets: list[str] | None = None, **flags: Any) -> Loaded:
    """Returns the recipe in `source` with `--set` pairs and then the given flags over it, named as in `KEYS`."""
    return load_trusted(source, overrides(sets, **flags))


def overrides(sets: list[str] | None = None, **flags: Any) -> list[str | Override]:
    """Returns `--set` pairs and given flags as overrides for `recipe.load`; a flag that was not given makes none."""
    from llmkit.recipe import Override

    for earlier, (spelling, current) in RENAMED.items():
        if flags.get(earlier) is not None and flags.get(current) is not None:
            raise UsageError(f"{spelling} and {KEYS[current][0]} are the same flag", f"give {KEYS[current][0]} only")
    given: list[str | Override] = list(sets or [])
    for name, value in flags.items():
        if value is None or value == []:
            continue
        spelling, key = KEYS[_current(name)]
        shown = isinstance(value, str | int | float) and not isinstance(value, bool)
        given.append(Override(key, _value(name, value), f"{spelling} {value}" if shown else spelling))
    return given


def _current(name: str) -> str:
    """Returns the parameter that a flag of an earlier name sets, and says the new name."""
    if name not in RENAMED:
        return name
    earlier, current = RENAMED[name]
    note(f"note: {earlier} is now {KEYS[current][0]}")
    return current


def _value(name: str, value: Any) -> Any:
    """Returns the value that a recipe has for what was typed."""
    if name in ("arms", "eval_arms"):
        return split_list(value)
    if name in ("conditions", "op"):
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
