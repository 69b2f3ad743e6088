"""Fits the noisy channel to misspellings, so that what the model draws has the counts of what people typed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from llmkit.perturb.alignment import (
    ANY,
    END,
    LONGEST_BLOCK,
    START,
    Rewrite,
    align,
    blocks,
    key,
    kind,
    new_pairs,
    place,
    read_key,
    site,
)
from llmkit.perturb.channel import LENGTH_CLASSES, MOST_EDITS, Channel, length_class

LEAST = 5
"""People (or texts, where no person is named) whose misspellings show an edit; what fewer did leaves no trace."""

MOST_PAIRS = 6_000
"""Misspellings that are fitted; of more, a sample."""

_ROUNDS = ("rates", "pairs", "sites", "rates", "pairs", "sites", "places")  # what each pass over the words settles
_PRIOR = 3.0  # edits that a rate without neighbours counts for, in one with a neighbour
_DROPPED = 1.0  # edits taken for any number that is too small to be used
_LEAST_RATIO = 1.15  # a rate with a neighbour that is nearer than this to the one without is left out
_FREE_PLACES = 5.0  # edits that a factor of 1 counts for, in the factor of a place
_SHARED_NUMBERS = 20.0  # misspellings that those of all lengths count for, in the number of edits at one length


@dataclass(frozen=True, slots=True)
class Misspelling:
    """One misspelling, in lower case. `person` is who wrote it, or the text it is from; `weight` is below 1 where the
    intended word is a guess."""

    typed: str
    intended: str
    person: str
    weight: float = 1.0


class _Tally:
    """Weighted counts of things, and whether enough different people did each."""

    def __init__(self) -> None:
        self.counts: dict[str, float] = defaultdict(float)
        self._people: dict[str, set[str]] = defaultdict(set)

    def add(self, thing: str, person: str, weight: float) -> None:
        self.counts[thing] += weight
        people = self._people[thing]
        if len(people) < LEAST and weight >= 0.5:
            people.add(person)

    def enough(self, thing: str) -> bool:
        """Returns whether at least `LEAST` people did it."""
        return len(self._people.get(thing, ())) >= LEAST


def rules(word: str, edit: Rewrite) -> tuple[str, str, str, str]:
    """Returns the rules that an edit of this word is counted under: no neighbour, the left, the right, both."""
    start, end, new = edit
    old = word[start:end]
    left, right = word[start - 1] if start else START, word[end] if end < len(word) else END
    return key("", old, new, ""), key(left, old, new, ""), key("", old, new, right), key(left, old, new, right)


def fit_channel(misspellings: Sequence[Misspelling]) -> Channel:
    """Returns the channel whose draws have, on the same intended words, the edits that were typed.

    Each pass divides how often an edit was typed by how often it would have been at rate 1 (an MM step of a
    multinomial logit whose weights are products), then smooths rates with neighbours towards those without.
    """
    if len(misspellings) > MOST_PAIRS:
        misspellings = Random(0).sample(list(misspellings), MOST_PAIRS)
    known_blocks = _known_blocks(misspellings)
    tally, pairs, sites = _Tally(), _Tally(), _Tally()
    places: dict[str, float] = defaultdict(float)
    numbers: list[dict[int, float]] = [defaultdict(float) for _ in range(LENGTH_CLASSES)]
    edits_of_word: dict[str, float] = defaultdict(float)
    rare_counts: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for pair in misspellings:
        edits = _segmented(pair, known_blocks)
        edits_of_word[pair.intended] += len(edits) * pair.weight
        numbers[length_class(len(pair.intended))][min(len(edits), MOST_EDITS)] += pair.weight
        for edit in edits:
            for rule in rules(pair.intended, edit):
                tally.add(rule, pair.person, pair.weight)
            for two in _new_pairs(pair.intended, edit):
                pairs.add(two, pair.person, pair.weight)
            if where := _site(pair.intended, edit):
                sites.add(where, pair.person, pair.weight)
            edit_kind = kind(pair.intended, edit)
            places[f"{edit_kind}.{place(edit.start, edit.end, len(pair.intended))}"] += pair.weight
            rare_counts[edit_kind].append((rules(pair.intended, edit)[0], pair.weight))
    added: set[str] = set()
    for rule in tally.counts:
        left, _, new, right = read_key(rule)
        if not left and not right and tally.enough(rule):
            added.update(new)
    letters = "".join(sorted(added))
    bases = {rule for rule in tally.counts if rule[0] == "(" and rule[-1] == ")" and tally.enough(rule)}
    rare = {
        edit_kind: sum(weight for rule, weight in counted if rule not in bases)
        for edit_kind, counted in rare_counts.items()
        if edit_kind != "more"
    }
    channel = Channel(
        rates=dict.fromkeys(bases, 1.0),
        rare=dict.fromkeys(rare, 1e-3),
        places={},
        numbers=[[1.0]] * LENGTH_CLASSES,
        pairs={},
        letters=letters,
    )
    shares = _number_shares(numbers)
    for number, family in enumerate(_ROUNDS):
        exposure = _exposure(channel, edits_of_word, is_first=number == 0)
        if family == "rates":
            of_rare = {name: rare[name] / exposure.of_rare[name] for name in rare if exposure.of_rare[name]}
            channel = replace(channel, rates=_smoothed(tally, exposure.by_rule), rare=of_rare, numbers=shares)
        elif family == "pairs":
            channel = replace(channel, pairs=_factors(channel.pairs, pairs, exposure.by_pair))
        elif family == "sites":
            channel = replace(channel, sites=_factors(channel.sites, sites, exposure.by_site))
        else:
            factors = {
                where: (places[where] + _FREE_PLACES * bool(places[where])) / (expected + _FREE_PLACES)
                for where, expected in exposure.by_place.items()
                if expected
            }
            channel = replace(channel, places=factors)
    return _rounded(channel)


def _known_blocks(misspellings: Iterable[Misspelling]) -> frozenset[str]:
    """Finds the rewrites of several letters that enough people made."""
    tally = _Tally()
    for pair in misspellings:
        for block, pieces in blocks(align(pair.intended, pair.typed)):
            if len(pieces) > 1 and max(block.end - block.start, len(block.new)) <= LONGEST_BLOCK:
                tally.add(rules(pair.intended, block)[0], pair.person, pair.weight)
    return frozenset(rule for rule in tally.counts if tally.enough(rule))


def _segmented(pair: Misspelling, known_blocks: frozenset[str]) -> list[Rewrite]:
    """Parts a misspelling into edits: a known rewrite of several letters is one."""
    edits: list[Rewrite] = []
    for block, pieces in blocks(align(pair.intended, pair.typed)):
        is_known = len(pieces) > 1 and rules(pair.intended, block)[0] in known_blocks
        edits.extend([block] if is_known else pieces)
    return edits


@dataclass(frozen=True)
class _Exposure:
    """Counts of edits to expect at rate 1: by rule, by kind and place (there at the present rates), and of rare edits
    by kind; by pair of letters that they make, and by the letters at their place."""

    by_rule: Mapping[str, float]
    by_place: Mapping[str, float]
    of_rare: Mapping[str, float]
    by_pair: Mapping[str, float]
    by_site: Mapping[str, float]


def _exposure(channel: Channel, edits_of_word: Mapping[str, float], is_first: bool) -> _Exposure:
    by_context: dict[tuple[str, str, str, str], float] = defaultdict(float)
    by_place: dict[str, float] = defaultdict(float)
    of_rare: dict[str, float] = defaultdict(float)
    by_pair: dict[str, float] = defaultdict(float)
    by_site: dict[str, float] = defaultdict(float)
    for word, count in edits_of_word.items():
        framed, length = f"{START}{word}{END}", len(word)
        weighted: list[tuple[Rewrite, str, bool, float, float]] = []
        for edit, rule, factor in channel.edits(word):
            if rule is None:
                edit_kind = kind(word, edit)
                weighted.append((edit, edit_kind, True, factor, factor * channel.rare.get(edit_kind, 0.0)))
            else:
                rate = rule.rate(framed[edit.start], framed[edit.end + 1])
                weighted.append((edit, rule.kind, False, factor, factor * rate))
        total = 1.0 if is_first else sum(weight for *_, weight in weighted) or 1.0
        per_weight = count / total
        for (start, end, new), edit_kind, is_rare, factor, weight in weighted:
            left, old, right = framed[start], word[start:end], framed[end + 1]
            if is_rare:
                of_rare[edit_kind] += per_weight * factor
            else:
                by_context[left, old, new, right] += per_weight * factor
            expected = per_weight * weight
            by_place[f"{edit_kind}.{place(start, end, length)}"] += expected
            if where := site(left, old, right):
                by_site[where] += expected
            if new == ANY:
                others = channel.others(left, old, right)
                share = expected / (sum(one for _, one in others) or 1.0)
                for letter, letter_weight in others:
                    by_pair[left + letter] += letter_weight * share
                    by_pair[letter + right] += letter_weight * share
            else:
                for two in new_pairs(left, old, new, right):
                    by_pair[two] += expected
    by_rule: dict[str, float] = defaultdict(float)
    for (left, old, new, right), at_rate_1 in by_context.items():
        for rule_name in (key("", old, new, ""), key(left, old, new, ""), key("", old, new, right)):
            by_rule[rule_name] += at_rate_1
        by_rule[key(left, old, new, right)] = at_rate_1
    return _Exposure(by_rule, by_place, of_rare, by_pair, by_site)


def _new_pairs(word: str, edit: Rewrite) -> tuple[str, ...]:
    start, end, new = edit
    framed = f"{START}{word}{END}"
    return new_pairs(framed[start], word[start:end], new, framed[end + 1])


def _site(word: str, edit: Rewrite) -> str:
    framed = f"{START}{word}{END}"
    return site(framed[edit.start], word[edit.start : edit.end], framed[edit.end + 1])


def _factors(factors: Mapping[str, float], seen: _Tally, expected: Mapping[str, float]) -> dict[str, float]:
    """Returns the factors of pairs or of sites, moved so that each comes of edits as often as people had it so."""
    moved = dict(factors)
    for name, count in expected.items():
        if seen.enough(name) or count >= LEAST:
            typed = seen.counts[name] if seen.enough(name) else _DROPPED
            moved[name] = factors.get(name, 1.0) * (typed + _PRIOR) / (count + _PRIOR)
    return moved


def _smoothed(tally: _Tally, exposure: Mapping[str, float]) -> dict[str, float]:
    """Returns the rates of rules: without neighbours, then with one, then with both, each smoothed to the one before.

    An edit that too few people made between certain neighbours counts as a few, if many would be expected there.
    """
    contexts = {rule: read_key(rule) for rule in exposure}
    rates = {
        rule: tally.counts[rule] / exposure[rule] for rule, (left, _, _, right) in contexts.items() if not left + right
    }
    bases = dict(rates)
    for neighbours in (1, 2):
        for rule, (left, old, new, right) in contexts.items():
            if bool(left) + bool(right) != neighbours:
                continue
            base = expected = bases[key("", old, new, "")]
            if neighbours == 2:
                expected *= (
                    rates.get(key(left, old, new, ""), base) * rates.get(key("", old, new, right), base) / base**2
                )
            expected_count = expected * exposure[rule]
            is_enough = tally.enough(rule)
            if not is_enough and expected_count < LEAST:
                continue
            ratio = ((tally.counts[rule] if is_enough else _DROPPED) + _PRIOR) / (expected_count + _PRIOR)
            if not 1 / _LEAST_RATIO < ratio < _LEAST_RATIO:
                rates[rule] = expected * ratio
    return rates


def _number_shares(numbers: Sequence[Mapping[int, float]]) -> list[list[float]]:
    """Returns the shares of one, two, three and four edits, by class of word length."""
    together = {n: sum(counted.get(n, 0.0) for counted in numbers) for n in range(1, MOST_EDITS + 1)}
    total = sum(count for count in together.values() if count >= LEAST) or 1.0
    shared = [together[n] / total if together[n] >= LEAST else 0.0 for n in range(1, MOST_EDITS + 1)]
    shares = []
    for counted in numbers:
        smoothed = [
            (counted.get(n, 0.0) if counted.get(n, 0.0) >= LEAST else 0.0) + _SHARED_NUMBERS * shared[n - 1]
            for n in range(1, MOST_EDITS + 1)
        ]
        whole = sum(smoothed)
        shares.append([share / whole for share in smoothed] if whole else [1.0])
    return shares


def _rounded(channel: Channel) -> Channel:
    """Rounds all rates, so that a channel is the same before and after it is written to a file."""

    def rounded(factors: Mapping[str, float], digits: int, least: float = -1.0) -> dict[str, float]:
        return {
            name: float(f"{factor:.{digits}g}") for name, factor in sorted(factors.items()) if abs(factor - 1) > least
        }

    return Channel(
        rates=rounded(channel.rates, 4),
        rare=rounded(channel.rare, 4),
        places=rounded(channel.places, 3),
        numbers=[[round(share, 4) for share in shares] for shares in channel.numbers],
        pairs=rounded(channel.pairs, 3, 0.1),
        sites=rounded(channel.sites, 3, 0.1),
        letters=channel.letters,
    )
