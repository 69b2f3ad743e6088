"""A noisy channel: how people come to type one word for another. Sampled, it makes noise; scored, it serves a corrector.

Misspelling a word is a number of edits, each drawn among all the edits that the word has room for. The weight of an
edit is its rate between its two neighbours, by one neighbour or none where that pair was too rare to be counted,
times a factor for its place in the word. The model is that of Kernighan, Church and Gale (1990), with the rewrites of
Brill and Moore (2000).
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import NamedTuple

START, END = "^", "$"
"""The neighbours of a word's first and last letter."""

LONGEST_WORD = 40
"""Longer runs of letters are left alone: aligning them takes quadratic time, and they are hardly words."""

MOST_EDITS = 4
LONGEST_BLOCK = 3  # letters on either side of a rewrite such as ph > f
PLACES = ("head", "2nd", "mid", "pen", "tail")
KINDS = ("del", "ins", "dup", "sub", "swap", "more")
"""Kinds of misspelling: a letter left out, added, doubled, replaced, two exchanged; several edits."""

_SECOND = (4, 6, 8, 10)  # the upper ends of the lengths over which the number of edits is shared


ANY = "\0"
"""As the new letters of an edit: any letter that no rule names here."""


class Rewrite(NamedTuple):
    """One edit of a word: `word[start:end]` becomes `new`."""

    start: int
    end: int
    new: str


class Rule(NamedTuple):
    """A rewrite of certain letters, and its rates: for each time they are typed, and by what is typed around them."""

    new: str
    kind: str
    base: float
    by_left: dict[str, float]
    by_right: dict[str, float]
    by_both: dict[str, float]

    def rate(self, left: str, right: str) -> float:
        """Returns the rate between two neighbours. Where that pair is not known, it is that of the left one times that
        of the right one, each as a ratio to the base."""
        between = self.by_both.get(left + right)
        if between is not None:
            return between
        return self.by_left.get(left, self.base) * self.by_right.get(right, self.base) / self.base


class Options(NamedTuple):
    """All edits of a word, with their weights summed up to each."""

    edits: tuple[Rewrite, ...]
    sums: tuple[float, ...]

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return self.sums[-1] if self.sums else 0.0


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
    return _kind(word[edit.start : edit.end], edit.new)


@lru_cache(maxsize=1 << 12)
def _kind(old: str, new: str) -> str:
    before, after = len(old), len(new)
    if before == 1 and not new or before == 2 and old == new + new:
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
    """Applies edits that do not overlap.

    >>> rewritten("their", [Rewrite(2, 4, "ie")])
    'thier'
    """
    for edit in sorted(edits, reverse=True):
        word = word[: edit.start] + edit.new + word[edit.end :]
    return word


def new_pairs(before: str, old: str, new: str, after: str) -> tuple[str, ...]:
    """Returns the pairs of letters that come to stand together by an edit between two letters.

    >>> new_pairs("c", "h", "", "o"), new_pairs("t", "h", "g", "e"), new_pairs("i", "l", "ll", "$")
    (('co',), ('tg', 'ge'), ())
    """
    if not new:
        return (before + after,)
    if old and new == old + old or old == new + new:
        return ()
    return before + new[0], new[-1] + after


def kind_of_pair(intended: str, typed: str) -> str:
    """Returns the kind of a misspelling: that of its one edit, or "more" for several.

    >>> kind_of_pair("because", "becuase"), kind_of_pair("because", "becouse"), kind_of_pair("because", "beacouse")
    ('swap', 'sub', 'more')
    """
    edits = align(intended, typed)
    return kind(intended, edits[0]) if len(edits) == 1 else "more"


def length_class(length: int) -> int:
    """Returns the number of the class of word lengths that shares its numbers of edits."""
    return bisect([bound + 1 for bound in _SECOND], length)


LENGTH_CLASSES = len(_SECOND) + 1


@dataclass(frozen=True)
class Channel:
    """The rates of edits. Holds no state that a draw changes; equal channels draw equal words for equal seeds."""

    rates: Mapping[str, float]
    """By rule (see `key`): edits for each time that its letters, in its neighbourhood, are typed."""
    rare: Mapping[str, float]
    """By kind, the rate of each edit that was seen too rarely to be a rule."""
    places: Mapping[str, float]
    """By kind and place ("del.head"), the factor on every rate there."""
    numbers: Sequence[Sequence[float]]
    """By class of word length, the shares of one, two, three and four edits."""
    pairs: Mapping[str, float]
    """By two letters, the factor on every edit that puts the second behind the first: what people type can be spoken."""
    letters: str
    """The letters that an edit may add."""
    _rules: Mapping[str, Sequence[Rule]] = field(init=False, repr=False, compare=False)
    _cached: dict[str, Options] = field(init=False, repr=False, compare=False, default_factory=dict)
    _others: dict[tuple[str, str, str], Sequence[tuple[str, float]]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        rules: dict[tuple[str, str], Rule] = {}
        sided: list[tuple[str, str, str, str, float]] = []
        for name, rate in self.rates.items():
            left, old, new, right = read_key(name)
            if left or right:
                sided.append((left, old, new, right, rate))
            elif rate > 0:
                rules[old, new] = Rule(new, _kind(old, new), rate, {}, {}, {})
        for left, old, new, right, rate in sided:
            if rule := rules.get((old, new)):
                rates = rule.by_both if left and right else rule.by_left if left else rule.by_right
                rates[left + right] = rate
        by_old: dict[str, list[Rule]] = {}
        for (old, _), rule in rules.items():
            by_old.setdefault(old, []).append(rule)
        object.__setattr__(self, "_rules", by_old)

    def edits(self, word: str) -> Iterator[tuple[Rewrite, Rule | None, float]]:
        """Yields every edit that the word has room for, each typed form of a single edit once, with its rule (None for a
        rare one) and what its rate is to be multiplied by.

        All rare edits that put a letter in one place are one, with the new letter `ANY`.
        """
        length, places = len(word), self.places
        for start in range(length + 1):
            before = word[start - 1] if start else START
            for end in range(start, min(length, start + LONGEST_BLOCK) + 1):
                old, after = word[start:end], word[end] if end < length else END
                rules = self._rules.get(old, ())
                where = place(start, end, length)
                for rule in rules:
                    new = rule.new
                    if (not old and new in (before, after)) or (not new and old in (before, after)):
                        continue  # adding or dropping one of two equal letters is an edit of the pair
                    if new + new == old and after == new or old + old == new and old in (before, after):
                        continue  # as is the same edit one letter further on; nobody writes a letter thrice
                    factor = places.get(f"{rule.kind}.{where}", 1.0)
                    yield Rewrite(start, end, new), rule, factor * self._fit(before, old, new, after)
                if end - start < 2:
                    others = sum(weight for _, weight in self.others(before, old, after))
                    if others:
                        rare = "sub" if old else "ins"
                        yield Rewrite(start, end, ANY), None, others * places.get(f"{rare}.{where}", 1.0)
                    if old and old not in (before, after) and all(rule.new for rule in rules):
                        factor = places.get(f"del.{where}", 1.0)
                        yield Rewrite(start, end, ""), None, factor * self.pairs.get(before + after, 1.0)
                elif end - start == 2 and old[0] != old[1] and not any(rule.kind == "swap" for rule in rules):
                    factor = places.get(f"swap.{where}", 1.0) * self._fit(before, old, old[::-1], after)
                    yield Rewrite(start, end, old[::-1]), None, factor

    def _fit(self, before: str, old: str, new: str, after: str) -> float:
        """Returns the factor of the pairs of letters that an edit makes."""
        factor = 1.0
        for pair in new_pairs(before, old, new, after):
            factor *= self.pairs.get(pair, 1.0)
        return factor

    def others(self, before: str, old: str, after: str) -> Sequence[tuple[str, float]]:
        """Returns the letters that no rule puts in this place, each with the factor of the pairs that it makes."""
        around = before, old, after
        others = self._others.get(around)
        if others is None:
            known = {rule.new for rule in self._rules.get(old, ())} | set(old or (before, after))
            others = [(new, self._fit(before, old, new, after)) for new in self.letters if new not in known]
            self._others[around] = others
        return others

    def options(self, word: str) -> Options:
        """Returns every edit of the word, the likeliest first, and the sums of their weights."""
        options = self._cached.get(word)
        if options is None:
            framed = f"{START}{word}{END}"
            weighted: list[tuple[float, Rewrite]] = []
            for edit, rule, factor in self.edits(word):
                start, end, _ = edit
                if rule is not None:
                    weighted.append((factor * rule.rate(framed[start], framed[end + 1]), edit))
                elif (rate := factor * self.rare.get(kind(word, edit), 0.0)) > 0:
                    weighted.append((rate, edit))
            weighted.sort(reverse=True)
            sums = tuple(accumulate(weight for weight, _ in weighted))
            options = Options(tuple(edit for _, edit in weighted), sums)
            if len(self._cached) >= 1 << 14:
                self._cached.clear()
            self._cached[word] = options
        return options

    def weight(self, word: str, edit: Rewrite) -> float:
        """Returns the weight of one edit of a word; 0 where the model does not know such an edit."""
        start, end, new = edit
        old, edit_kind = word[start:end], kind(word, edit)
        before, after = word[start - 1] if start else START, word[end] if end < len(word) else END
        factor = self.places.get(f"{edit_kind}.{place(start, end, len(word))}", 1.0)
        factor *= self._fit(before, old, new, after)
        for rule in self._rules.get(old, ()):
            if rule.new == new:
                return factor * rule.rate(before, after)
        return factor * self.rare.get(edit_kind, 0.0)

    def sample(self, word: str, rng: Random) -> str | None:
        """Draws a misspelling of a word in lower case; None where the channel has no edit for it."""
        options = self.options(word)
        if not options.edits:
            return None
        for _ in range(8):
            count, share = 1, rng.random()
            for number_share in self.numbers[length_class(len(word))]:
                share -= number_share
                if share < 0:
                    break
                count += 1
            chosen: list[Rewrite] = []
            for _ in range(4 * min(count, MOST_EDITS)):
                edit = options.edits[bisect(options.sums, rng.random() * options.total)]
                if not any(_collide(edit, other) for other in chosen):
                    chosen.append(edit)
                    if len(chosen) >= count:
                        break
            typed = rewritten(word, [self._settled(word, edit, rng) for edit in chosen])
            if typed and typed != word:
                return typed
        return None

    def _settled(self, word: str, edit: Rewrite, rng: Random) -> Rewrite:
        """Returns the edit with its letter drawn, if it may be any."""
        if edit.new != ANY:
            return edit
        start, end = edit.start, edit.end
        before, after = word[start - 1] if start else START, word[end] if end < len(word) else END
        others = self.others(before, word[start:end], after)
        remaining = rng.random() * sum(weight for _, weight in others)
        for letter, weight in others:
            remaining -= weight
            if remaining < 0:
                break
        return edit._replace(new=letter)

    def log_probability(self, typed: str, intended: str) -> float:
        """Returns the natural logarithm of the probability that `intended`, where it is misspelt, is typed so.

        Of the ways to part several edits into rules the likeliest counts, so that a sum over all typed forms is at most
        1. Minus infinity where the channel cannot type it.
        """
        if typed == intended:
            return -math.inf
        total = self.options(intended).total
        if not total:
            return -math.inf
        logs, count = 0.0, 0
        for block, pieces in blocks(align(intended, typed)):
            whole = self.weight(intended, block)
            parts = [self.weight(intended, piece) for piece in pieces]
            part_log = sum(math.log(part / total) if part else -math.inf for part in parts)
            if len(pieces) > 1 and whole and math.log(whole / total) > part_log:
                logs, count = logs + math.log(whole / total), count + 1
            else:
                logs, count = logs + part_log, count + len(pieces)
        shares = self.numbers[length_class(len(intended))]
        share = shares[count - 1] if count <= len(shares) else 0.0
        return logs + math.log(share * math.factorial(count)) if share else -math.inf


def _collide(edit: Rewrite, other: Rewrite) -> bool:
    if edit.start == edit.end or other.start == other.end:
        return (
            edit.start <= other.end and other.start <= edit.end and (edit.start, edit.end) == (other.start, other.end)
        )
    return edit.start < other.end and other.start < edit.end
