"""The cost of a calibration before any model is asked: calls at most, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from llmkit.calibrate import gating
from llmkit.calibrate.plan import CHOICE_ROWS, FAMILY, STAND, Plan
from llmkit.parsing import JsonObject
from llmkit.repair import DETECTORS
from llmkit.steps import drive
from llmkit.types import Reply, Request, Variant


@dataclass(frozen=True)
class Estimate:
    """Calls at most. `fired` counts the rows on which the gate fires at its loosest, None where a detector has to ask a
    model to know; then `rows` is what may fire."""

    parts: Mapping[str, int]
    rows: int
    fired: int | None
    detector_calls: int
    choice_calls: int
    harm_calls: int
    effect_calls: int

    @property
    def calls(self) -> int:
        """All calls, at most: a text that a chain leaves as it is costs none, and equal requests are asked once."""
        return self.detector_calls + self.choice_calls + self.harm_calls + self.effect_calls

    def json(self) -> JsonObject:
        return {**asdict(self), "calls": self.calls}


def estimate(plan: Plan) -> Estimate:
    """Counts what a calibration asks at most."""
    rows = [*plan.parts["calibration"], *plan.parts["report"]]
    asking = sum(DETECTORS[name].asks for name in plan.detectors)
    fired = None
    if not asking:
        gate = gating.fitted(plan, gating.offline)
        doubts = gating.doubts(gate, ((row.id, row.text) for row in rows), gating.offline)
        fired = sum(doubt.rarity >= FAMILY[-1] for doubt in doubts.values())
    calls = {arm: _calls(plan, arm) for arm in (STAND, *plan.chains)}
    dearest = max(calls[chain] for chain in plan.chains)
    copies = min(CHOICE_ROWS, len(plan.parts["tuning"]))
    reported = min(CHOICE_ROWS, len(plan.parts["report"]))
    texts = len(plan.parts["tuning"]) + len({row.id for row in [*rows, *plan.traffic]}) + reported
    return Estimate(
        {part: len(rows) for part, rows in plan.parts.items()},
        len(rows),
        fired,
        asking * texts,
        copies * (2 * calls[STAND] + sum(calls[chain] for chain in plan.chains)),
        (len(rows) if fired is None else fired) * (calls[STAND] + dearest),
        reported * (2 * calls[STAND] + dearest),
    )


def _calls(plan: Plan, arm: str) -> int:
    """Returns the calls for one row, by letting the arm ask the first."""
    asked = 0

    def answer(request: Request) -> Reply:
        nonlocal asked
        asked += 1
        return Reply(request.messages[-1].content, logprobs=(0.0,) if request.continuation else None)

    drive(plan.job(arm, Variant.unchanged(plan.parts["calibration"][0])).steps(), answer)
    return asked


def lines(estimate: Estimate) -> list[str]:
    """Returns the estimate in words."""
    fires = (
        f"the gate may fire on {estimate.rows:,} rows (its detectors ask a model)"
        if estimate.fired is None
        else f"at its loosest the gate fires on {estimate.fired:,} of {estimate.rows:,} rows"
    )
    steps = {
        "to detect": estimate.detector_calls,
        "to choose a chain": estimate.choice_calls,
        "to calibrate and report": estimate.harm_calls,
        "for what it wins": estimate.effect_calls,
    }
    return [fires, f"calls at most: {estimate.calls:,} ({', '.join(f'{n:,} {step}' for step, n in steps.items())})"]
