"""Repairs that need no model: the free baselines that any correction by a model must beat."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def spell(text: str) -> str:
    """Replaces each unknown word by its likeliest anagram with the same first letter, else the likeliest word at most
    two edits away; words that a dictionary knows, names and numbers stay.

    >>> spell("How mnay alppes does Tom hvae?")
    'How many apples does Tom have?'
    """
    return _WORD.sub(lambda m: _spell_word(m.group(0), starts=_starts(text, m.start())), text)


def _starts(text: str, at: int) -> bool:
    """Returns whether a word at this offset opens a sentence, where a capital says nothing about names."""
    text_before = text[:at].rstrip("\"'\u201c( \n")
    return not text_before or text_before[-1] in ".!?:"


def _spell_word(word: str, starts: bool) -> str:
    speller, anagrams = _speller()
    lower_word = word.lower()
    # Words of three letters stay, because far too many words are within two edits of them.
    if len(word) < 4 or lower_word in speller.words or (word[0].isupper() and not starts):
        return word
    same_start = [
        candidate for candidate in anagrams.get("".join(sorted(lower_word)), ()) if candidate[0] == lower_word[0]
    ]
    if same_start:
        likeliest = max(same_start, key=lambda candidate: speller.words[candidate])
    else:
        from symspellpy import Verbosity

        suggestions = speller.lookup(lower_word, Verbosity.TOP, max_edit_distance=2)
        if not suggestions:
            return word
        likeliest = suggestions[0].term
    return likeliest.capitalize() if word[0].isupper() else likeliest


@cache
def _speller() -> tuple[Any, dict[str, list[str]]]:
    """Loads the English frequency dictionary that symspellpy carries, and its words by their sorted letters."""
    from importlib.resources import files

    from symspellpy import SymSpell

    speller = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
    speller.load_dictionary(str(files("symspellpy") / "frequency_dictionary_en_82_765.txt"), 0, 1)
    anagrams: dict[str, list[str]] = {}
    for word in speller.words:
        anagrams.setdefault("".join(sorted(word)), []).append(word)
    return speller, anagrams
