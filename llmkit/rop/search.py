"""The automatic search for instructions (arXiv 2506.03627, 3.3 and 3.4, by APE: arXiv 2211.01910; reflection.py has the
other method).

Candidates are written by the model from (input, output) pairs of the train pool, and scored on the dev pool under a
budget of scored sequences. Rounds leave one of the written candidates; it replaces the best hand-written one only if it
is better on items that no round used (contest.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from llmkit.recipe.schema import RopSection, SearchSection
from llmkit.rop.arms import Arm, ArmContext
from llmkit.rop.candidates import Example, proposals, propose
from llmkit.rop.contest import Contest
from llmkit.rop.instructions import (
    NO_CORRECTION,
    Candidate,
    Instructions,
    Search,
    Stage,
    default_instructions,
    hand_written,
)
from llmkit.rop.reflection import expected_pairs, search_pairs
from llmkit.rop.scoring import FAILED_NATS, Pair, Trial, correction_trial, guidance_trial, likelihood_trial
from llmkit.rop.strategies import Rounds, halving, last, ucb
from llmkit.rop.trajectory import pair_trial
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
    if section.search.method == "gepa":
        of_pairs = pair_trial(arm, scorer, section.search.noisy_share)
        return search_pairs(section.search, pools.train, pools.dev, of_pairs, ask, trained_on, seed, number)

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
    if search_options.method == "gepa":
        of_pairs = pair_trial(arm, scorer, search_options.noisy_share)
        return expected_pairs(search_options, pools.train, pools.dev, of_pairs)
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

    def rounds(early_items: list[str], budget: int, random: Random) -> tuple[int, int | None]:
        strategy = {"halving": halving, "ucb": ucb}[search_options.strategy]
        material = Rounds(hand_written_numbers, written_numbers, early_items, budget)
        scores_spent = strategy(candidates, material, search_options, measure, random)
        return scores_spent, last(candidates, written_numbers, tested=search_options.strategy == "halving")

    contest = Contest(
        candidates,
        hand_written_numbers,
        {item: variant.question.cluster_id for item, variant in items.items()},
        measure,
        rounds if written_numbers else None,
        seed,
    )
    decision = contest.decide(search_options.budget // cost_per_score, cost_per_score)
    best, verdict = candidates[decision.winner].text, decision.verdict
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
        decision.scores * cost_per_score,
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
