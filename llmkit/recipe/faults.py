"""The faults that pydantic finds, in words that a user can act on."""

from __future__ import annotations

import json
import re
import typing
from collections import defaultdict
from functools import cache
from typing import Any

from pydantic import ValidationError

from llmkit.recipe.document import Fault, Origin, Path, Tree, dotted
from llmkit.recipe.schema import Recipe, Section
from llmkit.registry import nearest
from llmkit.secrets import scrub

_NOUNS = {
    "bool_type": "true or false",
    "dict_type": "a map of keys",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "list_type": "a list",
    "model_type": "a map of keys",
    "none_required": "null",
    "string_type": "a text",
    "tuple_type": "a list",
}


def faults_of(tree: Tree, origins: dict[Path, Origin]) -> tuple[Recipe | None, list[Fault]]:
    """Returns the recipe that `tree` describes, or None and all its faults."""
    try:
        # By way of JSON, because a strict model takes a list for a tuple from JSON only.
        return Recipe.model_validate_json(json.dumps(tree)), []
    except ValidationError as error:
        return None, [
            Fault(_origin(path, origins), dotted(path), message)
            for path, message in _merged(error.errors(include_url=False), tree)
        ]


def _merged(errors: list[Any], tree: Tree) -> list[tuple[Path, str]]:
    """Returns one message for each place. Where none of a union's members fits, theirs become one "a or b"."""
    alone: list[tuple[Path, str]] = []
    unions: dict[Path, list[tuple[Path, Any]]] = defaultdict(list)
    for error in errors:
        path, union = _place(error, tree)
        if union is None:
            alone.append((path, _message(path, [error])))
        else:
            unions[union].append((path, error))
    for union, errors_there in unions.items():
        inside = [(p, e) for p, e in errors_there if len(p) > len(union)]
        if inside:  # one member fits but for what is inside: that is the one that the user meant
            places: dict[Path, list[Any]] = defaultdict(list)
            for path, error in inside:
                places[path].append(error)
            alone += [(p, _message(p, e)) for p, e in places.items()]
        else:
            alone.append((union, _message(union, [e for _, e in errors_there])))
    return alone


def _place(error: Any, tree: Any) -> tuple[Path, Path | None]:
    """Returns where in the tree an error is; and, if a union is on the way, where that is.

    Pydantic puts the name of a union's member into its path as if it were a key. A step that the tree does not have is
    such a name.
    """
    path: Path = ()
    union: Path | None = None
    node = tree
    for i, step in enumerate(error["loc"]):
        if (isinstance(node, dict) and step in node) or (
            isinstance(node, list) and isinstance(step, int) and step < len(node)
        ):
            node = node[step]
        elif error["type"] == "missing" and i == len(error["loc"]) - 1:
            return (*path, step), union
        else:
            union = path if union is None else union
            continue
        path = (*path, step)
    return path, union


def _message(path: Path, errors: list[Any]) -> str:
    first = errors[0]
    if first["type"] == "extra_forbidden":
        return f"unknown key{_meant(_keys_like(path))}"
    if first["type"] == "missing":
        return "is required"
    if first["type"] in ("value_error", "assertion_error"):
        return str(first["msg"]).partition(", ")[2]  # behind "Value error, "
    wanted = list(dict.fromkeys(_wanted(e) for e in errors))
    names = [n for e in errors if e["type"] == "literal_error" for n in re.findall(r"'([^']*)'", e["ctx"]["expected"])]
    given = first["input"]
    close = nearest(given, names) if isinstance(given, str) else []
    return f"should be {' or '.join(wanted)}, not {_shown(given)}{_meant(close)}"


def _wanted(error: Any) -> str:
    return _NOUNS.get(error["type"]) or error["msg"].removeprefix("Input should be ")


def _meant(names: list[str]) -> str:
    return f" (did you mean {' or '.join(f'`{n}`' for n in names)}?)" if names else ""


def _shown(value: Any) -> str:
    # Scrubbed, so that a key that was pasted into the wrong field is not repeated.
    text = scrub(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _origin(path: Path, origins: dict[Path, Origin]) -> Origin:
    for end in range(len(path), 0, -1):
        if path[:end] in origins:
            return origins[path[:end]]
    return origins.get((), Origin(0, "recipe"))


def _keys_like(path: Path) -> list[str]:
    """Returns keys that an unknown one may have meant: of its own section, else the same word in another section."""
    word = str(path[-1])
    fields = _fields_at(path[:-1])
    if close := nearest(word, fields):
        return close[:1]
    return [key for key in _known_keys() if key.rpartition(".")[2] == word][:2]


def _fields_at(path: Path) -> list[str]:
    sections: list[type[Section]] = [Recipe]
    for step in path:
        if isinstance(step, str):
            sections = [
                s for m in sections if step in m.model_fields for s in sections_in(m.model_fields[step].annotation)
            ]
    return [name for section in sections for name in section.model_fields]


def sections_in(annotation: Any) -> list[type[Section]]:
    """Returns the section classes inside a type, however it is wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [s for inner in typing.get_args(annotation) for s in sections_in(inner)]


@cache
def _known_keys() -> tuple[str, ...]:
    """Returns `all_keys`, made once, because a recipe may have thousands of unknown keys."""
    return tuple(all_keys())


def all_keys(model: type[Section] = Recipe, prefix: str = "") -> list[str]:
    """Returns every dotted key of the recipe, sections before what is in them."""
    keys = []
    for name, info in model.model_fields.items():
        keys.append(f"{prefix}{name}")
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            keys += all_keys(info.annotation, f"{prefix}{name}.")
    return keys
