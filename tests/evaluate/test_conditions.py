"""Noise at several strengths: named on the command line, drawn as a curve, and left out of tuning."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from llmkit.cli import flags
from llmkit.evaluate.jobs import fitting
from llmkit.measure.metrics import metrics
from llmkit.recipe.schema import EvalSection, IntervalSection
from llmkit.report import summary
from llmkit.rop import Instructions
from llmkit.rop.instructions import Candidate, Search
from llmkit.types import Outcome, Question, Variant

FAST = EvalSection(interval=IntervalSection(draws=200))


@pytest.mark.parametrize(
    ("written", "conditions"),
    [
        ("ec,chars:1,4,7", ["ec", "chars:1", "chars:4", "chars:7"]),
        ("chars(1),4, sc", ["chars(1)", "chars:4", "sc"]),
        ("mix(ec:0.7,sc:0.3),ec+chars:2,3", ["mix(ec:0.7,sc:0.3)", "ec+chars:2", "ec+chars:3"]),
        ("ec,4", ["ec", "4"]),
    ],
)
def test_a_number_alone_repeats_the_operator_before_it(written, conditions):
    (override,) = flags.overrides(None, conditions=written)
    assert override.value == conditions


@pytest.mark.parametrize(
    "conditions", [["chars:1,4,7"], ["chars:1", "chars:4", "chars:7"], ["chars(1)", "chars(4)", "chars(7)"]]
)
def test_numbers_of_letters_make_a_strength_curve(run, conditions):
    result, _ = run(command="eval", perturb__conditions=conditions)
    curve = result.metrics.arms["stand"].curves["chars"]
    assert [p.strength for p in curve.points] == [0.0, 1.0, 4.0, 7.0]
    # right on clean questions only: half of the first of seven steps
    assert [p.accuracy.value for p in curve.points] == [1.0, 0.0, 0.0, 0.0]
    assert curve.area.value == pytest.approx(0.5 / 7, abs=1e-6)


def test_held_out_kinds_at_several_rates_have_noisy_cells_gains_and_an_ablation(run):
    arms = ["stand", "correct_only", "guide_only", "rop"]
    result, _ = run(rop__holdout="one-out", perturb__rate=[0.2, 0.4], rop__arms=arms, data__limit=9)  # 7 templates
    noisy = ["ec@0.2", "ec@0.4", "woo@0.2", "woo@0.4"]
    found = result.metrics.arms["rop"]
    assert {c: gain.value for c, gain in found.gain.items()} == dict.fromkeys([*noisy, "noisy"], 1.0)
    assert found.recovery["noisy"].value == pytest.approx(1.0)
    assert found.conditions["ec@0.2"].outcomes == 9  # only those of the instructions that never saw ec
    shown = Console(width=100, record=True, file=io.StringIO())
    shown.print(summary(result.metrics))
    ablation = shown.export_text().partition("Ablation")[2]
    assert all(condition in ablation for condition in noisy)


def test_answers_under_each_held_out_set_are_counted_as_they_are_averaged():
    """Two sets of instructions. Clean: one right on all of four questions, the other on none. ec: the first only."""
    rows = []
    for i in range(4):
        for condition in ("clean", "ec"):
            rows.append(outcome(i, "stand", condition, True, {}))
            rows += [outcome(i, "rop", condition, kind == "ec", {"holdout": kind}) for kind in ("ec", "woo")]
    found = metrics(rows, FAST, 7).arms["rop"]
    assert found.conditions["clean"].accuracy.value == 0.5
    harm, drop = found.clean_drop, found.drop["ec"]
    assert (harm.value, harm.better, harm.worse) == (0.5, 4, 0)
    assert (drop.value, drop.better, drop.worse) == (-0.5, 0, 4)
    assert harm.test == drop.test == "sign_flip"  # two pairs a question are no single pair
    assert (found.gain["ec"].better, found.gain["ec"].worse) == (0, 0)
    assert found.gain["ec"].test == "mcnemar"


def test_the_noise_floor_takes_every_held_out_set():
    rows = [
        outcome(i, "rop", condition, condition == "clean" or kind == "woo", {"holdout": kind})
        for i in range(4)
        for condition in ("clean", "clean#2")
        for kind in ("ec", "woo")
    ]
    floor = metrics(rows, FAST, 7).noise_floor["rop"]
    assert (floor.n, floor.verdict_differs.value) == (8, 0.5)


def scored(kind, *scores):
    """Instructions for one kind of noise whose guidance candidates have these scores; the first won."""
    candidates = tuple(Candidate(f"{i}", "generated", {} if s is None else {"q": s}) for i, s in enumerate(scores))
    return Instructions(Search("correction", "Mend it."), Search("guidance", "0", candidates), kind)


@pytest.mark.parametrize(
    ("sets", "kind"),
    [
        ([scored("ec", -3.0, None), scored("sc", -1.0), scored("hw", -2.0)], "sc"),
        ([scored("ec", 0.2, 0.9), scored("sc", 0.5)], "sc"),  # what left the search early by luck did not win
        ([scored("ec", None), scored("sc", -9.0)], "sc"),
    ],
)
def test_clean_questions_get_the_instructions_whose_guidance_did_best(sets, kind):
    question = Question("q", "How many?", "1", "numeric")
    assert [i.trained_on for i in fitting(sets, Variant(question, "clean", question.text))] == [kind]
    assert [i.trained_on for i in fitting(sets, Variant(question, "ec@0.2", "Hwo many?"))] == ["ec"]


def outcome(number, arm, condition, correct, meta):
    return Outcome(f"q{number}", f"q{number}", condition, arm, 0, "1", correct, "1", meta=meta)
