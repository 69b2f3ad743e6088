"""The automatic search for instructions (arXiv 2506.03627, 3.3 and 3.4, by APE: arXiv 2211.01910).

Candidates are written by the model from (input, output) pairs of the train pool, and scored on the dev pool under a
budget of scored sequences. Rounds leave one of the written candidates; it replaces the best hand-written one only if it
is better on items that no round used (llmkit/rop/duel.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from llmkit.recipe.schema import RopSection, SearchSection
from llmkit.rop import duel
from llmkit.rop.arms import Arm, ArmContext
from llmkit.rop.candidates import Example, proposals, propose
from llmkit.rop.instructions import (
    NO_CORRECTION,
    TENTH,
    Candidate,
    Instructions,
    Search,
    SearchVerdict,
    Stage,
    default_instructions,
    hand_written,
)
from llmkit.rop.scoring import FAILED_NATS, Pair, Trial, correction_trial, guidance_trial, likelihood_trial
from llmkit.rop.strategies import Rounds, ScoreItems, halving, hold_back, last, mean_score, ucb
from llmkit.seeds import derive
from llmkit.tasks import OwnPrompt, Scorer, gold_text
from llmkit.types import Ask, Steps, Variant


@dataclass(frozen=True)
class Pools:
    """Noisy variants of questions that no test shares: `train` for writing instructions, `dev` for scoring them."""

    train: Sequence[Variant]
    dev: Sequence[Variant]


def search_both(
    section: RopSection,
    pools: Pools,
    ask: Ask,
    scorer: Scorer,
    *,
    trained_on: str,
    seed: int,
    number: int,
    likelihood: bool = False,
    prompt: OwnPrompt | None = None,
) -> Instructions:
    """Searches the correction first and then, on text that the winner corrected, the guidance: guidance must be tuned
    on what it will meet. Each of the two may spend the budget. `scorer` judges the answers under a guidance, and
    `likelihood` says how the arms answer (`eval.answer`), `prompt` with which words of the user's own.
    """
    seed = derive(seed, "search", trained_on, number)
    arm, stages = _stages(section, scorer, likelihood, prompt)

    def searched(stage: Stage, pools: Pools) -> Search:
        return search(stage, section, pools, *stages[stage], ask, seed=derive(seed, stage))

    correction = searched("correction", pools)
    corrected = Pools(_correct(correction.best, arm, pools.train, ask), _correct(correction.best, arm, pools.dev, ask))
    return Instructions(correction, searched("guidance", corrected), trained_on, number)


def expected(
    section: RopSection, pools: Pools, scorer: Scorer, *, likelihood: bool = False, prompt: OwnPrompt | None = None
) -> list[tuple[list[tuple[Steps, str]], int]]:
    """Lists what `search_both` asks at most, for an estimate: examples of each kind of step, each with a possible reply
    text, and the number of such steps."""
    arm, stages = _stages(section, scorer, likelihood, prompt)
    search_options, expectations = section.search, []
    for stage, (show_pair, trial) in stages.items():
        if search_options.score == "likelihood":
            trial = likelihood_trial(show_pair)
        proposal_steps = [
            (steps, "")
            for steps in proposals(search_options, [Example(*show_pair(variant)) for variant in pools.train])
        ]
        trial_steps = [(trial(hand_written(stage)[0], variant), variant.text) for variant in pools.dev]
        expectations += [
            (proposal_steps, len(proposal_steps)),
            (trial_steps, search_options.budget // _cost(stage, search_options)),
        ]
    variants = [*pools.train, *pools.dev]
    return [*expectations, ([(arm.correct(variant), variant.text) for variant in variants], len(variants))]


def _stages(
    section: RopSection, scorer: Scorer, likelihood: bool, prompt: OwnPrompt | None
) -> tuple[Arm, dict[Stage, tuple[Pair, Trial]]]:
    """Returns an arm that asks as the others do, without shots, and for each stage its input and output and its
    score."""
    arm = Arm(ArmContext(section, default_instructions(), likelihood=likelihood, prompt=prompt))
    return arm, {
        "correction": (lambda v: (v.text, v.question.text), correction_trial(arm, section.search.noisy_share)),
        "guidance": (lambda v: (v.text, gold_text(v.question)), guidance_trial(arm, scorer)),
    }


def search(
    stage: Stage,
    section: RopSection,
    pools: Pools,
    pair: Pair,
    trial: Trial,
    ask: Ask,
    *,
    seed: int,
) -> Search:
    """Runs one search: writes candidates, leaves one of them by rounds, and compares it once with the best hand-written
    one."""
    search_options = section.search
    if search_options.budget == 0 or not pools.dev:
        return Search(stage, hand_written(stage)[0], strategy="hand-written")
    candidates = [Candidate(instruction, "hand-written") for instruction in hand_written(stage)]
    hand_written_numbers = range(len(candidates))
    examples = [Example(*pair(variant), gold_text(variant.question)) for variant in pools.train]
    candidates += propose(
        stage, search_options, examples, ask, seed, known=[candidate.text for candidate in candidates]
    )
    written_numbers = [
        item
        for item, candidate in enumerate(candidates)
        if candidate.origin == "generated" and candidate.refused is None
    ]
    if search_options.score == "likelihood":
        trial = likelihood_trial(pair)
    items = {f"{variant.question.id}:{variant.condition}": variant for variant in pools.dev}
    worst_score = _worst(stage, search_options)

    def measure(wanted: list[tuple[int, str]]) -> None:
        trials = (
            (f"{stage}/score/{number}/{item}", trial(candidates[number].text, items[item])) for number, item in wanted
        )
        for name, value in ask(trials):
            _, _, number, item = name.split("/", 3)
            # A failed call gets the worst score, because an item left out could make a candidate look better.
            candidates[int(number)].scores[item] = worst_score if value is None else value

    cost_per_score = _cost(stage, search_options)
    contest = _Contest(
        candidates,
        hand_written_numbers,
        written_numbers,
        {item: variant.question.cluster_id for item, variant in items.items()},
        measure,
        seed,
    )
    scores_spent, winner, verdict = contest.decide(
        search_options, search_options.budget // cost_per_score, cost_per_score
    )
    best = candidates[winner].text
    used_items = [item for item in items if any(item in candidate.scores for candidate in candidates)]
    kept_candidates = [
        replace(candidate, scores={item: candidate.scores[item] for item in used_items if item in candidate.scores})
        for candidate in candidates
    ]
    if stage == "correction" and search_options.score == "execution":
        kept_candidates.insert(
            len(hand_written_numbers), Candidate(NO_CORRECTION, "no correction", dict.fromkeys(used_items, 0.0))
        )
        if verdict.score is not None and verdict.score <= 0:
            best = NO_CORRECTION
    return Search(
        stage,
        best,
        tuple(kept_candidates),
        search_options.strategy,
        search_options.score,
        search_options.budget,
        scores_spent * cost_per_score,
        seed,
        {item: dict(zip(("input", "output"), pair(items[item]), strict=True)) for item in used_items},
        verdict,
    )


def _cost(stage: Stage, options: SearchSection) -> int:
    """Returns the number of sequences that one score takes: a correction is tried on the noisy and on the clean
    question."""
    return 2 if stage == "correction" and options.score == "execution" else 1


def _worst(stage: Stage, options: SearchSection) -> float:
    """Returns the score of an item whose call failed."""
    if options.score == "likelihood":
        return FAILED_NATS
    return -1.0 if stage == "correction" else 0.0


@dataclass(frozen=True)
class _Contest:
    """The candidates of one search, by number, and the items they are scored on, with their clusters."""

    candidates: list[Candidate]
    hand: Sequence[int]
    written: list[int]
    clusters: dict[str, str]
    measure: ScoreItems
    seed: int

    def decide(self, options: SearchSection, budget: int, cost: int) -> tuple[int, int, SearchVerdict]:
        """Spends at most `budget` scores; returns how many it spent, which candidate won, and why."""
        random = Random(self.seed)
        early_items, held_back = hold_back(self.clusters, random)
        reserved_items = min(budget // 4, len(held_back))  # items, each scored by two
        scores_spent, challenger = 0, None
        if self.written and len({self.clusters[item] for item in held_back[:reserved_items]}) >= duel.LEAST_CLUSTERS:
            rounds = Rounds(self.hand, self.written, early_items, budget - 2 * reserved_items)
            strategy = {"halving": halving, "ucb": ucb}[options.strategy]
            scores_spent = strategy(self.candidates, rounds, options, self.measure, random)
            challenger = last(self.candidates, self.written, tested=options.strategy == "halving")
        if challenger is None:  # then the budget chooses among the hand-written ones
            fresh_items = [
                item
                for item in [*early_items, *held_back]
                if all(item not in self.candidates[candidate].scores for candidate in self.hand)
            ]
            fresh_items = fresh_items[: (budget - scores_spent) // len(self.hand)]
            self.measure([(candidate, item) for candidate in self.hand for item in fresh_items])
            incumbent = self._best_by_hand()
            return (
                scores_spent + len(self.hand) * len(fresh_items),
                incumbent,
                self._undecided(incumbent, reserved_items, held_back, cost),
            )
        incumbent = self._best_by_hand()
        held_back = held_back[: (budget - scores_spent) // 2]
        self.measure([(candidate, item) for candidate in (challenger, incumbent) for item in held_back])
        verdict = self._compared(challenger, incumbent, held_back, cost)
        return scores_spent + 2 * len(held_back), challenger if verdict.better else incumbent, verdict

    def _best_by_hand(self) -> int:
        """Returns the hand-written candidate with the best mean; of equals the first one, the best known."""
        scored_candidates = [c for c in self.hand if self.candidates[c].scores]
        return max(scored_candidates, key=lambda c: mean_score(self.candidates[c]), default=self.hand[0])

    def _compared(self, challenger: int, incumbent: int, held: list[str], cost: int) -> SearchVerdict:
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

    def _undecided(self, incumbent: int, reserve: int, held: list[str], cost: int) -> SearchVerdict:
        """Returns the verdict without a written candidate: what the budget could have shown for one that differs from
        the best hand-written one as the first two hand-written ones differ."""
        first_scores, second_scores = (self.candidates[candidate].scores for candidate in (self.hand[0], self.hand[-1]))
        deviation = duel.spread(
            [first_scores[item] - second_scores[item] for item in first_scores],
            [self.clusters[item] for item in first_scores],
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


def _to_show_a_tenth(sd: float, cost: int) -> tuple[int, int]:
    """Returns the `rop.search.budget` and `rop.search.pool` that show a difference of `TENTH`: two score each held-back
    item with half of the budget, and two thirds of the pool are held back."""
    items_needed = duel.items_to_show(TENTH, sd)
    return 4 * items_needed * cost, math.ceil(items_needed * 3 / 2)


def _correct(instruction: str, arm: Arm, variants: Sequence[Variant], ask: Ask) -> list[Variant]:
    """Corrects the text of each variant."""
    if instruction == NO_CORRECTION:
        return list(variants)

    def run(variant: Variant) -> Steps:
        corrected, _ = yield from arm.correct(variant, instruction=instruction)
        return corrected

    corrected_texts = dict(
        ask((f"guidance/correct/{number:05}", run(variant)) for number, variant in enumerate(variants))
    )
    return [
        variant.worded(corrected_texts.get(f"guidance/correct/{number:05}") or variant.texts)
        for number, variant in enumerate(variants)
    ]
