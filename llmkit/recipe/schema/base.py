"""What every section of a recipe has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Strict, closed and frozen. The string under a field is its documentation, in the schema and in the docs."""

    # Strict, because a silent conversion hides a mistake: `limit: "50"` is a text, and `seed: 1.5` no seed. Closed,
    # because a misspelt key would otherwise leave its default in force. Frozen, because the digest of a recipe names
    # its run.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Neutral:
    """Marks a field that changes how a run is carried out or judged, never what is asked: no part of a digest."""


NEUTRAL = Neutral()


class Later:
    """Marks a field that came after runs were named: at its default it is no part of a digest, so they keep theirs."""


LATER = Later()


class Content:
    """Marks the path of a file whose content is part of a digest in the place of its name."""


CONTENT = Content()
