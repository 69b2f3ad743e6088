"""baseline.json: a run in a few kB to commit, without any text of it. `stored` makes it and pairs a run with it.

Its JSON schema is docs/baseline.schema.json.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llmkit.errors import DataError
from llmkit.measure.packed import digests_in, flags_in
from llmkit.measure.settings import digest
from llmkit.parsing import parse_json

ID_BYTES, TEXT_BYTES, SAID_BYTES = 8, 3, 3
"""Bytes of a digest: of a row's id, of its clean text, of an answer."""

_LARGEST = 256_000_000  # bytes of a file that is read
_MOST_ROWS = 2_000_000
_AGAIN = "`llmkit runs baseline RUN -o FILE` makes it again"

Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class _Stored(BaseModel):
    """A part of the file: closed and strict, because the file comes with a repository and may be anybody's."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class CellAnswers(_Stored):
    """The answers of one arm under one condition: a bit for each row, in the order of `ids`, in base64."""

    prompt: str = Field("", max_length=500)
    """The user's own prompt; absent where the run had none by name."""
    arm: str = Field(max_length=500)
    """The arm."""
    condition: str = Field(max_length=5_000)
    """The condition."""
    draw: int = Field(0, ge=0, le=1_000_000)
    """The number of the noisy copy, from 0."""
    search_seed: int = Field(0, ge=0, le=1_000_000)
    """The seed of the search that found the instructions."""
    holdout: str | None = Field(None, max_length=5_000)
    """The kind of noise that the instructions were tuned without."""
    asked: Base64 | None = None
    """The rows that were asked; absent where all were."""
    failed: Base64 | None = None
    """The rows whose call failed; absent where none did."""
    right: Base64 | None = None
    """The rows that were answered rightly; absent where rows have no answers."""
    changed: Base64 | None = None
    """Of rows without answers, those whose answer says something else than the one to the row as sent."""
    same: Base64 | None = None
    """Of rows without answers, those whose answer is equal to the one to the row as sent."""
    said: Base64 | None = None
    """Of rows without answers, three bytes of SHA-256 of every answer that came and is not in `same`, in its
    canonical form."""

    @property
    def of_search(self) -> tuple[str, str, int, str | None]:
        """The prompt, arm and instructions: what an answer under noise shares with the one to the row as sent."""
        return self.prompt, self.arm, self.search_seed, self.holdout

    def flags(self, name: str, rows: int) -> list[bool]:
        """Returns a plane of bits; where it is absent, all for `asked` and none for any other."""
        packed = getattr(self, name)
        if packed is None:
            return [name == "asked"] * rows
        return flags_in(packed, rows, f"`{name}` of {self.arm} under {self.condition}")

    def spoken(self, rows: int) -> list[bytes | None]:
        """Returns the digest of each answer; None where there is none of its own."""
        if self.said is None:
            return [None] * rows
        asked, failed, same = (self.flags(name, rows) for name in ("asked", "failed", "same"))
        own = [a and not f and not s for a, f, s in zip(asked, failed, same, strict=True)]
        name = f"`said` of {self.arm} under {self.condition}"
        said = iter(digests_in(self.said, SAID_BYTES, sum(own), name))
        return [next(said) if mine else None for mine in own]


class BaselineFile(_Stored):
    """The content of a baseline.json."""

    llmkit_baseline: Literal[1]
    """The version of the format."""
    llmkit: str = Field(max_length=100)
    """The version of llmkit that made the run."""
    run: str = Field(max_length=500)
    """The name of the run."""
    settings: dict[str, Any]
    """What the recipes of both runs must agree in, by key, where it is not the default: questions, noise, seed, and how
    replies are judged."""
    digest: str = Field(max_length=64)
    """A digest of the settings."""
    rows: int = Field(ge=1, le=_MOST_ROWS)
    """The number of rows."""
    ids: Base64
    """Eight bytes of SHA-256 of each row's id, in ascending order."""
    texts: Base64 | None = None
    """Three bytes of SHA-256 of each row's text as sent; absent where the run folder kept no digest that another run
    could compare (`output.texts: none`)."""
    answers: tuple[CellAnswers, ...] = Field(min_length=1, max_length=100_000)
    """The answers."""

    @model_validator(mode="after")
    def _fits(self) -> BaselineFile:
        """Raises ValueError where the parts do not fit each other."""
        if self.digest != digest(self.settings):
            raise ValueError("`digest` is not that of `settings`: one of them was changed")
        ids = self.row_ids
        if any(one >= other for one, other in pairwise(ids)):
            raise ValueError("`ids` are not in ascending order")
        if self.texts is not None:
            digests_in(self.texts, TEXT_BYTES, self.rows, "`texts`")
        if any((cell.right is None) != self.unlabelled for cell in self.answers):
            raise ValueError("`right` is there for some answers and not for others")
        for cell in self.answers:
            for name in ("asked", "failed", "right", "changed", "same"):
                cell.flags(name, self.rows)
            cell.spoken(self.rows)
        return self

    @property
    def unlabelled(self) -> bool:
        """True where the rows have no answers."""
        return self.answers[0].right is None

    @property
    def row_ids(self) -> list[bytes]:
        """The digest of each row's id."""
        return digests_in(self.ids, ID_BYTES, self.rows, "`ids`")

    @property
    def row_texts(self) -> list[bytes] | None:
        """The digest of each row's text as sent."""
        return None if self.texts is None else digests_in(self.texts, TEXT_BYTES, self.rows, "`texts`")

    def as_text(self) -> str:
        """Returns the content of the file, one cell on a line, so that a change of it can be looked at."""
        written = self.model_dump(mode="json", exclude_defaults=True)
        cells = ",\n  ".join(json.dumps(cell) for cell in written.pop("answers"))
        head = json.dumps({"llmkit_baseline": self.llmkit_baseline, **written}, indent=1).removesuffix("\n}")
        return f'{head},\n "answers": [\n  {cells}\n ]\n}}\n'


def read(path: Path) -> BaselineFile:
    """Reads a baseline.json. DataError, with the place of the fault, for anything else."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST:,} bytes")
        content = parse_json(data.decode("utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", _AGAIN) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no baseline: {error}", _AGAIN) from None
    if not isinstance(content, dict) or "llmkit_baseline" not in content:
        raise DataError(f"{path}: is no baseline: it has no `llmkit_baseline`", _AGAIN)
    if content["llmkit_baseline"] != 1:
        version = str(content["llmkit_baseline"])[:20]
        raise DataError(f"{path}: is a baseline of format {version}, and this llmkit reads 1", _AGAIN)
    try:
        # By way of JSON, because strict types take a list for a tuple there only.
        return BaselineFile.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise DataError(f"{path}: is no baseline: {f'{place}: ' if place else ''}{said}", _AGAIN) from None
