"""Letters that look like other letters, and the operators that use them."""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from random import Random

from llmkit.perturb.base import WordEdit, operator, pick
from llmkit.perturb.wordbook import package_file


@cache
def lookalikes() -> dict[str, tuple[str, str, str]]:
    """For each ASCII letter: its confusables, its accented forms and its full-width form, each a string of characters.

    Confusables are single letters that Unicode TR 39 (the data of `confusable_homoglyphs`) takes for this letter and
    no other in its case; accents are the precomposed letters up to U+024F and in U+1E00..U+1EFF.
    """
    data = json.loads(package_file("confusable_homoglyphs", "confusables.json").read_text(encoding="utf-8"))
    accents: dict[str, str] = {}
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)):
        base, *marks = unicodedata.normalize("NFD", chr(code))
        if len(marks) == 1 and base.isascii():
            accents[base] = accents.get(base, "") + chr(code)
    table = {}
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        same = {row["c"] for row in data.get(letter, ())}
        confusables = sorted(c for c in same if _stands_for(c, letter, data))
        table[letter] = ("".join(confusables), accents.get(letter, ""), chr(ord(letter) + 0xFEE0))
    return table


def _stands_for(char: str, letter: str, data: dict[str, list[dict[str, str]]]) -> bool:
    """Whether a non-ASCII letter is mistaken for `letter` alone, case included, and is not its full-width form."""
    if len(char) != 1 or char.isascii() or not char.isalpha() or ord(char) == ord(letter) + 0xFEE0:
        return False
    plain = unicodedata.normalize("NFKD", char)
    if plain.isascii():
        return plain == letter
    taken_for = {row["c"] for row in data.get(char, ()) if row["c"].isascii() and row["c"].isalpha()}
    return plain == char and taken_for == {letter}


@operator("sc", level="character", paper_rate=0.53)
class Sc(WordEdit):
    """Similar characters: one or two letters become a confusable, an accented or a full-width form (RoP,
    arXiv 2506.03627; Unicode TR 39).

    >>> Sc().edit("times", Random(5))
    'timẽs'
    """

    def edit(self, word: str, rng: Random) -> str | None:
        table = lookalikes()
        places = [i for i, char in enumerate(word) if char in table]
        if not places:
            return None
        chars = list(word)
        for _ in range(2 if rng.random() < 0.6 and len(places) > 1 else 1):
            i = places.pop(int(rng.random() * len(places)))
            chars[i] = _lookalike(table[chars[i]], rng)
        return "".join(chars)


def _lookalike(forms: tuple[str, str, str], rng: Random) -> str:
    confusables, accents, full_width = forms
    kind = rng.random()
    if kind < 0.5 and confusables:
        return pick(confusables, rng)
    return pick(accents, rng) if kind < 0.9 and accents else full_width
