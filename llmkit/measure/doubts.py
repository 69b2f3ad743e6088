"""Reasons to doubt a run's numbers and leave gates undecided: failed calls, noise that did not happen, unread replies.

One place for the warnings of tables, report and junit.xml, and for the reasons that keep a gate from passing on what
was not measured.
"""

from __future__ import annotations

from llmkit.measure import changed, unread
from llmkit.measure.cells import STAND
from llmkit.measure.gate_metrics import Measured
from llmkit.measure.results import Failed, Metrics
from llmkit.measure.values import Interval
from llmkit.runs.verdicts import SCORE
from llmkit.types import CLEAN

FLOOR = 0.05
"""A model right on no more clean questions than this has nothing that noise could take or a repair could save."""

_OF_THE_ARM = ("drop", "relative_drop", "drop_change")  # differences that begin at the arm's own clean accuracy
_AGAINST_STAND = ("gain", "recovery", "clean_drop")
OF_A_JUDGE = ("judged_drop", "judged_gain")
"""Metrics that rest on a model as judge."""
SHARED = 50
"""Pairs that judge and person must both have a verdict on before a gate rests on the judge."""
_OF_REPAIRS = ("restored", "broken", "net", "touched")


def warnings(metrics: Metrics) -> list[str]:
    """Returns one line for each thing that a reader of the numbers must know before believing them.

    Metrics written before a kind of doubt was measured have no such lines.
    """
    lines = [failed_line(metrics.failed)] if metrics.failed else []
    if metrics.baseline and metrics.baseline.made_by:
        lines.append(f"the stored run was made by llmkit {metrics.baseline.made_by}, whose noise may be another")
    return lines + changed.warnings(metrics.noise) + unread.warnings(metrics)


def failed_line(failed: Failed) -> str:
    """Returns the failed calls of a run in one line, with what the server or model said."""
    count = f"{failed.answers} of {failed.of} answers failed ({failed.share:.3f}) and count as wrong"
    return f"{count}: {words_of(failed)}"


def words_of(failed: Failed) -> str:
    """Returns the commonest errors of a run's failed calls, each with its number."""
    return "; ".join(f"{row.answers} x {row.error}" for row in failed.said)


def of_judge(metrics: Metrics) -> str | None:
    """Returns why no gate may rest on the judge of a run; None where people agree with it better than by chance."""
    judge = metrics.judge
    if judge is None:
        return "no judge was asked: llmkit judge RUN --rubric FILE"
    if judge.shared < SHARED:
        known = f"judge and people have {judge.shared} pairs in common, and a gate needs {SHARED}"
        return f"{known}: llmkit label RUN"
    if judge.kappa.low is None or judge.kappa.value is None:
        return judge.kappa.reason
    if judge.kappa.low <= 0:
        ends = f"{judge.kappa.value:.3f} [{judge.kappa.low:.3f}, {judge.kappa.high:.3f}]"
        return f"the judge is not known to agree with people better than by chance: kappa {ends}"
    return None


def of_gate(arm: str, metric: str, condition: str | None, most: float | None, metrics: Metrics) -> str | None:
    """Returns why nothing that was measured can decide a gate on this metric; None where something can.

    `most` is the limit of a `max` gate. Differences mean nothing where clean accuracy is at chance or at the floor, and
    a loss that no answer could have exceeded proves nothing.
    """
    if condition and (reason := metrics.unmeasured.get(condition)):
        return reason
    metric, score = Measured.named(metric)
    arms = (arm, STAND) if metric in (*_AGAINST_STAND, *_OF_REPAIRS, "judged_gain") else (arm,)
    if reason := next((r for a in arms if (r := metrics.unreadable.get(a) or metrics.constant.get(a))), None):
        return reason
    if metric in OF_A_JUDGE:
        return of_judge(metrics)
    if score == SCORE and (reason := of_judge(metrics)):
        return reason
    if metric not in _OF_THE_ARM + _AGAINST_STAND:
        return None
    start = arm if metric in _OF_THE_ARM else STAND
    accuracy = _clean(metrics, start, score)
    if not accuracy:
        return None
    guess = 0.0 if score else metrics.chance
    interval = f"{accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]"
    shown = f"`{start}` is right on {interval} of the clean questions"
    if score:
        shown = f"`{score}` of `{start}` is {interval} on the clean questions"
    if accuracy.low <= max(guess, FLOOR):
        return f"{shown}, not above {f'chance ({guess:.3f})' if guess > FLOOR else f'the floor ({FLOOR:g})'}"
    if metric == "drop" and most is not None and accuracy.value - guess <= most:
        return f"{shown}, so noise could not have taken more than {most:g}"
    return None


def _clean(metrics: Metrics, arm: str, score: str) -> Interval | None:
    """Returns what differences of an arm begin at: its accuracy on clean questions, or a score there."""
    result = metrics.arms.get(arm)
    if result is None:
        return None
    if score:
        return result.scores[score].conditions.get(CLEAN) if score in result.scores else None
    cell = result.conditions.get(CLEAN)
    return cell.accuracy if cell else None
