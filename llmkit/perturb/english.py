"""The language test of a set: operators and arms made for English words must leave other languages alone."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import islice

from llmkit.perturb.wordbook import common_words

MOST_TEXTS = 1_000
"""Texts that are looked at, at most: the first of a set."""

# Of the words of two letters and more, the share that is among some 9,000 common English ones. English questions have
# .91, and .44 after `ec` at rate 1 or .40 after `sc` at the paper's; in 14 other languages with Latin letters it was
# .05 to .24. The whole set decides, because a single question is too short.
_LEAST = 0.32
_COMMON = 5_000_000
_WORD = re.compile(r"[^\W\d_]{2,}")


def share_known(texts: Iterable[str]) -> float | None:
    """Returns the share of the words that common English has; None if there is no word.

    >>> share_known(["Maria kauft zwei rote Äpfel."]), share_known(["7 + 5"])
    (0.2, None)
    """
    known_words, total_words, known_count = common_words(_COMMON), 0, 0
    for text in islice(texts, MOST_TEXTS):
        words_of_text = _WORD.findall(text.lower())
        total_words += len(words_of_text)
        known_count += sum(word in known_words for word in words_of_text)
    return known_count / total_words if total_words else None


def is_english(texts: Iterable[str], users: Sequence[str]) -> bool:
    """Returns whether `users` (operators, an arm) may work on this set; where not, a warning, once. True for an empty
    `users`."""
    english_share = share_known(texts) if users else None
    if english_share is None or english_share >= _LEAST:
        return True
    operator_names = ", ".join(dict.fromkeys(users))
    _warn(
        f"{operator_names}: for English only, and {english_share:.0%} of this set's words are common English: "
        "left unchanged"
    )
    return False


@cache
def _warn(message: str) -> None:
    logging.getLogger(__name__).warning("%s", message)
