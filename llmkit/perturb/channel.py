"""A noisy channel: how people come to type one word for another. Sampled, it makes noise; scored, it corrects.

Misspelling a word is a number of edits, each drawn among all the edits that the word has room for. The weight of an
edit is its rate between its two neighbours, by one neighbour or none where that pair was too rare to be counted,
times a factor for its place in the word. The model is that of Kernighan, Church and Gale (1990), with the rewrites of
Brill and Moore (2000).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect, bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import NamedTuple

from llmkit.perturb.alignment import (
    ANY,
    END,
    KINDS,
    LONGEST_BLOCK,
    PLACES,
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
    site,
)
from llmkit.perturb.base import weighted

MOST_EDITS = 4
_UNKNOWN = 1e-7  # the share of an edit, or of a number of edits, that the model does not know
_MOST_WORDS, _MOST_PLACES = 1 << 13, 1 << 15  # that are remembered
_SHIFT = 24  # bits of the number of the new letters in that of an edit; length and start are above them
_NEW = (1 << _SHIFT) - 1
_LETTER, _NOTHING, _TWICE, _ONCE, _EXCHANGED, _RULES = range(6)  # numbers of the new letters of rare edits and of rules
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


class Choice(NamedTuple):
    """An edit of certain letters between two neighbours. `fit` is the factor of the pairs of letters that it makes, and
    `number` that of its new letters."""

    number: int
    new: str
    kind: str
    rule: Rule | None
    fit: float
    rate: float


class Options(NamedTuple):
    """All edits of a word, with their weights summed up to each."""

    edits: tuple[Rewrite, ...]
    sums: tuple[float, ...]

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return self.sums[-1] if self.sums else 0.0


class _Weights(NamedTuple):
    """The edits of a word as numbers, and the sums of their weights, the last of which is that of several edits.

    No objects: those of a thousand words keep the garbage collector busy for longer than it takes to weigh them.
    """

    sums: tuple[float, ...]
    edits: array[int]


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
    sites: Mapping[str, float] = field(default_factory=dict)
    """By the letters of a place (see `site`), the factor on every edit there: some endings people hardly get wrong."""
    _rules: Mapping[str, Sequence[Rule]] = field(init=False, repr=False, compare=False)
    _cached: dict[str, _Weights] = field(init=False, repr=False, compare=False, default_factory=dict)
    _choices: dict[tuple[str, str, str], Sequence[Choice]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _factors: Mapping[str, Mapping[str, float]] = field(init=False, repr=False, compare=False)
    _others: dict[tuple[str, str, str], Sequence[tuple[str, float]]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _alphabet: frozenset[str] = field(init=False, repr=False, compare=False)
    _news: Sequence[str] = field(init=False, repr=False, compare=False)
    _numbers: Mapping[str, int] = field(init=False, repr=False, compare=False)

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
        factors = {where: {name: self.places.get(f"{name}.{where}", 1.0) for name in KINDS} for where in PLACES}
        object.__setattr__(self, "_rules", by_old)
        object.__setattr__(self, "_factors", factors)
        object.__setattr__(self, "_alphabet", frozenset(self.letters))
        news = dict.fromkeys(new for _, new in rules)
        object.__setattr__(self, "_news", [*[""] * _RULES, *news])
        object.__setattr__(self, "_numbers", {new: number for number, new in enumerate(news, _RULES)})

    def edits(self, word: str) -> Iterator[tuple[Rewrite, Rule | None, float]]:
        """Yields every edit that the word has room for, each typed form of a single edit once. With it come its rule
        (None for a rare one) and what its rate is to be multiplied by.

        All rare edits that put a letter in one place are one, with the new letter `ANY`.
        """
        for start, end, where, choices in self._places_to_edit(word):
            factors = self._factors[where]
            for choice in choices:
                yield Rewrite(start, end, choice.new), choice.rule, factors[choice.kind] * choice.fit

    def _places_to_edit(self, word: str) -> Iterator[tuple[int, int, str, Sequence[Choice]]]:
        """Yields the stretches of a word that an edit may change: start, end, place in the word, edits."""
        framed, length, known, rules = f"{START}{word}{END}", len(word), self._choices, self._rules
        for start in range(length + 1):
            before = framed[start]
            for end in range(start, min(length, start + LONGEST_BLOCK) + 1):
                old = word[start:end]
                if end - start > 2 and old not in rules:
                    continue
                around = before, old, framed[end + 1]
                choices = known.get(around)
                if choices is None:
                    known[around] = choices = tuple(self._choices_between(*around))
                if choices:
                    yield start, end, place(start, end, length), choices

    def _choices_between(self, before: str, old: str, after: str) -> Iterator[Choice]:
        """Yields the edits of certain letters between two neighbours, wherever in a word they are."""
        rules = self._rules.get(old, ())
        at_site = self.sites.get(site(before, old, after), 1.0)
        for rule in rules:
            new = rule.new
            if (not old and new in (before, after)) or (not new and old in (before, after)):
                continue  # adding or dropping one of two equal letters is an edit of the pair
            if (new + new == old and after == new) or (old + old == new and old in (before, after)):
                continue  # as is the same edit one letter further on; nobody writes a letter thrice
            fit = at_site * self._fit(before, old, new, after)
            yield Choice(self._numbers[new], new, rule.kind, rule, fit, rule.rate(before, after))
        kinds = {rule.kind for rule in rules}
        rare: list[tuple[int, str, float]] = []
        if len(old) < 2:
            of_any = sum(weight for _, weight in self.others(before, old, after))
            rare.append((_LETTER, "sub" if old else "ins", of_any))
            if old and old not in (before, after):
                if all(rule.new for rule in rules):
                    rare.append((_NOTHING, "del", self.pairs.get(before + after, 1.0)))
                if "dup" not in kinds:
                    rare.append((_TWICE, "dup", self.pairs.get(old + old, 1.0)))
        elif len(old) == 2 and old[0] == old[1]:
            if after != old[0] and "del" not in kinds:
                rare.append((_ONCE, "del", 1.0))
        elif len(old) == 2 and "swap" not in kinds:
            rare.append((_EXCHANGED, "swap", self._fit(before, old, old[::-1], after)))
        for number, rare_kind, fit in rare:
            if fit:
                rate = self.rare.get(rare_kind, 0.0)
                yield Choice(number, _rare_letters(old, number), rare_kind, None, at_site * fit, rate)

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
            if self._alphabet.isdisjoint(around):  # no letter of another script among these
                known.update(self.letters)
            others = [(new, self._fit(before, old, new, after)) for new in self.letters if new not in known]
            self._others[around] = others
        return others

    def options(self, word: str) -> Options:
        """Returns every edit of the word, the likeliest first, and the sums of their weights."""
        weights = self._cached.get(word) or self._weigh(word)
        return Options(tuple(self._edit(word, code) for code in weights.edits), weights.sums[: len(weights.edits)])

    def _edit(self, word: str, code: int) -> Rewrite:
        start, number = code >> _SHIFT + 2, code & _NEW
        end = start + (code >> _SHIFT & 3)
        return Rewrite(start, end, _rare_letters(word[start:end], number) if number < _RULES else self._news[number])

    def _weigh(self, word: str) -> _Weights:
        """Weighs every edit of a word, the likeliest first, and remembers them."""
        if len(self._cached) >= _MOST_WORDS or len(self._choices) >= _MOST_PLACES:
            for remembered in (self._cached, self._choices, self._others):
                remembered.clear()
        weighted_edits: list[tuple[float, int]] = []
        for start, end, where, choices in self._places_to_edit(word):
            factors, code = self._factors[where], (start << 2 | end - start) << _SHIFT
            weighted_edits += [
                (factors[kind] * fit * rate, code | number) for number, _, kind, _, fit, rate in choices if rate
            ]
        weighted_edits.sort(reverse=True)
        sums = list(accumulate([weight for weight, _ in weighted_edits])) or [0.0]
        sums.append(sums[-1] / max(_UNKNOWN, self.numbers[length_class(len(word))][0]))
        self._cached[word] = weights = _Weights(tuple(sums), array("q", [code for _, code in weighted_edits]))
        return weights

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
        factor *= self.sites.get(site(before, old, after), 1.0) * self._fit(before, old, new, after)
        for rule in self._rules.get(old, ()):
            if rule.new == new:
                return factor * rule.rate(before, after)
        return factor * self.rare.get(edit_kind, 0.0)

    def sample(self, word: str, rng: Random) -> str | None:
        """Draws a misspelling of a word in lower case; None where the channel has no edit for it."""
        weights = self._cached.get(word) or self._weigh(word)
        sums, edits = weights
        if not edits:
            return None
        for _ in range(8):
            index = bisect(sums, rng.random() * sums[-1])
            if index < len(edits):
                start, end, new = self._edit(word, edits[index])
                typed = word[:start] + (self._letter(word, start, end, rng) if new == ANY else new) + word[end:]
            else:
                typed = rewritten(word, self._several(word, weights, rng))
            if typed and typed != word:
                return typed
        return None

    def _several(self, word: str, weights: _Weights, rng: Random) -> list[Rewrite]:
        """Draws two edits or more that do not overlap."""
        sums, edits = weights
        _, *shares = self.numbers[length_class(len(word))]
        share, count = rng.random() * sum(shares), 2
        for number_share in shares:
            share -= number_share
            if share < 0:
                break
            count += 1
        chosen: list[Rewrite] = []
        for _ in range(4 * min(count, MOST_EDITS) + 1):
            edit = self._edit(word, edits[bisect(sums, rng.random() * sums[-2], 0, len(edits) - 1)])
            if not any(_collide(edit, other) for other in chosen):
                if edit.new == ANY:
                    edit = edit._replace(new=self._letter(word, edit.start, edit.end, rng))
                chosen.append(edit)
                if len(chosen) >= count:
                    break
        return chosen

    def _letter(self, word: str, start: int, end: int, rng: Random) -> str:
        """Draws the letter of an edit that may put any."""
        before, after = word[start - 1] if start else START, word[end] if end < len(word) else END
        return weighted(dict(self.others(before, word[start:end], after)), rng)

    def log_probability(self, typed: str, intended: str, total: float | None = None) -> float:
        """Returns the natural logarithm of the probability that `intended`, where it is misspelt, is typed so.

        Of the ways to part several edits into rules the likeliest counts. What the channel never types has a small
        share all the same, because a corrector meets it; minus infinity only where nothing is misspelt. `total` takes
        the place of the sum over all edits of the word, which is exact and slow (see `usual_total`).
        """
        if typed == intended:
            return -math.inf
        if total is None:
            total = (self._cached.get(intended) or self._weigh(intended)).sums[-2]
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


def _rare_letters(old: str, number: int) -> str:
    return (ANY, "", old + old, old[:1], old[::-1])[number]


def _collide(edit: Rewrite, other: Rewrite) -> bool:
    if edit.start == edit.end or other.start == other.end:
        return (
            edit.start <= other.end and other.start <= edit.end and (edit.start, edit.end) == (other.start, other.end)
        )
    return edit.start < other.end and other.start < edit.end
