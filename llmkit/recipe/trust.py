"""The reach of a recipe from elsewhere: the environment variables, files and servers that it names.

A recipe can send any variable or file of the user's to a server of its own. One in the folder where llmkit is called,
or in the repository around that folder, is the user's own, as are shipped recipes, flags, and text on standard input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmkit.recipe.document import Fault
from llmkit.recipe.load import Loaded, is_flag
from llmkit.recipe.schema import Recipe
from llmkit.resources import cache_dir, shipped
from llmkit.secrets import scrub

# A key that names a file or a server and is missing here lets a recipe from elsewhere read or send what it likes.
_FILES = frozenset(
    {
        "model.chat_template",
        "model.system_prompt",
        "data.path",
        "data.data_dir",
        "prompts",  # a file name alone
        "prompts.file",
        "rop.instructions",
        "rop.repair",
        "eval.baseline",
        "eval.judge.rubric",
        "output.dir",
        "finetune.data.sources.path",
    }
)
_FILES_OR_HUB = frozenset({"model.path", "model.adapter", "rop.optimizer", "rop.corrector"})
_JUDGE = "eval.judge."  # its sections `model` and `engine` reach as far as those of the recipe
_FILE_NOISE = ("file:", "natural:")


def names_from_elsewhere(loaded: Loaded, cwd: Path) -> dict[str, list[str]]:
    """Returns, by recipe file outside the tree of `cwd`, what it names, in words. Empty for ordinary recipes."""
    own = (_tree(cwd), shipped("recipes").resolve())
    outside = {
        label
        for label, file in loaded.files.items()
        if not any(file.resolve().is_relative_to(folder) for folder in own)
    }
    named: dict[str, list[str]] = {}
    for key, value in _leaves(loaded.tree, ""):
        origin = loaded.origin(key)
        if origin is None or origin.source not in outside or not isinstance(value, str | bool):
            continue
        without_indices = ".".join(step for step in key.split(".") if not step.isdecimal())
        if what := _named(without_indices, value):
            named.setdefault(origin.source, []).append(what)
    return named


def code_in_files(loaded: Loaded) -> list[Fault]:
    """Returns the fault of an engine that is code of the user's own (`python:module:function`) and that a file names:
    only a flag may, because a recipe must not bring code."""
    faults = []
    for key, flag, kind in kinds_of_engine(loaded.recipe):
        origin = loaded.origin(key)
        if ":" in kind and origin is not None and not is_flag(origin):
            faults.append(Fault(origin, key, f"a recipe must not name code: say {flag}{kind} on the command line"))
    return faults


def kinds_of_engine(recipe: Recipe) -> list[tuple[str, str, str]]:
    """Returns the keys of a recipe that name an engine, each with the flag that sets it and its value."""
    kinds = [("engine.kind", "--engine ", recipe.engine.kind)]
    if recipe.eval.judge is not None:
        kinds.append((f"{_JUDGE}engine.kind", f"--set {_JUDGE}engine.kind=", recipe.eval.judge.engine.kind))
    return kinds


def is_trusted(loaded: Loaded, named: dict[str, list[str]]) -> bool:
    """Returns whether the user has said yes before to just these recipes with just these names."""
    try:
        return _digest(loaded, named) in _store().read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return False


def trust(loaded: Loaded, named: dict[str, list[str]]) -> None:
    """Remembers that the user has said yes. Where the cache cannot be written, the question comes again."""
    try:
        _store().parent.mkdir(parents=True, exist_ok=True)
        with _store().open("a", encoding="utf-8") as file:
            file.write(_digest(loaded, named) + "\n")
    except OSError:
        return


def _named(key: str, value: str | bool) -> str | None:
    """Returns what a value reaches for, if anything."""
    if key.startswith((f"{_JUDGE}model.", f"{_JUDGE}engine.")):
        key = key.removeprefix(_JUDGE)
    if key == "engine.trust_remote_code":
        return "code that comes with a model" if value else None
    if not isinstance(value, str):
        return None
    shown = scrub(value)
    if key == "engine.api_key_env" or "headers_env" in key.split("."):
        return f"the variable {shown}"
    if key in ("engine.base_url", "engine.url", "engine.before.url"):
        return f"the server {shown}"
    is_noise = key == "perturb.conditions" and any(part in value for part in _FILE_NOISE)
    is_path = value.startswith(("/", ".", "~")) or Path(value).exists()
    if key in _FILES or is_noise or (key in _FILES_OR_HUB and is_path):
        return f"the file {shown}"
    return None


def _tree(cwd: Path) -> Path:
    """Returns the repository around a folder, else the folder itself."""
    here = cwd.resolve()
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{key}.{i}")
    else:
        yield key, value


def _store() -> Path:
    return cache_dir() / "trusted-recipes"


def _digest(loaded: Loaded, named: dict[str, list[str]]) -> str:
    # Of what the recipe names and not of its text: an edit that names nothing new need not be asked about again.
    said = [[str(loaded.files[label].resolve()), what] for label, what in sorted(named.items())]
    return hashlib.sha256(json.dumps(said).encode("utf-8", "surrogatepass")).hexdigest()
