"""The recipe written out: resolved YAML, JSON Schema, and a commented file to start from."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

from llmkit.recipe.load import Loaded
from llmkit.recipe.schema import Recipe, Section
from llmkit.secrets import scrubber, value_scrubber
from llmkit.terminal import visible


def to_yaml(recipe: Recipe) -> str:
    """Returns every value of `recipe`, defaults included, as YAML that `load` reads back to an equal recipe."""
    return _dump(recipe.model_dump(mode="json"))


def with_origins(loaded: Loaded) -> str:
    """Returns the same as `to_yaml`, with a comment behind each value that says where it comes from."""
    return _dump(loaded.recipe.model_dump(mode="json"), {k: str(o) for k, o in loaded.origins.items()})


def without_secrets(text: str) -> str:
    """Returns a recipe's YAML with comments and values scrubbed, and with its keys and its structure as they were.

    Works on tokens and not on the text, because a secret can be an ordinary word such as a key's name.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.tokens import KeyToken, ScalarToken

    clean, clean_value = scrubber(), value_scrubber()
    parts, end, is_key = [], 0, False
    for token in YAML(typ="safe", pure=True).scan(text):
        if isinstance(token, ScalarToken):
            parts.append(clean(text[end : token.start_mark.index]))  # punctuation and comments
            end = token.end_mark.index
            written = text[token.start_mark.index : end]
            parts.append(written if is_key else _clean_scalar(written, token.style, clean_value))
        is_key = isinstance(token, KeyToken)
    return "".join([*parts, clean(text[end:])])


def _clean_scalar(written: str, style: str | None, clean: Callable[[str], str]) -> str:
    if style in ("'", '"'):
        return style + clean(written[1:-1]) + style
    scrubbed = clean(written)
    # A plain scalar that began with the secret would now begin as an alias does.
    return json.dumps(scrubbed) if scrubbed != written and scrubbed.startswith("*") else scrubbed


def schema() -> dict[str, Any]:
    """Returns the JSON Schema of a recipe file, for editors and checkers. It also allows `extends`."""
    made = Recipe.model_json_schema()
    names = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    extends = {"description": "Recipes that this one starts from: beside this file, or shipped. Later ones win."}
    properties = {"version": made["properties"].pop("version"), "extends": extends | names, **made["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "properties": properties}


def starter(extends: str | None = None) -> str:
    """Returns a recipe with every key, its default and its meaning, commented out until it is needed."""
    lines = [
        "## A recipe for llmkit. Remove the # before a key to change its value; what stands here is the default.",
        "",
    ]
    lines += ["version: 1"]
    if extends:
        lines += [f"extends: {extends}"]
    for name, info in Recipe.model_fields.items():
        if name == "version":
            continue
        value = info.get_default()
        if isinstance(value, Section):
            lines += ["", *_comment(type(value).__doc__, 0), f"{name}:", *_keys(value, 2)]
        else:
            lines += _key(name, info, value, 0)
    return "\n".join(lines) + "\n"


def _keys(section: Section, indent: int) -> list[str]:
    lines: list[str] = []
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            lines += [*_comment(type(value).__doc__, indent), f"{' ' * indent}{name}:", *_keys(value, indent + 2)]
        else:
            lines += _key(name, info, value, indent)
    return lines


def _key(name: str, info: Any, value: Any, indent: int) -> list[str]:
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    written = _dump({name: list(value) if isinstance(value, tuple) else value}).strip()
    return [*_comment(info.description, indent), f"{' ' * indent}# {written}"]


def _comment(text: str | None, indent: int) -> list[str]:
    return [f"{' ' * indent}## {line.strip()}" for line in (text or "").strip().splitlines()]


def _dump(tree: Any, origins: dict[str, str] | None = None) -> str:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 10_000  # one line for each value, so that its comment stands behind it
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    for yaml.allow_unicode in (True, False):  # YAML's printable characters include those that reorder a line
        stream = StringIO()
        yaml.dump(_styled(tree, origins, ""), stream)
        if visible(stream.getvalue()) == stream.getvalue():
            break
    return stream.getvalue()


def _styled(value: Any, origins: dict[str, str] | None, key: str, inherited: str = "default") -> Any:
    """Returns a value for ruamel.yaml, with lists of plain values on one line and origins as comments behind values."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, dict):
        made = CommentedMap()
        for name, inner in value.items():
            at = f"{key}.{name}" if key else name
            # a whole item of a list comes from one place; a section's keys come from wherever each was set
            origin = (origins or {}).get(at, inherited)
            made[name] = _styled(inner, origins, at, origin if isinstance(inner, list) else inherited)
            if origins is not None and not (isinstance(inner, dict) or (made[name] and _nested(inner))):
                made.yaml_add_eol_comment(origin, name, column=46)
        return made
    if isinstance(value, list):
        items = CommentedSeq([_styled(v, origins, f"{key}.{i}", inherited) for i, v in enumerate(value)])
        if not _nested(value):
            items.fa.set_flow_style()
        return items
    return value


def _nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(v, dict | list) for v in value)
