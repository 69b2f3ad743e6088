"""Scorers of free text: equality, a part, a pattern, shared words and the longest common subsequence."""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Any, Self

from llmkit.errors import DataError, UsageError
from llmkit.extras import need
from llmkit.recipe.schema import Recipe
from llmkit.tasks.answers import marked_answer, without_reasoning
from llmkit.tasks.readers import TextReader
from llmkit.tasks.scorers import GradedScorer, Scorer, scorer
from llmkit.tasks.text import normalise
from llmkit.types import Question

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")


class WholeReader(TextReader):
    """What a marker announces ("The answer is ..."), else the whole reply."""

    def anywhere(self, text: str) -> str | None:
        return text.strip() or None


class WholeReply(Scorer):
    """Reads the whole reply, without the reasoning before it."""

    def extract(self, text: str, question: Question) -> str | None:
        """Returns the reply without white space at its ends; None where nothing is left."""
        return without_reasoning(text).strip() or None


class AnnouncedReply(Scorer):
    """Reads what the reply announces as its answer, else all of it."""

    def extract(self, text: str, question: Question) -> str | None:
        """Returns the answer that is announced, else the whole reply; None where nothing is left."""
        return marked_answer(without_reasoning(text), WholeReader())


@scorer("exact")
class Exact(AnnouncedReply):
    """The answer is the gold one letter by letter, white space at the ends aside."""

    def score(self, parsed: str | None, question: Question) -> bool | None:
        return None if question.gold is None else parsed is not None and parsed.strip() == question.gold.strip()


@scorer("contains")
class Contains(WholeReply):
    """The whole reply has the gold answer in it: its letters and digits in one piece, whatever the case, as whole
    words."""

    def score(self, parsed: str | None, question: Question) -> bool | None:
        if question.gold is None:
            return None
        return parsed is not None and _has_words(parsed, question.gold)


def _has_words(text: str, part: str) -> bool:
    """Returns whether the words of `part` stand in `text`, one after the other.

    >>> _has_words("It costs 15 euros.", "15 Euros"), _has_words("It costs 150 euros.", "15")
    (True, False)
    """
    wanted = [key for word in part.split() if (key := normalise(word))]
    words = [key for word in text.split() if (key := normalise(word))]
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words)} "


@scorer("regex")
class Regex(WholeReply):
    """The whole reply has a match of a pattern: `eval.pattern`, else the row's gold answer. Patterns are those of RE2,
    which takes time linear in the reply."""

    pattern: str | None = None

    def __init__(self) -> None:
        self._compiled: dict[str, Any] = {}

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        made = super().of(recipe)
        made.pattern = recipe.eval.pattern
        if made.pattern is not None:
            try:
                made.compiled(made.pattern)
            except DataError as error:
                raise UsageError(f"eval.pattern: {error.message}", error.hint) from None
        return made

    def score(self, parsed: str | None, question: Question) -> bool | None:
        if question.gold is None:
            return None
        pattern = self.compiled(question.gold if self.pattern is None else self.pattern)
        return parsed is not None and pattern.search(parsed) is not None

    def compiled(self, pattern: str) -> Any:
        """Returns a pattern ready for search. DataError where it is none."""
        if pattern not in self._compiled:
            need("re2", extra="answers", what="the scorer `regex`")
            import re2

            options = re2.Options()
            options.log_errors = False  # it writes them to stderr itself
            try:
                self._compiled[pattern] = re2.compile(pattern, options)
            except re2.error as error:
                reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
                raise DataError(
                    f"{pattern!r} is no pattern: {reason}",
                    "patterns are those of RE2: without look-around and back references, in time linear in the text",
                ) from None
        return self._compiled[pattern]


@scorer("f1")
class TokenF1(AnnouncedReply, GradedScorer):
    """F1 of the words that answer and gold answer share, as SQuAD counts it (Rajpurkar et al. 2016): without case,
    punctuation and articles."""

    def grade(self, parsed: str, gold: str) -> float:
        ours, theirs = _squad_words(parsed), _squad_words(gold)
        if not ours or not theirs:
            return float(ours == theirs)
        return _f1(sum((Counter(ours) & Counter(theirs)).values()), len(ours), len(theirs))


@scorer("rouge_l")
class RougeL(WholeReply, GradedScorer):
    """ROUGE-L of the whole reply (Lin 2004): F1 of the longest common subsequence of words, of letters a to z and
    digits, without stemming. It is 0 in a language with other letters."""

    def grade(self, parsed: str, gold: str) -> float:
        from rapidfuzz.distance import LCSseq

        ours, theirs = _rouge_words(parsed), _rouge_words(gold)
        return _f1(LCSseq.similarity(ours, theirs), len(ours), len(theirs)) if ours and theirs else 0.0


def _squad_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def _rouge_words(text: str) -> list[str]:
    return _NOT_ALPHANUMERIC.sub(" ", text.lower()).split()


def _f1(shared: int, ours: int, theirs: int) -> float:
    return 2 * shared / (ours + theirs)
