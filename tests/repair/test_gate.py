"""The gate: rarity among clean texts, one ordered family of thresholds, and no call to a model that decides nothing."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.repair.detectors import DETECTORS, Detector
from llmkit.repair.document import GateFile, Knots
from llmkit.repair.gate import MOST_KNOTS, Doubt, Gate, Scale
from llmkit.steps import drive
from llmkit.types import Message, Reply, Request

NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 0.5, 1.0])
SCORES = st.lists(NUMBERS, min_size=1, max_size=200)
THRESHOLDS = st.floats(0.0, 8.0)


@given(SCORES, NUMBERS, NUMBERS)
def test_a_higher_score_is_never_less_rare(clean, one, other):
    scale = Scale.fitted("lookalikes", clean)
    low, high = sorted((one, other))
    assert 0.0 <= scale.rarity(low) <= scale.rarity(high)


@given(SCORES, NUMBERS)
def test_a_clean_text_is_as_rare_as_its_rank_says(clean, score):
    """Where no knots were left out, rarity is at most that of the conformal p-value, and equal at a clean score."""
    scale = Scale.fitted("lookalikes", clean)
    at_least = sum(other >= score for other in clean)
    by_rank = math.log10((len(clean) + 1) / (at_least + 1))
    if score > max(clean):
        assert scale.rarity(score) >= by_rank - 1e-9
    elif len(set(clean)) < MOST_KNOTS - 2:
        assert scale.rarity(score) <= by_rank + 1e-9
        if score in clean:
            assert scale.rarity(score) == pytest.approx(by_rank)


@given(SCORES, SCORES, THRESHOLDS, THRESHOLDS)
def test_a_stricter_gate_never_fires_where_a_looser_does_not(clean, texts, one, other):
    scale = Scale.fitted("lookalikes", clean)
    loose, strict = (Gate((scale,), threshold) for threshold in sorted((one, other)))
    doubts = [Doubt(scale.rarity(score), "lookalikes") for score in texts]
    assert all(loose.fires(doubt) for doubt in doubts if strict.fires(doubt))


@given(SCORES, SCORES)
def test_a_scale_is_the_same_after_a_file(clean, texts):
    scale = Scale.fitted("unknown_words", clean)
    content = GateFile(scales=(Knots(detector=scale.detector, knots=scale.knots),), threshold=2.0).model_dump_json()
    read = GateFile.model_validate_json(content, strict=False)
    assert json.loads(content)["scales"][0]["knots"] == [list(knot) for knot in scale.knots]
    again = Scale(read.scales[0].detector, read.scales[0].knots)
    assert [again.rarity(score) for score in texts] == [scale.rarity(score) for score in texts]


@given(st.floats(0.0, 5.0))
def test_scores_that_are_all_equal_still_part_clean_from_noisy(score):
    scale = Scale.fitted("lookalikes", [0.0] * 999)
    assert scale.rarity(0.0) == 0.0
    assert score == 0.0 or scale.rarity(score) >= math.log10(1000) - 1e-12


def test_many_scores_keep_few_knots_and_the_rare_ones():
    scale = Scale.fitted("surprise", [i / 5000 for i in range(5000)])
    assert len(scale.knots) <= MOST_KNOTS
    for share in (0.5, 0.1, 0.025, 0.005, 0.001):
        assert 10 ** -scale.rarity(1 - share) == pytest.approx(share, rel=0.25)


def test_one_clean_text_supports_little():
    scale = Scale.fitted("surprise", [1.0])
    assert scale.rarity(1.0) == 0.0
    assert scale.rarity(0.5) == 0.0
    assert scale.rarity(math.nextafter(1.0, 2.0)) == pytest.approx(math.log10(2))


def test_a_detector_of_rare_noise_causes_a_share_of_the_false_alarms():
    clean = [i / 1000 for i in range(1000)]
    common, rare = (Scale.fitted(name, clean) for name in ("unknown_words", "word_pairs"))
    assert DETECTORS["word_pairs"].prior == 0.1
    for score in (0.0, 0.5, 0.95, 0.99, 1.5):
        assert rare.rarity(score) == pytest.approx(max(0.0, common.rarity(score) - 1), abs=0.01)


@pytest.mark.parametrize("scores", [[], [1.0, math.nan], [math.inf]])
def test_a_scale_needs_finite_scores(scores):
    with pytest.raises(UsageError, match="no usable scores"):
        Scale.fitted("surprise", scores)


@pytest.mark.parametrize(
    "knots", [(), ((0.0, math.nan),), ((0.0, 0.0), (1.0, math.inf)), ((1.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (1.0, 0.0))]
)
def test_a_damaged_scale_is_refused(knots):
    with pytest.raises(UsageError, match="damaged"):
        Scale("surprise", knots)


def test_a_score_that_is_no_number_is_never_rare():
    scale = Scale.fitted("surprise", [1.0, 2.0, 3.0])
    assert scale.rarity(math.nan) == scale.rarity(-math.inf) == 0.0
    assert scale.rarity(math.inf) == math.inf
    with pytest.raises(UsageError, match="no number"):
        Gate((scale,), math.nan)


GATE = (
    Scale.fitted("surprise", [0.1 * i for i in range(20)]),
    Scale.fitted("lookalikes", [0.0] * 999),
    Scale.fitted("unknown_words", [0.0] * 999),
)


def asked(gate: Gate, text: str) -> tuple[Doubt, list[Request]]:
    requests: list[Request] = []

    def answer(request: Request) -> Reply:
        requests.append(request)
        return Reply(request.continuation or "", logprobs=(-20.0,))

    doubt = drive(gate.doubt(text), answer)
    assert isinstance(doubt, Doubt)
    return doubt, requests


def test_a_model_is_asked_only_where_words_do_not_decide():
    noisy, clean = "How mnay appels are tehre?", "How many are there?"
    doubt, requests = asked(Gate(GATE, 2.0), noisy)
    assert doubt.detector == "unknown_words"
    assert requests == []
    doubt, requests = asked(Gate(GATE, 2.0), clean)
    assert doubt.detector == "surprise"
    assert [request.continuation for request in requests] == [clean]
    full, requests = asked(Gate(GATE, math.inf), noisy)
    assert len(requests) == 1
    assert Gate(GATE, 2.0).fires(full) == Gate(GATE, 2.0).fires(asked(Gate(GATE, 2.0), noisy)[0])


@settings(deadline=None)
@given(st.text(max_size=60), THRESHOLDS)
def test_what_is_left_out_changes_no_verdict(text, threshold):
    gate = Gate(GATE, threshold)
    assert gate.fires(asked(gate, text)[0]) == gate.fires(asked(Gate(GATE, math.inf), text)[0])


def test_a_gate_at_zero_fires_on_every_text_and_an_infinite_one_on_none():
    for text in ("", "What is 2 + 2?"):
        assert Gate(GATE, 0.0).fires(asked(Gate(GATE, 0.0), text)[0])
        assert not Gate(GATE, math.inf).fires(asked(Gate(GATE, math.inf), text)[0])


def test_a_detector_of_a_package_takes_part(monkeypatch):
    class Shouting(Detector):
        def score_of(self, text: str) -> float:
            return float(text.isupper())

    monkeypatch.setitem(DETECTORS._items, "shouting", Shouting)
    gate = Gate((Scale.fitted("shouting", [0.0] * 99),), 1.5)
    assert gate.fires(asked(gate, "HELP ME")[0])
    assert not gate.fires(asked(gate, "Help me")[0])


def test_a_request_for_surprise_has_the_text_as_its_continuation():
    _, (request,) = asked(Gate(GATE[:1], math.inf), "How many?\nAnswer Choices: (A) one (B) two")
    assert request.continuation == "How many?"
    assert request.messages == (Message("user", "Write one message as a user would type it."),)
