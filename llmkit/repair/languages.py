"""The language of one text, judged by its smallest words: correctors of English words must leave others alone."""

from __future__ import annotations

from llmkit.perturb.small_words import foreign_language


def is_foreign(text: str) -> bool:
    """Returns whether a text is in another language than English; without any small word it counts as English.

    >>> is_foreign("Wann kommt mein Paket an?"), is_foreign("Wehn deos my pakcage arirve?")
    (True, False)
    """
    return bool(foreign_language(text))
