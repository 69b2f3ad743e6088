"""Letters that look like other letters: how they are read, and the operator that writes them."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache, lru_cache
from random import Random

from llmkit.perturb.base import WordEdit, operator, pick, weighted
from llmkit.perturb.languages import LATIN
from llmkit.perturb.wordbook import package_file

SOURCE = "Unicode TR 39"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_STYLES = ("<font>", "<wide>")  # Latin letters in another dress: 𝑎, ａ
_NAMED = re.compile(r"LATIN (?:SMALL|CAPITAL) LETTER ([A-Z])(?: WITH .+)?|LATIN LETTER SMALL CAPITAL ([A-Z])")

# How letters of other scripts are read inside an English word where TR 39 has another letter for them or none: by their
# shape, ours. TR 39 lists only what no eye can distinguish; text written to be misread uses more.
_READ_AS = (
    "a=аαᗩ b=вβьъƅЬБ d=ԀժᏧ e=єεҽҿэέЄƐΞ f=ғϝ h=нһҺћђի k=кκқҝ l=ӏ m=ммᗰ n=пηиոռлňй o=σөθ r=гяґ s=ѕ t=тτтէ u=μսцџυ w=ωшщա"
    " x=χж y=γүұуўч A=ДΛ E=ЄΣ H=Њ K=ҚҜ N=ИЙ O=ΘӨ R=Я U=Ц W=ШЩΩ Y=ҮҰЎ"
)


@cache
def _confusables() -> dict[str, list[str]]:
    """Reads the characters that Unicode TR 39 takes for each other, both ways: the data of `confusable_homoglyphs`."""
    path = package_file("confusable_homoglyphs", "confusables.json")
    confusables = json.loads(path.read_text(encoding="utf-8"))
    return {letter: [row["c"] for row in rows] for letter, rows in confusables.items()}


@cache
def _read_as() -> dict[str, str]:
    pairs = (group.split("=") for group in _READ_AS.split())
    return {
        foreign_letter: latin_letter
        for latin_letter, lookalike_letters in pairs
        for foreign_letter in lookalike_letters
    }


@lru_cache(maxsize=1 << 14)
def script(character: str) -> str:
    """Returns the script of a letter, the first word of its Unicode name; "STYLE" for Latin letters in mathematical or
    full width.

    >>> script("a"), script("é"), script("е"), script("𝑒"), script("ｅ")
    ('LATIN', 'LATIN', 'CYRILLIC', 'STYLE', 'STYLE')
    """
    if unicodedata.decomposition(character).startswith(_STYLES) and unicodedata.normalize("NFKC", character).isascii():
        return "STYLE"
    script_name = unicodedata.name(character, "?").split()[0]
    # The second are µ's block and the Roman numerals in small letters.
    return {"MICRO": "GREEK", "SMALL": "ROMAN"}.get(script_name, script_name)


def twin(character: str) -> str:
    """Returns the ASCII letters that no eye tells from a letter (TR 39's skeleton), or "".

    >>> twin("о"), twin("ﬁ"), twin("б"), twin("ё"), twin("н")
    ('o', 'fi', '', 'e', '')
    """
    return _capital(character, _skeleton(character, by_name=False))


def reading(character: str) -> str:
    """Returns the ASCII letters that a letter is read as inside an English word, or "": TR 39's skeleton, and beyond it
    what its shape or its name as a Latin letter says. Never a digit.

    >>> reading("н"), reading("ᴀ"), reading("ɗ"), reading("б"), reading("١")
    ('h', 'a', 'd', '', '')
    """
    return _read_as().get(character) or _capital(character, _skeleton(character, by_name=True))


def _capital(character: str, read: str) -> str:
    """Reads a capital letter as a capital, because TR 39 takes I for l, as it takes 1 for l."""
    return "I" if read == "l" and character.isupper() else read


@lru_cache(maxsize=1 << 15)
def _skeleton(character: str, by_name: bool, seen_before: frozenset[str] = frozenset()) -> str:
    if character.isascii():
        return character if character.isalpha() else ""
    if not _is_letter(character) or character in seen_before:
        return ""
    candidates = sorted(
        _confusables().get(character, ()), key=lambda candidate: (not _is_plain(candidate), len(candidate))
    )
    has_exact = bool(candidates) and _is_plain(candidates[0])
    if by_name and not has_exact and (named_letter := _NAMED.fullmatch(unicodedata.name(character, ""))):
        letter = named_letter[1] or named_letter[2]
        return letter if character.isupper() else letter.lower()
    decomposition_tag, *code_points = unicodedata.decomposition(character).split() or [""]
    if (
        code_points
        and not has_exact
        and (not decomposition_tag.startswith("<") or decomposition_tag in (*_STYLES, "<compat>"))
    ):
        decomposed = unicodedata.normalize("NFKD", character)
        if decomposed != character:
            return _of_sequence(decomposed, by_name, seen_before | {character})
    for candidate in candidates:
        if latin_letters := _of_sequence(unicodedata.normalize("NFD", candidate), by_name, seen_before | {character}):
            return latin_letters
    return ""


def _of_sequence(characters: str, by_name: bool, seen_before: frozenset[str]) -> str:
    """Reads letters with their marks; "" unless each letter can be read as one."""
    base_letters = [char for char in characters if not unicodedata.combining(char)]
    readings = [_skeleton(char, by_name, seen_before) for char in base_letters]
    return "".join(readings) if all(readings) else ""


def _is_plain(characters: str) -> bool:
    return characters.isascii() and characters.isalpha()


def _is_letter(character: str) -> bool:
    """Returns whether this is a letter or a Roman numeral, which is a letter in another code: "ⅼ"."""
    return character.isalpha() or unicodedata.category(character) == "Nl"


# The RoP authors' SC data, as measured on their CSQA, MultiArith and SVAMP pairs: from which scripts the letters come
# (their mean), how readily a letter is replaced, and how many of a word's letters are.
_SCRIPTS = {"CYRILLIC": 0.68, "GREEK": 0.16, "LATIN": 0.07, "STYLE": 0.04, "ACCENT": 0.03, "": 0.02}
_READINESS = {**dict.fromkeys("aeoI", 9.0), **dict.fromkeys("iA", 5.0), **dict.fromkeys("cdlpsuyHS", 2.0)}
_MORE = 0.3  # of words in which one more letter is replaced
_ALL = 0.75  # of words in which a letter that comes twice is replaced twice


@cache
def lookalikes() -> dict[str, dict[str, str]]:
    """Lists for each ASCII letter, by script, all the single letters that Unicode TR 39 takes for it, and its accented
    forms.

    A letter occurs in it the more often, the more likely people are to have it: а more than ɑ, and that more than ꭤ.
    """
    confusables = _confusables()
    forms_by_letter: dict[str, dict[str, str]] = {letter: {} for letter in _LETTERS}
    all_letters = {char for char in confusables if len(char) == 1} | set(
        map(chr, (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)))
    )
    for char in sorted(all_letters):
        script_group = _kind(char) if not char.isascii() else None
        forms_by_script = forms_by_letter.get(twin(char))
        if script_group is not None and forms_by_script is not None:
            is_exact = any(map(_is_plain, confusables.get(char, ())))
            forms_by_script[script_group] = forms_by_script.get(script_group, "") + char * (
                24 if is_exact and char < "\u0460" else 4 if char < "\u2200" else 1
            )
    return forms_by_letter


def _kind(character: str) -> str | None:
    """Returns the group of `_SCRIPTS` that a letter belongs to; None for what would turn the line round, is no one
    letter, or is a numeral: a word with "Ⅰ" in it would have a number more."""
    if unicodedata.bidirectional(character) in ("R", "AL") or unicodedata.decomposition(character).startswith(
        "<compat>"
    ):
        return None
    if character.isnumeric():
        return None
    script_name = script(character)
    mark_count = len(unicodedata.normalize("NFD", character)) - 1
    if mark_count > 1:
        return None
    if script_name == "LATIN" and mark_count:
        return "ACCENT" if character < "\u0250" or "\u1e00" <= character < "\u1f00" else None
    return script_name if script_name in _SCRIPTS else ""


@operator("sc", level="character", paper_rate=0.56)
class Sc(WordEdit):
    """Similar characters: letters become confusables of Unicode TR 39, more than half of them Cyrillic, or accented or
    mathematical forms (RoP, arXiv 2506.03627, and the shares of its authors' data; Unicode TR 39).

    >>> Sc().edit("times", Random(11))
    'tim𝐞s'
    """

    resource = SOURCE
    scripts = LATIN

    def edit(self, word: str, rng: Random) -> str | None:
        return disguised(word, {}, rng)


def disguised(word: str, chosen_forms: dict[str, str], rng: Random) -> str | None:
    """Replaces one letter or more of a word. `chosen_forms` holds what each letter became before, and is updated."""
    forms_by_letter = lookalikes()
    places = {
        i: _READINESS.get(letter_here, 1.0) for i, letter_here in enumerate(word) if letter_here in forms_by_letter
    }
    if not places:
        return None
    characters = list(word)
    while places:
        letter = word[weighted(places, rng)]
        same_letter_places = [i for i in places if word[i] == letter]
        for i in same_letter_places if rng.random() < _ALL else [pick(same_letter_places, rng)]:
            del places[i]
            characters[i] = chosen_forms[letter] = chosen_forms.get(letter) or lookalike(letter, rng)
        if rng.random() >= _MORE:
            break
    return "".join(characters)


def lookalike(letter: str, rng: Random) -> str:
    """Draws another letter for an ASCII one: the script first, by the measured shares, then one of its letters."""
    return pick(lookalikes()[letter][weighted(_scripts(letter), rng)], rng)


@cache
def _scripts(letter: str) -> dict[str, float]:
    forms = lookalikes()[letter]
    return {script_group: share for script_group, share in _SCRIPTS.items() if script_group in forms}
