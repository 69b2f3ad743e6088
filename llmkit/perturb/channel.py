"""A noisy channel: how people come to type one word for another. Sampled, it makes noise; scored, it corrects.

Misspelling a word is a number of edits, each drawn among all the edits that the word has room for. The weight of an
edit is its rate between its two neighbours, by one neighbour or none where that pair was too rare to be counted,
times a factor for its place in the word. The model is that of Kernighan, Church and Gale (1990), with the rewrites of
Brill and Moore (2000).
"""

from __future__ import annotations

import math
from bisect import bisect, bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import NamedTuple

from llmkit.perturb.alignment import (
    ANY,
    END,
    LONGEST_BLOCK,
    START,
    Rewrite,
    align,
    blocks,
    kind,
    kind_of_rule,
    new_pairs,
    place,
    read_key,
    rewritten,
)
from llmkit.perturb.base import weighted

MOST_EDITS = 4
_UNKNOWN = 1e-7  # the share of an edit, or of a number of edits, that the model does not know
_SECOND = (4, 6, 8, 10)  # the upper ends of the lengths over which the number of edits is shared


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


def length_class(length: int) -> int:
    """Returns the number of the class of word lengths that shares its numbers of edits."""
    return bisect_left(_SECOND, length)


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
    """By two letters, the factor on every edit that puts the second behind the first: some pairs cannot be spoken."""
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
                rules[old, new] = Rule(new, kind_of_rule(old, new), rate, {}, {}, {})
        for left, old, new, right, rate in sided:
            if rule := rules.get((old, new)):
                rates = rule.by_both if left and right else rule.by_left if left else rule.by_right
                rates[left + right] = rate
        by_old: dict[str, list[Rule]] = {}
        for (old, _), rule in rules.items():
            by_old.setdefault(old, []).append(rule)
        object.__setattr__(self, "_rules", by_old)

    def edits(self, word: str) -> Iterator[tuple[Rewrite, Rule | None, float]]:
        """Yields every edit that the word has room for, each typed form of a single edit once. With it come its rule
        (None for a rare one) and what its rate is to be multiplied by.

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
                    if (new + new == old and after == new) or (old + old == new and old in (before, after)):
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
                    if old and old not in (before, after) and not any(rule.kind == "dup" for rule in rules):
                        yield Rewrite(start, end, old + old), None, places.get(f"dup.{where}", 1.0)
                elif end - start == 2 and old[0] == old[1]:
                    if after != old[0] and not any(rule.kind == "del" for rule in rules):
                        yield Rewrite(start, end, old[0]), None, places.get(f"del.{where}", 1.0)
                elif end - start == 2 and not any(rule.kind == "swap" for rule in rules):
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
            choices: list[tuple[float, Rewrite]] = []
            for edit, rule, factor in self.edits(word):
                start, end, _ = edit
                if rule is not None:
                    choices.append((factor * rule.rate(framed[start], framed[end + 1]), edit))
                elif (rate := factor * self.rare.get(kind(word, edit), 0.0)) > 0:
                    choices.append((rate, edit))
            choices.sort(reverse=True)
            sums = tuple(accumulate(weight for weight, _ in choices))
            options = Options(tuple(edit for _, edit in choices), sums)
            if len(self._cached) >= 1 << 14:
                self._cached.clear()
            self._cached[word] = options
        return options

    def usual_total(self, words: Sequence[str]) -> float:
        """Returns the usual sum of the weights of all edits of such words: their geometric mean."""
        totals = [total for word in words if (total := self.options(word).total)]
        return math.exp(sum(map(math.log, totals)) / len(totals)) if totals else 0.0

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
        edits, sums = options
        shares = self.numbers[length_class(len(word))]
        for _ in range(8):
            edit = edits[bisect(sums, rng.random() * sums[-1])]
            chosen, share = [edit], rng.random() - shares[0]
            if share >= 0:
                count = 2
                for number_share in shares[1:]:
                    share -= number_share
                    if share < 0:
                        break
                    count += 1
                for _ in range(4 * min(count, MOST_EDITS)):
                    edit = edits[bisect(sums, rng.random() * sums[-1])]
                    if not any(_collide(edit, other) for other in chosen):
                        chosen.append(edit)
                        if len(chosen) >= count:
                            break
            typed = rewritten(word, [self._settled(word, one, rng) for one in chosen])
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
        return edit._replace(new=weighted(dict(others), rng))

    def log_probability(self, typed: str, intended: str, total: float | None = None) -> float:
        """Returns the natural logarithm of the probability that `intended`, where it is misspelt, is typed so.

        Of the ways to part several edits into rules the likeliest counts. What the channel never types has a small
        share all the same, because a corrector meets it; minus infinity only where nothing is misspelt. `total` takes
        the place of the sum over all edits of the word, which is exact and slow (see `usual_total`).
        """
        if typed == intended:
            return -math.inf
        if total is None:
            total = self.options(intended).total
        if not total:
            return -math.inf
        logs, count = 0.0, 0
        for block, pieces in blocks(align(intended, typed)):
            whole = self.weight(intended, block)
            parts = [max(self.weight(intended, piece) / total, _UNKNOWN) for piece in pieces]
            part_log = sum(map(math.log, parts))
            if len(pieces) > 1 and whole and math.log(whole / total) > part_log:
                logs, count = logs + math.log(whole / total), count + 1
            else:
                logs, count = logs + part_log, count + len(pieces)
        shares = self.numbers[length_class(len(intended))]
        share = shares[count - 1] if count <= len(shares) else 0.0
        return logs + math.log(max(share, _UNKNOWN) * math.factorial(count))


def _collide(edit: Rewrite, other: Rewrite) -> bool:
    if edit.start == edit.end or other.start == other.end:
        return (
            edit.start <= other.end and other.start <= edit.end and (edit.start, edit.end) == (other.start, other.end)
        )
    return edit.start < other.end and other.start < edit.end
