"""The scorer `judge`: a model compares a reply with the gold answer by a rubric, in both orders, both fenced as data.

A scorer reads and never asks, so what only the model can say is left open here; `llmkit.judging` asks, with `compare`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from llmkit.errors import DataError, UsageError
from llmkit.files import text_digest
from llmkit.prompts import render
from llmkit.recipe.schema import JudgeSection, Recipe
from llmkit.tasks.answers import without_reasoning
from llmkit.tasks.scorers import Scorer, scorer
from llmkit.types import Message, Preference, Question, Reply, Request, Sampling, Steps

PROMPT = "judge/compare-v1"
TIE = 0.5
"""The score of a reply that is neither better nor worse than the gold answer."""

_SAID: Mapping[str, Preference] = {"first": "first", "second": "second", "tie": "tie"}
_SWAPPED: Mapping[Preference, Preference] = {"first": "second", "second": "first", "tie": "tie"}
_LONGEST = 20_000  # characters of a rubric


@scorer("judge")
class Judge(Scorer):
    """A model says which is better by a rubric, the reply (1) or the gold answer (0), and .5 is a tie: also two
    verdicts that change with the order. It is never the scorer that decides."""

    decides = False
    rubric = ""
    max_tokens = 256

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Returns the scorer with the rubric of a recipe. UsageError without one, DataError for a bad file."""
        if recipe.eval.judge is None:
            raise UsageError(
                "the scorer `judge` needs the section eval.judge",
                "give it `rubric`, a text file, and `model` or `engine`: who judges (docs/judge.md)",
            )
        made = super().of(recipe)
        made.settle(recipe.eval.judge)
        return made

    def settle(self, section: JudgeSection) -> None:
        """Takes the rubric and the length of verdicts. DataError where the rubric cannot be read."""
        self.rubric, self.max_tokens = read_rubric(Path(section.rubric)), section.max_tokens

    def extract(self, text: str, question: Question) -> str | None:
        """Returns the whole reply; None where it is empty."""
        return text.strip() or None

    def read(self, said: str | None, known: str | None, question: Question) -> str | None:
        """Returns the reply, also of an arm that knows its answer: what is judged is what was said."""
        return None if said is None else self.extract(said, question)

    def score(self, parsed: str | None, question: Question) -> bool | None:
        return None

    def scores(self, parsed: str | None, question: Question) -> Mapping[str, float | None]:
        """Returns what is known without a model: an empty reply is worse than the gold answer, and one that is the gold
        answer letter by letter is as good. None for any other, until the model was asked."""
        if question.gold is None:
            return {}
        if parsed is None:
            return {self.name: 0.0}
        return {self.name: TIE if parsed == question.gold.strip() else None}

    def beside(self, parsed: str | None, question: Question) -> Mapping[str, float | None]:
        return self.scores(parsed, question)

    def compare(self, text: str, one: str, other: str) -> Steps:
        """Asks about two answers to a text in both orders at once; returns both verdicts, None for a reply that is
        none, each of the same answer as first."""
        one, other = map(without_reasoning, (one, other))
        replies = yield [self.request(text, *order) for order in ((one, other), (other, one))]
        in_order, swapped = map(verdict_of, replies)
        return in_order, swapped and _SWAPPED[swapped]

    def request(self, text: str, first: str, second: str) -> Request:
        """Returns the request for a verdict on two answers in this order."""
        fence = fence_for((self.rubric, text, first, second))
        content = render(PROMPT, fence=fence, rubric=self.rubric, text=text, first=first, second=second)
        return Request((Message("user", content),), Sampling(max_tokens=self.max_tokens), purpose="judge")


def fence_for(texts: Iterable[str]) -> str:
    """Returns a mark that none of the texts contains: a digest of them, so that equal requests stay equal.

    Who writes an answer would have to know the other texts, and to put a digest into what it is the digest of.
    """
    texts = list(texts)
    mark = text_digest("\x1f".join(texts))
    while any(mark in text for text in texts):
        mark = text_digest(mark)
    return mark


def verdict_of(reply: Reply) -> Preference | None:
    """Returns the verdict of a reply that is one word and nothing else; None for any other, such as a refusal.

    >>> verdict_of(Reply("**Second.**")), verdict_of(Reply("The first, since the second is wrong."))
    ('second', None)
    """
    return _SAID.get(re.sub(r"[\W_]+", "", without_reasoning(reply.said)).casefold())


def read_rubric(file: Path) -> str:
    """Returns the text of a rubric. DataError where the file cannot be read, is empty or far too long."""
    try:
        rubric = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as a rubric: {error}", "give a text file in UTF-8") from None
    if not rubric:
        raise DataError(f"{file}: the rubric is empty", "say in it what makes one answer better than another")
    if len(rubric) > _LONGEST:
        raise DataError(f"{file}: the rubric has {len(rubric):,} characters, {_LONGEST:,} at most", "make it shorter")
    return rubric
