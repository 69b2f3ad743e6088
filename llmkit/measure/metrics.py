"""From outcomes to metrics.json: every number that tables, gates and the report show. `results` names the keys."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from llmkit.conditions import REPLICATE
from llmkit.measure import changed, cost, curves, restoration, retrieval, scored, statistics, unread
from llmkit.measure.arm_results import ArmResult, Flips, Repeat, Repeats
from llmkit.measure.cell_results import cell_result
from llmkit.measure.cells import CEILING, NOISY, STAND, Cell, Cells, Weights, each, pair_key
from llmkit.measure.compare import against
from llmkit.measure.contrasts import Contrast
from llmkit.measure.results import DetectableEffect, HolmTest, Metrics, NoiseFloor
from llmkit.measure.run_contrasts import RunContrasts
from llmkit.measure.stability import ASSUMED, Assumed, unlabelled
from llmkit.measure.unlabelled import without_answers
from llmkit.measure.values import Drop, FlipRate, Interval, Unmeasured, negated, number, rounded_p
from llmkit.recipe.schema import EvalSection
from llmkit.runs.samples import Sample, as_samples
from llmkit.seeds import derive
from llmkit.tasks import recorded_kind
from llmkit.types import CLEAN, Outcome

if TYPE_CHECKING:
    from llmkit.measure.statistics import Floats

_POWER = 0.8


def metrics(
    outcomes: Sequence[Outcome | Sample],
    section: EvalSection,
    seed: int,
    baseline: Sequence[Outcome | Sample] | None = None,
    assumed: Assumed = ASSUMED,
) -> Metrics:
    """Computes every number of a run.

    Bare outcomes do; with samples, which carry the texts and calls, the correction itself is measured too. The order of
    `outcomes` does not matter. All that may differ between two equal runs (times, cache hits) is under `timing`.
    `baseline` is a stored run's outcomes: what changed since then is under `baseline`. `assumed` says how failed calls
    count where rows have no answers.

    What answered, which calls failed and what the gates say is not known here: `engine`, `failed` and `gates` are
    those of the run (`evaluate.conclusion`).
    """
    samples = sorted(as_samples(outcomes), key=_order)
    cells = Cells(samples)
    noise = changed.of_samples(samples)
    if unlabelled(samples):
        result = without_answers(cells, samples, noise, section, seed, assumed)
        stored = None if baseline is None else against(samples, baseline, section.interval, seed)
        given = scored.with_scores(result.arms, cells, samples, section, derive(seed, "sign_flip"))
        arms = changed.without_unmeasured(given, result.unmeasured)
        return result.model_copy(update={"baseline": stored, "arms": arms})
    unmeasured = changed.unmeasured(noise)
    level = section.interval.level
    contrasts = RunContrasts(cells, level, section.interval.draws, derive(seed, "sign_flip"))
    guess = _chance(cells)
    arms = {arm: _arm(cells, contrasts, arm, guess, section) for arm in cells.arms}
    arms = scored.with_scores(arms, cells, samples, section, derive(seed, "sign_flip"))
    unreadable = unread.unmeasured(arms)
    arms = unread.without_unmeasured(changed.without_unmeasured(arms, unmeasured), unreadable)
    return Metrics(
        level=level,
        questions=len(cells.questions),
        clusters=len(set(cells.clusters.tolist())),
        outcomes=len(samples),
        chance=number(guess),
        conditions=tuple(cells.conditions),
        noise=noise,
        unmeasured=unmeasured,
        unreadable=unreadable,
        minimum_detectable_effect=_detectable(cells, contrasts, level),
        arms=arms,
        holm=tuple(_holm(cells, contrasts, section.family, 1 - level, unmeasured)),
        noise_floor=each(cells.arms, lambda arm: _noise_floor(cells, arm, level)),
        baseline=None if baseline is None else against(samples, baseline, section.interval, seed),
        timing=cost.timing(cells),
    )


def _arm(cells: Cells, contrasts: RunContrasts, arm: str, guess: float, section: EvalSection) -> ArmResult:
    level = section.interval.level
    clean = Cell(arm, CLEAN)
    noisy = cells.noisy_of(clean)
    conditions = [*noisy, NOISY]
    own = [c for c in [*cells.conditions, NOISY] if cells.spread({clean.under(c): 1.0})]
    compared = [] if arm == STAND else conditions
    harm = None if arm == STAND else contrasts.difference(Contrast("gain", arm, CLEAN))
    return ArmResult(
        conditions={c: cell_result(cells, clean.under(c), section) for c in own},
        drop=each(conditions, lambda c: _drop(cells, contrasts, arm, c, guess, level)),
        flips=each(conditions, lambda c: _flips(cells, arm, c, level)),
        gain=each(compared, lambda c: contrasts.difference(Contrast("gain", arm, c))),
        recovery=each(compared, lambda c: _recovery(cells, contrasts, arm, c, guess, level)),
        clean_drop=harm and negated(harm),
        over_correction=restoration.over_correction(cells, cells.samples_of(clean), level),
        correction=each(noisy, lambda c: restoration.correction(cells, cells.samples_of(clean.under(c)), level)),
        curves=curves.curves(cells, contrasts.means, arm, level),
        holdout=curves.holdout(contrasts.means, arm),
        repeats=each(noisy, lambda c: _repeats(cells, contrasts, arm, c)),
        retrieval=retrieval.of_arm(cells, arm, level),
    )


def _undefined(
    cells: Cells, contrasts: RunContrasts, arm: str, condition: str, guess: float, level: float
) -> str | None:
    """Returns the reason why nothing can be divided by an arm's loss, or None where it can.

    A ratio of two numbers that may both be zero is not a result.
    """
    clean = cells.accuracy(Cell(arm, CLEAN), level)
    loss = contrasts.means.get(Contrast("drop", arm, condition))
    if clean is None or loss is None:
        return f"`{arm}` was not asked clean and under `{condition}`"
    if clean.low <= guess:
        return f"`{arm}` is at {'chance' if guess else 'the floor'} on clean questions"
    if loss.low <= 0:
        return f"the loss of `{arm}` has an interval that includes 0"
    return None


def _drop(cells: Cells, contrasts: RunContrasts, arm: str, condition: str, guess: float, level: float) -> Drop | None:
    loss = contrasts.difference(Contrast("drop", arm, condition))
    if loss is None:
        return None
    relative: Interval | Unmeasured
    if reason := _undefined(cells, contrasts, arm, condition, guess, level):
        relative = Unmeasured(reason=reason)
    else:
        clean, noisy = Cell(arm, CLEAN), Cell(arm, condition)
        relative = _ratio(cells, {clean: 1.0, noisy: -1.0}, {clean: 1.0}, level, most=1.0)
    return Drop(**dict(loss), relative=relative)


def _recovery(
    cells: Cells, contrasts: RunContrasts, arm: str, condition: str, guess: float, level: float
) -> Interval | Unmeasured | None:
    """Computes the share of what noise took from `stand` that this arm wins back."""
    gain = contrasts.means.get(Contrast("gain", arm, condition))
    if gain is None:
        return None
    if reason := _undefined(cells, contrasts, STAND, condition, guess, level):
        return Unmeasured(reason=reason)
    stand = Cell(STAND, condition)
    won, lost = {Cell(arm, condition): 1.0, stand: -1.0}, {stand.under(CLEAN): 1.0, stand: -1.0}
    recovery = _ratio(cells, won, lost, level)
    if isinstance(recovery, Unmeasured):
        return recovery
    # Fieller's interval and the gain's come from different formulas. A recovery differs from 0 exactly where the gain
    # beside it does, so where they disagree the end of the recovery is moved to 0 (docs/statistics.md).
    low = min(recovery.low, 0.0) if gain.low <= 0 else max(recovery.low, 0.0)
    high = max(recovery.high, 0.0) if gain.high >= 0 else min(recovery.high, 0.0)
    return Interval(value=recovery.value, low=low, high=high)


def _ratio(cells: Cells, above: Weights, below: Weights, level: float, most: float = math.inf) -> Interval | Unmeasured:
    dividend, divisor = cells.contrast(above), cells.contrast(below)
    if dividend is None or divisor is None:
        return Unmeasured(reason="what it divides by is not clearly different from 0")
    ratio = statistics.ratio(dividend, divisor, cells.clusters, level, most)
    return Interval.of(*ratio) if ratio else Unmeasured(reason="what it divides by is not clearly different from 0")


def _flips(cells: Cells, arm: str, condition: str, level: float) -> Flips | None:
    """Computes how often a right clean answer turns wrong, and a wrong one right, each among those where it can."""
    import numpy as np

    clean, noisy = cells.contrast({Cell(arm, CLEAN): 1.0}), cells.contrast({Cell(arm, condition): 1.0})
    if clean is None or noisy is None:
        return None
    both = ~np.isnan(clean) & ~np.isnan(noisy)
    clean, noisy = np.where(both, clean, 0), np.where(both, noisy, 0)
    answers_each = len(cells.samples_of(Cell(arm, condition))) / max(int(both.sum()), 1)

    def among(hits: Floats, of: Floats) -> FlipRate:
        candidates = float(of.sum())
        value, low, high = statistics.rate(hits, of, cells.clusters, answers_each * candidates, level)
        share = None if math.isnan(value) else number(value)
        return FlipRate(of=number(candidates), value=share, low=number(low), high=number(high))

    wrong = np.where(both, 1 - clean, 0)
    return Flips(right_to_wrong=among(clean * (1 - noisy), clean), wrong_to_right=among(wrong * noisy, wrong))


def _repeats(cells: Cells, contrasts: RunContrasts, arm: str, condition: str) -> Repeats | None:
    """Computes the accuracy of each noise draw and each search seed, and the standard deviation between them.

    The questions are the same in each, so this is variation of its own, apart from the sampling of questions.
    """
    samples = cells.samples_of(Cell(arm, condition))
    draws = _repeat(samples, lambda s: pair_key(s)[1])
    search_seeds = _repeat(samples, lambda s: pair_key(s)[2])
    if draws is None and search_seeds is None:
        return None
    drop = contrasts.means.get(Contrast("drop", arm, condition))
    return Repeats(draws=draws, search_seeds=search_seeds, sampling_se_of_drop=number(drop.se) if drop else None)


def _repeat(samples: Iterable[Sample], number_of: Callable[[Sample], int]) -> Repeat | None:
    verdicts: dict[int, list[bool]] = defaultdict(list)
    for sample in samples:
        verdicts[number_of(sample)].append(bool(sample.outcome.correct))
    if len(verdicts) < 2:
        return None
    rates = [sum(right) / len(right) for _, right in sorted(verdicts.items())]
    return Repeat(accuracy=tuple(number(r) for r in rates), sd=number(_sd(rates)))


def _noise_floor(cells: Cells, arm: str, level: float) -> NoiseFloor | None:
    """Computes how often a clean question, asked twice, is answered or judged differently: the engine's own noise."""
    import numpy as np

    def answers(condition: str) -> dict[tuple[str, int, int, str], Outcome]:
        here = cells.samples.get(Cell(arm, condition), ())
        return {(*pair_key(s), str(s.outcome.meta.get("holdout") or "")): s.outcome for s in here}

    once, again = answers(CLEAN), answers(REPLICATE)
    both = sorted(once.keys() & again.keys())
    if not both:
        return None
    rows = [cells.row[q] for q, *_ in both]

    def share(flags: list[bool]) -> Interval:
        hits, of = np.zeros(len(cells.questions)), np.zeros(len(cells.questions))
        np.add.at(hits, rows, flags)
        np.add.at(of, rows, 1)
        return Interval.of(*statistics.rate(hits, of, cells.clusters, len(both), level))

    return NoiseFloor(
        n=len(both),
        verdict_differs=share([once[q].correct != again[q].correct for q in both]),
        answer_differs=share([once[q].parsed != again[q].parsed for q in both]),
    )


def _holm(
    cells: Cells, contrasts: RunContrasts, family: Sequence[str], alpha: float, unmeasured: Mapping[str, str]
) -> list[HolmTest]:
    """Adjusts p-values over every comparison of the declared family.

    The average over all noise is no part of it, because it repeats the comparisons that it averages.
    """
    ps: dict[tuple[str, str, str], float] = {}
    for name, test in contrasts.tests.items():
        if name.arm == CEILING or name.condition == NOISY or name.condition in unmeasured:
            continue
        metric = "clean_drop" if name.kind == "gain" and name.condition == CLEAN else name.kind
        if metric in family and (metric == "clean_drop" or name.condition in cells.noisy):
            ps[metric, name.arm, name.condition] = test.p
    return [
        HolmTest(
            metric=metric,
            arm=arm,
            condition=condition,
            p=rounded_p(ps[metric, arm, condition]),
            adjusted=rounded_p(p),
            significant=p <= alpha,
        )
        for (metric, arm, condition), p in statistics.holm(ps).items()
    ]


def _detectable(cells: Cells, contrasts: RunContrasts, level: float) -> DetectableEffect | None:
    """Computes the smallest gain that this many questions show with power 0.8, at the disagreement that was seen.

    `n` is what clustered questions were worth: the variance of lone pairs over that of the gain. Of several gains the
    one with the median disagreement counts.
    """
    seen = []
    for name, test in contrasts.tests.items():
        gain = contrasts.means.get(name)
        answers = len(cells.samples.get(Cell(name.arm, name.condition), ()))
        if name.kind != "gain" or name.condition not in cells.noisy or not answers or not gain:
            continue
        if test.better is None or test.worse is None:
            continue
        discordance = (test.better + test.worse) / answers
        spread = max(discordance - gain.value**2, 0.0)
        lone = gain.clusters == gain.n
        size = gain.n if lone else min(max(spread / gain.se**2, gain.clusters), gain.n)
        seen.append((discordance, int(size)))
    if not seen:
        return None
    discordance, size = sorted(seen)[len(seen) // 2]
    clusters = len(set(cells.clusters.tolist()))
    groups = clusters if clusters < len(cells.questions) else None
    effect = None
    if discordance:
        effect = statistics.minimum_detectable_effect(size, discordance, 1 - level, _POWER, clusters=groups)
    value = None if effect is None else number(effect)
    return DetectableEffect(n=size, discordance=number(discordance), power=_POWER, value=value)


def _chance(cells: Cells) -> float:
    """Computes the chance level, averaged over the questions."""
    first = {s.outcome.question_id: s for group in cells.samples.values() for s in group}
    golds = ((s, s.outcome.gold) for s in first.values() if s.outcome.gold is not None)
    chances = [recorded_kind(s.kind, gold, s.options).chance(gold, s.options or s.labels) for s, gold in golds]
    return sum(chances) / max(len(first), 1)


def _order(sample: Sample) -> tuple[str, str, str, int, int, str]:
    o = sample.outcome
    return o.question_id, o.condition, o.arm, *pair_key(sample)[1:], str(o.meta.get("holdout") or "")


def _sd(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
