"""The guard of every correction: the parts of a text that no corrector may change.

A proposal is taken apart into changes of whole words, and only those are kept that touch nothing protected and leave
the numbers of the text as they are, so that one bad change does not cost the good ones. All of it takes time that is
linear in the text.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import cache

from rapidfuzz.distance import Levenshtein, Opcode

from llmkit.perturb.numerals import amounts, numbers
from llmkit.perturb.protection import PROTECT, RELEASE, Protection, Span, merged
from llmkit.perturb.text import Change, Source, apply

QUOTES = "quotes"
_QUOTED = re.compile(r'"[^"\n]{1,400}"|\u201c[^\u201c\u201d\n]{1,400}\u201d|\u00ab[^\u00ab\u00bb\n]{1,400}\u00bb')

_WINDOW = 1_024  # tokens that are aligned at once: the time of an alignment is quadratic in them
_LOOK_AHEAD = 512  # tokens more of the proposal, because it may have gained some
_ANCHOR = 5  # equal tokens in a row that two windows may be parted at
_REACH = 160  # characters on each side of a change that a number around it may extend to


def quoted(text: str) -> Iterator[Span]:
    """Finds spans in double quotation marks: somebody else's words, or a name.

    >>> [text[a:b] for text in ['Spell "recieve" right'] for a, b in quoted(text)]
    ['"recieve"']
    """
    return (match.span() for match in _QUOTED.finditer(text))


def protected(text: str, options: Sequence[str] = (), released: Collection[str] = ()) -> list[Span]:
    """Returns the spans of a text that no correction may touch, sorted and merged; numbers are not among them."""
    spans = Protection(PROTECT, [name for name in released if name in RELEASE]).spans(text, options)
    return spans if QUOTES in released else merged([*spans, *quoted(text)])


def kept_changes(text: str, proposed: str, options: Sequence[str] = (), released: Collection[str] = ()) -> list[Change]:
    """Returns the changes of `text` towards `proposed` that touch nothing protected and neither lose nor add a number.

    Changes are of whole words; white space stays where both texts have some. `released` are kinds of protected text
    that may change: of `RELEASE`, and "quotes".

    >>> kept_changes("He boght 3 pens", "He bought 4 pens")
    [Change(start=3, end=8, new='bought')]
    """
    protection = Protection(PROTECT, [name for name in released if name in RELEASE])
    spans = protected(text, options, released)
    source = Source(text, spans, protection.numbers, protection.number_words)
    starts = [start for start, _ in spans]

    def is_free(change: Change) -> bool:
        # What touches a protected span could become a part of it, as a letter after an address would.
        place = bisect_left(starts, change.end + 1)
        return (not place or spans[place - 1][1] < change.start) and source.free(change.start, change.end)

    def is_exchange(change: Change) -> bool:
        return bool(text[change.start : change.end].strip() and change.new.strip())

    groups = []
    for group in _neighbours(text, changes_between(text, proposed)):
        alone = [change for change in group if is_free(change) and is_exchange(change)]
        groups.append((group if all(map(is_free, group)) else alone, alone))
    if not protection.numbers:
        return [change for group, _ in groups for change in group]
    return _keeping_numbers(text, groups, protection.number_words)


def _keeping_numbers(text: str, groups: Sequence[tuple[list[Change], list[Change]]], words: bool) -> list[Change]:
    """Returns the changes that leave the numbers of a text as they are, in the order of the text. Each group is tried
    whole, then its exchanges one by one; of two that do not agree the earlier one stays."""
    changes = [change for group, _ in groups for change in group]
    if not changes or _figures(text, words) == _figures(apply(text, changes)[0], words):
        return changes
    kept: list[Change] = []
    for group, alone in groups:
        for some in (group, *([change] for change in alone)):
            if some and _agree(text, kept, some, words):
                kept += some
                if some is group:
                    break
    return kept


def _agree(text: str, kept: Sequence[Change], added: Sequence[Change], words: bool) -> bool:
    """Returns whether the numbers around some changes stay as they are beside those that are kept before them."""
    start, end = _around(text, added[0].start, added[-1].end)
    before = len(kept)
    while before and kept[before - 1].end >= start:
        before -= 1
        start = min(start, kept[before].start)
    nearby = [Change(c.start - start, c.end - start, c.new) for c in (*kept[before:], *added)]
    window = text[start:end]
    return _figures(window, words) == _figures(apply(window, nearby)[0], words)


def _figures(text: str, words: bool) -> tuple[Counter[str], list[str]]:
    """Returns the numbers of a text, and in order those in figures with their currency, sign and per cent."""
    return numbers(text, words), ["".join(text[start:end].split()) for start, end in amounts(text)]


def _around(text: str, start: int, end: int) -> Span:
    """Widens a span by the two words on each side that a number may share with it: "3 / 4", "$ 5"."""
    first, last = max(0, start - _REACH), min(len(text), end + _REACH)
    before, after = text[first:start], text[end:last]
    words_before, words_after = before.rsplit(None, 2), after.split(None, 2)
    if len(words_before) == 3 and before[-1:].strip():
        first = start - len(before) + len(words_before[0])
    if len(words_after) == 3 and after[:1].strip():
        last = end + len(after) - len(words_after[2])
    return first, last


def changes_between(text: str, proposed: str) -> list[Change]:
    """Returns a short list of changes of whole words, spaces and marks that turns `text` into `proposed`, but for the
    white space that both have in one place, which stays as it is in `text`.

    It is the shortest for texts of up to 1,024 tokens; longer ones are aligned a window at a time.
    """
    old, new = _tokens(text), _tokens(proposed)
    old_words, new_words = [_compared(text[a:b]) for a, b in old], [_compared(proposed[a:b]) for a, b in new]
    changes = []
    for first, last, new_first, new_last in _replaced(old_words, new_words):
        start = old[first][0] if first < len(old) else len(text)
        end = old[last - 1][1] if last > first else start
        new_part = proposed[new[new_first][0] : new[new_last - 1][1]] if new_last > new_first else ""
        changes.append(Change(start, end, new_part))
    return changes


def _compared(token: str) -> str:
    return " " if token.isspace() else token


def _replaced(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yields which tokens of `old` give way to which of `new`, as pairs of ends, in order."""
    at, new_at = 0, 0
    while at < len(old) or new_at < len(new):
        is_last = len(old) - at <= _WINDOW and len(new) - new_at <= _WINDOW + _LOOK_AHEAD
        window = old[at : at + _WINDOW] if not is_last else old[at:]
        new_window = new[new_at : new_at + _WINDOW + _LOOK_AHEAD] if not is_last else new[new_at:]
        steps = list(Levenshtein.opcodes(window, new_window))
        if not is_last:
            # The end of a window is aligned without what comes next: only what an anchor confirms is used.
            anchors = [i for i, step in enumerate(steps) if step.tag == "equal" and _is_anchor(step)]
            if not anchors:
                yield at, len(old), new_at, len(new)
                return
            steps = steps[: anchors[-1] + 1]
        for step in steps:
            if step.tag != "equal":
                yield at + step.src_start, at + step.src_end, new_at + step.dest_start, new_at + step.dest_end
        if is_last:
            return
        at, new_at = at + steps[-1].src_end, new_at + steps[-1].dest_end


def _is_anchor(step: Opcode) -> bool:
    return step.src_end - step.src_start >= _ANCHOR


def _neighbours(text: str, changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Yields runs of changes with nothing but white space between them.

    They may belong together: "to gether" becomes one word by the exchange of one and the loss of the other.
    """
    run: list[Change] = []
    for change in changes:
        if run and text[run[-1].end : change.start].strip():
            yield run
            run = []
        run.append(change)
    if run:
        yield run


_ASCII_TOKEN = re.compile(r"\w+(?:'\w+)*|\s+|[^\w\s]")


def _tokens(text: str) -> list[Span]:
    """Returns the words of a text with their combining marks, the white space between them, and single signs."""
    return [match.span() for match in (_ASCII_TOKEN if text.isascii() else _token()).finditer(text)]


@cache
def _token() -> re.Pattern[str]:
    """Builds the pattern of a token in any script: `\\w` leaves out the marks that are written above and below."""
    marks, start = "", 0
    for code in range(sys.maxunicode + 2):
        is_mark = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith("M")
        if is_mark and not start:
            start = code
        elif not is_mark and start:
            marks += f"{chr(start)}-{chr(code - 1)}"
            start = 0
    letter = rf"[\w{marks}\u200c\u200d]"
    return re.compile(rf"{letter}+(?:['\u2019]{letter}+)*|\s+|[^\w\s]")
