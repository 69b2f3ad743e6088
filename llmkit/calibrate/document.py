"""A finished calibration as repair.json, as JSON for programs, and in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from llmkit.calibrate.choice import Gain
from llmkit.calibrate.gating import traffic_of
from llmkit.calibrate.harm import WORSE, Definition
from llmkit.calibrate.plan import asks
from llmkit.calibrate.run import Calibration, in_words
from llmkit.measure import statistics
from llmkit.measure.learn_then_test import Tested
from llmkit.parsing import JsonObject
from llmkit.repair.describe import claim
from llmkit.repair.document import Effect, GateFile, Guarantee, Knots, RepairFile
from llmkit.rop.gated import how_asked

NOISY = "noisy copies"


def repair_file(done: Calibration) -> RepairFile:
    """Returns the repair with its gate, its guarantee and its gain."""
    planned, best = done.plan, done.threshold
    origin = {key: value for key, value in planned.provenance.items() if key in ("run", "task", "model", "llmkit")}
    scales = tuple(Knots(detector=scale.detector, knots=scale.knots) for scale in done.gate.scales)
    return RepairFile(
        chain=done.chosen.chain,
        lang=planned.lang,
        instruction=planned.correction if asks(done.chosen.chain) else "",
        provenance={"calibration": done.folder.name, **origin},
        shots=planned.shots,
        max_tokens=planned.recipe.rop.correction_max_tokens,
        votes=planned.recipe.rop.correction_votes,
        gate=GateFile(scales=scales, threshold=best.threshold),
        guarantee=_guarantee(done),
        traffic=traffic_of(done.traffic, best.threshold) if done.traffic else None,
        model=done.model.model_copy(update=how_asked(planned.recipe, done.chosen.chain, done.model.model)),
        effects=tuple(_effects(done)),
    )


def _guarantee(done: Calibration) -> Guarantee:
    claimed, best = done.plan.claim, done.threshold
    return Guarantee(
        harm=claimed.harm,
        confidence=claimed.confidence,
        definition=done.definition,
        rows=best.rows,
        fired=best.fired,
        harmed=best.harmed,
        upper=best.upper,
        reported_rows=done.reported.rows,
        reported_fired=done.reported.fired,
        reported_harmed=done.reported.harmed,
        date=datetime.now(UTC).date().isoformat(),
    )


def _effects(done: Calibration) -> Iterator[Effect]:
    level = done.plan.recipe.eval.interval.level
    yield _share("fired", "texts as sent", done.reported.fired, done.reported.rows, level)
    yield _share("fired", NOISY, done.caught, len(done.gated.values), level)
    yield _gain("gain", done.gated)
    yield _gain("gain without a gate", done.chosen)


def _share(measure: str, condition: str, count: int, rows: int, level: float) -> Effect:
    low, high = statistics.wilson(count, rows, level)
    return Effect(measure=measure, condition=condition, value=count / rows, low=low, high=high, rows=rows)


def _gain(measure: str, gain: Gain) -> Effect:
    mean = gain.mean
    return Effect(measure=measure, condition=NOISY, value=mean.value, low=mean.low, high=mean.high, rows=mean.n)


def as_json(done: Calibration, document: RepairFile, path: Path) -> JsonObject:
    """Returns the result for programs: the file's content, every threshold tested, and every chain compared."""
    return {
        "run": str(done.folder),
        "repair": str(path),
        "model_calls": done.model_calls,
        "unjudged": done.unjudged,
        "chains": {
            gain.chain: {"gain": gain.mean.value, "low": gain.mean.low, "high": gain.mean.high, "rows": gain.mean.n}
            for gain in done.gains
        },
        "tested": [
            {
                "threshold": one.threshold,
                "fired": one.fired,
                "harmed": one.harmed,
                "rows": one.rows,
                "p": one.p,
                "upper": one.upper,
                "passes": one.passes,
            }
            for one in done.tested
        ],
        **document.model_dump(mode="json"),
    }


def lines(done: Calibration) -> Iterator[str]:
    """Yields the result in words."""
    yield f"chain: {done.chosen.chain}; gain on noisy copies without a gate: {'; '.join(map(in_words, done.gains))}"
    yield f"gate:  threshold {done.threshold.threshold:g} ({', '.join(scale.detector for scale in done.gate.scales)})"
    yield evidence(done.threshold, done.definition)
    yield f"on rows that took no part in any choice: {evidence(done.reported, done.definition)}"
    gated = done.gated.mean
    yield (
        f"gated, on noisy copies of these: fires on {done.caught} of {len(done.gated.values)}, "
        f"gain {gated.value:+.3f} [{gated.low:+.3f}, {gated.high:+.3f}]"
    )
    if gated.value <= 0:
        yield "these copies show no gain of the gated repair: calibrate on more rows, or with noise nearer to yours"
    if done.unjudged:
        yield f"{done.unjudged} changed answers have no label and count as worse: `llmkit label {done.folder}`"
    elif done.definition == "changed_of_all" and done.threshold.harmed:
        yield f"after `llmkit label {done.folder}` the same command counts only answers that got worse"
    yield f"guarantee: {claim(_guarantee(done))}"


def evidence(one: Tested, definition: Definition) -> str:
    """Returns the evidence in words: "the gate fires on 52 of 4,000; 3 answers worse: harm <= 0.0019"."""
    word = "worse" if definition in WORSE else "changed"
    return (
        f"the gate fires on {one.fired:,} of {one.rows:,}; "
        f"{one.harmed:,} {'answer' if one.harmed == 1 else 'answers'} {word}: harm <= {one.upper:.2g}"
    )
