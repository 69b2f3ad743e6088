"""Gates over failed calls: a missing answer counts as wrong in every number, and a gate holds with any answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from llmkit.conditions import Condition
from llmkit.errors import EngineError, Incomplete
from llmkit.measure import doubts, gates, scored
from llmkit.measure.cells import NOISY, STAND, Cell
from llmkit.measure.gate_metrics import Measured
from llmkit.measure.results import ErrorCount, Failed, GateResult, Metrics
from llmkit.measure.stability import Assumed
from llmkit.measure.values import number
from llmkit.recipe.schema import Gate
from llmkit.runs.samples import Sample
from llmkit.types import CLEAN

Measure = Callable[[Sequence[Sample], Sequence[Sample] | None, Assumed], Metrics]
"""Metrics of a run's samples and of its baseline's; of rows without answers, with what is assumed of failed calls."""

_SHOWN = 3  # different errors that a summary names


def failures(samples: Iterable[Sample]) -> Failed | None:
    """Counts the calls that failed, and what the server or model said, the commonest first; None where none failed."""
    samples = list(samples)
    errors = Counter(s.outcome.error for s in samples if s.outcome.error is not None)
    if not errors:
        return None
    said = tuple(ErrorCount(error=error, answers=count) for error, count in errors.most_common(_SHOWN))
    share = number(errors.total() / len(samples))
    return Failed(answers=errors.total(), of=len(samples), share=share, said=said)


def refuse_all_failed(failed: Failed | None) -> None:
    """Raises EngineError, with the server's words, where not one answer came: then nothing was measured."""
    if failed and failed.answers == failed.of:
        raise EngineError(
            f"all {failed.of} answers failed, so nothing was measured: {doubts.words_of(failed)}",
            "mend the cause; the same command asks the failed calls again",
        )


def refuse_too_many(failed: Failed | None, most: float) -> None:
    """Raises Incomplete where more than the share `most` of a run's answers failed (`eval.max_errors`)."""
    if failed and failed.share > most:
        raise Incomplete(
            f"{doubts.failed_line(failed)}; at most {most:g} may fail (eval.max_errors)",
            "the same command asks the failed calls again",
        )


def decide(
    declared: Sequence[Gate],
    measured: Metrics,
    samples: Sequence[Sample],
    baseline: Sequence[Sample] | None,
    measure: Measure,
) -> list[GateResult]:
    """Judges gates so that their verdicts hold whatever the missing answers would have been.

    A gate passes only if it passes with every missing answer as it hurts that gate most, and fails only if it fails
    with every one as it helps most; otherwise it is undecided, and the reason says how many answers are missing.
    """
    if not any(s.outcome.error is not None for s in [*samples, *(baseline or ())]):
        return gates.evaluate(declared, measured)
    return [
        _settled(result, gate.model_copy(update={"condition": result.condition}), samples, baseline, measure)
        for gate in declared
        for result in gates.evaluate([gate], measured)
    ]


def _settled(
    result: GateResult, gate: Gate, samples: Sequence[Sample], baseline: Sequence[Sample] | None, measure: Measure
) -> GateResult:
    arm, _, named = gate.metric.rpartition(".")
    metric, score = Measured.named(named)
    signs = _signs(metric, arm, result.condition, samples)
    gone = sum(s.outcome.error is not None and _sign(s, signs) != 0 for s in [*samples, *(baseline or ())])
    if not gone:
        return result
    if result.verdict == "undecided":
        return result if result.value is None else _undecided(result, f"{gone} answers it needs failed")
    if score in scored.OF_ALL:
        return _undecided(result, f"{gone} answers it needs failed, and each changes what the others are worth")
    # Only what the gate is about is measured again, because the others' intervals cannot change its verdict. The
    # filling that is worst for the present verdict is enough, because the metric rises or falls with each answer.
    involved = [s for s in samples if s.outcome.arm in (arm, STAND)]
    worst_raises = gate.max is not None  # a `max` gate is hurt by whatever raises its metric
    wanted = result.verdict
    raise_metric = worst_raises if wanted == "pass" else not worst_raises
    filled = [_filled(s, _sign(s, signs), raise_metric, metric, score) for s in involved]
    # The stored run enters a change with the opposite sign.
    stored = None if baseline is None else [_filled(s, -_sign(s, signs), raise_metric, metric, score) for s in baseline]
    again = gates.evaluate([gate], measure(filled, stored, _assumed(metric, raise_metric)))[0]
    if again.verdict == wanted:
        return result
    return _undecided(result, f"{gone} answers it needs failed: with other answers there it might not {wanted}")


def _assumed(metric: str, raises: bool) -> Assumed:
    """Returns what to assume of failed calls so that a metric of rows without answers is raised, or lowered."""
    if metric in ("restored", "net"):  # `stand` changed, and the arm came back
        return Assumed(stand=raises, arm=not raises)
    if metric == "broken":
        return Assumed(stand=not raises, arm=raises)
    return Assumed(stand=raises, arm=raises)


def _undecided(result: GateResult, reason: str) -> GateResult:
    return result.model_copy(update={"verdict": "undecided", "reason": reason})


def _signs(metric: str, arm: str, condition: str | None, samples: Sequence[Sample]) -> dict[Cell, int]:
    """Returns whether one more right answer in a cell raises (1) or lowers (-1) a metric. Other cells are absent.

    Of rows without answers, the cells whose answers a metric compares.
    """
    if condition in (None, NOISY):
        noisy = sorted({c for s in samples if Condition.parse(c := s.outcome.condition).noisy})
    else:
        noisy = [condition]
    clean, stand_clean = Cell(arm, CLEAN), Cell(STAND, CLEAN)
    own, stand = [clean.under(c) for c in noisy], [stand_clean.under(c) for c in noisy]
    if metric in ("accuracy", "accuracy_change"):
        return dict.fromkeys(own, 1)
    if metric in ("drop", "relative_drop", "right_to_wrong", "drop_change"):
        return {clean: 1} | dict.fromkeys(own, -1)
    if metric == "wrong_to_right":
        return {clean: -1} | dict.fromkeys(own, 1)
    if metric == "clean_drop":
        return {stand_clean: 1, clean: -1}
    if metric == "over_correction":
        return {clean: 1}
    if metric in ("changed", "lost_at_most"):
        return dict.fromkeys([clean, *own], 1)
    if metric in gates.UNLABELLED:
        return dict.fromkeys([clean, stand_clean] if metric == "touched" else [*own, *stand, stand_clean], 1)
    gained = dict.fromkeys(own, 1) | dict.fromkeys(stand, -1)
    return gained | ({stand_clean: -1} if metric == "recovery" else {})


def _sign(sample: Sample, signs: Mapping[Cell, int]) -> int:
    condition = sample.outcome.condition
    if Condition.parse(condition).clean and condition != CLEAN:
        return 0  # a replicate of clean only measures the noise floor
    return signs.get(Cell(sample.outcome.arm, condition), 0)


def _filled(sample: Sample, sign: int, raises: bool, metric: str, score: str) -> Sample:
    """Gives a failed sample the answer that raises (or lowers) the metric; returns any other sample as it is."""
    if sample.outcome.error is None or sign == 0 or metric in gates.UNLABELLED:
        return sample
    up = (sign > 0) == raises
    if metric == "over_correction":
        return replace(sample, outcome=replace(sample.outcome, corrected_text="" if up else sample.question))
    if score:
        # Where a row has nothing to compare with, no answer would have had.
        scores = {**sample.outcome.scores, score: float(up)} if sample.outcome.scores.get(score) is not None else {}
        return replace(sample, outcome=replace(sample.outcome, scores=scores))
    return replace(sample, outcome=replace(sample.outcome, correct=up))
