"""What a task is: where its rows come from and how one row becomes a question."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from llmkit.errors import DataError
from llmkit.recipe.schema import DataSection
from llmkit.registry import Registry
from llmkit.tasks.json_fields import canonical_json
from llmkit.tasks.kinds import KINDS
from llmkit.tasks.text import render_options
from llmkit.types import Part, Question

TASKS: Registry[type[Task | GeneratedTask]] = Registry("task", "llmkit.tasks")


T = TypeVar("T", bound="type[Task | GeneratedTask]")


def task(name: str) -> Callable[[T], T]:
    """Registers a task under the name that users write."""
    return TASKS.named(name)


@dataclass(frozen=True, slots=True)
class Item:
    """One row as its task reads it. `gold` may be raw: "1,200", 39.0, "b", True, or an option's text; None where rows
    have no answers.

    `group` is what questions about the same story share: they stay in one split and count as one cluster. `fields` and
    `parts` are those of a user's own row (see `Question`).
    """

    text: str
    gold: Any
    options: Sequence[str] = ()
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()


def parts(**paths: str) -> Mapping[str, str]:
    """Paths below the data folder, by part."""
    return MappingProxyType(paths)


@dataclass(frozen=True, slots=True)
class Hub:
    """A set on the hub: its name, its configuration, and by part of the task the splits that hold it."""

    name: str
    config: str | None = None
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"all": ("train", "test")})
    revision: str | None = None


class Task(ABC):
    """A question set. Parts are `pool` and `test` where the set has an official test split, else `all`.

    `pool` is cut into train and dev (`dev_share` of it), `all` into train, dev and test (20/20/60), by a stable hash
    of the normalised question: the same from files and from the hub, in any order, whatever else is in the set.
    """

    name: ClassVar[str]
    kind: ClassVar[str] = "numeric"
    files: ClassVar[Mapping[str, str]] = parts()
    hub: ClassVar[Hub | None] = None
    dev_share: ClassVar[float] = 0.1

    @abstractmethod
    def read(self, row: Mapping[str, Any]) -> Item:
        """Reads one row of the official files."""

    def read_hub(self, row: Mapping[str, Any]) -> Item:
        """Reads one row of the hub's version, which mostly has the official fields."""
        return self.read(row)

    def wanted(self, row: Mapping[str, Any]) -> bool:
        """Returns whether a row of the hub's version belongs to this set at all."""
        return True


class GeneratedTask(ABC):
    """A question set that is made, not read: seeded, without a download, with splits that share nothing."""

    name: ClassVar[str]
    kind: ClassVar[str] = "numeric"

    @abstractmethod
    def generate(self, split: str, size: int, levels: Sequence[int], seed: int) -> Iterator[Item]:
        """Yields `size` different questions of one split; a smaller size is the beginning of a larger one."""


def question(
    item: Item,
    kind: str,
    *,
    id: str,
    split: str,
    cluster: str = "",
    labels: tuple[str, ...] = (),
    data: DataSection | None = None,
) -> Question:
    """Returns the `Question` of an item: gold canonical, options rendered at the end of the text.

    `labels` are those that all questions share, and `data` has the settings of a kind that has any. DataError where the
    item cannot be asked, UsageError for an unknown kind.
    """
    text = str(item.text) if item.parts else str(item.text).strip()
    if not text.strip():
        raise DataError("the question is empty")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise DataError("the question holds half a character (a lone surrogate)")
    answers = KINDS[kind].of(data or DataSection())
    options = tuple(str(option).strip() for option in item.options) if answers.has_options else ()
    gold = item.gold
    if gold is not None:
        gold = canonical_json(gold) if answers.structured and not isinstance(gold, str) else str(gold).strip()
    if gold == "":
        raise DataError("the answer is empty")
    if gold is not None:
        gold = answers.placed(answers.canonical(gold, options or labels), text)
    block = render_options(options) if options else ""
    text = text if text.endswith(block) else text + block
    return Question(id, text, gold, kind, options, split, cluster, dict(item.meta), item.fields, item.parts, labels)
