"""What every section of a recipe has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Strict, closed and frozen. The string under a field is its documentation, in the schema and in the docs."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Neutral:
    """Marks a field that changes how a run is carried out or judged, never what is asked: no part of a digest."""


NEUTRAL = Neutral()


class Later:
    """Marks a field that came after runs were named: at its default it is no part of a digest, so they keep theirs."""


LATER = Later()
