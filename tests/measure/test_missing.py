"""Failed calls: what they leave open, and that no gate passes on them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import synthetic
from helpers.scripted import scholar
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import EngineError, Incomplete
from llmkit.measure import doubts, gates, missing
from llmkit.measure.metrics import metrics
from llmkit.recipe.schema import EvalSection, Gate, IntervalSection

FAST = EvalSection(interval=IntervalSection(draws=200))
SAYS = "HTTP 401: your key is wrong"


def measure(samples, baseline, assumed=None):
    return metrics(samples, FAST, 7, baseline=baseline)


def fail(samples, which):
    """The same samples with some calls failed, as a run journals them: wrong, unparsed, with the server's words."""
    return [
        replace(s, outcome=replace(s.outcome, error=SAYS, correct=False, parsed=None, corrected_text=None))
        if which(i, s.outcome)
        else s
        for i, s in enumerate(samples)
    ]


def decide(gate, samples, baseline=None):
    return missing.decide([gate], measure(samples, baseline), samples, baseline, measure)[0]


RUN = synthetic.samples(questions=120, conditions=("ec",), arms=("stand", "rop"), loss={"ec": 0.02})


@pytest.mark.parametrize(
    "gate",
    [
        Gate(metric="stand.drop", max=0.1, bound="high"),
        Gate(metric="stand.accuracy", condition="ec", min=0.4, bound="low"),
        Gate(metric="rop.clean_drop", max=0.2, bound="high"),
        Gate(metric="rop.gain", condition="ec", min=-0.2, bound="low"),
        Gate(metric="stand.right_to_wrong", condition="ec", max=0.2, bound="high"),
    ],
)
def test_a_gate_that_passes_is_undecided_once_the_answers_it_needs_have_failed(gate):
    assert decide(gate, RUN).verdict == "pass"
    found = decide(gate, fail(RUN, lambda i, o: int(o.question_id[1:]) % 2 == 0))
    assert found.verdict in ("undecided", "fail")
    if found.verdict == "undecided":
        assert "failed" in found.reason


def test_failed_calls_under_noise_and_clean_alike_do_not_look_like_no_loss():
    """Clean and noisy answers that fail together differ little, and nothing was measured."""
    gate = Gate(metric="stand.drop", max=0.05, bound="high")
    broken = fail(RUN, lambda i, o: o.arm == "stand")
    assert gates.evaluate([gate], measure(broken, None))[0].verdict != "fail"
    assert decide(gate, broken).verdict == "undecided"


def test_a_gate_fails_only_if_the_missing_answers_could_not_have_saved_it():
    gate = Gate(metric="stand.accuracy", min=0.95, bound="low")
    assert decide(gate, RUN).verdict == "fail"
    assert decide(gate, fail(RUN, lambda i, o: i % 50 == 0)).verdict == "fail"
    assert decide(gate, fail(RUN, lambda i, o: o.condition == "clean")).verdict == "undecided"


def test_failures_of_another_arm_do_not_matter():
    gate = Gate(metric="stand.drop", max=0.1, bound="high")
    assert decide(gate, fail(RUN, lambda i, o: o.arm == "rop")) == decide(gate, RUN)


def test_failures_of_the_stored_run_leave_a_change_open():
    gate = Gate(metric="stand.accuracy_change", min=-0.15, bound="low")
    assert decide(gate, RUN, RUN).verdict == "pass"
    assert decide(gate, RUN, fail(RUN, lambda i, o: int(o.question_id[1:]) % 2 == 0)).verdict == "undecided"


@settings(max_examples=25, deadline=None)
@given(failed=st.sets(st.integers(0, len(RUN) - 1), max_size=60), truth=st.randoms(use_true_random=False))
def test_no_answers_in_place_of_the_missing_ones_contradict_a_verdict(failed, truth):
    gate = Gate(metric="stand.drop", max=0.12, bound="high")
    verdict = decide(gate, fail(RUN, lambda i, o: i in failed)).verdict
    imagined = [
        replace(s, outcome=replace(s.outcome, correct=truth.random() < 0.5)) if i in failed else s
        for i, s in enumerate(RUN)
    ]
    real = gates.evaluate([gate], measure(imagined, None))[0].verdict
    assert verdict == "undecided" or real == verdict or real == "undecided"
    if verdict == "pass":
        assert real == "pass"


def test_the_words_of_the_server_are_in_the_summary_and_in_the_errors():
    broken = fail(RUN, lambda i, o: i % 10 == 0)
    failed = missing.failures(broken)
    assert (failed.answers, failed.of) == (48, 480)
    assert SAYS in doubts.failed_line(failed)
    missing.refuse_all_failed(failed)
    missing.refuse_too_many(failed, 0.1)
    with pytest.raises(Incomplete, match="401"):
        missing.refuse_too_many(failed, 0.09)
    with pytest.raises(EngineError, match=r"all 480 answers failed.*401"):
        missing.refuse_all_failed(missing.failures(fail(RUN, lambda i, o: True)))
    assert missing.failures(RUN) is None


def test_a_run_in_which_every_call_failed_measures_nothing(run, tmp_path):
    gate = [{"metric": "stand.drop", "max": 0.9, "bound": "point"}]
    with pytest.raises(EngineError, match=r"all 18 answers failed.*401") as caught:
        run(lambda request: EngineError(SAYS), "eval", eval__gates=gate)
    assert caught.value.exit_code == 1
    (folder,) = (tmp_path / "runs").iterdir()
    assert not {"metrics.json", "junit.xml", "report.html"} & {path.name for path in folder.iterdir()}
    result, engine = run(scholar, "eval", eval__gates=gate)
    assert len(engine.asked) == 18
    assert result.metrics.failed is None


def test_failures_are_in_metrics_report_and_junit_and_are_asked_again(run):
    gate = [{"metric": "stand.accuracy", "min": 0.01, "bound": "point"}]
    times = []

    def sometimes(request):
        times.append(request)
        return EngineError(SAYS) if len(times) == 1 else scholar(request)

    result, _ = run(sometimes, "eval", eval__gates=gate)
    assert result.metrics.failed.as_dict() == {
        "answers": 1, "of": 18, "share": pytest.approx(1 / 18, abs=1e-6), "said": [{"error": SAYS, "answers": 1}],
    }  # fmt: skip
    assert SAYS in (result.folder / "report.html").read_text()
    junit = (result.folder / "junit.xml").read_text()
    assert "answers failed" in junit
    assert SAYS in junit
    with pytest.raises(Incomplete, match=r"eval\.max_errors"):
        missing.refuse_too_many(missing.failures(result.samples), 0.02)
    again, engine = run(scholar, "eval", eval__gates=gate)
    assert len(engine.asked) == 1
    assert again.metrics.failed is None
