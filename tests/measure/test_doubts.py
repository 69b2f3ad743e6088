"""Gates on what was not measured: clean replies that cannot be read, accuracy at chance or at the floor."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import synthetic

from llmkit.measure import doubts, gates
from llmkit.measure.metrics import metrics
from llmkit.measure.results import Metrics
from llmkit.recipe.schema import EvalSection, Gate, IntervalSection
from llmkit.report import junit, summary, view
from llmkit.report.notes import notes

FAST = EvalSection(interval=IntervalSection(draws=200))
DROP = Gate(metric="stand.drop", max=0.4)
GAIN = Gate(metric="rop.gain", min=-0.5)
HARM = Gate(metric="rop.clean_drop", max=0.5)


def run(clean=0.7, unread=0.0, arm="stand", **more):
    """Metrics of a run in which a share of one arm's clean replies could not be read."""
    samples = synthetic.samples(questions=200, arms=("stand", "rop"), conditions=("ec",), clean=clean, **more)
    blind = [
        replace(s, outcome=replace(s.outcome, parsed=None, correct=False))
        if s.outcome.condition == "clean" and s.outcome.arm == arm and int(s.outcome.question_id[1:]) < unread * 200
        else s
        for s in samples
    ]
    return metrics(blind, FAST, 7)


def verdicts(found, *asked):
    return [(r.verdict, r.reason) for r in gates.evaluate(asked, found)]


def test_a_run_that_was_measured_is_decided():
    assert [v for v, _ in verdicts(run(), DROP, GAIN, HARM)] == ["pass"] * 3


@pytest.mark.parametrize(("share", "undecided"), [(0.2, False), (0.21, True)])
def test_more_than_a_fifth_of_unread_clean_replies_leave_an_arm_unmeasured(share, undecided):
    found = run(unread=share)
    for verdict, reason in verdicts(found, DROP, GAIN, HARM):
        assert (verdict == "undecided") is undecided
        assert not undecided or "no answer could be read from 42 of 200 clean replies of `stand`" in reason
    assert (found.arms["stand"].drop["ec"].value is None) is undecided
    assert any("clean replies" in line for line in notes(found).lines()) is undecided
    assert found.arms["stand"].conditions["clean"].accuracy.value is not None


def test_unread_replies_of_another_arm_do_not_matter_to_stand():
    found = run(unread=0.5, arm="rop")
    assert [v for v, _ in verdicts(found, DROP, GAIN, HARM)] == ["pass", "undecided", "undecided"]
    ((verdict, _),) = verdicts(found, Gate(metric="rop.accuracy", min=0.01))
    assert verdict == "undecided"


def test_a_model_that_is_hardly_ever_right_loses_nothing_and_passes_nothing():
    for verdict, reason in verdicts(run(clean=0.02), Gate(metric="stand.drop", max=0.05), GAIN):
        assert verdict == "undecided"
        assert "not above the floor" in reason


def test_a_loss_that_could_not_have_been_larger_proves_nothing():
    ((verdict, reason),) = verdicts(run(clean=0.3), Gate(metric="stand.drop", max=0.6))
    assert verdict == "undecided"
    assert "could not have taken more than 0.6" in reason


def test_guessing_passes_nothing():
    found = run().model_copy(update={"chance": 0.7})
    ((verdict, reason),) = verdicts(found, DROP)
    assert verdict == "undecided"
    assert "not above chance (0.700)" in reason


def test_metrics_of_before_these_doubts_can_still_be_shown():
    later = ("noise", "unmeasured", "unreadable", "engine", "failed", "gates")
    old = Metrics.read({key: value for key, value in run().as_dict().items() if key not in later})
    assert doubts.warnings(old) == []
    assert notes(old).lines()
    assert summary(old)
    assert b"testsuite" in junit.document(view.of_run(old))
