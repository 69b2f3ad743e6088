"""The notes that a reader of a run's numbers needs, in sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from llmkit.conditions import Condition
from llmkit.measure import doubts
from llmkit.measure.cells import NOISY, STAND
from llmkit.measure.judged_results import Judge
from llmkit.measure.results import Labelled, Looked, Metrics
from llmkit.report.written import short
from llmkit.types import CLEAN


@dataclass(frozen=True, slots=True)
class Notes:
    """Headlines before all numbers, warnings, and remarks on how to read the numbers."""

    headlines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Returns all of them in order, as sentences."""
        return [*self.headlines, *(f"Warning: {line}." for line in self.warnings), *self.remarks]


def notes(metrics: Metrics) -> Notes:
    """Returns all sentences about a run, which go beside its tables."""
    headlines, remarks = _headlines(metrics), _remarks(metrics)
    if metrics.looks:
        headlines += _looked(metrics.looks, "rows" if metrics.unlabelled else "questions")
    if metrics.unlabelled:
        headlines, remarks = _changes(metrics) + headlines, _how_to_read_changes(metrics) + _answered_by(metrics)
    if metrics.labels:
        remarks.append(labels_line(metrics.labels))
    if metrics.judge:
        remarks += judge_lines(metrics, metrics.judge)
    return Notes(tuple(headlines), tuple(doubts.warnings(metrics)), tuple(remarks))


def _looked(looks: Looked, noun: str) -> list[str]:
    """Says at which look a run stopped, and how its numbers are to be read."""
    asked = f"{looks.asked:,} of {looks.planned:,} {noun}"
    level = f"intervals are computed at the level {looks.nominal:.6g}, so that those of all looks together hold"
    if not looks.stopped:
        return [f"Look {looks.number} of {looks.of}, the last: {asked} asked; {level}."]
    return [
        f"Stopped at look {looks.number} of {looks.of}: {asked} asked; {level}.",
        "Values of a run that stopped lean towards what made it stop: read the intervals, which hold. "
        "It is no baseline for later runs.",
    ]


def changed_share(metrics: Metrics, condition: str) -> str:
    """Returns the share of questions that the noise of a condition changed, as a table shows it; "" if not counted.

    For `noisy` it is the mean over all noise.
    """
    shares = [copies.share for name, copies in metrics.noise.items() if condition in (NOISY, name)]
    return f"{sum(shares) / len(shares):.3f}" if shares else ""


def averages(metrics: Metrics) -> bool:
    """Returns whether the average over all noise says more than the single conditions: there are several."""
    return sum(Condition.parse(c).noisy for c in metrics.conditions) > 1


def shown(metrics: Metrics, measured: Mapping[str, object]) -> list[str]:
    """Returns the conditions of a measurement that a table shows: the average only where there are several."""
    return [c for c in measured if c != NOISY or averages(metrics)]


def _headlines(metrics: Metrics) -> list[str]:
    """Says that no repair can be expected of a model that restores nothing."""
    marked = {name: arm.restored or 0.0 for name, arm in metrics.arms.items() if arm.mark}
    if not marked:
        return []
    share = max(marked.values())
    return [f"This model cannot correct: under noise it restored {share:.2f} of the errors ({', '.join(marked)})."]


def _remarks(metrics: Metrics) -> list[str]:
    n, clusters, percent = metrics.questions, metrics.clusters, f"{metrics.level:.0%}"
    questions = f"{n} questions" if clusters == n else f"{n} questions from {clusters} templates"
    lines = [f"{questions}; ranges are {percent} intervals; unparsed and failed answers count as wrong."]
    lines += _answered_by(metrics)
    if metrics.chance:
        lines.append(f"Guessing would be right on {metrics.chance:.3f}.")
    if (effect := metrics.minimum_detectable_effect) and effect.value:
        lines.append(f"A gain below {effect.value:.3f} would go unseen in more than one of five such runs.")
    if floor := metrics.noise_floor.get(STAND):
        share = floor.verdict_differs
        span = f"{short(share.low)}–{short(share.high)}"
        lines.append(f"Noise floor: asked twice, {share.value:.3f} ({span}) of clean verdicts differ.")
    return lines + _same_source(metrics)


def _answered_by(metrics: Metrics) -> list[str]:
    if not (engine := metrics.engine):
        return []
    dtype = f"in {engine.dtype}" if engine.dtype else "in a dtype that its server does not state"
    return [f"Answered by {engine.kind}, {dtype}."]


def labels_line(labels: Labelled) -> str:
    """Returns what losses and gains of a run without answers rest on: who looked at what, and how it was chosen."""
    if not labels.pairs:
        return "No answers differ, so nothing had to be labelled."
    pairs = f"Losses and gains rest on labels of {labels.labelled} of {labels.pairs} pairs of answers"
    chosen = (
        "all rows that changed" if labels.used == labels.rows else f"a random {labels.used} of {labels.rows} such rows"
    )
    skipped = f"; {labels.skipped} skipped, which count as they hurt most" if labels.skipped else ""
    conflicts = f"; {labels.conflicts} contradict earlier ones, and the later count" if labels.conflicts else ""
    return f"{pairs}, {chosen}{skipped}{conflicts}."


def judge_lines(metrics: Metrics, judge: Judge) -> list[str]:
    """Returns who judged, how many verdicts hold in both orders, how far people agree, and why no gate rests on it."""
    if not judge.pairs:
        return ["No answers differ, so there was nothing to judge."]
    left = f"; {judge.open} not asked yet" if judge.open else ""
    orders = (
        f"Judge {judge.model}: verdicts on {judge.judged} of {judge.pairs} pairs of answers, in both orders; "
        f"{judge.inconsistent} of these change with the order and count as a tie; {judge.none} without a verdict{left}."
    )
    kappa = judge.kappa
    if kappa.value is None or judge.agreed is None:
        agreement = f"How far people agree with the judge is not known: {getattr(kappa, 'reason', '')}."
    else:
        words = f"Judge and people agree on {judge.agreed:.3f} of {judge.shared} pairs: kappa {kappa.value:.3f}"
        agreement = f"{words} [{kappa.low:.3f}, {kappa.high:.3f}]."
    reason = doubts.of_judge(metrics)
    return [orders, agreement, *([f"No gate rests on this judge: {reason}."] if reason else [])]


def in_points(metrics: Metrics, arm: str, condition: str) -> str:
    """Returns in one sentence, in points of a hundred, what noise took from an arm, or on clean rows what it lost
    against `stand`."""
    result = metrics.arms[arm]
    lost = result.clean_drop if condition == CLEAN else result.drop.get(condition)
    under = "under noise" if condition == NOISY else f"under {condition}"
    where = "against stand on the rows as sent" if condition == CLEAN else under
    if lost is None or lost.value is None or lost.low is None or lost.high is None:
        return f"what {arm} lost {where} is not known: {lost.reason if lost else 'it was not measured'}"
    value, low, high = (100 * end for end in (lost.value, lost.low, lost.high))
    return f"{arm} lost {value:.1f} points {where} [{low:.1f}, {high:.1f}]"


def _same_source(metrics: Metrics) -> list[str]:
    """Returns a line for each arm that repairs from the very table that a kind of noise was drawn from."""
    from llmkit.perturb import OPERATORS
    from llmkit.rop import known_arm

    lines = []
    for arm in metrics.arms:
        name = arm.rpartition("/")[2]  # of several runs side by side
        known = known_arm(name)
        resource = known.resource if known else ""
        operators = {op for op in OPERATORS if resource and OPERATORS[op].resource == resource}
        shared = [c for c in metrics.conditions if operators & _operators(c)]
        if shared:
            files = ", pairs from a file aside" if any("file:" in c for c in shared) else ""
            what = f"{arm} repairs {', '.join(shared)} from the table that this noise is drawn from ({resource}{files})"
            lines.append(f"{what}: the best case, not what it does to other look-alikes.")
    return lines


def _operators(condition: str) -> set[str]:
    """Returns the operators that a condition names.

    The content of a file was drawn elsewhere, so its path counts for nothing; after a bar comes the operator for what
    the file does not have.
    """
    return set(re.findall(r"\w+", re.sub(r"file:[^|]*", "", Condition.parse(condition).spec)))


def _changes(metrics: Metrics) -> list[str]:
    """Returns what a run without answers comes to, one sentence for each noise."""
    lines = []
    for name, arm in metrics.arms.items():
        if name != STAND and STAND in metrics.arms:
            continue
        if CLEAN in arm.repeated and not arm.stability:
            lines.append(f"{name}: {_percent(arm.repeated[CLEAN].value)} of the answers change by themselves.")
        for condition in shown(metrics, arm.stability):
            stable = arm.stability[condition]
            parts = [f"{_percent(stable.itself.value)} of the answers change by themselves"] if stable.itself else []
            ends = f"[{100 * stable.changed.low:.1f}, {100 * stable.changed.high:.1f}]"
            under = "all noise, averaged" if condition == NOISY else condition
            parts.append(f"{_percent(stable.changed.value)} {ends} under {under}")
            if stable.lost_at_most:
                parts.append(f"at most {_percent(stable.lost_at_most.high)} can have gone wrong")
            lines.append(f"{name}: {', '.join(parts)}.")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _how_to_read_changes(metrics: Metrics) -> list[str]:
    """Returns how to read the numbers of rows without answers."""
    n, clusters, percent = metrics.questions, metrics.clusters, f"{metrics.level:.0%}"
    rows = f"{n:,} rows" if clusters == n else f"{n:,} rows in {clusters:,} groups"
    lines = [
        f"{rows} without answers, so nothing is right or wrong; ranges are {percent} intervals; failed calls count "
        "as changed.",
        "By itself: two answers to the same text differ, as sent and under noise; it is not subtracted from anything.",
    ]
    bounded = [s.lost_at_most for arm in metrics.arms.values() for s in arm.stability.values()]
    if any(bounded):
        lines.append(f"At most wrong: no accuracy lost more, with {percent} confidence on one side.")
    if bounded and not metrics.labels:
        lines.append("`llmkit label RUN` asks a person about the rows that changed: then losses are known.")
    return lines
