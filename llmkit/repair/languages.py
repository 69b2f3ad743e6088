"""The language of one text, judged by its smallest words: correctors of English words must leave others alone."""

from __future__ import annotations

import logging
import re
from functools import cache

from llmkit.perturb.identification import identified
from llmkit.perturb.languages import AUTO, ENGLISH, Language, in_script_of, language_named
from llmkit.perturb.small_words import foreign_language
from llmkit.perturb.wordbook import common_words

_WORD = re.compile(r"[^\W\d_]{2,}")
_COMMON = 5_000_000
_ENOUGH = 4  # words of which noise never leaves none as it was: in no question of GSM8K under five kinds of noise


def is_foreign(text: str) -> bool:
    """Returns whether a text is in another language than English: it has more small words of that one, or four words
    and more of which none is English in any order of its letters. Without either it counts as English.

    >>> is_foreign("Wann kommt mein Paket an?"), is_foreign("Wehn deos my pakcage arirve?")
    (True, False)
    >>> is_foreign("Passwort vergessen, Zurücksetzen klappt leider nirgends.")
    True
    """
    return bool(foreign_language(text)) or _has_no_english_word(text)


def other_language(text: str, lang: str) -> Language | None:
    """Returns the language of a text, where `lang` names one or is "auto"; None for English, and where it is "".

    >>> other_language("Wann kommt mein Paket an?", "auto").name, other_language("When?", "en")
    ('German', None)
    """
    if lang in ("", ENGLISH.code):
        return None
    language = identified(text) if lang == AUTO else in_script_of(text, language_named(lang))
    return None if language.code == ENGLISH.code else language


@cache
def hands_off(name: str, language: Language) -> None:
    """Says once that a corrector leaves texts in a language as they are."""
    logging.getLogger(__name__).warning("%s: does not serve %s: such texts are left unchanged", name, language.name)


def _has_no_english_word(text: str) -> bool:
    """Returns whether none of several words is English, nor a common English one with its letters in another order."""
    english, shuffled, words = common_words(), _english_letters(), _WORD.findall(text)
    return len(words) >= _ENOUGH and not any(word.lower() in english or _letters(word) in shuffled for word in words)


def _letters(word: str) -> str:
    return "".join(sorted(word.lower()))


@cache
def _english_letters() -> frozenset[str]:
    return frozenset(map(_letters, common_words(_COMMON)))
