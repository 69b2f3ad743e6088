"""Observations: words as people wrote and meant them, read from pairs, parted into misspellings and other errors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein

from llmkit.errors import DataError
from llmkit.perturb.alignment import LONGEST_WORD, align
from llmkit.perturb.channel_fit import Misspelling
from llmkit.perturb.wordbook import real_words
from llmkit.records import csv_rows, json_lines

LONGEST_TEXT = 100_000
"""Characters; a longer row is left out and counted, since aligning two texts takes quadratic time."""

OTHER_KINDS = ("join", "cut", "apos", "caps", "punc", "real")
"""Errors that are no misspelling of one word: two words as one, one as two, an apostrophe, a capital or a mark left
out, another real word."""

_LETTERS = re.compile(r"[^\W\d_]+")
_APOSTROPHES = str.maketrans("", "", "'’ʼ`")
_MARKS = ".,;:!?"
_SHARE_OF_TRANSLATIONS = 0.5
_MOST_CELLS = 900  # of the table that pairs the words of two stretches

PAIR_HINT = 'one JSON object a line: {"typed": "teh cat", "intended": "the cat"}, and "user" if it is known'


@dataclass
class Observed:
    """Misspellings and other errors, and how often there was room for them."""

    misspellings: list[Misspelling] = field(default_factory=list)
    lengths: Counter[int] = field(default_factory=Counter)  # of words in texts, right or wrong
    wrong_lengths: Counter[int] = field(default_factory=Counter)  # of misspelt words in texts
    room: Counter[str] = field(default_factory=Counter)  # by kind of other error
    other: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)  # by kind: typed, intended, person
    small_words: Counter[str] = field(default_factory=Counter)  # intended words that may have a table of confusions
    texts: list[tuple[int, int]] = field(default_factory=list)  # words and errors of each text
    pairs: list[tuple[str, str]] = field(default_factory=list)  # typed and intended text of each row of several words
    rows: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # rows left out, by reason
    unread: int = 0  # stretches worded otherwise, which no edit of letters explains
    guessed: bool = False  # whether the intended words are guesses from a log


def small_word(word: str) -> bool:
    """Returns whether a word is so short that a profile may name it."""
    return len(word) <= 4


@lru_cache(maxsize=1 << 16)
def core(token: str) -> str:
    """Returns the longest run of letters of a token, in lower case, without apostrophes; "" where it holds a digit.

    >>> core('"Don’t,'), core("7.50"), core("twenty-one")
    ('dont', '', 'twenty')
    """
    if any(map(str.isdigit, token)):
        return ""
    return max(_LETTERS.findall(token.translate(_APOSTROPHES)), key=len, default="").lower()


def is_misspelling(intended: str, typed: str) -> bool:
    """Returns whether a typed word is near enough to be the intended one misspelt: at most half of its letters."""
    if not typed or intended == typed or max(len(intended), len(typed)) > LONGEST_WORD:
        return False
    most = max(1, len(intended) // 2)
    return abs(len(intended) - len(typed)) <= most and len(align(intended, typed)) <= most


def rows_of(path: str) -> Iterator[tuple[str, Any]]:
    """Yields the rows of a .jsonl, .csv or .tsv file, each with its place; a row that cannot be read is a DataError."""
    try:
        with Path(path).expanduser().open(encoding="utf-8-sig", newline="") as lines:
            if path.endswith(".csv"):
                yield from csv_rows(lines, path)
            elif path.endswith(".tsv"):
                for number, line in enumerate(lines, 1):
                    columns = line.rstrip("\r\n").split("\t")
                    yield f"{path}:{number}", dict(zip(("typed", "intended", "user"), columns, strict=False))
            else:
                yield from json_lines(lines, path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "give a .jsonl, .csv or .tsv file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8", "save the file as UTF-8") from None


def read_pairs(path: str) -> Observed:
    """Reads pairs of typed and intended words or texts, or the rows that `llmkit perturb` wrote.

    Raises DataError where no row names what was intended, or where the pairs are something else, such as translations.
    """
    observed = Observed()
    looked_at = far = 0
    for place, row in rows_of(path):
        observed.rows += 1
        typed, intended, person = _fields(row, place)
        if not isinstance(typed, str) or not isinstance(intended, str):
            observed.skipped["no typed and intended text"] += 1
        elif not typed.strip() or not intended.strip():
            observed.skipped["an empty field"] += 1
        elif max(len(typed), len(intended)) > LONGEST_TEXT:
            observed.skipped[f"longer than {LONGEST_TEXT:,} characters"] += 1
        else:
            looked_at += 1
            far += "perturbation" not in row and _is_far(typed, intended)  # our own noise may be any
            observe(observed, typed, intended, person)
    if not looked_at:
        reasons = ", ".join(f"{count} rows: {reason}" for reason, count in observed.skipped.items()) or "it has no row"
        raise DataError(f"{path}: no pair of a typed and an intended text ({reasons})", PAIR_HINT)
    if far > _SHARE_OF_TRANSLATIONS * looked_at:
        raise DataError(
            f"{path}: {far} of {looked_at} pairs share fewer than half of their letters: these are no misspellings",
            "translations and paraphrases say nothing about how people type; give the same text, corrected",
        )
    return observed


def _fields(row: Any, place: str) -> tuple[Any, Any, str]:
    """Returns the typed text, the intended one, and who wrote it: `user`, else `text`, else the row itself."""
    if not isinstance(row, dict):
        return None, None, place
    person = str(row.get("user") or row.get("text") or place)
    if isinstance(record := row.get("perturbation"), dict) and "original" in record:
        original = record["original"]
        noisy = next((value for name, value in row.items() if name == "question"), None)
        return noisy, original, person
    return row.get("typed"), row.get("intended"), person


def _is_far(typed: str, intended: str) -> bool:
    shorter, longer = sorted((typed[:400].lower(), intended[:400].lower()), key=len)
    return Levenshtein.distance(shorter, longer) > len(longer) / 2


def observe(observed: Observed, typed: str, intended: str, person: str) -> None:
    """Adds the errors of one pair of texts, and the room there was for them."""
    intended_tokens, typed_tokens = intended.split(), typed.split()
    is_text = len(intended_tokens) > 1
    wrong = 0
    compared = [False] * len(intended_tokens)
    if len(intended_tokens) == len(typed_tokens) == 1:
        steps: Iterable[Any] = [("replace", 0, 1, 0, 1)]
    else:
        steps = Levenshtein.opcodes(intended_tokens, typed_tokens)
    for tag, start, end, typed_start, typed_end in _merged(steps):
        if tag == "equal":
            compared[start:end] = [True] * (end - start)
            continue
        old, new = intended_tokens[start:end], typed_tokens[typed_start:typed_end]
        for error, first, last, typed_first, typed_last in _matched(old, new):
            if error is None:
                observed.unread += 1
                continue
            compared[start + first : start + last] = [True] * (last - first)
            if error:
                wrong += 1
                written = " ".join(new[typed_first:typed_last])
                _add(observed, error, " ".join(old[first:last]), written, person, is_text)
    if is_text:
        words = [token for token, is_compared in zip(intended_tokens, compared, strict=True) if is_compared]
        _add_room(observed, words)
        observed.texts.append((max(len(words), wrong), wrong))
        observed.pairs.append((typed, intended))


def _merged(steps: Iterable[Any]) -> Iterator[tuple[str, int, int, int, int]]:
    """Yields stretches of equal and of changed tokens, neighbouring changes as one."""
    change: tuple[str, int, int, int, int] | None = None
    for step in steps:
        tag, start, end, typed_start, typed_end = step
        if tag == "equal":
            if change:
                yield change
            change = None
            yield tag, start, end, typed_start, typed_end
        elif change:
            change = "replace", change[1], end, change[3], typed_end
        else:
            change = "replace", start, end, typed_start, typed_end
    if change:
        yield change


def _matched(old: Sequence[str], new: Sequence[str]) -> list[tuple[str | None, int, int, int, int]]:
    """Pairs the tokens of two stretches, so that as few as possible are left without a word that explains them.

    Returns the error ("" for none, None for what no error explains), and the tokens on both sides.
    """
    if len(old) * len(new) > _MOST_CELLS:
        return [(None, 0, len(old), 0, len(new))]
    best: dict[tuple[int, int], tuple[float, tuple[int, int, str | None]]] = {(0, 0): (0.0, (0, 0, ""))}
    for i in range(len(old) + 1):
        for j in range(len(new) + 1):
            ways: list[tuple[float, tuple[int, int, str | None]]] = []
            if i and j:
                error = "" if old[i - 1] == new[j - 1] else _error(old[i - 1], new[j - 1])
                ways.append((best[i - 1, j - 1][0] + (2.0 if error is None else 0.1 * bool(error)), (1, 1, error)))
            if i and j > 1 and _same_letters(old[i - 1], new[j - 2] + new[j - 1]):
                ways.append((best[i - 1, j - 2][0] + 0.1, (1, 2, "cut")))
            if i > 1 and j and _same_letters(old[i - 2] + old[i - 1], new[j - 1]):
                ways.append((best[i - 2, j - 1][0] + 0.1, (2, 1, "join")))
            if i:
                ways.append((best[i - 1, j][0] + 1.0, (1, 0, None)))
            if j:
                ways.append((best[i, j - 1][0] + 1.0, (0, 1, None)))
            if ways:
                best[i, j] = min(ways, key=lambda way: way[0])
    steps: list[tuple[str | None, int, int, int, int]] = []
    i, j = len(old), len(new)
    while i or j:
        back, typed_back, error = best[i, j][1]
        steps.append((error, i - back, i, j - typed_back, j))
        i, j = i - back, j - typed_back
    return steps[::-1]


def _same_letters(intended: str, typed: str) -> bool:
    return intended.lower().rstrip(_MARKS) == typed.lower().rstrip(_MARKS)


def _error(intended: str, typed: str) -> str | None:
    """Returns the kind of error that makes one token of another; None where there is none, or none that is known."""
    if intended == typed:
        return None
    if intended.lower() == typed.lower():
        return "caps" if sum(map(str.isupper, typed)) < sum(map(str.isupper, intended)) else None
    if intended.translate(_APOSTROPHES).lower() == typed.lower():
        return "apos"
    if intended.rstrip(_MARKS).lower() == typed.lower():
        return "punc"
    old, new = core(intended), core(typed)
    if not old or not is_misspelling(old, new):
        return None
    return "real" if new in real_words() and old in real_words() else "word"


def _add(observed: Observed, error: str, intended: str, typed: str, person: str, is_text: bool) -> None:
    if error == "word" or error == "real":
        old, new = core(intended), core(typed)
        if error == "word" or not (small_word(old) and small_word(new)):
            observed.misspellings.append(Misspelling(new, old, person))
            if is_text:
                observed.wrong_lengths[len(old)] += 1
        if error == "word":
            return
        intended, typed = old, new
    observed.other.setdefault(error, []).append((typed, intended, person))


def _add_room(observed: Observed, tokens: Iterable[str]) -> None:
    previous = ""
    for token in tokens:
        word = core(token)
        if word:
            observed.lengths[len(word)] += 1
            if small_word(word):
                observed.small_words[word] += 1
            observed.room["cut"] += len(word) > 3
            observed.room["join"] += bool(previous)
            observed.room["apos"] += token.translate(_APOSTROPHES) != token
            observed.room["caps"] += token[:1].isupper()
            observed.room["punc"] += token[-1] in _MARKS
        previous = word if token[-1:].isalpha() else ""
