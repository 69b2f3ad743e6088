"""Keyboard layouts: every one of xkb-data, as which character each key gives; the keys that touch a key."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TypedDict

from llmkit.registry import unknown

TABLES = Path(__file__).parent / "data" / "keyboards.json"
_NO_KEY = " "


@dataclass(frozen=True)
class Layout:
    """The characters of the four rows of a keyboard, plain and with the shift key.

    Key number c of a row lies half a key to the left of key c of the row below; a space is a key without a character.
    """

    name: str
    rows: tuple[str, ...]
    shifted: tuple[str, ...]

    @cached_property
    def neighbours(self) -> dict[str, str]:
        """Maps each letter or mark to those on the keys that touch its own, at the same level of the shift key.

        Only letters take the place of letters, and marks of marks, each of the same script: an accent or a vowel sign
        cannot follow a space, so a wrong key between the two kinds makes what nobody writes.

        >>> layout_named("us").neighbours["g"], layout_named("de").neighbours["z"]
        ('fhtyvb', 'tugh')
        """
        near: dict[str, str] = {}
        for rows in (self.rows, self.shifted):
            for row, keys in enumerate(rows):
                for column, character in enumerate(keys):
                    kind = _kind(character)
                    if kind is None or character in near:
                        continue
                    places = [
                        (row, column - 1), (row, column + 1), (row - 1, column), (row - 1, column + 1),
                        (row + 1, column - 1), (row + 1, column),
                    ]  # fmt: skip
                    touching = (rows[r][c] for r, c in places if 0 <= r < len(rows) and 0 <= c < len(rows[r]))
                    near[character] = "".join(
                        dict.fromkeys(other for other in touching if other != character and _kind(other) == kind)
                    )
        return {character: others for character, others in near.items() if others}

    @cached_property
    def letters(self) -> str:
        """The letters of the keys without shift, of the script that most of them have."""
        found = [character for row in self.rows for character in row if _kind(character) is not None]
        letters = [character for character in found if not _is_mark(character)]
        scripts = [_script(letter) for letter in letters]
        main = max(dict.fromkeys(scripts), key=scripts.count)
        return "".join(sorted({letter for letter in letters if _script(letter) == main}))

    @cached_property
    def keys(self) -> dict[str, tuple[int, int, int]]:
        """Maps each character to its key: the level of the shift key, the row and the column."""
        places: dict[str, tuple[int, int, int]] = {}
        for level, rows in enumerate((self.rows, self.shifted)):
            for row, keys in enumerate(rows):
                for column, character in enumerate(keys):
                    if character != _NO_KEY:
                        places.setdefault(character, (level, row, column))
        return places

    def on(self, other: Layout) -> dict[str, str]:
        """Maps each character to what the same key gives on another layout; without those that are the same.

        >>> "".join(layout_named("ru").on(layout_named("us")).get(letter, letter) for letter in "привет")
        'ghbdtn'
        """
        keys: dict[str, str] = {}
        for character, (level, row, column) in self.keys.items():
            other_row = (other.rows, other.shifted)[level][row]
            typed = other_row[column] if column < len(other_row) else _NO_KEY
            if typed not in (_NO_KEY, character):
                keys[character] = typed
        return keys


def layout_named(name: str) -> Layout:
    """Returns a layout of xkb-data by name: `de`, `us(dvorak)`. UsageError with the nearest names for another."""
    layout = _layout(name)
    if layout is None:
        tables = _tables()
        raise unknown("keyboard layout", name, [*tables["layouts"], *tables["aliases"]])
    return layout


def layout_of(language: str) -> str | None:
    """Returns the name of the layout that a language is written with; None where none of xkb-data serves it, as in
    Chinese and Japanese, which are typed by their sounds."""
    return _tables()["languages"].get(language)


def languages_with_layout() -> list[str]:
    """Returns the codes of the languages that have a layout."""
    return list(_tables()["languages"])


def layout_names() -> list[str]:
    """Returns the names of all layouts, those included that are the same as another."""
    return sorted([*_tables()["layouts"], *_tables()["aliases"]])


@cache
def _layout(name: str) -> Layout | None:
    tables = _tables()
    rows = tables["layouts"].get(tables["aliases"].get(name, name))
    return Layout(name, tuple(rows[:4]), tuple(rows[4:])) if rows else None


class _Tables(TypedDict):
    """The file of the tables: rows of characters by layout, other names of the same layout, layouts by language."""

    layouts: dict[str, list[str]]
    aliases: dict[str, str]
    languages: dict[str, str]


@cache
def _tables() -> _Tables:
    tables: _Tables = json.loads(TABLES.read_text(encoding="utf-8"))
    return tables


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


@cache
def _script(character: str) -> str:
    return unicodedata.name(character, "?").split()[0]


@cache
def _kind(character: str) -> tuple[str, bool] | None:
    """Returns the script of a letter or mark, and which of the two it is; None for digits, signs and ligatures."""
    if unicodedata.category(character)[0] not in "LM" or unicodedata.category(character) == "Lm":
        return None
    if (
        not "ㄱ" <= character <= "ㆎ"
        and not unicodedata.is_normalized("NFKC", character)
        and unicodedata.decomposition(character).startswith("<")
    ):
        return None
    return _script(character), _is_mark(character)
