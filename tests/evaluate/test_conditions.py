"""Noise at several strengths: named on the command line, drawn as a curve, and left out of tuning."""

from __future__ import annotations

import pytest

from llmkit.cli import common


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
    (override,) = common.overrides(None, conditions=written)
    assert override.value == conditions


@pytest.mark.parametrize(
    "conditions", [["chars:1,4,7"], ["chars:1", "chars:4", "chars:7"], ["chars(1)", "chars(4)", "chars(7)"]]
)
def test_numbers_of_letters_make_a_strength_curve(run, conditions):
    result, _ = run(command="eval", perturb__conditions=conditions)
    curve = result.metrics["arms"]["stand"]["curves"]["chars"]
    assert [p["strength"] for p in curve["points"]] == [0.0, 1.0, 4.0, 7.0]
    # right on clean questions only: half of the first of seven steps
    assert [p["accuracy"]["value"] for p in curve["points"]] == [1.0, 0.0, 0.0, 0.0]
    assert curve["area"]["value"] == pytest.approx(0.5 / 7, abs=1e-6)
