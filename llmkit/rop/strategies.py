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
    """Runs successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) of the written candidates: equal shares
    of the budget to each round, every survivor on the same fresh items, the better half remains. Returns the scores
    spent.

    A fifth of the budget chooses among the hand-written ones, of which none is eliminated.
    """
    scores_spent = 0
    if len(play.hand) > 1:
        items_per_round = min(
            max(1, play.budget // 5 // len(play.hand)), play.budget // len(play.hand), len(play.items)
        )
        measure([(candidate, item) for candidate in play.hand for item in play.items[:items_per_round]])
        scores_spent += items_per_round * len(play.hand)
    survivors, items_used = list(play.written)[: play.budget - scores_spent], 0
    rounds = math.ceil(math.log2(len(survivors))) if survivors else 0  # none for a single one, which need not be chosen
    for round_number in range(rounds):
        scores_left = play.budget - scores_spent
        items_per_round = min(
            max(1, scores_left // (rounds - round_number) // len(survivors)), scores_left // len(survivors)
        )
        if not (fresh_items := play.items[items_used : items_used + items_per_round]):
            break
        measure([(candidate, item) for candidate in survivors for item in fresh_items])
        scores_spent += len(survivors) * len(fresh_items)
        items_used += len(fresh_items)
        survivors = sorted(
            sorted(survivors, key=lambda candidate: -mean_score(candidates[candidate]))[: math.ceil(len(survivors) / 2)]
        )
    return scores_spent


def ucb(
    candidates: Sequence[Candidate], play: Rounds, options: SearchSection, measure: ScoreItems, random: Random
) -> int:
    """Runs the bandit of APE: each round scores the candidates with the highest mean + c sqrt(log t / n) on random
    items. Returns the scores spent."""
    all_candidates, scores_spent = [*play.hand, *play.written], 0
    pulls = dict.fromkeys(all_candidates, 0)
    for _ in range(options.rounds):
        drawn_items = random.sample(play.items, min(options.items, len(play.items)))
        per_round = min(
            max(1, int(len(all_candidates) * options.fraction)), (play.budget - scores_spent) // len(drawn_items)
        )
        if per_round < 1:
            break
        total_pulls = max(1, sum(pulls.values()))

        def bound(c: int, total: int = total_pulls) -> float:
            if pulls[c] == 0:
                return math.inf
            return mean_score(candidates[c]) + options.exploration * math.sqrt(math.log(total) / pulls[c])

        chosen_candidates = sorted(all_candidates, key=lambda candidate: (-bound(candidate), candidate))[:per_round]
        measure([(candidate, item) for candidate in chosen_candidates for item in drawn_items])
        for candidate in chosen_candidates:
            pulls[candidate] += len(drawn_items)
        scores_spent += per_round * len(drawn_items)
    return scores_spent


def last(candidates: Sequence[Candidate], written: Sequence[int], *, tested: bool) -> int | None:
    """Returns the written candidate that the rounds leave, or None if they scored none of several: the best mean, of
    equals the one tested more, then the shorter one, then the first.

    With `tested`, only those scored on the most items can be it: who left early was tested on few, and may only have
    been lucky there.
    """
    if len(written) == 1:
        return written[0]
    scored_candidates = [number for number in written if candidates[number].scores]
    most_items = max((len(candidates[number].scores) for number in scored_candidates), default=0)
    eligible = [number for number in scored_candidates if not tested or len(candidates[number].scores) == most_items]

    def preference(number: int) -> tuple[float, int, int]:
        candidate = candidates[number]
        return mean_score(candidate), len(candidate.scores), -len(candidate.text)

    return max(eligible, key=preference, default=None)


def hold_back(clusters: Mapping[str, str], random: Random) -> tuple[list[str], list[str]]:
    """Splits items, given with their clusters, into those of the rounds and those of the final comparison: two
    thirds of the clusters, at least `LEAST_CLUSTERS`, cluster by cluster in turn. None are held back where there are
    not enough.

    No cluster is in both: an instruction that survived because it suits a template would profit from it twice.
    """
    items_by_cluster: dict[str, list[str]] = {}
    for item, cluster in clusters.items():
        items_by_cluster.setdefault(cluster, []).append(item)
    cluster_names = random.sample(list(items_by_cluster), len(items_by_cluster))
    held_count = max(LEAST_CLUSTERS, 2 * len(cluster_names) // 3) if len(cluster_names) > LEAST_CLUSTERS else 0

    def in_turn(chosen: list[str]) -> list[str]:
        shuffled_groups = [random.sample(items_by_cluster[name], len(items_by_cluster[name])) for name in chosen]
        longest = max(map(len, shuffled_groups), default=0)
        return [group[i] for i in range(longest) for group in shuffled_groups if i < len(group)]

    return in_turn(cluster_names[held_count:]), in_turn(cluster_names[:held_count])


def mean_score(candidate: Candidate) -> float:
    """Returns the candidate's mean score, below every other where it has no scores."""
    return float("-inf") if candidate.mean is None else candidate.mean
