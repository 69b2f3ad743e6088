"""How a reply becomes a verdict. One scorer reads every kind of answer; packages add others by entry points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

from llmkit.registry import Registry
from llmkit.tasks import kinds
from llmkit.types import Answer, Question

SCORERS: Registry[type[Scorer]] = Registry("scorer", "llmkit.scorers")

S = TypeVar("S", bound="Scorer")


def scorer(name: str) -> Callable[[type[S]], type[S]]:
    """Registers a scorer under the name that `eval.scorer` gives it."""
    return SCORERS.named(name)


class Scorer(ABC):
    """Reads the answer out of a reply and compares it with the gold one. Replies are untrusted: it must not raise."""

    name: ClassVar[str]

    @abstractmethod
    def extract(self, text: str, question: Question) -> str | None:
        """Returns the answer that a reply gives, or None where it gives none, which counts as unparsed and wrong.

        Of a question, `llmkit eval score` and exported tasks know text, gold, kind and options only.
        """

    def parsed(self, answer: Answer, question: Question) -> str | None:
        """Returns the answer of an arm: the one that the arm knows, else the one that its reply gives."""
        return self.extract(answer.reply.said, question) if answer.parsed is None else answer.parsed

    def score(self, parsed: str | None, question: Question) -> bool | None:
        """Returns whether an extracted answer is the gold one; by default as the question's kind compares them. None
        where the question has none."""
        return kinds.score(parsed, question)


@scorer("answer")
class MarkedAnswer(Scorer):
    """The last answer that is marked as one, else the last that could be one, by the question's kind."""

    def extract(self, text: str, question: Question) -> str | None:
        return kinds.extract(text, question)
