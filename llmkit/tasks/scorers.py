"""How a reply becomes a verdict, and scores in [0, 1] beside it. Packages add scorers by entry points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Self, TypeVar

from llmkit.errors import DataError, UsageError
from llmkit.recipe.schema import DataSection, Recipe
from llmkit.registry import Registry
from llmkit.tasks.kinds import KINDS, Kind
from llmkit.types import Question

SCORERS: Registry[type[Scorer]] = Registry(
    "scorer", "llmkit.scorers", ["llmkit.tasks.text_scorers", "llmkit.tasks.judge"]
)

S = TypeVar("S", bound="Scorer")


def scorer(name: str) -> Callable[[type[S]], type[S]]:
    """Registers a scorer under the name that `eval.scorer` and `eval.scores` give it."""
    return SCORERS.named(name)


@dataclass(frozen=True, slots=True)
class Scored:
    """What a reply is worth: the answer read from it, the verdict, and scores in [0, 1] by name."""

    parsed: str | None
    correct: bool | None
    scores: Mapping[str, float | None] = field(default_factory=dict)


class Scorer(ABC):
    """Reads the answer out of a reply and compares it with the gold one. Replies are untrusted: it must not raise."""

    name: ClassVar[str]
    decides: ClassVar[bool] = True
    """False for one that cannot be `eval.scorer`, which says what counts as right."""
    data: DataSection = DataSection()
    """The section `data` of the recipe, which kinds of answer take their settings from."""

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Returns the scorer with the settings of a recipe."""
        made = cls()
        made.data = recipe.data
        return made

    def kind(self, question: Question) -> Kind:
        """Returns the kind of a question's answer, with the settings of the recipe."""
        if question.kind not in self._kinds:
            self._kinds[question.kind] = KINDS[question.kind].of(self.data)
        return self._kinds[question.kind]

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        return {}

    @abstractmethod
    def extract(self, text: str, question: Question) -> str | None:
        """Returns the answer that a reply gives, or None where it gives none, which counts as unparsed and wrong.

        Of a question, `llmkit eval score` and exported tasks know text, gold, kind, options and labels only.
        """

    def score(self, parsed: str | None, question: Question) -> bool | None:
        """Returns whether an extracted answer is the gold one; by default as the question's kind compares them. None
        where the question has none."""
        if question.gold is None:
            return None
        return parsed is not None and self.kind(question).same(parsed, question.gold)

    def scores(self, parsed: str | None, question: Question) -> Mapping[str, float | None]:
        """Returns what an answer is worth beside its verdict, in [0, 1] by name; nothing by default.

        An answer that could not be read has the names too, each with 0.0. None means that there is nothing to compare
        with: that question is left out of the mean.
        """
        return {}

    def beside(self, parsed: str | None, question: Question) -> Mapping[str, float | None]:
        """Returns what the scorer adds where another one decides (`eval.scores`): its verdict as 1 or 0, and its
        scores."""
        verdict = self.score(parsed, question)
        return {self.name: None if verdict is None else float(verdict), **self.scores(parsed, question)}

    def read(self, said: str | None, known: str | None, question: Question) -> str | None:
        """Returns the answer of an arm: `known` where the arm knows it without reading a reply, else the one that
        `said` gives; None where the call failed."""
        return self.extract(said, question) if known is None and said is not None else known

    def judge(self, said: str | None, known: str | None, question: Question) -> Scored:
        """Returns what an arm's answer is worth."""
        parsed = self.read(said, known, question)
        return Scored(parsed, self.score(parsed, question), self.scores(parsed, question))


class GradedScorer(Scorer):
    """A scorer that gives one score in [0, 1]. A score of `threshold` or more counts as right where it decides."""

    threshold: ClassVar[float] = 1.0

    @abstractmethod
    def grade(self, parsed: str, gold: str) -> float:
        """Returns how well an extracted answer agrees with the gold one, in [0, 1]."""

    def extract(self, text: str, question: Question) -> str | None:
        """Returns the answer as the question's kind reads it."""
        return self.kind(question).extract(text, question)

    def score(self, parsed: str | None, question: Question) -> bool | None:
        """Returns whether the score reaches the threshold."""
        value = self._value(parsed, question)
        return None if value is None else value >= self.threshold

    def scores(self, parsed: str | None, question: Question) -> Mapping[str, float | None]:
        """Returns the score under the scorer's name."""
        return {self.name: self._value(parsed, question)}

    def _value(self, parsed: str | None, question: Question) -> float | None:
        if question.gold is None:
            return None
        return 0.0 if parsed is None else min(1.0, max(0.0, self.grade(parsed, question.gold)))


@scorer("answer")
class MarkedAnswer(Scorer):
    """The last answer that is marked as one, else the last that could be one, by the question's kind. Scores are those
    that the kind gives."""

    def extract(self, text: str, question: Question) -> str | None:
        return self.kind(question).extract(text, question)

    def scores(self, parsed: str | None, question: Question) -> Mapping[str, float | None]:
        return {} if question.gold is None else self.kind(question).scores(parsed, question.gold)


class Together(Scorer):
    """Several scorers on one reply: the first decides, and the others' scores are recorded beside its verdict."""

    name = "together"

    def __init__(self, first: Scorer, others: Sequence[Scorer]) -> None:
        self.first, self.others = first, others

    def extract(self, text: str, question: Question) -> str | None:
        return self.first.extract(text, question)

    def score(self, parsed: str | None, question: Question) -> bool | None:
        return self.first.score(parsed, question)

    def scores(self, parsed: str | None, question: Question) -> Mapping[str, float | None]:
        return self.first.scores(parsed, question)

    def judge(self, said: str | None, known: str | None, question: Question) -> Scored:
        judged = self.first.judge(said, known, question)
        beside = {
            name: value
            for other in self.others
            for name, value in other.beside(other.read(said, known, question), question).items()
        }
        return Scored(judged.parsed, judged.correct, {**beside, **judged.scores})


def scorer_of(recipe: Recipe) -> Scorer:
    """Returns the scorer of a recipe: `eval.scorer` decides, `eval.scores` are recorded beside it. UsageError for an
    unknown name, or one that is given twice."""
    section = recipe.eval
    first, others = SCORERS[section.scorer], [SCORERS[name] for name in section.scores]
    for name in section.scores:
        if [section.scorer, *section.scores].count(name) > 1:
            raise UsageError(f"the scorer `{name}` is named twice", "`eval.scores` are those beside `eval.scorer`")
    if section.pattern is not None and "regex" not in (section.scorer, *section.scores):
        raise UsageError("eval.pattern is of the scorer `regex`, which is not named", "name it in eval.scores")
    if not first.decides:
        raise UsageError(
            f"eval.scorer: `{section.scorer}` cannot decide what counts as right: that takes no model's word",
            "name it in eval.scores, where it is measured beside the verdict",
        )
    if section.judge is not None and "judge" not in section.scores:
        raise UsageError("eval.judge is of the scorer `judge`, which is not named", "name it in eval.scores")
    return Together(first.of(recipe), [other.of(recipe) for other in others]) if others else first.of(recipe)


def score_names(scorer: Scorer, questions: Iterable[Question]) -> list[str]:
    """Returns the names of the scores that answers to these questions will have. DataError, with the question, where a
    gold answer is of no use to a scorer, as one that is no pattern."""
    names: dict[str, None] = {}
    for question in questions:
        try:
            names |= dict.fromkeys((*KINDS[question.kind].of_all, *scorer.judge(None, None, question).scores))
        except DataError as error:
            raise DataError(f"{question.id}: {error.message}", error.hint) from None
    return list(names)
