"""Prompt texts: one file each in prompts/, rendered by Jinja in its sandbox. Questions are data, never templates."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from llmkit.registry import unknown
from llmkit.resources import shipped

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def _template(name: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    folder = shipped("prompts")
    path = folder / f"{name}.md"
    if not path.is_file():
        raise unknown("prompt", name, prompt_names())
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    return environment.from_string(path.read_text(encoding="utf-8").rstrip("\n"))


def prompt_names() -> list[str]:
    """Returns every shipped prompt, as `folder/name-vN`."""
    folder = shipped("prompts")
    return sorted(str(p.relative_to(folder).with_suffix("")).replace("\\", "/") for p in folder.rglob("*.md"))


def render(name: str, **values: Any) -> str:
    """Returns the prompt `name` with its values filled in. A value is inserted as it is: it is never itself a
    template."""
    return str(_template(name).render(values)) if values else _fixed(name)


@cache
def _fixed(name: str) -> str:
    """Returns a prompt without values: the same in every question."""
    return str(_template(name).render())
