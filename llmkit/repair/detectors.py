"""Detectors: one number for a text, the higher the likelier it is to be noisy. A gate compares it with clean text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from rapidfuzz.distance import Levenshtein

from llmkit.prompts import render
from llmkit.registry import Registry
from llmkit.repair.doubts import HIGHEST, ORDINARY, likelihood_ratio
from llmkit.repair.lookalikes import fold_lookalikes
from llmkit.repair.replies import read_correction
from llmkit.repair.word_pairs import association
from llmkit.repair.words import readable, texture, without_accents
from llmkit.types import Message, Reply, Request, Role, Sampling, Steps

DETECTORS: Registry[type[Detector]] = Registry("detector", "llmkit.detectors")

_SHARES = (0.02, 0.08, 0.3)  # of words that are misspelt, where any are
_SHARES_OUT_OF_ORDER = (0.05, 0.2, 0.6)  # of pairs of neighbours
_ENOUGH_SLIPS = 10
_ACCENTED = 10.0  # the likelihood ratio of a word that only loses its accents


class Detector:
    """Base of all detectors. A subclass writes `score`; where it asks no model, `score_of` is enough.

    A score is a finite number. It is 0 where nothing speaks for noise, and comparable between short and long texts.
    """

    name: ClassVar[str] = ""
    cost: ClassVar[str] = "no call"
    asks: ClassVar[bool] = False
    """True where a model is asked."""
    english: ClassVar[bool] = False
    """True where it knows English words only."""
    prior: ClassVar[float] = 1.0
    """How common its kind of noise is beside the commonest. A gate lets a detector of .1 cause a tenth as many false
    alarms as one of 1."""

    def score(self, text: str) -> Steps:
        """Yields requests, if any, and is sent replies. Returns a float: the higher, the likelier noise."""
        return self.score_of(text)
        yield

    def score_of(self, text: str) -> float:
        """Returns the score of a text without asking a model."""
        raise TypeError(f"{type(self).__name__} does not say how it scores")


def detector(name: str) -> Callable[[type[Detector]], type[Detector]]:
    """Registers a detector under the name that users call it by."""
    return DETECTORS.named(name)


def evidence(ratios: Iterable[float], shares: Sequence[float]) -> float:
    """Returns the log of the Bayes factor for noise in a text, in nats, and 0 where it is against noise.

    `ratios` are the likelihood ratios of its parts. Noise is a mixture: each of `shares` is, equally likely, the share
    of parts that it falls on, so that one bad word of three and one of three hundred are weighed as what they are.

    >>> round(evidence([100.0, 0.5, 0.5], [0.1]), 2), evidence([0.5] * 9, [0.1])
    (2.29, 0.0)
    """
    ratios = list(ratios)
    logs = [sum(math.log1p(share * (ratio - 1)) for ratio in ratios) for share in shares]
    highest = max(logs)
    return max(0.0, highest + math.log(sum(math.exp(log - highest) for log in logs) / len(logs)))


@detector("lookalikes")
class LookAlikes(Detector):
    """Letters in disguise: words that folding changes. Accents alone, as "café" has them, say less."""

    def score_of(self, text: str) -> float:
        if text.isascii():
            return 0.0
        words, folded = text.split(), fold_lookalikes(text).split()
        ratios = [1.0] * len(words)
        for place, (word, plain) in enumerate(zip(words, folded, strict=False)):
            if word != plain:
                ratios[place] = _ACCENTED if without_accents(word) == plain else HIGHEST
        return evidence(ratios, _SHARES)


@detector("unknown_words")
class UnknownWords(Detector):
    """Words that are likelier a slip for another word than meant, each weighed by its letters and neighbours."""

    english = True

    def score_of(self, text: str) -> float:
        # A word that comes again says nothing new: a name is no slip for being said five times.
        contexts = texture(text).contexts
        highest = dict.fromkeys((word for _, word, _ in contexts), ORDINARY)
        slips_left = _ENOUGH_SLIPS
        for before, word, after in contexts:
            ratio = likelihood_ratio(before, word, after)
            highest[word] = max(ratio, highest[word])
            slips_left -= ratio >= HIGHEST
            if not slips_left:  # the words left, which cost time, count as ordinary
                break
        return evidence(highest.values(), _SHARES)


@detector("word_pairs")
class WordPairs(Detector):
    """Words in an unlikely order: neighbours that follow each other more rarely than chance would have it."""

    english = True
    prior = 0.1  # people misspell words far more often than they exchange them

    def score_of(self, text: str) -> float:
        ratios = (math.exp(-association(first, second)) for first, second in texture(text).pairs)
        return evidence(ratios, _SHARES_OUT_OF_ORDER)


@detector("surprise")
class Surprise(Detector):
    """The mean surprise of a model at a text, in nats a character."""

    cost = "one prefill"
    asks = True
    role: ClassVar[Role] = "answerer"

    def score(self, text: str) -> Steps:
        shown = readable(text).strip()
        if not shown:
            return 0.0
        messages = (Message("user", render("repair/surprise-v1")),)
        reply: Reply = yield Request(messages, Sampling(), "detect", self.role, continuation=shown)
        return -sum(reply.logprobs or ()) / len(shown)


@detector("disagreement")
class Disagreement(Detector):
    """The share of letters in which two sampled corrections of a text differ: a model that knows what was meant writes
    it twice."""

    cost = "two calls"
    asks = True
    role: ClassVar[Role] = "corrector"

    def score(self, text: str) -> Steps:
        shown = readable(text).strip()
        if not shown:
            return 0.0
        instruction = render("rop/seeds-correction-v1").splitlines()[0]
        messages = (Message("user", render("rop/correct-v1", instruction=instruction, shots=(), question=shown)),)
        replies: list[Reply] = yield [
            Request(messages, Sampling(temperature=1.0, seed=draw), "detect", self.role, replicate=draw)
            for draw in range(2)
        ]
        return Levenshtein.normalized_distance(*(read_correction(reply, shown)[0] for reply in replies))
