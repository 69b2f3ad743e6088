"""How readily two English words follow each other, from the counts of word pairs that symspellpy carries."""

from __future__ import annotations

import math
from functools import cache, lru_cache

from llmkit.perturb.wordbook import common_words, package_file

STRONGEST = 4.0
"""The most, in nats, that one pair can say for or against itself."""

# The list has every pair that the web corpus of some 1.02e12 words had 100,000 times (Brants and Franz 2006; Norvig
# 2009), its counts multiplied by 64. What it lacks is taken to have come 30,000 times, less where chance gives less.
_CORPUS_WORDS = 1.02e12
_COUNT_UNIT = 64
_UNSEEN_COUNT = 3e4
# A word that keeps less than this share of its own count in pairs is one whose pairs were left out of the list: names
# of months and places, American spellings. Nothing can be said of it.
_LEAST_SHARE = 0.1
_PLACEHOLDER_COUNT = 300_000  # of contractions, which were put into the list of words by hand


@lru_cache(maxsize=1 << 16)
def association(first: str, second: str) -> float:
    """Returns the pointwise mutual information of two neighbouring words in nats, in [-4, 4]; 0 where either is
    unknown.

    >>> association("want", "to") > 2 > 0 > association("the", "of")
    True
    """
    counts, pairs = _tables()
    if first not in counts or second not in counts:
        return 0.0
    by_chance = counts[first] * counts[second] / _CORPUS_WORDS
    count = pairs.get(f"{first} {second}")
    if count is None:
        return max(-STRONGEST, min(0.0, math.log(_UNSEEN_COUNT / by_chance)))
    return max(-STRONGEST, min(STRONGEST, math.log(count / by_chance)))


@cache
def _tables() -> tuple[dict[str, int], dict[str, int]]:
    """Reads the counts of words whose pairs are known, and of pairs ("first second")."""
    words = common_words(_PLACEHOLDER_COUNT + 1)
    pairs: dict[str, int] = {}
    paired = dict.fromkeys(words, 0)
    path = package_file("symspellpy", "frequency_bigramdictionary_en_243_342.txt")
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        pair, _, digits = line.rpartition(" ")
        first, _, second = pair.partition(" ")
        count = int(digits) // _COUNT_UNIT
        pairs[pair] = count
        for word in (first, second):
            if word in paired:
                paired[word] += count
    return {w: count for w, count in words.items() if paired[w] > 2 * _LEAST_SHARE * count}, pairs
