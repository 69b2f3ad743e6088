"""Alignments of two words: edits of letters and pairs, their kinds and places, and the rules they follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

START, END = "^", "$"
"""The neighbours of a word's first and last letter."""

LONGEST_WORD = 40
"""Longer runs of letters are left alone: aligning them takes quadratic time, and they are hardly words."""

LONGEST_BLOCK = 3  # letters on either side of a rewrite such as ph > f
PLACES = ("head", "2nd", "mid", "pen", "tail")
KINDS = ("del", "ins", "dup", "sub", "swap", "more")
"""Kinds of misspelling: a letter left out, added, doubled, replaced, two exchanged; several edits."""


ANY = "\0"
"""As the new letters of an edit: any letter that no rule names here."""


class Rewrite(NamedTuple):
    """One edit of a word: `word[start:end]` becomes `new`."""

    start: int
    end: int
    new: str


def key(left: str, old: str, new: str, right: str) -> str:
    """Writes a rule, with the neighbours that it asks for: "i(e>)$" leaves out an e between i and the word's end."""
    return f"{left}({old}>{new}){right}"


def read_key(name: str) -> tuple[str, str, str, str]:
    """Reads what `key` wrote: left neighbour, old letters, new letters, right neighbour.

    >>> read_key("i(e>)$")
    ('i', 'e', '', '$')
    """
    left, _, rest = name.partition("(")
    middle, _, right = rest.rpartition(")")
    old, _, new = middle.partition(">")
    return left, old, new, right


def kind(word: str, edit: Rewrite) -> str:
    """Returns the kind of one edit.

    >>> kind("their", Rewrite(2, 4, "ie")), kind("until", Rewrite(4, 5, "ll")), kind("phone", Rewrite(0, 2, "f"))
    ('swap', 'dup', 'more')
    """
    return kind_of_rule(word[edit.start : edit.end], edit.new)


@lru_cache(maxsize=1 << 12)
def kind_of_rule(old: str, new: str) -> str:
    before, after = len(old), len(new)
    if (before == 1 and not new) or (before == 2 and old == new + new):
        return "del"
    if not old and after == 1:
        return "ins"
    if before == 1 and new == old + old:
        return "dup"
    if before == after == 1:
        return "sub"
    return "swap" if before == after == 2 and old == new[::-1] else "more"


def place(start: int, end: int, length: int) -> str:
    """Returns where in a word an edit is: at its head, its second letter, its last but one, its tail, or between."""
    if start < 2:
        return "2nd" if start else "head"
    return "tail" if end == length else "pen" if end == length - 1 else "mid"


@lru_cache(maxsize=1 << 14)
def align(intended: str, typed: str) -> tuple[Rewrite, ...]:
    """Returns the fewest edits of single letters and neighbouring pairs that make `typed` of `intended`.

    Of equally few, those furthest to the right. A letter doubled, or a double letter written once, is an edit of that
    letter or pair, because what matters is what stands around the pair.

    >>> align("accommodate", "acomodatte")
    (Rewrite(start=1, end=3, new='c'), Rewrite(start=4, end=6, new='m'), Rewrite(start=9, end=10, new='tt'))
    """
    rows, columns = len(intended), len(typed)
    costs = [list(range(columns + 1))]
    for i in range(1, rows + 1):
        above, row = costs[-1], [i]
        letter = intended[i - 1]
        for j in range(1, columns + 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != typed[j - 1]))
            if i > 1 and j > 1 and letter == typed[j - 2] and intended[i - 2] == typed[j - 1] != letter:
                cost = min(cost, costs[i - 2][j - 2] + 1)
            row.append(cost)
        costs.append(row)
    edits: list[Rewrite] = []
    i, j = rows, columns
    while i or j:
        cost = costs[i][j]
        if i and costs[i - 1][j] + 1 == cost:
            edits.append(Rewrite(i - 1, i, ""))
            i -= 1
        elif j and costs[i][j - 1] + 1 == cost:
            edits.append(Rewrite(i, i, typed[j - 1]))
            j -= 1
        elif i and j and intended[i - 1] == typed[j - 1] and costs[i - 1][j - 1] == cost:
            i, j = i - 1, j - 1
        elif (
            i > 1
            and j > 1
            and intended[i - 1] == typed[j - 2] != typed[j - 1] == intended[i - 2]
            and costs[i - 2][j - 2] + 1 == cost
        ):
            edits.append(Rewrite(i - 2, i, typed[j - 2 : j]))
            i, j = i - 2, j - 2
        else:
            edits.append(Rewrite(i - 1, i, typed[j - 1]))
            i, j = i - 1, j - 1
    edits.reverse()
    for number, (start, end, new) in enumerate(edits):
        is_free = start > 0 and (number == 0 or edits[number - 1].end < start)
        before = intended[start - 1 : start]
        if is_free and not new and end == start + 1 and before == intended[start]:
            edits[number] = Rewrite(start - 1, end, before)
        elif is_free and start == end and new == before:
            edits[number] = Rewrite(start - 1, end, before + before)
    return tuple(edits)


def blocks(edits: Sequence[Rewrite]) -> Iterator[tuple[Rewrite, tuple[Rewrite, ...]]]:
    """Yields stretches of edits that touch, each as one rewrite and as the edits it is made of."""
    run: list[Rewrite] = []
    for edit in (*edits, None):
        if run and (edit is None or edit.start != run[-1].end):
            yield Rewrite(run[0].start, run[-1].end, "".join(piece.new for piece in run)), tuple(run)
            run = []
        if edit is not None:
            run.append(edit)


def rewritten(word: str, edits: Iterable[Rewrite]) -> str:
    """Applies edits that do not overlap; what is added in one place is added in the order given.

    >>> rewritten("their", [Rewrite(2, 4, "ie")])
    'thier'
    """
    given = list(edits)
    given.reverse()
    for edit in sorted(given, key=lambda edit: edit[:2], reverse=True):
        word = word[: edit.start] + edit.new + word[edit.end :]
    return word


def new_pairs(before: str, old: str, new: str, after: str) -> tuple[str, ...]:
    """Returns the pairs of letters that come to stand together by an edit between two letters.

    >>> new_pairs("c", "h", "", "o"), new_pairs("t", "h", "g", "e"), new_pairs("i", "l", "ll", "$")
    (('co',), ('tg', 'ge'), ('ll',))
    """
    if not new:
        return (before + after,)
    if old == new + new:
        return ()
    if old and new == old + old:
        return (new,)
    return before + new[0], new[-1] + after


def site(before: str, old: str, after: str) -> str:
    """Names the place of an edit by the letters there: the one that it changes, if any, between its neighbours.

    "" for an edit of several letters, of which no place is met often.
    """
    return before + old + after if len(old) < 2 else ""


def kind_of_pair(intended: str, typed: str) -> str:
    """Returns the kind of a misspelling: that of its one edit, or "more" for several.

    >>> kind_of_pair("because", "becuase"), kind_of_pair("because", "becouse"), kind_of_pair("because", "beacouse")
    ('swap', 'sub', 'more')
    """
    edits = align(intended, typed)
    return kind(intended, edits[0]) if len(edits) == 1 else "more"
