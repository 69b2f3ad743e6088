"""Compares operators and files with real misspellings, a row for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

from llmkit.errors import DataError
from llmkit.perturb.closeness import MOST_PAIRS, Closeness, Pair, compare, halves
from llmkit.perturb.engine import Perturber
from llmkit.perturb.like import Like
from llmkit.perturb.observed import Observed, core, observe, read_pairs
from llmkit.perturb.profile import LONGEST, Profile, fit
from llmkit.seeds import derive

BASELINE = "nlpaug:keyboard"
"""The operator that every comparison shows beside the others."""

_LEAST_BY_LENGTH = 20  # misspellings in either set for a length's rates to be compared


class Row(NamedTuple):
    """One line of the table: what was compared, and how close it is. `slope` is how many times as steeply as in the
    real set misspellings grow with the length of the word; None without texts."""

    name: str
    closeness: Closeness
    slope: float | None


def word_pairs(observed: Observed) -> list[Pair]:
    """Returns the misspellings of single words: intended, typed."""
    return [(pair.intended, pair.typed) for pair in observed.misspellings]


def table(real: str, others: Sequence[str], seed: int = 7) -> Iterator[Row]:
    """Yields a row for each of `others` (a file of pairs, or an operator's spec), then one of nlpaug and one of the
    real set beside itself.

    An operator is applied to the real set's intended words, so that only what it does to them differs.
    """
    observed = read_pairs(real)
    pairs = word_pairs(observed)
    if not pairs:
        raise DataError(
            f"{real}: no misspelling of a word in it", "compare needs pairs that differ in a word's letters"
        )
    for name in [*others, *([BASELINE] if BASELINE not in others else [])]:
        if _is_file(name):
            other = read_pairs(name)
            yield Row(name, compare(pairs, word_pairs(other), seed), slope(observed, other))
        else:
            noisy_texts = noise_on_texts(name, observed, seed)
            yield Row(
                name,
                compare(pairs, noise_on_words(name, [intended for intended, _ in pairs], seed), seed),
                slope(observed, noisy_texts) if noisy_texts else None,
            )
    first, second = halves(pairs, Random(derive(seed, "noise", "halves")))
    yield Row("real against real", compare(first, second, seed), 1.0 if observed.texts else None)


def _is_file(name: str) -> bool:
    return Path(name).suffix in (".jsonl", ".csv", ".tsv") and not name.startswith(("like:", "natural:", "file:"))


def noise_on_words(spec: str, words: Sequence[str], seed: int = 7) -> list[Pair]:
    """Returns each word with a misspelling of it, where the operator makes one."""
    perturber = Perturber(spec, rate=1.0, seed=seed)
    copies = ((word, perturber.apply(word, "pair", copy=number).text) for number, word in enumerate(words))
    return [(word, core(typed)) for word, typed in copies if typed != word and core(typed)]


def noise_on_texts(spec: str, observed: Observed, seed: int = 7) -> Observed | None:
    """Returns what an operator does to the intended texts, at its people's rate or at that of the real errors; None
    without texts."""
    words = sum(count for count, _ in observed.texts)
    errors = sum(wrong for _, wrong in observed.texts)
    if not words or not errors:
        return None
    perturber = Perturber(spec, rate="fitted", seed=seed)
    members = [member for chain in perturber.mixture.chains for member in chain]
    if not all(isinstance(member, Like) and member.profile.rate for member in members):
        perturber = Perturber(spec, rate=errors / words, seed=seed)
    noisy = Observed()
    for number, (_, intended) in enumerate(observed.pairs):
        observe(noisy, perturber.apply(intended, "text", copy=number).text, intended, str(number))
    return noisy


def slope(real: Observed, other: Observed) -> float | None:
    """Returns how many times as steep the growth of misspellings with length is in the other set: the ratio of the
    slopes of log rate on log length, weighted by the real set's misspellings."""
    import numpy as np

    slopes = []
    for observed in (real, other):
        lengths, logs, weights = [], [], []
        for length in range(2, LONGEST + 1):
            room, wrong = observed.lengths[length], observed.wrong_lengths[length]
            weight = real.wrong_lengths[length]
            if room and weight >= _LEAST_BY_LENGTH:
                lengths.append(np.log(length))
                logs.append(np.log((wrong + 0.5) / (room + 1)))
                weights.append(weight)
        if len(lengths) < 3:
            return None
        slopes.append(float(np.polyfit(lengths, logs, 1, w=np.sqrt(weights))[0]))
    return round(slopes[1] / slopes[0], 3) if slopes[0] else None


def on_words_left_out(observed: Observed, lang: str, seed: int = 7) -> Closeness | None:
    """Returns how close a profile of one half of the words comes on the other half; None where a half is too little."""

    def side(of_fit: bool) -> Observed:
        pairs = [pair for pair in observed.misspellings if (derive(0, "half", pair.intended) % 2 == 0) == of_fit]
        return replace(observed, misspellings=pairs)

    try:
        profile: Profile = fit(side(True), lang, {})
    except DataError:
        return None
    held_out = [(pair.intended, pair.typed) for pair in side(False).misspellings if pair.weight >= 0.5]
    rng = Random(derive(seed, "noise", "held out"))
    held_out = rng.sample(held_out, min(len(held_out), MOST_PAIRS))
    drawn = [(intended, typed) for intended, _ in held_out if (typed := profile.misspell(intended, rng))]
    return compare(held_out, drawn, seed) if len(held_out) >= 100 else None
