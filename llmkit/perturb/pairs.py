"""Noise from files: a user's pairs of questions, and real typing slips."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from rapidfuzz.distance import Levenshtein

from llmkit.errors import DataError
from llmkit.parsing import parse_json
from llmkit.perturb.base import TextEdit, WordEdit, like, operator, pick
from llmkit.perturb.stems import noisy_stem, stem, without_last_line, without_noisy_line
from llmkit.perturb.text import Change, Source

_WORDS_AND_SPACES = re.compile(r"\S+|\s+")


def differences(text: str, new_text: str) -> list[Change]:
    """Returns the changes that make `new_text` of `text`, word by word; neighbouring ones become one.

    >>> [tuple(change) for change in differences("one two three", "one owt three")]
    [(4, 7, 'owt')]
    """
    old_pieces, new_pieces = _WORDS_AND_SPACES.findall(text), _WORDS_AND_SPACES.findall(new_text)
    changes: list[Change] = []
    start = 0
    for step in Levenshtein.opcodes(old_pieces, new_pieces):
        end = start + sum(len(piece) for piece in old_pieces[step.src_start : step.src_end])
        if step.tag != "equal":
            change_start, written = start, "".join(new_pieces[step.dest_start : step.dest_end])
            if changes and changes[-1].end == start:
                change_start, written = changes[-1].start, changes.pop().new + written
            changes.append(Change(change_start, end, written))
        start = end
    return changes


def read_rows(path: str, operator_name: str) -> list[Any]:
    """Reads the rows of a JSON list, of JSON lines or of a .tsv file. DataError if it is none of them."""
    if Path(path).is_dir():  # one kind of noise for several sets
        return [row for file in sorted(Path(path).glob("*.json*")) for row in read_rows(str(file), operator_name)]
    try:
        content = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        hint = f"`{operator_name}:PATH` reads a JSON list, JSON lines or a .tsv file"
        raise DataError(f"{path}: {reason}", hint) from None
    if path.endswith(".tsv"):
        return [line.split("\t") for line in content.splitlines() if line.strip()]
    try:
        if content.lstrip()[:1] == "[":
            return list(parse_json(content))
        return [parse_json(line) for line in content.split("\n") if line.strip()]
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON ({error.msg})") from None


class _Pair(NamedTuple):
    """One pair of a file. `key` is the whole original, options included, as `tasks.normalise` writes it."""

    key: str
    rewritten: str
    stem: str  # of the rewritten question, which its file may follow with options in another order than ours


@cache
def _pairs(path: str) -> dict[str, tuple[_Pair, ...]]:
    """Reads the pairs, by the normalised stem of the original. Files of stories put a line such as "Which choice is
    true?" between story and options: those pairs are found without that line, too."""
    from llmkit.tasks import normalise

    pairs_by_stem: dict[str, tuple[_Pair, ...]] = {}
    pairs_by_short_stem: dict[str, tuple[_Pair, ...]] = {}
    for number, row in enumerate(read_rows(path, "file"), 1):
        try:
            if "perturbation" in row:  # what `llmkit perturb` itself wrote
                original, rewritten = row["perturbation"]["original"], row["question"]
            else:
                original, rewritten = row["original_question"], row["rewritten_question"]
            key, original_stem, rewritten_stem = normalise(original), stem(original), noisy_stem(rewritten)
        except (TypeError, KeyError):
            raise DataError(
                f"{path}: pair {number} has no original_question and rewritten_question",
                'write {"original_question": "...", "rewritten_question": "..."}',
            ) from None
        normalised_stem = normalise(original_stem)
        pairs_by_stem[normalised_stem] = (
            *pairs_by_stem.get(normalised_stem, ()),
            _Pair(key, rewritten, rewritten_stem),
        )
        if original_stem != original and (stem_and_line := without_last_line(original_stem)):
            normalised_stem = normalise(stem_and_line[0])
            pairs_by_short_stem[normalised_stem] = (
                *pairs_by_short_stem.get(normalised_stem, ()),
                _Pair(key, rewritten, without_noisy_line(rewritten_stem, stem_and_line[1])),
            )
    return pairs_by_short_stem | pairs_by_stem


@operator("file", level="file")
class File(TextEdit):
    """Takes the noisy text from a file of pairs {original_question, rewritten_question}, found by the letters and
    numbers of the original's stem: options may come in another order and stay as they are. Words of the stem that are
    protected stay, too; what the checks reject stays clean and is counted, since published pairs lose numbers (the form
    of the RoP authors' own data, arXiv 2506.03627).
    """

    argument = "PATH"
    adds_numbers = True
    shows_example = False
    nothing = "not in the file, or not changed in it"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.table = _pairs(str(argument))

    def wanted(self, source: Source, rate: float) -> int:
        return 1

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        from llmkit.tasks import normalise

        text, question_stem = source.text, stem(source.text)
        known_pairs = self.table.get(normalise(question_stem))
        if not known_pairs:
            return []
        # The options themselves are taken from the file only where they are the same there and not protected.
        if source.free_word(len(question_stem), len(text)) and (
            same_options := [known_pair for known_pair in known_pairs if known_pair.key == normalise(text)]
        ):
            return differences(text, pick(same_options, rng).rewritten)
        changes = differences(question_stem, pick(known_pairs, rng).stem)
        stem_words = set(question_stem.split())
        return [
            change
            for change in changes
            if source.free_word(change.start, change.end) or not _respells(question_stem, change, stem_words)
        ]


def _respells(text: str, change: Change, stem_words: set[str]) -> bool:
    """Returns whether a change only spells words differently, so that it can be left out by itself: words that were
    moved or exchanged for others of the text would then be lost or doubled."""
    old_words, new_words = text[change.start : change.end].split(), change.new.split()
    return len(old_words) == len(new_words) and stem_words.isdisjoint(new_words)


Letters = dict[tuple[str, str], tuple[str, ...]]


@cache
def _slips(path: str) -> tuple[dict[str, tuple[str, ...]], Letters]:
    """Reads the typed forms of whole words, and of letters by the letter before them and the letters intended."""
    forms_by_word: dict[str, list[str]] = {}
    forms_by_letters: dict[tuple[str, str], list[str]] = {}
    for number, row in enumerate(read_rows(path, "natural"), 1):
        typed_and_intended = (row.get("typed"), row.get("intended")) if isinstance(row, dict) else row
        columns = (
            typed_and_intended
            if isinstance(typed_and_intended, list | tuple) and len(typed_and_intended) == 2
            else ("", "")
        )
        if not all(isinstance(column, str) and column.strip() for column in columns):
            hint = 'write {"typed": "teh", "intended": "the"}, or two columns in a .tsv'
            raise DataError(f"{path}: pair {number} is not (typed, intended)", hint)
        typed, intended = (column.strip().lower() for column in columns)
        if typed == intended:
            continue
        forms_by_word.setdefault(intended, []).append(typed)
        for step in Levenshtein.opcodes(intended, typed):
            start, end = step.src_start, step.src_end
            if step.tag != "equal" and end - start <= 2:
                typed_letters = forms_by_letters.setdefault(
                    (intended[max(0, start - 1) : start], intended[start:end]), []
                )
                typed_letters.append(typed[step.dest_start : step.dest_end])
    if not forms_by_word:
        raise DataError(f"{path}: no pair in it differs", "the typed word comes first, the intended one second")
    return {word: tuple(typed_forms) for word, typed_forms in forms_by_word.items()}, {
        key: tuple(new_letters) for key, new_letters in forms_by_letters.items()
    }


@operator("natural", level="word")
class Natural(WordEdit):
    """Slips sampled from a file of real (typed, intended) pairs: a whole word where the file has it, as often as there,
    else a change of letters that the file shows behind the same letter (natural noise of Belinkov and Bisk 2018,
    arXiv 1711.02173).

    JSON lines {"typed": ..., "intended": ...}, or two columns in a .tsv file.
    """

    argument = "PATH"
    shows_example = False
    min_letters = 2

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.words, self.letters = _slips(str(argument))

    def edit(self, word: str, rng: Random) -> str | None:
        lower_word = word.lower()
        if typed_forms := self.words.get(lower_word):
            return like(pick(typed_forms, rng), word)
        places = [
            (place, letter_before, old_letters)
            for letter_before, old_letters in self.letters
            for place in range(len(word) - len(old_letters) + 1)
            if lower_word.startswith(old_letters, place) and lower_word[max(0, place - 1) : place] == letter_before
        ]
        if not places:
            return None
        i, letter_before, old_letters = pick(places, rng)
        return word[:i] + pick(self.letters[letter_before, old_letters], rng) + word[i + len(old_letters) :] or None
