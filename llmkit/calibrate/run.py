"""One calibration, from rows to repair.json: fit the gate, choose a chain, test thresholds, report on other rows."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmkit.calibrate import choice, gating, harm, rows
from llmkit.calibrate.choice import Gain
from llmkit.calibrate.desk import Desk, opened
from llmkit.calibrate.harm import Definition
from llmkit.calibrate.plan import FAMILY, STAND, Claim, Plan, asks, plan
from llmkit.errors import GateFailed, GateUndecided
from llmkit.evaluate.conclusion import conclude
from llmkit.measure import learn_then_test as ltt
from llmkit.measure import missing, unread
from llmkit.measure.answers import is_unread
from llmkit.measure.learn_then_test import Tested
from llmkit.recipe import Loaded, code_in_files, refuse
from llmkit.repair import DETECTORS, Gate
from llmkit.repair.document import AskedModel
from llmkit.repair.gate import Doubt
from llmkit.runs import names
from llmkit.runs.generations import IfChanged
from llmkit.runs.labels import Judgements
from llmkit.runs.samples import Sample
from llmkit.types import Question, Variant


@dataclass(frozen=True)
class Calibration:
    """A finished calibration. `reported` is the evidence at the chosen threshold on rows that took no part in any
    choice, `gated` the gain of the gated repair on noisy copies of such rows, and `caught` on how many of these copies
    the gate fires. `unjudged` changed answers have no label and count as harm."""

    plan: Plan
    folder: Path
    definition: Definition
    gate: Gate
    gains: Sequence[Gain]
    chosen: Gain
    tested: Sequence[Tested]
    reported: Tested
    traffic: Sequence[float]
    gated: Gain
    caught: int
    unjudged: int
    model: AskedModel
    model_calls: int

    @property
    def threshold(self) -> Tested:
        """The threshold that the guarantee is for, with its evidence."""
        best = ltt.loosest(self.tested)
        assert best is not None, "a calibration that shows nothing is refused"
        return best


@dataclass(frozen=True)
class Asked:
    """The rows on which the gate fires at its loosest, with their answers as sent and repaired."""

    rarities: Mapping[str, float]
    sent: Mapping[str, Sample]
    repaired: Mapping[str, Sample]

    def tested(
        self, measured: Sequence[Question], thresholds: Sequence[float], claim: Claim, harmed: Mapping[str, bool]
    ) -> list[Tested]:
        """Returns the evidence of these rows at each threshold, until one fails."""
        import numpy as np

        rarities = np.array([self.rarities[row.id] for row in measured], float)
        harms = np.array([harmed.get(row.id, False) for row in measured], bool)
        return ltt.fixed_sequence(rarities, harms, thresholds, claim.harm, claim.confidence)

    def weaker(self, planned: Plan, harmed: Mapping[str, bool]) -> list[Tested]:
        """Returns the evidence of the calibration's rows, or that of their distinct texts where it is weaker.

        Several users who send one text are independent rows, and copies of a row are none: nothing tells the two
        apart, so both have to pass. A text that tuning had, too, counts in the first only.
        """
        parts = planned.parts
        distinct = rows.distinct(parts["calibration"], earlier=parts["tuning"])
        both = [self.tested(some, FAMILY, planned.claim, harmed) for some in (parts["calibration"], distinct)]
        return [max(pair, key=lambda one: one.p) for pair in zip(*both, strict=False)]


def calibrate(
    loaded: Loaded, claim: Claim, *, use_cache: bool = True, quiet: bool = False, if_changed: IfChanged = "stop"
) -> Calibration:
    """Calibrates, or goes on where an earlier start was interrupted.

    GateFailed where no chain wins anything, or the harm is above the limit; GateUndecided where the rows do not show
    that it is below; Incomplete where it had to stop early or too many calls failed.
    """
    if faults := code_in_files(loaded):
        raise refuse(faults)
    planned = plan(loaded.recipe, claim)
    if not quiet:
        print(*planned.remarks(), sep="\n", file=sys.stderr)
    with opened(loaded, planned, use_cache=use_cache, quiet=quiet, if_changed=if_changed) as desk:
        gate = gating.fitted(planned, desk.scores)
        gains = _gains(desk)
        chosen = choice.choose(gains)
        if chosen is None:
            raise GateFailed(
                f"no chain wins anything on noisy copies: {'; '.join(map(in_words, gains))}",
                "leave texts as they are, or try other chains (--chains) or noise (--conditions)",
            )
        measured = [*planned.parts["calibration"], *planned.parts["report"]]
        doubts = gating.doubts(gate, ((row.id, row.text) for row in measured), desk.scores)
        asked = _harm(desk, chosen.chain, measured, doubts, quiet)
        definition, judgements = _judgements(desk)
        harmed = {id: harm.harmed(asked.sent[id], asked.repaired[id], definition, judgements) for id in asked.sent}
        tested = asked.weaker(planned, harmed)
        best = ltt.loosest(tested)
        if best is None:
            raise _refusal(desk, tested[0], definition)
        strict = replace(gate, threshold=best.threshold)
        reported = asked.tested(planned.unseen, [best.threshold], claim, harmed)[0]
        gated, caught = _gated(desk, strict, chosen.chain)
        if not caught:
            raise GateFailed(
                f"a gate that is strict enough (threshold {best.threshold:g}) fires on none of {len(gated.values)} "
                "noisy copies, so the repair would do nothing",
                "detectors that tell this noise from your texts (--detectors), other noise (--conditions), or a "
                "higher limit (--harm) may do",
            )
        traffic = _traffic(desk, strict, doubts)
        return Calibration(
            planned,
            desk.folder.path,
            definition,
            strict,
            gains,
            chosen,
            tested,
            reported,
            traffic,
            gated,
            caught,
            _unjudged(asked, harmed, definition, judgements),
            desk.model(),
            desk.runner.asked,
        )


def in_words(gain: Gain) -> str:
    """Returns a gain with its interval: "fold+spell +0.120 [+0.050, +0.190]"."""
    mean = gain.mean
    return f"{gain.chain} {mean.value:+.3f} [{mean.low:+.3f}, {mean.high:+.3f}]"


def _gains(desk: Desk) -> list[Gain]:
    """Measures each candidate on noisy copies of tuning rows, without a gate: its gain where it should act."""
    planned = desk.plan
    copies = planned.noisy("tuning", "choice")
    jobs = [planned.job(STAND, variant) for variant in [*choice.clean_of(copies), *copies]]
    jobs += [planned.job(chain, copy) for chain in planned.chains for copy in copies]
    samples = desk.samples(jobs, desk.choice)
    _refuse_failures(desk, samples)
    size = len(copies)
    clean, noisy = samples[:size], samples[size : 2 * size]
    _refuse_unread(clean)
    gains = []
    for place, chain in enumerate(planned.chains, 2):
        repaired = samples[place * size : (place + 1) * size]
        values = [choice.value(*three) for three in zip(clean, noisy, repaired, strict=True)]
        gains.append(choice.gain_of(chain, values, planned.recipe.eval.interval.level))
    return gains


def _harm(desk: Desk, chain: str, rows: Sequence[Question], doubts: Mapping[str, Doubt], quiet: bool) -> Asked:
    """Asks the rows on which the gate fires at its loosest, as sent and repaired. Elsewhere harm is 0: a text on which
    it does not fire leaves byte for byte."""
    planned = desk.plan
    rarities = {row.id: doubts[row.id].rarity for row in rows}
    fired = [Variant.unchanged(row) for row in rows if rarities[row.id] >= FAMILY[-1]]
    if not quiet:
        more = " and asks for the correction" if asks(chain) else ""
        print(
            f"at its loosest the gate fires on {len(fired):,} of {len(rows):,} rows: "
            f"each is asked as sent, and as `{chain}` leaves it{more}",
            file=sys.stderr,
        )
    samples = desk.samples([planned.job(arm, row) for arm in (STAND, chain) for row in fired], desk.folder)
    if samples:
        _refuse_failures(desk, samples)
        conclude(planned.recipe, samples, desk.folder)  # metrics, report, and what `llmkit label` needs
    sent = samples[: len(fired)]
    _refuse_unread(sent)
    return Asked(rarities, choice.by_row(sent), choice.by_row(samples[len(fired) :]))


def _judgements(desk: Desk) -> tuple[Definition, Judgements]:
    """Returns the definition of harm, and the labels that decide it."""
    planned = desk.plan
    own = desk.folder.path / names.LABELS
    judgements = harm.judgements_of([*([own] if own.is_file() else []), *planned.claim.labels])
    return (planned.claim.definition(judged=True) if judgements.pairs else planned.definition), judgements


def _unjudged(asked: Asked, harmed: Mapping[str, bool], definition: Definition, judgements: Judgements) -> int:
    if definition not in harm.WORSE:
        return 0
    return sum(
        harm.unjudged(asked.sent[id], asked.repaired[id], judgements) for id, is_harmed in harmed.items() if is_harmed
    )


def _gated(desk: Desk, gate: Gate, chain: str) -> tuple[Gain, int]:
    """Measures the gated repair on noisy copies of report rows. Only where the gate fires can it win or lose."""
    planned = desk.plan
    copies = planned.noisy("report", "effect")
    doubts = gating.doubts(gate, ((copy.question.id, copy.text) for copy in copies), desk.scores)
    fired = [copy for copy in copies if gate.fires(doubts[copy.question.id])]
    variants: list[tuple[str, Variant]] = [(STAND, row) for row in [*choice.clean_of(fired), *fired]]
    samples = desk.samples(
        [planned.job(arm, row) for arm, row in [*variants, *((chain, c) for c in fired)]], desk.choice
    )
    if samples:
        _refuse_failures(desk, samples)
    size = len(fired)
    three = zip(samples[:size], samples[size : 2 * size], samples[2 * size :], strict=True)
    values = [choice.value(*samples) for samples in three] + [0] * (len(copies) - size)
    return choice.gain_of(chain, values, planned.recipe.eval.interval.level), size


def _traffic(desk: Desk, gate: Gate, doubts: Mapping[str, Doubt]) -> list[float]:
    """Returns the rarity of each row of the traffic, as the gate computes it for live texts."""
    planned = desk.plan
    # A gate asks no model where a cheaper detector fires already, so its rarity is not that of all detectors.
    again = planned.traffic if any(DETECTORS[name].asks for name in planned.detectors) else ()
    unknown = again or [row for row in planned.traffic if row.id not in doubts]
    doubt_by_row = {**doubts, **gating.doubts(gate, ((row.id, row.text) for row in unknown), desk.scores)}
    return [doubt_by_row[row.id].rarity for row in planned.traffic]


def _refuse_failures(desk: Desk, samples: Sequence[Sample]) -> None:
    failed = missing.failures(samples)
    missing.refuse_all_failed(failed)
    missing.refuse_too_many(failed, desk.plan.recipe.eval.max_errors)


def _refuse_unread(sent: Sequence[Sample]) -> None:
    """Raises GateUndecided where too many replies to rows as sent hold no answer: equal ones would say nothing."""
    unreadable = sum(is_unread(sample) and sample.outcome.error is None for sample in sent)
    if unreadable > unread.CLEAN_SHARE * len(sent):
        raise GateUndecided(
            f"no answer could be read from {unreadable} of {len(sent)} replies to rows as sent, so nothing is measured",
            "say what kind of answer they have: --kind text, numeric, choice or boolean",
        )


def _refusal(desk: Desk, strictest: Tested, definition: Definition) -> GateFailed | GateUndecided:
    """Returns the error for a limit that the strictest threshold does not show: failed where the harm is above it."""
    from llmkit.measure.bounds import one_sided

    count, most = strictest.rows, strictest.harmed / strictest.rows
    words = (
        f"no guarantee: at its strictest the gate fires on {strictest.fired:,} of {count:,} and {strictest.harmed:,} "
        f"{'got worse' if definition in harm.WORSE else 'changed'}: harm <= {strictest.upper:.2g}, "
        f"which is not below {strictest.limit:g} at {strictest.confidence:.0%}"
    )
    hints = []
    if definition == "changed_of_all":
        hints.append(f"`llmkit label {desk.folder.path}` lets only answers that got worse count")
    if (rows := ltt.rows_for_power(strictest.limit, most, strictest.confidence)) is not None:
        hints.append(f"at this harm about {rows:,} rows to calibrate would show it with a chance of .8")
    hints.append("another chain (--chains) or a higher limit (--harm) may hold: try it on rows that are not these")
    above = one_sided(strictest.harmed, count, strictest.confidence)[0] > strictest.limit
    return (GateFailed if above else GateUndecided)(words, "; ".join(hints))
