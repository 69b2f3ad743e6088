"""The assignment of candidates to items: the rounds that leave one of the written candidates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from llmkit.recipe.schema import SearchSection
from llmkit.rop.duel import LEAST_CLUSTERS
from llmkit.rop.instructions import Candidate

ScoreItems = Callable[[list[tuple[int, str]]], None]
"""Scores candidates, by number, on items, and keeps the scores with the candidates."""


@dataclass(frozen=True)
class Rounds:
    """The material of the rounds: the numbers of the hand-written and of the written candidates, the items in the order
    of their use, and `budget`, the most scores that they may ask for."""

    hand: Sequence[int]
    written: Sequence[int]
    items: Sequence[str]
    budget: int


def halving(
    candidates: Sequence[Candidate], play: Rounds, options: SearchSection, measure: ScoreItems, _: Random
) -> int:
    """Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) of the written candidates: equal shares of
    the budget to each round, every survivor on the same fresh items, the better half goes on. Returns the scores spent.

    A fifth of the budget chooses among the hand-written ones, of which none is eliminated.
    """
    spent = 0
    if len(play.hand) > 1:
        count = min(max(1, play.budget // 5 // len(play.hand)), play.budget // len(play.hand), len(play.items))
        measure([(c, i) for c in play.hand for i in play.items[:count]])
        spent += count * len(play.hand)
    alive, used = list(play.written)[: play.budget - spent], 0
    rounds = math.ceil(math.log2(len(alive))) if alive else 0  # none for a single one, which need not be chosen
    for r in range(rounds):
        left = play.budget - spent
        count = min(max(1, left // (rounds - r) // len(alive)), left // len(alive))
        if not (fresh := play.items[used : used + count]):
            break
        measure([(c, i) for c in alive for i in fresh])
        spent += len(alive) * len(fresh)
        used += len(fresh)
        alive = sorted(sorted(alive, key=lambda c: -mean_score(candidates[c]))[: math.ceil(len(alive) / 2)])
    return spent


def ucb(
    candidates: Sequence[Candidate], play: Rounds, options: SearchSection, measure: ScoreItems, random: Random
) -> int:
    """The bandit of APE: each round scores the candidates with the highest mean + c sqrt(log t / n) on random items.
    Returns the scores spent."""
    everyone, spent = [*play.hand, *play.written], 0
    pulls = dict.fromkeys(everyone, 0)
    for _ in range(options.rounds):
        drawn = random.sample(play.items, min(options.items, len(play.items)))
        per_round = min(max(1, int(len(everyone) * options.fraction)), (play.budget - spent) // len(drawn))
        if per_round < 1:
            break
        total = max(1, sum(pulls.values()))

        def bound(c: int, total: int = total) -> float:
            if pulls[c] == 0:
                return math.inf
            return mean_score(candidates[c]) + options.exploration * math.sqrt(math.log(total) / pulls[c])

        chosen = sorted(everyone, key=lambda c: (-bound(c), c))[:per_round]
        measure([(c, i) for c in chosen for i in drawn])
        for c in chosen:
            pulls[c] += len(drawn)
        spent += per_round * len(drawn)
    return spent


def last(candidates: Sequence[Candidate], written: Sequence[int], *, tested: bool) -> int | None:
    """The written candidate that the rounds leave, None where they scored none of several: the best mean, of equals the
    one tested more, then the shorter one, then the first.

    With `tested`, only those scored on the most items can be it: who left early was tested on few, and may only have
    been lucky there.
    """
    if len(written) == 1:
        return written[0]
    scored = [c for c in written if candidates[c].scores]
    most = max((len(candidates[c].scores) for c in scored), default=0)
    fit = [c for c in scored if not tested or len(candidates[c].scores) == most]
    key = lambda c: (mean_score(candidates[c]), len(candidates[c].scores), -len(candidates[c].text))  # noqa: E731
    return max(fit, key=key, default=None)


def hold_back(clusters: Mapping[str, str], random: Random) -> tuple[list[str], list[str]]:
    """Splits items, given with their clusters, into those of the rounds and those of the final comparison: two thirds
    of the clusters, at least `LEAST`, cluster by cluster in turn. None are held back where there are not enough.

    No cluster is in both: an instruction that survived because it suits a template would profit from it twice.
    """
    groups: dict[str, list[str]] = {}
    for item, cluster in clusters.items():
        groups.setdefault(cluster, []).append(item)
    names = random.sample(list(groups), len(groups))
    held = max(LEAST_CLUSTERS, 2 * len(names) // 3) if len(names) > LEAST_CLUSTERS else 0

    def in_turn(chosen: list[str]) -> list[str]:
        shuffled = [random.sample(groups[name], len(groups[name])) for name in chosen]
        longest = max(map(len, shuffled), default=0)
        return [group[i] for i in range(longest) for group in shuffled if i < len(group)]

    return in_turn(names[held:]), in_turn(names[:held])


def mean_score(candidate: Candidate) -> float:
    """Returns the candidate's mean score, below every other where it has no scores."""
    return float("-inf") if candidate.mean is None else candidate.mean
