"""The words of a text as detectors read them: without what no corrector may change, names and codes apart."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from llmkit.perturb.protection import PROTECT, Protection

_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d[\d.,]*|\n|[^\w\s]|_")
_PROTECTION = Protection(PROTECT)
_JOINED = "-./'\u2019&"  # marks that make a code or a unit of one or two letters: t-shirt, km/h, D.I.Y
_OPENS, _QUOTES = ".!?:\n", "\"'\u201c\u2018(["
_SHORT = 2
_GAP = " \u2026 "  # a mark: words on its two sides are no neighbours


class Word(NamedTuple):
    """A word in small letters, without accents and without a possessive ending.

    `plain` is False for what says nothing about spelling: names, abbreviations, units, words in other letters.
    """

    text: str
    plain: bool
    opens: bool
    """True for a word that begins a sentence with a capital: it may be a name."""


class Texture(NamedTuple):
    """The words of a text (distinct, in order of appearance) with the plain words around each, and its pairs.

    Neighbours are words with neither mark nor number between; "" where there is none.
    """

    contexts: tuple[tuple[str, str, str], ...]
    """(before, word, after) of plain words, each distinct triple once; the word with a capital where it begins a
    sentence with one."""
    pairs: tuple[tuple[str, str], ...]
    """Distinct pairs of neighbours, both plain."""


def readable(text: str, gap: str = "") -> str:
    """Returns a text with `gap` for its protected spans: options, code, formulas, addresses, placeholders.

    >>> readable("Which is red?\\nAnswer Choices: (A) a rose (B) snow")
    'Which is red?\\n'
    """
    parts, position = [], 0
    for start, end in _PROTECTION.spans(text):
        parts.append(text[position:start])
        position = end
    return gap.join([*parts, text[position:]])


@lru_cache(maxsize=16)
def texture(text: str) -> Texture:
    """Returns the words of a text in their neighbourhoods.

    >>> texture("Tom saw a dog, twice.").contexts
    (('', 'Tom', 'saw'), ('tom', 'saw', 'a'), ('saw', 'a', 'dog'), ('a', 'dog', ''), ('', 'twice', ''))
    """
    contexts: dict[tuple[str, str, str], None] = {}
    pairs: dict[tuple[str, str], None] = {}
    for run in _runs(readable(text, _GAP)):
        words = ["", *(word.text if word.plain else "" for word in run), ""]
        for word, (before, small, after) in zip(run, zip(words, words[1:], words[2:], strict=False), strict=False):
            if small:
                contexts[before, small.capitalize() if word.opens else small, after] = None
        pairs.update((pair, None) for pair in pairwise(words) if all(pair))
    return Texture(tuple(contexts), tuple(pairs))


def _runs(text: str) -> list[list[Word]]:
    """Returns the words of a text, in runs that no mark and no number interrupts."""
    if text.isupper():
        text = text.lower()
    runs: list[list[Word]] = [[]]
    opens, after_number = True, False
    for match in _TOKEN.finditer(text):
        token, (start, end) = match.group(), match.span()
        if not token[0].isalpha():
            runs.append([])
            after_number = token[0].isdigit()
            opens = token in _OPENS or (opens and token in _QUOTES)
            continue
        runs[-1].append(_word(token, opens, text[start - 1 : start], text[end : end + 2], after_number))
        opens = after_number = False
    return [run for run in runs if run]


def _word(token: str, opens: bool, before: str, behind: str, after_number: bool) -> Word:
    plain = without_accents(token).lower().replace("\u2019", "'")
    if plain.endswith("'s"):
        plain = plain[:-2]
    elif plain.endswith("s'"):
        plain = plain[:-1]
    is_name = token[0].isupper() and not opens and token not in ("I", "I'm", "I'll", "I've", "I'd")
    is_code = (len(token) > 1 and token.isupper()) or before.isdigit() or behind[:1].isdigit()
    if len(token) <= _SHORT:
        is_code |= after_number or (before != "" and before in _JOINED)
        is_code |= behind[:1] != "" and behind[0] in _JOINED and (behind[0] != "." or behind[1:].isalnum())
    return Word(plain, not is_name and not is_code and plain.isascii(), opens and token[0].isupper())


def without_accents(token: str) -> str:
    """Returns a word with plain letters for those with accents.

    >>> without_accents("naïve")
    'naive'
    """
    if token.isascii():
        return token
    return "".join(c for c in unicodedata.normalize("NFD", token) if not unicodedata.combining(c))
