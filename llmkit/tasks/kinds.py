"""Kinds of answer: how each is written, asked for, read out of a reply, compared and guessed. One class a kind.

Every other room asks the question's kind (`kind_of`) instead of branching on its name. Packages add kinds by the
entry-point group `llmkit.kinds`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Self, TypeVar

from llmkit.errors import DataError
from llmkit.prompts import render
from llmkit.recipe.schema import DataSection
from llmkit.registry import Registry
from llmkit.tasks import numbers
from llmkit.tasks.answers import marked_answer, without_reasoning
from llmkit.tasks.readers import ChoiceReader, NumberReader, Reader, TextReader, YesNoReader
from llmkit.tasks.text import LABELS, normalise
from llmkit.types import Question, Variant

KINDS: Registry[type[Kind]] = Registry(
    "kind of answer", "llmkit.kinds", [f"llmkit.tasks.answer_kinds.{name}" for name in ("label", "values", "spans")]
)

K = TypeVar("K", bound="Kind")


def kind(name: str) -> Callable[[type[K]], type[K]]:
    """Registers a kind under the name that questions carry (`Question.kind`)."""
    return KINDS.named(name)


class Kind(ABC):
    """A kind of answer. A subclass defines `canonical` and either `reader` or `extract`; the rest has defaults.

    The canonical form is the one in which gold answers are kept and extracted answers are compared and counted.
    """

    name: ClassVar[str]
    has_options: ClassVar[bool] = False
    """Whether a question lists its possible answers; the canonical form is then the label of an option."""
    exact: ClassVar[bool] = False
    """Whether equal canonical answers are equally right whatever the question: then the share of rows whose answers
    are unequal bounds what accuracy can have lost. Of free text the canonical form is all of it, and bounds nothing."""

    structured: ClassVar[bool] = False
    """Whether gold answers may be JSON objects and arrays."""
    lists_labels: ClassVar[bool] = False
    """Whether answers are labels from a list that all questions share (`Question.labels`), which `canonical` is given
    as options."""
    whole_text: ClassVar[bool] = False
    """Whether gold answers are about places of the question's text, which has to be one text then."""
    of_all: ClassVar[tuple[str, ...]] = ()
    """Scores of all answers together, which no answer has by itself: `macro_f1`."""
    has_scores: ClassVar[bool] = False
    """Whether answers have parts that are worth something by themselves, which `scores` gives."""

    @classmethod
    def of(cls, data: DataSection) -> Self:
        """Returns the kind with the settings of a recipe's section `data`, for one that has any."""
        return cls()

    @abstractmethod
    def canonical(self, gold: str, options: Sequence[str] = ()) -> str:
        """Returns a gold answer, as a file writes it, in canonical form. DataError where it is none of this kind."""

    def labels_in(self, gold: Any) -> list[str]:
        """Returns the labels that a gold answer has, as a file writes it, for a kind that `lists_labels`."""
        return []

    def placed(self, gold: str, text: str) -> str:
        """Returns a canonical gold answer, checked against the question's text. DataError where it does not fit."""
        return gold

    def moved(self, gold: str, variant: Variant) -> str:
        """Returns the gold answer for the text of one condition, for a kind where noise moves it."""
        return gold

    def reader(self, question: Question) -> Reader:
        """Returns what reads the answer at the places of a reply that may hold it; `extract` decides between them."""
        raise TypeError(f"{type(self).__name__} defines neither reader() nor extract()")

    def extract(self, text: str, question: Question) -> str | None:
        """Returns the answer that a reply gives, in canonical form, or None where it gives none.

        `text` is the reply alone, never the prompt. Must take time linear in the text and never raise.
        """
        return marked_answer(without_reasoning(text), self.reader(question))

    def same(self, parsed: str, gold: str) -> bool:
        """Returns whether an extracted answer is the gold one: by default, whether letters and digits agree."""
        return normalise(parsed) == normalise(gold)

    def scores(self, parsed: str | None, gold: str) -> Mapping[str, float | None]:
        """Returns what an answer is worth in its parts, in [0, 1] by name, for a kind that has parts: the same names
        whatever was `parsed`. None where the gold answer has no such part."""
        return {}

    def label(self, answer: str) -> str:
        """Returns a canonical answer as a sentence names it: "(B)", "18"."""
        return answer

    def gold_text(self, question: Question) -> str:
        """Returns the gold answer as one would write it in full: "(B) library", "18"; "" where there is none."""
        return "" if question.gold is None else self.label(question.gold)

    def announced(self, answer: str) -> str:
        """Returns how a reply gives an answer, in worked examples and in training."""
        return f"The answer is {answer}"

    def format_request(self) -> str:
        """Returns the sentence of the prompt that asks for this kind of answer, by default prompts/format/NAME-v1."""
        return render(f"format/{self.name}-v1")

    def asks(self, question: Question) -> str:
        """Returns the sentence of the prompt that asks for the answer to a question; by default the same for all."""
        return self.format_request()

    def chance(self, gold: str, options: Sequence[str] = ()) -> float:
        """Returns how often blind guessing is right, in [0, 1]."""
        return 0.0

    def continuations(self, question: Question) -> list[tuple[str, str]]:
        """Returns each possible answer with the text whose likelihood speaks for it; none where they are not finite."""
        return []


@kind("numeric")
class Numeric(Kind):
    """A number, kept as a plain decimal ("18", "0.5") and compared by value."""

    exact = True

    def canonical(self, gold: str, options: Sequence[str] = ()) -> str:
        value = numbers.parse(gold)
        if value is None:
            raise DataError(f"the answer {gold!r} is not one number", "set `kind` to text, choice or boolean")
        return numbers.write(value)

    def reader(self, question: Question) -> Reader:
        return NumberReader(question.text)

    def extract(self, text: str, question: Question) -> str | None:
        return marked_answer(numbers.plain(without_reasoning(text), question.text), self.reader(question))

    def same(self, parsed: str, gold: str) -> bool:
        given, wanted = numbers.parse(parsed), numbers.parse(gold)
        return given is not None and wanted is not None and numbers.same(given, wanted)


@kind("choice")
class Choice(Kind):
    """One of the question's options, kept as its label: "B" for the second."""

    has_options = True
    exact = True

    def canonical(self, gold: str, options: Sequence[str] = ()) -> str:
        if not 2 <= len(options) <= len(LABELS):
            raise DataError(f"a choice question needs 2 to {len(LABELS)} options, this one has {len(options)}")
        if gold in options:
            return LABELS[options.index(gold)]
        label = gold.strip("().").upper()
        if len(label) == 1 and label in LABELS[: len(options)]:
            return label
        keys = [normalise(option) for option in options]
        if keys.count(normalise(gold)) == 1:
            return LABELS[keys.index(normalise(gold))]
        raise DataError(f"the answer {gold!r} is not among the options {list(options)!r}")

    def reader(self, question: Question) -> Reader:
        return _choice_reader(question.options)

    def label(self, answer: str) -> str:
        return f"({answer})"

    def gold_text(self, question: Question) -> str:
        if question.gold is None:
            return ""
        return f"{self.label(question.gold)} {question.options[LABELS.index(question.gold)]}"

    def chance(self, gold: str, options: Sequence[str] = ()) -> float:
        return 1 / len(options) if options else 0.0

    def continuations(self, question: Question) -> list[tuple[str, str]]:
        return list(zip(LABELS, question.options, strict=False))


_choice_reader = lru_cache(maxsize=4096)(ChoiceReader)  # compiles a dozen patterns for each list of options


@kind("boolean")
class Boolean(Kind):
    """Yes or no, kept as "yes" or "no"."""

    exact = True

    _written: ClassVar = {"yes": "yes", "true": "yes", "1": "yes", "no": "no", "false": "no", "0": "no"}

    def canonical(self, gold: str, options: Sequence[str] = ()) -> str:
        if gold.lower() not in self._written:
            raise DataError(f"the answer {gold!r} is neither yes nor no")
        return self._written[gold.lower()]

    def reader(self, question: Question) -> Reader:
        return YesNoReader()

    def chance(self, gold: str, options: Sequence[str] = ()) -> float:
        return 0.5

    def continuations(self, question: Question) -> list[tuple[str, str]]:
        return [(answer, f"The answer is {answer}") for answer in ("yes", "no")]


@kind("text")
class Text(Kind):
    """Free text, kept as it is and compared by its letters and digits."""

    def canonical(self, gold: str, options: Sequence[str] = ()) -> str:
        return gold

    def reader(self, question: Question) -> Reader:
        return TextReader()

    def chance(self, gold: str, options: Sequence[str] = ()) -> float:
        """Returns a half where the answers are yes and no, which a user's own file may declare as text; else 0."""
        return 0.5 if gold.strip().lower() in ("yes", "no") else 0.0


def kind_of(question: Question) -> Kind:
    """Returns the kind of a question's answer. UsageError for a kind that no installed package registers."""
    return KINDS[question.kind]()


def as_asked(variant: Variant) -> Question:
    """Returns the question of a variant with the gold answer that holds for its text."""
    question = variant.question
    if question.gold is None:
        return question
    return replace(question, gold=kind_of(question).moved(question.gold, variant))


def recorded_kind(name: str, gold: str | None, options: Sequence[str]) -> Kind:
    """Returns the kind of a question in a journal. Older journals do not name it, so that options and gold decide."""
    if name in KINDS:
        return KINDS[name]()
    if options:
        return Choice()
    return Boolean() if (gold or "").strip().lower() in ("yes", "no") else Text()


def extract(text: str, question: Question) -> str | None:
    """Returns the answer that a reply gives, as the question's kind reads it, or None where it gives none."""
    return kind_of(question).extract(text, question)


def score(parsed: str | None, question: Question) -> bool | None:
    """Returns whether an extracted answer is the gold one, as the question's kind compares them.

    An answer that could not be extracted is wrong. None where the question has no gold answer.
    """
    if question.gold is None:
        return None
    return parsed is not None and kind_of(question).same(parsed, question.gold)


def gold_text(question: Question) -> str:
    """Returns the gold answer as one would write it: "18", "(B) library", "yes"; "" where there is none."""
    return kind_of(question).gold_text(question)
