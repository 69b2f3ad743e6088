"""From outcomes to metrics.json: every number that tables, gates and the report show. docs/report.md names the keys."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from llmkit.conditions import REPLICATE
from llmkit.measure import changed, cost, curves, restoration, statistics, unread
from llmkit.measure.cells import (
    CEILING,
    NOISY,
    STAND,
    Cell,
    Cells,
    Plan,
    Weights,
    contradicts,
    estimate,
    interval,
    null,
    number,
    pair_key,
)
from llmkit.measure.compare import against
from llmkit.recipe.schema import EvalSection
from llmkit.runs.samples import Sample, as_samples
from llmkit.seeds import derive
from llmkit.tasks import recorded_kind
from llmkit.types import CLEAN, Outcome


def metrics(
    outcomes: Sequence[Outcome | Sample],
    section: EvalSection,
    seed: int,
    baseline: Sequence[Outcome | Sample] | None = None,
) -> dict[str, Any]:
    """Every number of a run, ready for JSON, keys in a fixed order, rates and differences as fractions.

    Bare outcomes do; with samples, which carry the texts and calls, the correction itself is measured too. The order of
    `outcomes` does not matter. All that may differ between two equal runs (times, cache hits) stands under "timing".
    `baseline` is a stored run's outcomes: what changed since then stands under "baseline".
    """
    samples = sorted(as_samples(outcomes), key=_order)
    cells = Cells(samples)
    noise = {condition: copies.row() for condition, copies in changed.of_samples(samples).items()}
    unmeasured = changed.unmeasured(noise)
    level, draws = section.interval.level, section.interval.draws
    solved = _Solved(cells, level, draws, derive(seed, "sign_flip"))
    guess = _chance(cells)
    arms = {arm: _arm(cells, solved, arm, guess, section) for arm in cells.arms}
    unreadable = unread.unmeasured(arms)
    changed.without_unmeasured(arms, unmeasured)
    unread.without_unmeasured(arms, unreadable)
    return {
        "version": 1,
        "level": level,
        "questions": len(cells.questions),
        "clusters": len(set(cells.clusters.tolist())),
        "outcomes": len(samples),
        "chance": number(guess),
        "engine": None,  # what answered, where a run is measured: outcomes do not say
        "conditions": cells.conditions,
        "noise": noise,
        "unmeasured": unmeasured,
        "unreadable": unreadable,
        "minimum_detectable_effect": _detectable(cells, solved, level),
        "arms": arms,
        "holm": _holm(cells, solved, section.family, 1 - level, unmeasured),
        "noise_floor": {arm: floor for arm in cells.arms if (floor := _noise_floor(cells, arm, level))},
        "baseline": None if baseline is None else against(samples, baseline, section.interval, seed),
        "timing": cost.timing(cells),
    }


class _Solved:
    """All contrasts of a run, and their p-values."""

    def __init__(self, cells: Cells, level: float, draws: int, seed: int) -> None:
        self.cells, self.level = cells, level
        plan = Plan(cells)
        tested: dict[Hashable, tuple[Cell, Cell]] = {}
        for arm in cells.arms:
            for condition in [CLEAN, *cells.noisy, NOISY]:
                here = (arm, condition)
                if condition != CLEAN:
                    tested["drop", arm, condition] = ((arm, CLEAN), here)
                if arm != STAND:
                    tested["gain", arm, condition] = (here, (STAND, condition))
            for name, weights in curves.areas(cells, arm).items():
                plan.add(("area", arm, name), weights)
            for (out, condition), gain in curves.holdout_gains(cells, arm).items():
                plan.add_column(("holdout", arm, out, condition), gain, (-1.0, 1.0))
        tested = {name: ends for name, ends in tested.items() if plan.add(name, {ends[0]: 1.0, ends[1]: -1.0})}
        self.estimates = plan.solve(level)
        lone = len(set(cells.clusters.tolist())) == len(cells.questions)
        self.tests: dict[Hashable, dict[str, Any]] = {}
        flipped: list[Hashable] = []
        for name, (plus, minus) in tested.items():
            if NOISY in (plus[1], minus[1]):
                flipped.append(name)
                self.tests[name] = {}
                continue
            better, worse, single = cells.pairs(plus, minus)
            self.tests[name] = {"better": better, "worse": worse}
            if single and lone:
                self.tests[name] |= {"p": statistics.mcnemar(better, worse), "test": "mcnemar"}
            else:
                flipped.append(name)
        for name, p in plan.flip_p(flipped, draws, seed).items():
            self.tests[name] |= {"p": p, "test": "sign_flip"}

    def difference(self, name: Hashable) -> dict[str, Any] | None:
        """A contrast's value, interval, size, standard error and test."""
        found = self.estimates.get(name)
        if found is None:
            return None
        row = estimate(found) | (test := self.tests.get(name, {}))
        if "p" in test:
            row |= {"p": _p(test["p"]), "undecided": contradicts(test["p"], found.low, found.high, self.level)}
        return row


def _arm(cells: Cells, solved: _Solved, arm: str, guess: float, section: EvalSection) -> dict[str, Any]:
    level = section.interval.level
    conditions = [*cells.noisy_of(arm), NOISY]
    asked = [c for c in [*cells.conditions, NOISY] if cells.spread({(arm, c): 1.0})]
    found: dict[str, Any] = {
        "conditions": {c: _cell(cells, arm, c, section) for c in asked},
        "drop": _present({c: _drop(cells, solved, arm, c, guess, level) for c in conditions}),
        "flips": _present({c: _flips(cells, arm, c, level) for c in conditions}),
    }
    if arm != STAND:
        harm = solved.difference(("gain", arm, CLEAN))
        found |= {
            "gain": _present({c: solved.difference(("gain", arm, c)) for c in conditions}),
            "recovery": _present({c: _recovery(cells, solved, arm, c, guess, level) for c in conditions}),
            "clean_drop": harm and _negated(harm),
        }
    texts = {c: cells.samples.get((arm, c), []) for c in [CLEAN, *cells.noisy_of(arm)]}
    found |= {
        "over_correction": restoration.over_correction(cells, texts.pop(CLEAN), level),
        "correction": _present({c: restoration.quality(cells, group, level) for c, group in texts.items()}),
        "curves": curves.curves(cells, solved.estimates, arm, level),
        "holdout": curves.holdout(solved.estimates, arm),
        "repeats": _repeats(cells, solved, arm),
    }
    return {key: value for key, value in found.items() if value not in (None, {})}


def _cell(cells: Cells, arm: str, condition: str, section: EvalSection) -> dict[str, Any]:
    group = [s for c in (cells.noisy_of(arm) if condition == NOISY else [condition]) for s in cells.samples[arm, c]]
    outcomes = [s.outcome for s in group]
    strengths = [s.strength for s in group if s.strength is not None]
    return {
        "n": len({o.question_id for o in outcomes}),
        "outcomes": len(outcomes),
        "accuracy": cells.accuracy(arm, condition, section.interval.level),
        "unparsed": sum(o.parsed is None and o.error is None for o in outcomes),
        "cut": sum(o.cut for o in outcomes),
        "errors": sum(o.error is not None for o in outcomes),
        "fallbacks": sum(o.fallback is not None for o in outcomes),
        **cost.spent(group, section),
        "strength": number(sum(strengths) / len(strengths)) if strengths else None,
        "rejected": sum(s.rejected is not None for s in group),
    }


def _no_loss(cells: Cells, solved: _Solved, arm: str, condition: str, guess: float, level: float) -> str | None:
    """Why a loss from noise cannot be divided by, if so."""
    clean = cells.accuracy(arm, CLEAN, level)
    loss = solved.estimates.get(("drop", arm, condition))
    if clean is None or loss is None:
        return f"`{arm}` was not asked clean and under `{condition}`"
    if clean["low"] <= guess:
        return f"`{arm}` is at {'chance' if guess else 'the floor'} on clean questions"
    if loss.low <= 0:
        return f"the loss of `{arm}` has an interval that includes 0"
    return None


def _drop(cells: Cells, solved: _Solved, arm: str, condition: str, guess: float, level: float) -> dict[str, Any] | None:
    found = solved.difference(("drop", arm, condition))
    if found is None:
        return None
    reason = _no_loss(cells, solved, arm, condition, guess, level)
    weights = {(arm, CLEAN): 1.0, (arm, condition): -1.0}
    return found | {
        "relative": null(reason) if reason else _ratio(cells, weights, {(arm, CLEAN): 1.0}, level, most=1.0)
    }


def _recovery(
    cells: Cells, solved: _Solved, arm: str, condition: str, guess: float, level: float
) -> dict[str, Any] | None:
    """The share of what noise took from `stand` that this arm wins back."""
    if solved.estimates.get(("gain", arm, condition)) is None:
        return None
    if reason := _no_loss(cells, solved, STAND, condition, guess, level):
        return null(reason)
    won = {(arm, condition): 1.0, (STAND, condition): -1.0}
    found = _ratio(cells, won, {(STAND, CLEAN): 1.0, (STAND, condition): -1.0}, level)
    if found["value"] is not None:  # a recovery differs from 0 exactly where the gain beside it does
        gain = solved.estimates["gain", arm, condition]
        found["low"] = min(found["low"], 0.0) if gain.low <= 0 else max(found["low"], 0.0)
        found["high"] = max(found["high"], 0.0) if gain.high >= 0 else min(found["high"], 0.0)
    return found


def _ratio(cells: Cells, above: Weights, below: Weights, level: float, most: float = math.inf) -> dict[str, Any]:
    found = statistics.ratio(cells.contrast(above), cells.contrast(below), cells.clusters, level, most)
    return interval(*found) if found else null("what it divides by is not clearly different from 0")


def _flips(cells: Cells, arm: str, condition: str, level: float) -> dict[str, Any] | None:
    """How often a right clean answer turns wrong, and a wrong one right, each among the questions where it can."""
    import numpy as np

    clean, noisy = cells.contrast({(arm, CLEAN): 1.0}), cells.contrast({(arm, condition): 1.0})
    if clean is None or noisy is None:
        return None
    both = ~np.isnan(clean) & ~np.isnan(noisy)
    clean, noisy = np.where(both, clean, 0), np.where(both, noisy, 0)
    conditions = cells.noisy_of(arm) if condition == NOISY else [condition]
    answers = sum(len(cells.samples[arm, c]) for c in conditions) / max(int(both.sum()), 1)  # of a question

    def among(hits: Any, of: Any) -> dict[str, Any]:
        value, low, high = statistics.rate(hits, of, cells.clusters, answers * float(of.sum()), level)
        return {"of": number(float(of.sum()))} | interval(value, low, high)

    wrong = np.where(both, 1 - clean, 0)
    return {"right_to_wrong": among(clean * (1 - noisy), clean), "wrong_to_right": among(wrong * noisy, wrong)}


def _repeats(cells: Cells, solved: _Solved, arm: str) -> dict[str, Any]:
    """Accuracy of each noise draw and each search seed, and the standard deviation between them.

    The questions are the same in each, so this is variation of its own, apart from the sampling of questions.
    """
    found: dict[str, Any] = {}
    for condition in cells.noisy_of(arm):
        kinds = {}
        for kind, place in (("draws", 1), ("search_seeds", 2)):
            runs: dict[int, list[bool]] = {}
            for sample in cells.samples[arm, condition]:
                runs.setdefault(int(pair_key(sample)[place]), []).append(sample.outcome.correct)
            if len(runs) > 1:
                rates = [sum(runs[r]) / len(runs[r]) for r in sorted(runs)]
                kinds[kind] = {"accuracy": [number(r) for r in rates], "sd": number(_sd(rates))}
        if kinds:
            drop = solved.estimates.get(("drop", arm, condition))
            found[condition] = kinds | {"sampling_se_of_drop": number(drop.se) if drop else None}
    return found


def _noise_floor(cells: Cells, arm: str, level: float) -> dict[str, Any] | None:
    """How often the same clean question, asked twice, is answered or judged differently: the engine's own noise."""
    import numpy as np

    def asked(condition: str) -> dict[tuple, Outcome]:
        here = cells.samples.get((arm, condition), ())
        return {(*pair_key(s), str(s.outcome.meta.get("holdout") or "")): s.outcome for s in here}

    once, again = asked(CLEAN), asked(REPLICATE)
    both = sorted(once.keys() & again.keys())
    if not both:
        return None
    rows = [cells.row[q] for q, *_ in both]

    def share(flags: list[bool]) -> dict[str, Any]:
        hits, of = np.zeros(len(cells.questions)), np.zeros(len(cells.questions))
        np.add.at(hits, rows, flags)
        np.add.at(of, rows, 1)
        return interval(*statistics.rate(hits, of, cells.clusters, len(both), level))

    return {
        "n": len(both),
        "verdict_differs": share([once[q].correct != again[q].correct for q in both]),
        "answer_differs": share([once[q].parsed != again[q].parsed for q in both]),
    }


def _holm(
    cells: Cells, solved: _Solved, family: Sequence[str], alpha: float, unmeasured: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Adjusted p-values over every comparison of the declared family."""
    tests = {}
    for (metric, arm, condition), test in solved.tests.items():
        if arm == CEILING or condition == NOISY or condition in unmeasured or "p" not in test:
            continue
        kind = "clean_drop" if metric == "gain" and condition == CLEAN else metric
        if kind in family and (kind == "clean_drop" or condition in cells.noisy):
            tests[kind, arm, condition] = test["p"]
    adjusted = statistics.holm(tests)
    return [
        {"metric": m, "arm": a, "condition": c, "p": _p(tests[m, a, c]), "adjusted": _p(p), "significant": p <= alpha}
        for (m, a, c), p in adjusted.items()
    ]


def _detectable(cells: Cells, solved: _Solved, level: float) -> dict[str, Any] | None:
    """The smallest gain that this many questions show with power 0.8, at the disagreement that was seen.

    `n` is what clustered questions were worth: the variance of lone pairs over that of the gain.
    """
    seen = []
    for name, test in solved.tests.items():
        estimate = solved.estimates.get(name)
        answers = len(cells.samples.get(name[1:], ()))
        if name[0] != "gain" or name[2] not in cells.noisy or "better" not in test or not answers or not estimate:
            continue
        discordance = (test["better"] + test["worse"]) / answers
        spread = max(discordance - estimate.value**2, 0.0)
        lone = estimate.clusters == estimate.n
        size = estimate.n if lone else min(max(spread / estimate.se**2, estimate.clusters), estimate.n)
        seen.append((discordance, int(size)))
    if not seen:
        return None
    discordance, size = sorted(seen)[len(seen) // 2]
    clusters = len(set(cells.clusters.tolist()))
    groups = clusters if clusters < len(cells.questions) else None
    effect = (
        statistics.minimum_detectable_effect(size, discordance, 1 - level, clusters=groups) if discordance else None
    )
    return {"n": size, "discordance": number(discordance), "power": 0.8, "value": number(effect)}


def _chance(cells: Cells) -> float:
    """Chance level, averaged over the questions."""
    first = {s.outcome.question_id: s for group in cells.samples.values() for s in group}
    kinds = ((s, recorded_kind(s.kind, s.outcome.gold, s.options)) for s in first.values())
    return sum(kind.chance(s.outcome.gold, s.options) for s, kind in kinds) / max(len(first), 1)


def _order(sample: Sample) -> tuple:
    o = sample.outcome
    return o.question_id, o.condition, o.arm, *pair_key(sample)[1:], str(o.meta.get("holdout") or "")


def _present(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value is not None}


def _negated(found: Mapping[str, Any]) -> dict[str, Any]:
    """A difference the other way round: a gain on clean questions as the harm done to them."""
    turned = {key: None if found[key] is None else -found[key] + 0.0 for key in ("value", "low", "high")}
    swapped = {"better": found.get("worse"), "worse": found.get("better")} if "better" in found else {}
    return {**found, "value": turned["value"], "low": turned["high"], "high": turned["low"], **swapped}


def _p(p: float) -> float:
    """Four significant figures: small p-values stay apart from 0."""
    return float(f"{p:.4g}")


def _sd(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
