"""The automatic search for instructions (arXiv 2506.03627, 3.3 and 3.4, by APE: arXiv 2211.01910).

Candidates are written by the model from (input, output) pairs of the train pool, and scored on the dev pool under a
budget of scored sequences. Hand-written candidates always take part, so a poor writer cannot do worse than they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol

from llmkit.perturb.numerals import numbers
from llmkit.prompts import render
from llmkit.recipe.schema import RopSection, SearchSection
from llmkit.rop.arms import Arm, ArmContext
from llmkit.rop.instructions import Candidate, Instructions, Search, Stage, default_instructions, hand_written
from llmkit.seeds import derive
from llmkit.tasks import Scorer, gold_text
from llmkit.types import Ask, Message, Request, Sampling, Steps, Variant


@dataclass(frozen=True)
class Pools:
    """Noisy variants of questions that no test shares: `train` for writing instructions, `dev` for scoring them."""

    train: Sequence[Variant]
    dev: Sequence[Variant]


FAILED_NATS = -50.0
"""The likelihood score of an item whose call failed: lower than any real mean, and still a number in JSON."""


Pair = Callable[[Variant], tuple[str, str]]
"""The input and the wanted output that a stage shows of an item."""


class Trial(Protocol):
    """How good an instruction is on one item: higher is better."""

    def __call__(self, instruction: str, variant: Variant) -> Steps: ...


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
        proposals = [(steps, "") for _, steps in _proposals(stage, options, [pair(v) for v in pools.train], 0)]
        scored = [(trial(hand_written(stage)[0], v), v.text) for v in pools.dev]
        found += [(proposals, len(proposals)), (scored, options.budget)]
    variants = [*pools.train, *pools.dev]
    return [*found, ([(arm.correct(v), v.text) for v in variants], len(variants))]


def _stages(section: RopSection, scorer: Scorer, likelihood: bool) -> tuple[Arm, dict[Stage, tuple[Pair, Trial]]]:
    """An arm that asks as the others do, without shots; what each stage shows as input and output; how it scores."""
    arm = Arm(ArmContext(section, default_instructions(), likelihood=likelihood))
    return arm, {
        "correction": (lambda v: (v.text, v.question.text), correction_trial(arm)),
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
    """One search: write candidates, score them within the budget, keep the best."""
    options = section.search
    if options.budget == 0 or not pools.dev:
        return Search(stage, hand_written(stage)[0], strategy="hand-written")
    candidates = [_Arm(text, "hand-written") for text in hand_written(stage)]
    known = {c.text for c in candidates}
    for text in propose(stage, options, [pair(v) for v in pools.train], ask, seed):
        if text not in known:
            known.add(text)
            candidates.append(_Arm(text, "generated"))
    if options.score == "likelihood":
        trial = likelihood_trial(pair)
    items = {f"{v.question.id}:{v.condition}": v for v in pools.dev}
    worst = FAILED_NATS if options.score == "likelihood" else 0.0

    def measure(wanted: list[tuple[int, str]]) -> None:
        jobs = ((f"{stage}/score/{c}/{i}", trial(candidates[c].text, items[i])) for c, i in wanted)
        for name, value in ask(jobs):
            _, _, c, i = name.split("/", 3)
            candidates[int(c)].scores[i] = worst if value is None else value

    strategy = {"halving": halving, "ucb": ucb}[options.strategy]
    spent, finalists = strategy(candidates, list(items), options, measure, Random(seed))
    # Among equals the one tested more wins, then the hand-written one, then the shorter one.
    best = max(
        (candidates[c] for c in finalists),
        key=lambda c: (c.mean, len(c.scores), c.origin == "hand-written", -len(c.text)),
    )
    used = {i for c in candidates for i in c.scores}
    shown = {i: dict(zip(("input", "output"), pair(items[i]), strict=True)) for i in items if i in used}
    return Search(
        stage,
        best.text,
        tuple(Candidate(c.text, c.origin, {i: c.scores[i] for i in items if i in c.scores}) for c in candidates),
        options.strategy,
        options.score,
        options.budget,
        spent,
        seed,
        shown,
    )


@dataclass
class _Arm:
    text: str
    origin: str
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        # Exact, so that two candidates tie or do not, whatever order their scores came in.
        return math.fsum(self.scores.values()) / len(self.scores) if self.scores else float("-inf")


# ---------------------------------------------------------------- candidates


def propose(stage: Stage, options: SearchSection, pairs: list[tuple[str, str]], ask: Ask, seed: int) -> list[str]:
    """Instructions that the model writes when shown pairs ("forward" mode of APE), deduplicated, in a fixed order."""
    replies = dict(ask(_proposals(stage, options, pairs, seed)))
    texts = (_clean(replies[name].text) for name in sorted(replies) if replies[name] is not None)
    return list(dict.fromkeys(t for t in texts if t))


def _proposals(
    stage: Stage, options: SearchSection, pairs: list[tuple[str, str]], seed: int
) -> list[tuple[str, Steps]]:
    """The requests that ask for an instruction, none where there are no pairs to show."""
    jobs: list[tuple[str, Steps]] = []
    for q in range(options.queries if pairs else 0):
        drawn = Random(derive(seed, "demos", q)).sample(pairs, min(options.demos, len(pairs)))
        content = render("rop/propose-v1", pairs=[{"input": i, "output": o} for i, o in drawn])
        for n in range(options.completions):
            sampling = Sampling(
                options.max_tokens, options.temperature, options.top_p, seed=derive(seed, "propose", q, n) % 2**31
            )
            request = Request((Message("user", content),), sampling, purpose="propose", role="optimizer", replicate=n)
            jobs.append((f"{stage}/propose/{q:03}/{n:03}", _once(request)))
    return jobs


def _once(request: Request) -> Steps:
    return (yield request)


def _clean(text: str) -> str:
    """One line, without quotation marks or a leading label."""
    text = " ".join(text.split())
    for label in ("the instruction was:", "instruction:", "the instruction was"):
        if text.lower().startswith(label):
            text = text[len(label) :].strip()
    return text.strip("\"'\u201c\u201d ").strip()


# ---------------------------------------------------------------- scores


def correction_trial(arm: Arm) -> Trial:
    """1 - character error rate of the restored question, 0 where a number changed or the reply is unusable: [0, 1]."""

    def run(instruction: str, variant: Variant) -> Steps:
        text, unusable = yield from arm.correct(variant, instruction=instruction)
        # A reply that cannot be used leaves the noisy text, which must not earn its closeness to the clean one.
        return 0.0 if unusable else restoration(text, variant.question.text)

    return run


def restoration(text: str, clean: str) -> float:
    """How much of `clean` was restored: max(0, 1 - CER), and 0 where the numbers differ."""
    from rapidfuzz.distance import Levenshtein

    if numbers(text) != numbers(clean):
        return 0.0
    return max(0.0, 1.0 - Levenshtein.distance(text, clean) / max(1, len(clean)))


def guidance_trial(arm: Arm, scorer: Scorer) -> Trial:
    """1 where the answer under the instruction is right, else 0."""

    def run(instruction: str, variant: Variant) -> Steps:
        reply = yield from arm.answer(variant.text, variant, instruction)
        return float(scorer.score(scorer.extract(reply.text, variant.question), variant.question))

    return run


def likelihood_trial(pair: Pair) -> Trial:
    """Mean log-probability (nats per token, <= 0) of the wanted output: the score of APE."""

    def run(instruction: str, variant: Variant) -> Steps:
        given, wanted = pair(variant)
        content = render("rop/score-v1", instruction=instruction, input=given)
        reply = yield Request((Message("user", content),), Sampling(1), purpose="score", continuation=wanted)
        return math.fsum(reply.logprobs) / max(1, len(reply.logprobs))

    return run


def _correct(instruction: str, arm: Arm, variants: Sequence[Variant], ask: Ask) -> list[Variant]:
    """The same variants with the text that the corrector makes of them."""

    def run(variant: Variant) -> Steps:
        text, _ = yield from arm.correct(variant, instruction=instruction)
        return text

    texts = dict(ask((f"guidance/correct/{i:05}", run(v)) for i, v in enumerate(variants)))
    return [replace(v, text=texts.get(f"guidance/correct/{i:05}") or v.text) for i, v in enumerate(variants)]


# ---------------------------------------------------------------- strategies

Measure = Callable[[list[tuple[int, str]]], None]
Spent = tuple[int, list[int]]
"""Sequences scored, and the candidates among which the best mean wins."""


def halving(arms: list[_Arm], items: list[str], options: SearchSection, measure: Measure, random: Random) -> Spent:
    """Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): equal shares of the budget to each round,
    every survivor on the same fresh items, the better half goes on."""
    order = random.sample(items, len(items))
    # With fewer sequences than candidates, the hand-written ones, which stand first, are the ones that stay.
    alive = list(range(len(arms)))[: options.budget]
    rounds = max(1, math.ceil(math.log2(len(alive))))
    spent = used = 0
    for r in range(rounds):
        share = (options.budget - spent) // (rounds - r)
        fresh = order[used : used + max(1, share // len(alive))]
        fresh = fresh[: (options.budget - spent) // len(alive)]
        if not fresh:
            break
        measure([(c, i) for c in alive for i in fresh])
        spent += len(alive) * len(fresh)
        used += len(fresh)
        alive = sorted(sorted(alive, key=lambda c: -arms[c].mean)[: max(1, math.ceil(len(alive) / 2))])
    # Only survivors can win: who left early was tested on few items, and may only have been lucky there.
    return spent, alive


def ucb(arms: list[_Arm], items: list[str], options: SearchSection, measure: Measure, random: Random) -> Spent:
    """The bandit of APE: each round scores the candidates with the highest mean + c sqrt(log t / n) on random items."""
    spent = 0
    pulls = [0] * len(arms)
    for _ in range(options.rounds):
        per_round = max(1, int(len(arms) * options.fraction))
        drawn = random.sample(items, min(options.items, len(items)))
        per_round = min(per_round, (options.budget - spent) // len(drawn))
        if per_round < 1:
            break
        total = max(1, sum(pulls))

        def bound(c: int, total: int = total) -> float:
            if pulls[c] == 0:
                return math.inf
            return arms[c].mean + options.exploration * math.sqrt(math.log(total) / pulls[c])

        chosen = sorted(range(len(arms)), key=lambda c: (-bound(c), c))[:per_round]
        measure([(c, i) for c in chosen for i in drawn])
        for c in chosen:
            pulls[c] += len(drawn)
        spent += per_round * len(drawn)
    return spent, list(range(len(arms)))
