"""Prompt texts: one file each in prompts/, rendered by Jinja in its sandbox. Questions are data, never templates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from llmkit.registry import unknown
from llmkit.resources import shipped
from llmkit.types import Question


@cache
def _template(name: str) -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    folder = shipped("prompts")
    path = folder / f"{name}.md"
    if not path.is_file():
        raise unknown("prompt", name, names())
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    return environment.from_string(path.read_text(encoding="utf-8").rstrip("\n"))


def names() -> list[str]:
    """Every shipped prompt, as `folder/name-vN`."""
    folder = shipped("prompts")
    return sorted(str(p.relative_to(folder).with_suffix("")).replace("\\", "/") for p in folder.rglob("*.md"))


def render(name: str, **values: Any) -> str:
    """The prompt `name` with its values filled in. A value is inserted as it is: it is never itself a template."""
    return str(_template(name).render(values)) if values else _fixed(name)


@cache
def _fixed(name: str) -> str:
    """A prompt without values: the same in every question."""
    return str(_template(name).render())


def question_prompt(
    question: Question,
    text: str,
    instruction: str | None = None,
    demos: Sequence[tuple[str, str]] = (),
    answer_format: bool = True,
) -> str:
    """Returns the prompt that puts `text`, a wording of `question`, to a model, after worked `demos` (question,
    answer).

    The only place where a question becomes a prompt, for training and for asking: an adapter must be asked in the words
    it was trained on. `instruction` is by default that of the arm `stand`. Without `answer_format` nothing is said of
    how to answer, for a question that is answered by the likeliest option.
    """
    # What all questions share comes first, byte for byte, and the question last: servers keep the common prefix cached.
    return render(
        "answer-v1",
        instruction=render("arms/stand-v1") if instruction is None else instruction,
        format=render(f"format/{question.kind}-v1") if answer_format else "",
        demos=[{"question": q, "answer": a} for q, a in demos],
        question=text,
    )
