"""A noise profile: the parameters of how certain people write, and nothing that they wrote.

Its file has no name of five letters or more, so that a search for the words of its source finds none.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from random import Random
from typing import Any

from llmkit.errors import DataError
from llmkit.parsing import parse_json
from llmkit.perturb.channel import Channel
from llmkit.perturb.channel_file import channel_content, number, numbers, read_channel
from llmkit.perturb.channel_fit import LEAST, Misspelling, fit_channel
from llmkit.perturb.observed import OTHER_KINDS, Observed
from llmkit.perturb.wordbook import common_words, real_words
from llmkit.registry import unknown

FORM = 1
"""The version of the file's form."""

FEWEST = 50
"""Misspellings, by at least `LEAST` people, below which nothing is fitted."""

SHIPPED = Path(__file__).parent / "data" / "profiles"
LONGEST = 15  # longer words are misspelt as often as words of this length
_SHARED_LENGTH = 5.0  # misspellings that the rate of all lengths counts for, in that of one
_REAL_WORD_DRAWS = 2_000


@dataclass(frozen=True)
class Profile:
    """The writing of certain people: how often, where and how they err. All that `like:` and a corrector need."""

    lang: str
    channel: Channel
    by_length: Sequence[float]
    """By length of the intended word, from 1 to `LONGEST`: its rate of misspellings; relative where `rate` is None."""
    real: float
    """The share kept of misspellings that happen to be another word."""
    other: Mapping[str, float]
    """By kind of other error, its rate for each time that there is room for it."""
    confusions: Mapping[str, Mapping[str, float]]
    """By word of up to four letters, the rates of the other words of that size that are typed for it."""
    rate: float | None
    """Errors for each word; None where only misspellings were seen, and not the text around them."""
    spread: float
    """The correlation of two words of one text in being wrong: 0 where all texts are alike."""
    about: Mapping[str, Any]
    """Of the source: its name, licence, date, numbers of misspellings and texts, and what a comparison measured."""

    @cached_property
    def real_words(self) -> frozenset[str]:
        """The words of the language, as far as they are known."""
        return real_words() if self.lang == "en" else frozenset()

    def misspell(self, word: str, rng: Random) -> str | None:
        """Draws a misspelling of a word in lower case; None where the channel has none for it."""
        for _ in range(20):
            typed = self.channel.sample(word, rng)
            if typed is None or typed not in self.real_words or rng.random() < self.real:
                return typed
        return None

    def length_rate(self, length: int) -> float:
        """Returns the rate of misspellings of words of this length."""
        return self.by_length[min(length, LONGEST) - 1]

    def log_probability(self, typed: str, intended: str) -> float:
        """Returns the logarithm of the probability that `intended` is typed so, rightly or wrongly: what a corrector
        adds to that of `intended` itself. Both in lower case."""
        error_rate = min(0.5, self.length_rate(len(intended)))
        if typed == intended:
            return math.log1p(-error_rate)
        return math.log(error_rate) + self.channel.log_probability(typed, intended) if error_rate else -math.inf

    def wanted(self, words: int, mean: float, rng: Random) -> int:
        """Draws the number of errors of a text in which this share of words is wrong on average: beta-binomial, so that
        many texts have none and some have many."""
        mean = min(0.95, mean)
        if not mean or not words:
            return 0
        if self.spread > 0:
            strength = 1 / self.spread - 1
            mean = rng.betavariate(mean * strength, (1 - mean) * strength)
        return sum(rng.random() < mean for _ in range(words))

    def text(self) -> str:
        """Returns the content of the profile's file."""
        content = {
            "form": FORM,
            "lang": self.lang,
            "meta": dict(self.about),
            "rate": self.rate,
            "rho": self.spread,
            "len": list(self.by_length),
            "real": self.real,
            "else": dict(self.other),
            "swap": {word: dict(others) for word, others in self.confusions.items()},
            **channel_content(self.channel),
        }
        return json.dumps(content, ensure_ascii=False, indent=0) + "\n"


def fit(observed: Observed, lang: str, about: Mapping[str, Any]) -> Profile:
    """Returns the profile of what was observed. DataError where it is too little to say anything."""
    people = {pair.person for pair in observed.misspellings if pair.weight >= 0.5}
    usable = sum(pair.weight for pair in observed.misspellings)
    if usable < FEWEST or len(people) < LEAST:
        raise DataError(
            f"too little to fit: {usable:.0f} misspellings by {len(people)} people or texts",
            f"{FEWEST} by {LEAST} are the least; a few thousand make a good profile",
        )
    channel = fit_channel(observed.misspellings)
    by_length, rate = _rates(observed)
    texts = len(observed.texts)
    counts = {"n": round(usable), "who": len(people), "text": texts}
    return Profile(
        lang=lang,
        channel=channel,
        by_length=by_length,
        real=_kept_real_words(channel, observed.misspellings) if lang == "en" else 1.0,
        other=_other(observed),
        confusions=_confusions(observed),
        rate=rate,
        spread=_spread(observed.texts),
        about={**about, **counts},
    )


def _rates(observed: Observed) -> tuple[list[float], float | None]:
    """Returns the rate of misspellings by length of the word, and of all errors by word.

    Without texts the words around the misspelt ones are taken to be as long as English words are.
    """
    lengths: dict[int, float] = dict(observed.lengths)
    wrong_lengths: dict[int, float] = dict(observed.wrong_lengths)
    if not observed.texts:
        lengths, wrong_lengths = defaultdict(float), defaultdict(float)
        for word, count in common_words(1).items():
            lengths[len(word)] += count
        for pair in observed.misspellings:
            wrong_lengths[len(pair.intended)] += pair.weight
    room: dict[int, float] = defaultdict(float)
    wrong: dict[int, float] = defaultdict(float)
    for length in lengths.keys() | wrong_lengths.keys():
        room[min(length, LONGEST)] += lengths.get(length, 0.0)
        wrong[min(length, LONGEST)] += wrong_lengths.get(length, 0.0)
    scale = 1.0 if observed.texts else sum(wrong.values()) / sum(room.values())
    mean = sum(wrong.values()) / max(1, sum(room.values()))
    rates: list[float] = []
    for length in range(1, LONGEST + 1):
        prior = rates[-1] if rates else mean / 5
        seen = wrong[length] if wrong[length] >= LEAST else 0
        rates.append(
            (seen + _SHARED_LENGTH * (prior / (prior + mean))) / (room[length] + _SHARED_LENGTH / (prior + mean))
        )
    if not observed.texts:
        return [float(f"{rate / scale:.3g}") for rate in rates], None
    words, errors = (sum(column) for column in zip(*observed.texts, strict=True))
    return [float(f"{rate:.3g}") for rate in rates], float(f"{errors / max(1, words):.4g}")


def _spread(texts: Sequence[tuple[int, int]]) -> float:
    """Estimates the correlation within texts by the method of moments (Williams 1982)."""
    words = sum(count for count, _ in texts)
    errors = sum(wrong for _, wrong in texts)
    if len(texts) < LEAST or not errors or errors >= words:
        return 0.0
    mean = errors / words
    chi_square = sum((wrong - count * mean) ** 2 / (count * mean * (1 - mean)) for count, wrong in texts if count)
    pairs = sum(count - 1 for count, _ in texts if count)
    return round(min(0.9, max(0.0, (chi_square - len(texts)) / pairs)), 4) if pairs else 0.0


def _other(observed: Observed) -> dict[str, float]:
    """Returns the rates of the errors that are no misspellings; those of fewer people than `LEAST` are left out."""
    rates = {}
    for kind in OTHER_KINDS:
        errors = observed.other.get(kind, ())
        room = observed.room[kind]
        if kind != "real" and room and len({person for _, _, person in errors}) >= LEAST:
            rates[kind] = float(f"{min(1.0, len(errors) / room):.3g}")
    return rates


def _confusions(observed: Observed) -> dict[str, dict[str, float]]:
    people: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for typed, intended, person in observed.other.get("real", ()):
        people[intended, typed][person] += 1
    table: dict[str, dict[str, float]] = {}
    for (intended, typed), counts in sorted(people.items()):
        if len(counts) >= LEAST and observed.small_words[intended]:
            share = sum(counts.values()) / observed.small_words[intended]
            table.setdefault(intended, {})[typed] = float(f"{min(1.0, share):.3g}")
    return table


def _kept_real_words(channel: Channel, misspellings: Sequence[Misspelling]) -> float:
    """Returns the share of drawn misspellings that are words to keep, so that as many are left as people typed."""
    words, rng = real_words(), Random(0)
    drawn = [channel.sample(pair.intended, rng) for pair in rng.choices(misspellings, k=_REAL_WORD_DRAWS)]
    share_drawn = sum(typed in words for typed in drawn) / len(drawn)
    total = sum(pair.weight for pair in misspellings)
    share_typed = sum(pair.weight for pair in misspellings if pair.typed in words) / total
    if not share_drawn or share_typed >= share_drawn:
        return 1.0
    return round(share_typed * (1 - share_drawn) / (share_drawn * (1 - share_typed)), 3)


def load(name: str) -> Profile:
    """Returns a profile by the name of a shipped one or the path of a file. Errors say which of both it looks like."""
    shipped = shipped_names()
    path = SHIPPED / f"{name}.json" if name in shipped else Path(name).expanduser()
    if name not in shipped and "." not in name and "/" not in name and not path.exists():
        raise unknown("noise profile", name, shipped)
    return _load(str(path), path.stat().st_mtime_ns if path.exists() else 0)


def shipped_names() -> list[str]:
    """Returns the names of the profiles that come with llmkit."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


@lru_cache(maxsize=16)
def _load(path: str, _changed: int) -> Profile:
    try:
        content = parse_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "`llmkit noise fit` writes a profile") from None
    except ValueError:
        raise DataError(f"{path}: not JSON", "`llmkit noise fit` writes a profile") from None
    form = content.get("form") if isinstance(content, dict) else None
    if isinstance(form, int) and form > FORM:
        raise DataError(
            f"{path}: a profile of form {form}, and this llmkit reads up to {FORM}", "update llmkit, or fit it again"
        )
    try:
        if form != FORM:
            raise ValueError("it has no form that is known")
        return _read(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a noise profile ({error})", "`llmkit noise fit` writes one") from None


def _read(content: Mapping[str, Any]) -> Profile:
    by_length = [number(rate) for rate in content["len"]]
    if len(by_length) != LONGEST:
        raise ValueError("a table of lengths has another size")
    if not isinstance(content["lang"], str):
        raise ValueError("its language is no text")
    return Profile(
        lang=content["lang"],
        channel=read_channel(content),
        by_length=by_length,
        real=number(content["real"], 1),
        other=numbers(content["else"], 1),
        confusions={word: numbers(others, 1) for word, others in content["swap"].items()},
        rate=None if content["rate"] is None else number(content["rate"], 1),
        spread=number(content["rho"], 1),
        about=dict(content["meta"]),
    )
