"""Repairs that need no model: the free baselines that any correction by a model must beat."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def spell(text: str) -> str:
    """Each unknown word becomes its likeliest anagram with the same first letter, else the likeliest word at most two
    edits away; words that a dictionary knows, names and numbers stay.

    >>> spell("How mnay alppes does Tom hvae?")
    'How many apples does Tom have?'
    """
    return _WORD.sub(lambda m: _spell_word(m.group(0), starts=_starts(text, m.start())), text)


def _starts(text: str, at: int) -> bool:
    """Whether a word at this offset opens a sentence, where a capital says nothing about names."""
    before = text[:at].rstrip("\"'\u201c( \n")
    return not before or before[-1] in ".!?:"


def _spell_word(word: str, starts: bool) -> str:
    speller, anagrams = _speller()
    lower = word.lower()
    if len(word) < 4 or lower in speller.words or (word[0].isupper() and not starts):
        return word
    same = [w for w in anagrams.get("".join(sorted(lower)), ()) if w[0] == lower[0]]
    if same:
        best = max(same, key=lambda w: speller.words[w])
    else:
        from symspellpy import Verbosity

        found = speller.lookup(lower, Verbosity.TOP, max_edit_distance=2)
        if not found:
            return word
        best = found[0].term
    return best.capitalize() if word[0].isupper() else best


@cache
def _speller() -> tuple[Any, dict[str, list[str]]]:
    """The English frequency dictionary that symspellpy carries, and its words by their sorted letters."""
    from importlib.resources import files

    from symspellpy import SymSpell

    speller = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
    speller.load_dictionary(str(files("symspellpy") / "frequency_dictionary_en_82_765.txt"), 0, 1)
    anagrams: dict[str, list[str]] = {}
    for word in speller.words:
        anagrams.setdefault("".join(sorted(word)), []).append(word)
    return speller, anagrams
