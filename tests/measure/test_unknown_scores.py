"""Scores that nobody gave: whatever they would have been, the run's intervals hold it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from llmkit.measure.metrics import metrics
from llmkit.recipe.schema import EvalSection, IntervalSection
from llmkit.runs.samples import Sample
from llmkit.types import Outcome

SECTION = EvalSection(interval=IntervalSection(draws=200))


def answers(random, unknown):
    """Sixty questions, clean and noisy, by two arms, each with a score; of a share `unknown` nobody knows it."""
    for question in range(60):
        for arm in ("stand", "atf"):
            for condition in ("clean", "ec"):
                score = random.choice([0.0, 0.5, 1.0] if condition == "clean" else [0.0, 0.0, 0.5])
                open_ = random.random() < unknown
                outcome = Outcome(
                    f"q{question}", f"t{question // 2}", condition, arm, 0, "a", True, "a",
                    scores={"judge": 0.5 if open_ else score},
                )  # fmt: skip
                yield Sample(outcome, unknown=frozenset({"judge"}) if open_ else frozenset())


def filled(sample, random):
    """Gives an unknown score some value."""
    score = random.choice([0.0, 1.0]) if sample.unknown else sample.outcome.scores["judge"]
    return replace(sample, outcome=replace(sample.outcome, scores={"judge": score}), unknown=frozenset())


def differences(measured):
    stand, other = measured.arms["stand"].scores["judge"], measured.arms["atf"].scores["judge"]
    return [stand.conditions["clean"], stand.conditions["ec"], stand.drop["ec"], other.gain["ec"], other.clean_drop]


@pytest.mark.parametrize("unknown", [0.1, 0.6, 1.0])
def test_whatever_unknown_scores_would_have_been_is_inside_the_interval(unknown):
    samples = list(answers(Random(1), unknown))
    wide = differences(metrics(samples, SECTION, 7))
    for seed in range(5):
        random = Random(seed)
        known = differences(metrics([filled(sample, random) for sample in samples], SECTION, 7))
        for one, other in zip(wide, known, strict=True):
            assert one.low <= other.value <= one.high


def test_a_p_value_takes_what_is_unknown_as_it_speaks_against_the_difference_most():
    known = differences(metrics(list(answers(Random(1), 0.0)), SECTION, 7))
    some = differences(metrics(list(answers(Random(1), 0.1)), SECTION, 7))
    none = differences(metrics(list(answers(Random(1), 1.0)), SECTION, 7))
    # Two hundred draws give no p-value below 1/201.
    assert known[2].p <= some[2].p < none[2].p == 1
    assert not any(difference.undecided for difference in none[2:])
