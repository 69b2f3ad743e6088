"""How a reply becomes a verdict. One scorer reads every kind of answer; packages add others by entry points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

from llmkit.registry import Registry
from llmkit.tasks import answers
from llmkit.types import Question

SCORERS: Registry[type[Scorer]] = Registry("scorer", "llmkit.scorers")

S = TypeVar("S", bound="type[Scorer]")


def scorer(name: str) -> Callable[[S], S]:
    """Registers a scorer under the name that `eval.scorer` gives it."""

    def register(cls: S) -> S:
        cls.name = name
        return SCORERS.add(name)(cls)

    return register


class Scorer(ABC):
    """Reads the answer out of a reply and compares it with the gold one. Replies are untrusted: it must not raise."""

    name: ClassVar[str]

    @abstractmethod
    def extract(self, text: str, question: Question) -> str | None:
        """The answer that a reply gives, None where it gives none. None is counted as unparsed, and is wrong.

        Of a question, `llmkit eval score` and exported tasks know text, gold, kind and options only.
        """

    def score(self, parsed: str | None, question: Question) -> bool:
        """Whether an extracted answer is the gold one; by default as the question's kind compares them."""
        return answers.score(parsed, question)


@scorer("answer")
class MarkedAnswer(Scorer):
    """The last answer that is marked as one, else the last that could be one, by the question's kind."""

    def extract(self, text: str, question: Question) -> str | None:
        return answers.extract(text, question)
