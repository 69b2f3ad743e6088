"""From a file, `extends` and overrides to one checked recipe. Every fault is found in one go, each with its line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from llmkit.errors import RecipeError
from llmkit.recipe.document import Document, Fault, Origin, Path, Tree, dotted, parse
from llmkit.recipe.faults import faults_of
from llmkit.recipe.prompts import with_prompts
from llmkit.recipe.schema import Recipe, Section
from llmkit.registry import nearest
from llmkit.resources import shipped
from llmkit.secrets import remember_addresses, scrub

# Faults are sorted by the rank of their origin. Flags come after all files, because a user reads the file first.
_OVERRIDES = 1_000_000


@dataclass(frozen=True)
class Override:
    """A value given outside the file; `label` is how the user typed it."""

    key: str
    value: Any
    label: str


@dataclass(frozen=True)
class Loaded:
    """A recipe with what it was made of. `origins` maps the dotted key of every value that was given to its place."""

    recipe: Recipe
    text: str | None = None
    source: str | None = None
    tree: Tree = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    files: dict[str, FilePath] = field(default_factory=dict)
    """The files it was read from, by their names in `origins`."""

    def origin(self, key: str) -> Origin | None:
        """Returns where the value of a dotted key comes from: itself or the list it is in. None for a default."""
        while key and key not in self.origins:
            key = key.rpartition(".")[0]
        return self.origins.get(key)

    def by_task(self) -> list[Loaded]:
        """Returns a recipe for each of `data.tasks`; the recipe itself where it names no such list."""
        # `data.tasks` stays in the recipe, because it is part of the digest that names the runs of earlier releases.
        sections = [self.recipe.data.model_copy(update={"task": task}) for task in self.recipe.data.tasks]
        return [replace(self, recipe=self.recipe.model_copy(update={"data": data})) for data in sections] or [self]


def is_flag(origin: Origin) -> bool:
    """Returns whether a value was given on the command line or in a call, not in a file."""
    return origin.rank > _OVERRIDES


Overrides = Iterable["str | Override"] | Mapping[str, Any]


def load(source: str | FilePath | None = None, overrides: Overrides = ()) -> Loaded:
    """Returns the recipe in `source`: a path, `-`, the name of a shipped recipe, or None for the defaults alone.

    `overrides` are "a.b=c" strings with YAML values, or a mapping of dotted keys to values; they win over the file.
    Raises RecipeError with all faults, sorted, one a line, each with file and line. Keys in addresses are remembered as
    secrets before anything is said or written.
    """
    loaded, faults = examine(source, overrides)
    if loaded is None:
        raise refuse(faults)
    return loaded


def refuse(faults: list[Fault]) -> RecipeError:
    """Returns all `faults` as the one error that a user sees."""
    lines = [str(f) for f in faults]
    message = lines[0] if len(lines) == 1 else f"{len(lines)} faults in the recipe\n" + "\n".join(lines)
    keys = any(f.key for f in faults)
    return RecipeError(
        message, "`llmkit recipe init -` prints every key with its meaning and default" if keys else None
    )


def examine(source: str | FilePath | None = None, overrides: Overrides = ()) -> tuple[Loaded | None, list[Fault]]:
    """Does as `load`, but returns the faults instead of raising. RecipeError only if `source` itself cannot be read."""
    builder = _Builder()
    text = None
    if source is not None:
        file, label = _locate(str(source))
        text = _read(file, label)
        builder.add_file(text, file, label)
    for override in _each(overrides):
        builder.add_override(override)
    # Validated even where the text has faults of its own, so that a user sees all of them at once.
    tree = _without_empty_sections(builder.tree, Recipe)
    recipe, faults = faults_of(tree, builder.origins)
    if recipe is not None and recipe.prompts:
        recipe, in_prompts = with_prompts(recipe, builder.origins)
        faults += in_prompts
    faults = sorted({*builder.faults, *faults})
    if faults or recipe is None:
        return None, faults
    origins = {dotted(path): origin for path, origin in builder.origins.items() if path}
    return Loaded(recipe, text, None if source is None else str(source), tree, origins, builder.files), []


def shipped_recipes() -> list[str]:
    """Returns the names of the recipes that come with llmkit, `base/...` included."""
    folder = shipped("recipes")
    return sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml"))


def _locate(source: str) -> tuple[FilePath | None, str]:
    """Returns the file that `source` means, and its name in messages. None stands for standard input."""
    if source == "-":
        return None, "<stdin>"
    path = FilePath(os.path.expanduser(source))
    if _is_text(path):
        return path, source
    name = source.removesuffix(".yaml")
    if name in shipped_recipes():
        return shipped("recipes") / f"{name}.yaml", f"recipes/{name}.yaml"
    if os.path.isdir(path):
        raise RecipeError(f"{source}: is a folder, not a recipe", "name the YAML file in it")
    here = [p.name for p in FilePath.cwd().glob("*.y*ml")]
    hint = _meant(source, here) or f"shipped: {', '.join(shipped_recipes())}"
    raise RecipeError(f"no recipe `{source}`: no such file, and none shipped under that name", hint)


def _is_text(path: FilePath) -> bool:
    """Returns whether a path can be read as text: a file, or a pipe as in `llmkit recipe check <(...)`."""
    return os.path.exists(path) and not os.path.isdir(path)  # `is_file` is false for a pipe


def _read(path: FilePath | None, label: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path is None else path.read_bytes()
        return data.decode("utf-8-sig")  # editors on Windows begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise RecipeError(f"{label}:{line}: is not UTF-8 (byte {error.object[error.start]:#04x})") from None
    except OSError as error:
        raise RecipeError(f"{label}: cannot be read: {error.strerror}") from None


class _Builder:
    """Lays texts and overrides over one another; the later wins."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.origins: dict[Path, Origin] = {}
        self.faults: list[Fault] = []
        self.files: dict[str, FilePath] = {}
        self.rank = 0

    def add_file(self, text: str, file: FilePath | None, label: str, above: tuple[FilePath | None, ...] = ()) -> None:
        """Lays the files that this one extends, in order, then the file itself."""
        self.rank += 1
        if file:
            self.files[label] = file
        # Before the text is parsed: a fault repeats what stands in the text, and a key must not be in it.
        remember_addresses(text)
        document = parse(text, label, self.rank)
        if document.tree is not None and not isinstance(document.tree, dict):
            origin = document.origins[()]
            document.faults.append(Fault(origin, "", "a recipe is a map of sections, such as `data:` and `model:`"))
            document.tree = None
        names = _extended(document)
        self.faults += document.faults
        for path, name in names:
            try:
                # Relative to the file that extends, so that a folder of recipes can be moved as a whole.
                base, base_label = base_named(name, file.parent if file else FilePath())
                if base.resolve() in (*above, file and file.resolve()):
                    raise RecipeError(f"extends itself by way of {base_label}")
                base_text = _read(base, base_label)
            except RecipeError as error:
                message = f"{error.message} ({error.hint})" if error.hint else error.message
                self.faults.append(Fault(document.origins[path], "extends", message))
            else:
                self.add_file(base_text, base, base_label, (*above, file and file.resolve()))
        if document.tree is not None:
            document.tree.pop("extends", None)
            self.lay(document.tree, (), document)

    def lay(self, new: Tree, path: Path, document: Document) -> None:
        """Merges maps; anything else replaces what stood before."""
        here = _get(self.tree, path)
        for key, value in new.items():
            at = (*path, key)
            old = here.get(key)
            # A section whose keys are all commented out reads as null, and must not undo the section below it.
            if isinstance(old, dict) and (isinstance(value, dict) or value is None):
                self.origins[at] = document.origins[at]
                self.lay(value or {}, at, document)
            else:
                self.forget(old, at)
                here[key] = value
                self.origins |= {p: document.origins[p] for p in _paths(value, at) if p in document.origins}

    def forget(self, value: Any, path: Path) -> None:
        """Drops the origins of a value that another one replaces.

        Walks that value alone, because a search through all origins for each key would take quadratic time.
        """
        for known in _paths(value, path):
            self.origins.pop(known, None)

    def add_override(self, override: Override | str) -> None:
        """Sets the key of an override, or notes what is wrong with it."""
        self.rank += 1
        label = f"--set {override}" if isinstance(override, str) else override.label
        remember_addresses(label if isinstance(override, str) else f"{label} {_shown(override.value)}")
        label = scrub(label)
        origin = Origin(_OVERRIDES + self.rank, label)
        if isinstance(override, str):
            key, equals, written = override.partition("=")
            if not equals or not all(key.split(".")):
                self.faults.append(Fault(origin, "", "should be KEY=VALUE, such as `data.limit=50`"))
                return
            document = parse(written, label)
            if document.faults:
                message = f"{document.faults[0].message} (put quotes around a text that is not plain)"
                self.faults.append(Fault(origin, key, message))
                return
            value = document.tree
        else:
            key, value = override.key, override.value
        if problem := self.set(key, value, origin):
            self.faults.append(Fault(origin, key, problem))

    def set(self, key: str, value: Any, origin: Origin) -> str | None:
        """Sets one dotted key; a number in it is an index into a list. Returns what is wrong, if anything."""
        if key == "extends" or key.startswith("extends."):
            return "can only be set in a file"  # it would have to be read before the file that it is laid under
        # A longer number is no index of a real list, and `int` refuses one of thousands of digits by itself.
        steps = tuple(int(s) if s.isdecimal() and len(s) < 6 else s for s in key.split("."))
        node: Any = self.tree
        for depth, step in enumerate(steps):
            above = dotted(steps[:depth])
            if isinstance(node, list):
                if not isinstance(step, int):
                    return f"`{above}` is a list: give an index, such as `{above}.0`"
                if step > len(node):
                    return f"`{above}` has {len(node)} items: the next index is {len(node)}"
                if step == len(node):
                    node.append({})
            elif not isinstance(node, dict):
                return f"`{above}` is a single value, not a section"
            else:
                step = str(step)
                if node.get(step) is None:
                    node[step] = _default(steps[: depth + 1])
            if depth == len(steps) - 1:
                old, node[step] = node[step], value
            node = node[step]
        # What looks like an index is a name where it was set in a map: origins know it by the key that the map has.
        path = tuple(str(s) if isinstance(_get(self.tree, steps[:i]), dict) else s for i, s in enumerate(steps))
        self.forget(old, path)
        for end in range(1, len(path) + 1):
            self.origins.setdefault(path[:end], origin)
        return None


def _each(overrides: Overrides) -> list[str | Override]:
    if isinstance(overrides, Mapping):
        return [Override(k, _plain(v), f"{k}={_shown(v)}") for k, v in overrides.items()]
    return [o if isinstance(o, str) else Override(o.key, _plain(o.value), o.label) for o in overrides]


def _plain(value: Any) -> Any:
    """Returns a value as YAML would give it: the schema is strict, and takes lists only."""
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _extended(document: Document) -> list[tuple[Path, str]]:
    """Returns the names under `extends`, each with its path in the document."""
    names = (document.tree or {}).get("extends")
    if names is None:
        return []
    if isinstance(names, str):
        return [(("extends",), names)]
    if isinstance(names, list) and all(isinstance(n, str) for n in names):
        return [(("extends", i), n) for i, n in enumerate(names)]
    document.faults.append(Fault(document.origins["extends",], "extends", "should be a file name or a list of them"))
    return []


def base_named(name: str, folder: FilePath) -> tuple[FilePath, str]:
    """Returns what `extends: name` means in `folder`: a file there, else a shipped recipe; with its name in messages.

    RecipeError where there is neither.
    """
    for candidate in (folder / os.path.expanduser(name), folder / f"{name}.yaml"):
        if _is_text(candidate):
            home = shipped("recipes")
            inside = candidate.is_relative_to(home)
            return candidate, f"recipes/{candidate.relative_to(home).as_posix()}" if inside else str(candidate)
    stem = name.removesuffix(".yaml")
    if stem in shipped_recipes():
        return shipped("recipes") / f"{stem}.yaml", f"recipes/{stem}.yaml"
    where = "here" if str(folder) == "." else f"in {folder}"
    hint = _meant(stem, [p.name for p in folder.glob("*.y*ml")])
    raise RecipeError(f"no file `{name}` {where}, and no shipped recipe of that name", hint)


def _meant(name: str, files: list[str]) -> str | None:
    close = nearest(name, [*shipped_recipes(), *files])
    return f"did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else None


def _get(tree: Any, path: Path) -> Any:
    for step in path:
        tree = tree[str(step) if isinstance(tree, dict) else step]
    return tree


def _paths(value: Any, path: Path) -> Iterator[Path]:
    """Yields the path of a value and of everything in it."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _paths(inner, (*path, i))


def _default(path: Path) -> Any:
    """Returns a copy of the default at `path`, so that one item of a default list can be set; else an empty section."""
    try:
        value = _get(Recipe().model_dump(mode="json"), path)
    except (KeyError, IndexError, TypeError):
        return {}
    return value if isinstance(value, list) else {}


def _without_empty_sections(tree: Tree, model: type[Section]) -> Tree:
    """Drops sections that read as null because all their keys are commented out: there the defaults hold."""
    cleaned = {}
    for key, value in tree.items():
        info = model.model_fields.get(key)
        inner = info.annotation if info else None
        if isinstance(inner, type) and issubclass(inner, Section):
            if value is None:
                continue
            if isinstance(value, dict):
                value = _without_empty_sections(value, inner)
        cleaned[key] = value
    return cleaned
