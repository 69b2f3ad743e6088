"""From the outcomes of rows without answers to metrics.json: nothing in them is right or wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from llmkit.conditions import Condition
from llmkit.measure import changed, cost, restoration, retrieval, unread
from llmkit.measure.arm_results import ArmResult, CellResult
from llmkit.measure.cell_results import cell_result
from llmkit.measure.cells import NOISY, STAND, Cell, Cells, each
from llmkit.measure.results import Copies, Metrics
from llmkit.measure.stability import Assumed, Unlabelled
from llmkit.measure.values import number
from llmkit.recipe.schema import EvalSection
from llmkit.runs.samples import Sample
from llmkit.seeds import derive
from llmkit.types import CLEAN


def without_answers(
    cells: Cells,
    samples: Sequence[Sample],
    noise: Mapping[str, Copies],
    section: EvalSection,
    seed: int,
    assumed: Assumed,
) -> Metrics:
    """Computes what rows without answers show: which answers change, and which of these changes a repair undoes."""
    interval = section.interval
    rows = Unlabelled(cells, interval.level, interval.draws, derive(seed, "sign_flip"), assumed)
    unmeasured = changed.unmeasured(noise)
    arms = {arm: _arm(rows, arm, section, unmeasured) for arm in cells.arms}
    return Metrics(
        level=interval.level,
        questions=len(cells.questions),
        clusters=len(set(cells.clusters.tolist())),
        outcomes=len(samples),
        chance=0.0,
        unlabelled=len(cells.questions),
        conditions=tuple(cells.conditions),
        noise=dict(noise),
        unmeasured=unmeasured,
        unreadable=unread.unmeasured(arms),
        constant=_constant(arms, section.max_same),
        arms=arms,
        timing=cost.timing(cells),
    )


def _arm(rows: Unlabelled, arm: str, section: EvalSection, unmeasured: Collection[str]) -> ArmResult:
    cells = rows.cells
    clean = Cell(arm, CLEAN)
    noisy = cells.noisy_of(clean)
    measured = [c for c in [*noisy, *([NOISY] if noisy else [])] if c not in unmeasured]
    asked = [c for c in cells.conditions if clean.under(c) in cells.samples]
    again = [c for c in asked if Condition.parse(c).replicate == 1]
    repaired = [] if arm == STAND else measured
    return ArmResult(
        conditions={c: _cell(rows, clean.under(c), section) for c in asked},
        over_correction=restoration.over_correction(cells, cells.samples_of(clean), rows.level),
        correction=each(noisy, lambda c: restoration.correction(cells, cells.samples_of(clean.under(c)), rows.level)),
        stability=each(measured, lambda c: rows.stability(arm, c)),
        repeated=each(again, lambda c: rows.itself(arm, [c])),
        repair=each(repaired, lambda c: rows.repair(arm, c)),
        touched=None if arm == STAND else rows.touched(arm),
        retrieval={c: found for c, found in retrieval.of_arm(cells, arm, rows.level).items() if c in measured},
    )


def _constant(arms: Mapping[str, ArmResult], most: float) -> dict[str, str]:
    """Returns, by arm that gives most rows one and the same answer, why its stability says nothing."""
    reasons = {}
    for name, arm in arms.items():
        shares = [
            (cell.commonest, condition)
            for condition, cell in arm.conditions.items()
            if cell.commonest and Condition.parse(condition).replicate == 1
        ]
        share, condition = max(shares, default=(0.0, CLEAN))
        if share > most:
            reasons[name] = (
                f"one answer has {share:.3f} of the rows of `{name}` under `{condition}`, more than {most:g} "
                "(eval.max_same): an answer that is always the same changes under no noise"
            )
    return reasons


def _cell(rows: Unlabelled, cell: Cell, section: EvalSection) -> CellResult:
    result = cell_result(rows.cells, cell, section)
    commonest = rows.commonest(cell)
    same, refused = map(number, commonest) if commonest else (None, None)
    return result.model_copy(update={"accuracy": None, "commonest": same, "refused": refused})
