"""`data`: the questions. `perturb`: the noise on them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llmkit.recipe.schema.base import CONTENT, LATER, Section


class DataSection(Section):
    """A known task by name, or a file of your own by `path`."""

    task: str | None = None
    """A name from `llmkit data ls`."""
    tasks: tuple[str, ...] = ()
    """Several names instead of one: a run for each, and a table over all."""
    split: Literal["train", "dev", "test", "all"] = "test"
    """A set without official splits is cut by a hash of each question, 20/20/60; `all` takes every question."""
    limit: int | None = Field(None, ge=1)
    """At most this many questions, in a seeded order that keeps smaller limits inside larger ones."""
    data_dir: str | None = None
    """A folder with the sets in their official layout. Default: `LLMKIT_DATA_DIR`, else the hub."""
    path: str | None = None
    """Your own JSONL, CSV or Parquet file; `-` reads JSONL from standard input."""
    question: str = "question"
    """The field that holds the question, in your own file."""
    answer: str | None = "answer"
    """The field that holds the answer: a number, a label or an option's text, yes or no, or free text. `null` where
    rows have none: then the run measures which answers change."""
    kind: str = Field("numeric", examples=["numeric", "choice", "boolean", "text", "label", "json", "tool", "spans"])
    """The kind of answer in your own file: numeric, choice, boolean, text, label, json, tool, spans, or one that an
    installed package brings."""
    labels: Annotated[tuple[str, ...], LATER] = ()
    """The labels that answers have, of the kinds `label` and `spans`. Default: all that the rows have."""
    json_schema: Annotated[str | None, LATER, CONTENT] = None
    """A JSON Schema file that answers of the kind `json` must follow."""
    tolerance: Annotated[float, LATER] = Field(0.0, ge=0, lt=1)
    """Numbers in answers of the kinds `json` and `tool` may differ by this share of the greater one."""
    any_order: Annotated[bool, LATER] = False
    """Several tool calls in an answer of the kind `tool` count in any order."""
    id: str | None = None
    """The field that names a row. Default: the text and how often it stood before."""
    cluster: Annotated[str | None, LATER] = None
    """The field that questions of one document or template share, in your own file: they count as one cluster."""
    options: str | None = None
    """The field that holds the options of a `choice` question: a list, or in CSV a text with `|` between them."""
    levels: tuple[Annotated[int, Field(ge=1, le=4)], ...] = Field((1, 2), min_length=1)
    """Numbers of steps (1 to 4) drawn by the generated task `arithmetic`."""
    size: int = Field(1000, ge=10)
    """Questions in each split of a generated task."""
    skip_bad_lines: bool = False
    """Leave out rows that cannot be read, and count them, instead of stopping at the first."""


class PerturbSection(Section):
    """The noisy conditions; `clean` is always there."""

    conditions: tuple[str, ...] = ("ec", "sc", "woo", "hw", "uic")
    """Operators, compositions (`ec+uic`), mixtures (`mix(ec:0.7,sc:0.3)`) or pairs from a file (`file:PATH`)."""
    rate: float | Literal["paper", "fitted", "x0.5", "x2"] | tuple[float, ...] = "paper"
    """Share of words changed, of those outside options and other protected spans; `paper` is the strength measured on
    the RoP paper's own data, `fitted` that of a profile's people, `x2` twice that."""
    protect: tuple[str, ...] = ("numbers", "options", "code", "latex", "urls", "placeholders")
    """What noise never touches. Anything else is taken as a regular expression."""
    release: Annotated[tuple[str, ...], LATER] = ()
    """Kinds that noise may touch all the same: `number_words` ("three", "half"; figures stay), or one of `protect`."""
    lang: Annotated[str, LATER] = ""
    """Language of the texts: a code such as `de`, or `auto` to identify each text (extra `lang`). Default: other
    scripts by themselves, Latin letters with accents by their small words, everything else as English."""
    target: Literal["question", "instruction", "fewshot"] = "question"
    """The part of the prompt that noise changes."""
    fields: Annotated[tuple[str, ...], LATER] = ()
    """The fields of your own rows that noise falls on, each by itself. Default: `data.question`; the user turns of a
    field that holds a conversation (`messages`)."""
    retries: int = Field(4, ge=0, le=100)
    """Fresh seeds tried when a noisy copy fails the validity gate."""
