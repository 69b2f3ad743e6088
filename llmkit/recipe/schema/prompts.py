"""`prompts`: the user's own words around a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from llmkit.recipe.schema.base import NEUTRAL, Section


def _name(name: str) -> str:
    if not name or not name.isprintable() or any(char in "/\\" or char.isspace() for char in name):
        raise ValueError("should be one word, without / and \\")
    return name


class PromptSection(Section):
    """A prompt of your own. A file name alone does: the prompt is then called as the file is, without its ending."""

    name: Annotated[str, Field(max_length=60), AfterValidator(_name)]
    """The prompt's name in tables and results. Default: the file's, without its ending."""
    file: Annotated[str | None, NEUTRAL] = None
    """A YAML or JSON file with the prompt's messages."""
    text: str | None = None
    """The text of such a file. Read from `file` where it is missing; what is given here counts."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        given = {"file": given} if isinstance(given, str) else given
        if isinstance(given, Mapping) and given.get("name") is None and isinstance(given.get("file"), str):
            return {**given, "name": "-".join(Path(given["file"]).stem.split())}
        return given

    @model_validator(mode="after")
    def _some_text(self) -> PromptSection:
        if self.file is None and self.text is None:
            raise ValueError("names no `file`")
        return self
