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
from llmkit.tasks import Scorer, gold_text
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
) -> Instructions:
    """Searches the correction first and then, on text that the winner corrected, the guidance: guidance must be tuned
    on what it will meet. Each of the two may spend the budget. `scorer` judges the answers under a guidance, and
    `likelihood` says how the arms answer (`eval.answer`).
    """
    seed = derive(seed, "search", trained_on, number)
    arm, stages = _stages(section, scorer, likelihood)

    def searched(stage: Stage, pools: Pools) -> Search:
        return search(stage, section, pools, *stages[stage], ask, seed=derive(seed, stage))

    correction = searched("correction", pools)
    corrected = Pools(_correct(correction.best, arm, pools.train, ask), _correct(correction.best, arm, pools.dev, ask))
    return Instructions(correction, searched("guidance", corrected), trained_on, number)


def expected(
    section: RopSection, pools: Pools, scorer: Scorer, *, likelihood: bool = False
) -> list[tuple[list[tuple[Steps, str]], int]]:
    """What `search_both` asks at most, for an estimate: of each kind of step some examples, each with a text that a
    reply may say, and how many steps of this kind there are."""
    arm, stages = _stages(section, scorer, likelihood)
    options, found = section.search, []
    for stage, (pair, trial) in stages.items():
        if options.score == "likelihood":
            trial = likelihood_trial(pair)
        written = [(steps, "") for steps in proposals(options, [Example(*pair(v)) for v in pools.train])]
        scored = [(trial(hand_written(stage)[0], v), v.text) for v in pools.dev]
        found += [(written, len(written)), (scored, options.budget // _cost(stage, options))]
    variants = [*pools.train, *pools.dev]
    return [*found, ([(arm.correct(v), v.text) for v in variants], len(variants))]


def _stages(section: RopSection, scorer: Scorer, likelihood: bool) -> tuple[Arm, dict[Stage, tuple[Pair, Trial]]]:
    """An arm that asks as the others do, without shots; what each stage shows as input and output; how it scores."""
    arm = Arm(ArmContext(section, default_instructions(), likelihood=likelihood))
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
    """One search: write candidates, leave one of them by rounds, and compare it once with the best hand-written one."""
    options = section.search
    if options.budget == 0 or not pools.dev:
        return Search(stage, hand_written(stage)[0], strategy="hand-written")
    candidates = [Candidate(text, "hand-written") for text in hand_written(stage)]
    hand = range(len(candidates))
    examples = [Example(*pair(v), gold_text(v.question)) for v in pools.train]
    candidates += propose(stage, options, examples, ask, seed, known=[c.text for c in candidates])
    written = [i for i, c in enumerate(candidates) if c.origin == "generated" and c.refused is None]
    if options.score == "likelihood":
        trial = likelihood_trial(pair)
    items = {f"{v.question.id}:{v.condition}": v for v in pools.dev}
    worst = _worst(stage, options)

    def measure(wanted: list[tuple[int, str]]) -> None:
        jobs = ((f"{stage}/score/{c}/{i}", trial(candidates[c].text, items[i])) for c, i in wanted)
        for name, value in ask(jobs):
            _, _, c, i = name.split("/", 3)
            candidates[int(c)].scores[i] = worst if value is None else value

    cost = _cost(stage, options)
    contest = _Contest(candidates, hand, written, {i: v.question.cluster_id for i, v in items.items()}, measure, seed)
    spent, winner, verdict = contest.decide(options, options.budget // cost, cost)
    best = candidates[winner].text
    used = [i for i in items if any(i in c.scores for c in candidates)]
    ordered = [replace(c, scores={i: c.scores[i] for i in used if i in c.scores}) for c in candidates]
    if stage == "correction" and options.score == "execution":
        ordered.insert(len(hand), Candidate(NO_CORRECTION, "no correction", dict.fromkeys(used, 0.0)))
        if verdict.score is not None and verdict.score <= 0:
            best = NO_CORRECTION
    return Search(
        stage,
        best,
        tuple(ordered),
        options.strategy,
        options.score,
        options.budget,
        spent * cost,
        seed,
        {i: dict(zip(("input", "output"), pair(items[i]), strict=True)) for i in used},
        verdict,
    )


def _cost(stage: Stage, options: SearchSection) -> int:
    """Sequences that one score takes: a correction is tried on the noisy and on the clean question."""
    return 2 if stage == "correction" and options.score == "execution" else 1


def _worst(stage: Stage, options: SearchSection) -> float:
    """The score of an item whose call failed."""
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
        early, held = hold_back(self.clusters, random)
        reserve = min(budget // 4, len(held))  # items, each scored by two
        spent, challenger = 0, None
        if self.written and len({self.clusters[i] for i in held[:reserve]}) >= duel.LEAST_CLUSTERS:
            play = Rounds(self.hand, self.written, early, budget - 2 * reserve)
            strategy = {"halving": halving, "ucb": ucb}[options.strategy]
            spent = strategy(self.candidates, play, options, self.measure, random)
            challenger = last(self.candidates, self.written, tested=options.strategy == "halving")
        if challenger is None:  # then the budget chooses among the hand-written ones
            fresh = [i for i in [*early, *held] if all(i not in self.candidates[c].scores for c in self.hand)]
            fresh = fresh[: (budget - spent) // len(self.hand)]
            self.measure([(c, i) for c in self.hand for i in fresh])
            incumbent = self._best_by_hand()
            return spent + len(self.hand) * len(fresh), incumbent, self._undecided(incumbent, reserve, held, cost)
        incumbent = self._best_by_hand()
        held = held[: (budget - spent) // 2]
        self.measure([(c, i) for c in (challenger, incumbent) for i in held])
        verdict = self._compared(challenger, incumbent, held, cost)
        return spent + 2 * len(held), challenger if verdict.better else incumbent, verdict

    def _best_by_hand(self) -> int:
        """The hand-written one with the best mean; of equals the one that stands first, the best known."""
        scored = [c for c in self.hand if self.candidates[c].scores]
        return max(scored, key=lambda c: mean_score(self.candidates[c]), default=self.hand[0])

    def _compared(self, challenger: int, incumbent: int, held: list[str], cost: int) -> SearchVerdict:
        mine, theirs = (self.candidates[c].scores for c in (challenger, incumbent))
        differences, clusters = [mine[i] - theirs[i] for i in held], [self.clusters[i] for i in held]
        p = duel.flip_p(differences, clusters, derive(self.seed, "duel"))
        better, sd = p <= duel.LEVEL, duel.spread(differences, clusters)
        winner = mine if better else theirs
        return SearchVerdict(
            self.candidates[challenger].text,
            self.candidates[incumbent].text,
            len(held),
            math.fsum(differences) / len(held),
            p,
            better,
            duel.detectable(len(set(clusters)), len(held), sd),
            *_to_show_a_tenth(sd, cost),
            math.fsum(winner[i] for i in held) / len(held),
        )

    def _undecided(self, incumbent: int, reserve: int, held: list[str], cost: int) -> SearchVerdict:
        """No written candidate met the best hand-written one: what the budget could have shown had there been one that
        differs from it as the first two hand-written ones differ."""
        first, second = (self.candidates[c].scores for c in (self.hand[0], self.hand[-1]))
        sd = duel.spread([first[i] - second[i] for i in first], [self.clusters[i] for i in first])
        clusters = len({self.clusters[i] for i in held[:reserve]})
        budget, pool = _to_show_a_tenth(sd, cost)
        return SearchVerdict(
            incumbent=self.candidates[incumbent].text,
            detectable=duel.detectable(clusters, max(reserve, 1), sd),
            budget=budget,
            pool=pool,
            score=self.candidates[incumbent].mean,
        )


def _to_show_a_tenth(sd: float, cost: int) -> tuple[int, int]:
    """`rop.search.budget` and `rop.search.pool` that show a difference of `TENTH`: two score each held-back item with
    half of the budget, and two thirds of the pool are held back."""
    items = duel.items_to_show(TENTH, sd)
    return 4 * items * cost, math.ceil(items * 3 / 2)


def _correct(instruction: str, arm: Arm, variants: Sequence[Variant], ask: Ask) -> list[Variant]:
    """The same variants with the text that the corrector makes of them."""
    if instruction == NO_CORRECTION:
        return list(variants)

    def run(variant: Variant) -> Steps:
        text, _ = yield from arm.correct(variant, instruction=instruction)
        return text

    texts = dict(ask((f"guidance/correct/{i:05}", run(v)) for i, v in enumerate(variants)))
    return [replace(v, text=texts.get(f"guidance/correct/{i:05}") or v.text) for i, v in enumerate(variants)]
