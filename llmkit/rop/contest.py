"""The rule by which every search ends: one written candidate meets the best hand-written one, once (duel.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from llmkit.rop import duel
from llmkit.rop.instructions import TENTH, Candidate, SearchVerdict
from llmkit.rop.strategies import ScoreItems, hold_back, mean_score
from llmkit.seeds import derive

PlayRounds = Callable[[list[str], int, Random], tuple[int, int | None]]
"""Spends at most so many scores on these items; returns how many it spent, and the number of the written candidate that
is left, None where it scored none."""


@dataclass(frozen=True)
class Decision:
    """The end of a contest: scores spent, the numbers of the winner and of the two that met last, and why."""

    scores: int
    winner: int
    challenger: int | None
    incumbent: int
    verdict: SearchVerdict


@dataclass(frozen=True)
class Contest:
    """The candidates of one search, by number, and the items they are scored on, with their clusters.

    `hand` are the numbers of the hand-written ones. `rounds` may append written ones to `candidates`; None where there
    is nothing to write or to choose from.
    """

    candidates: Sequence[Candidate]
    hand: Sequence[int]
    clusters: dict[str, str]
    measure: ScoreItems
    rounds: PlayRounds | None
    seed: int

    def decide(self, budget: int, cost: float) -> Decision:
        """Spends at most `budget` scores, each of which takes `cost` of `rop.search.budget`."""
        random = Random(self.seed)
        early_items, held_back = hold_back(self.clusters, random)
        reserved_items = min(budget // 4, len(held_back))  # items, each scored by two
        scores_spent, challenger = 0, None
        if self.rounds and len({self.clusters[item] for item in held_back[:reserved_items]}) >= duel.LEAST_CLUSTERS:
            scores_spent, challenger = self.rounds(early_items, budget - 2 * reserved_items, random)
        if challenger is None:  # then the budget chooses among the hand-written ones
            fresh_items = [
                item
                for item in [*early_items, *held_back]
                if all(item not in self.candidates[candidate].scores for candidate in self.hand)
            ]
            fresh_items = fresh_items[: (budget - scores_spent) // len(self.hand)]
            self.measure([(candidate, item) for candidate in self.hand for item in fresh_items])
            incumbent = self.best_by_hand()
            scores_spent += len(self.hand) * len(fresh_items)
            verdict = self._undecided(incumbent, reserved_items, held_back, cost)
            return Decision(scores_spent, incumbent, None, incumbent, verdict)
        incumbent = self.best_by_hand()
        held_back = held_back[: (budget - scores_spent) // 2]
        self.measure([(candidate, item) for candidate in (challenger, incumbent) for item in held_back])
        verdict = self._compared(challenger, incumbent, held_back, cost)
        winner = challenger if verdict.better else incumbent
        return Decision(scores_spent + 2 * len(held_back), winner, challenger, incumbent, verdict)

    def best_by_hand(self) -> int:
        """Returns the hand-written candidate with the best mean; of equals the first one, the best known."""
        scored_candidates = [c for c in self.hand if self.candidates[c].scores]
        return max(scored_candidates, key=lambda c: mean_score(self.candidates[c]), default=self.hand[0])

    def _compared(self, challenger: int, incumbent: int, held: list[str], cost: float) -> SearchVerdict:
        challenger_scores, incumbent_scores = (
            self.candidates[candidate].scores for candidate in (challenger, incumbent)
        )
        differences, clusters = (
            [challenger_scores[item] - incumbent_scores[item] for item in held],
            [self.clusters[item] for item in held],
        )
        p_value = duel.flip_p(differences, clusters, derive(self.seed, "duel"))
        is_better, deviation = p_value <= duel.LEVEL, duel.spread(differences, clusters)
        winner_scores = challenger_scores if is_better else incumbent_scores
        return SearchVerdict(
            self.candidates[challenger].text,
            self.candidates[incumbent].text,
            len(held),
            math.fsum(differences) / len(held),
            p_value,
            is_better,
            duel.detectable(len(set(clusters)), len(held), deviation),
            *_to_show_a_tenth(deviation, cost),
            math.fsum(winner_scores[item] for item in held) / len(held),
        )

    def _undecided(self, incumbent: int, reserve: int, held: list[str], cost: float) -> SearchVerdict:
        """Returns the verdict without a written candidate: what the budget could have shown for one that differs from
        the best hand-written one as the first and the last hand-written one differ."""
        first_scores, second_scores = (self.candidates[candidate].scores for candidate in (self.hand[0], self.hand[-1]))
        items = [item for item in first_scores if item in second_scores]
        deviation = duel.spread(
            [first_scores[item] - second_scores[item] for item in items], [self.clusters[item] for item in items]
        )
        cluster_count = len({self.clusters[item] for item in held[:reserve]})
        budget, pool = _to_show_a_tenth(deviation, cost)
        return SearchVerdict(
            incumbent=self.candidates[incumbent].text,
            detectable=duel.detectable(cluster_count, max(reserve, 1), deviation),
            budget=budget,
            pool=pool,
            score=self.candidates[incumbent].mean,
        )


def _to_show_a_tenth(sd: float, cost: float) -> tuple[int, int]:
    """Returns the `rop.search.budget` and `rop.search.pool` that show a difference of `TENTH`: two score each held-back
    item with half of the budget, and two thirds of the pool are held back."""
    items_needed = duel.items_to_show(TENTH, sd)
    return math.ceil(4 * items_needed * cost), math.ceil(items_needed * 3 / 2)
