"""metrics.json from made-up runs with known effects."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace

import pytest
from helpers import synthetic

from llmkit.measure.metrics import metrics
from llmkit.recipe.schema import EvalSection, IntervalSection
from llmkit.runs import Run
from llmkit.runs.samples import Sample
from llmkit.types import Outcome, Usage

FAST = EvalSection(interval=IntervalSection(draws=500), family=("gain",))


@pytest.fixture(scope="module")
def measured():
    return metrics(synthetic.samples(questions=300), FAST, 7)


def outcome(question: str, condition: str, arm: str, correct: bool, **more) -> Outcome:
    return Outcome(question, more.pop("cluster", question), condition, arm, 0, "1", correct, "1", **more)


def test_by_hand():
    # stand: 4 of 5 clean, 1 of 5 noisy; rop: 4 clean, 3 noisy
    right = {"stand": ("11110", "10000"), "rop": ("11110", "11100")}
    rows = [
        outcome(f"q{i}", condition, arm, mark == "1", usage=Usage(10, 2, 1), calls=1)
        for arm, marks in right.items()
        for condition, row in zip(("clean", "ec"), marks, strict=True)
        for i, mark in enumerate(row)
    ]
    found = metrics(rows, FAST, 7)
    stand, rop = found.arms["stand"], found.arms["rop"]
    assert stand.conditions["clean"].accuracy.value == 0.8
    assert stand.drop["ec"].value == 0.6
    assert (stand.drop["ec"].better, stand.drop["ec"].worse, stand.drop["ec"].p) == (3, 0, 0.125)
    assert rop.gain["ec"].value == 0.4
    assert rop.clean_drop.value == 0.0
    assert stand.flips["ec"].right_to_wrong.value == 0.75
    assert stand.flips["ec"].right_to_wrong.of == 4
    assert stand.flips["ec"].wrong_to_right.value == 0.0
    assert stand.conditions["ec"].tokens.as_dict() == {"prompt": 50, "completion": 10}
    assert found.timing["stand"]["ec"].prefix_cached_tokens == 5
    # five questions cannot show that anything was lost, so there is nothing to divide by
    assert rop.recovery["ec"].value is None
    assert "interval that includes 0" in rop.recovery["ec"].reason


def test_known_effects_are_found(measured):
    stand, rop = measured.arms["stand"], measured.arms["rop"]
    truth = {c: 0.7 * loss for c, loss in synthetic.LOSS.items()}
    for condition, drop in truth.items():
        assert stand.drop[condition].low <= drop <= stand.drop[condition].high
        assert rop.drop[condition].low <= 0.3 * drop <= rop.drop[condition].high
    recovery = rop.recovery["noisy"]
    assert recovery.low <= 0.7 <= recovery.high
    relative = stand.drop["noisy"].relative
    assert relative.low <= sum(synthetic.LOSS.values()) / 5 <= relative.high
    assert stand.drop["noisy"].test == "sign_flip"
    assert stand.drop["ec"].test == "mcnemar"


def test_a_p_that_the_interval_contradicts_is_undecided():
    for seed in range(3):
        found = metrics(synthetic.samples(questions=120, arms=["stand", "rop"], per_template=10, seed=seed), FAST, 7)
        for arm in found.arms.values():
            for row in [*arm.drop.values(), *arm.gain.values()]:
                beyond = row.low > 0 or row.high < 0
                assert row.undecided == ((row.p <= 0.05) != beyond)
            for condition, recovery in arm.recovery.items():
                gain = arm.gain[condition]
                if recovery.value is not None:
                    assert (recovery.low <= 0 <= recovery.high) == (gain.low <= 0 <= gain.high)
            assert all((row.relative.high or 0) <= 1 for row in arm.drop.values())


def test_order_of_outcomes_changes_nothing():
    rows = synthetic.samples(questions=40, draws=2, replicate=0.1, search_seeds=2, holdout=True)
    shuffled = random.Random(0).sample(rows, len(rows))
    assert json.dumps(metrics(rows, FAST, 7).as_dict()) == json.dumps(metrics(shuffled, FAST, 7).as_dict())


def test_everything_is_json_without_nan(measured):
    assert json.loads(json.dumps(measured.as_dict(), allow_nan=False)) == measured.as_dict()


def test_holm_covers_the_declared_family(measured):
    assert {row.metric for row in measured.holm} == {"gain"}
    assert len(measured.holm) == 3 * 5
    assert all(row.adjusted >= row.p for row in measured.holm)
    wide = FAST.model_copy(update={"family": ("gain", "drop", "clean_drop")})
    both = metrics(synthetic.samples(questions=30), wide, 7)
    assert len(both.holm) == 3 * 5 + 4 * 5 + 3


def test_unparsed_cut_and_failed_stay_in_the_denominator():
    rows = [outcome(f"q{i}", "clean", "stand", True) for i in range(6)]
    rows += [replace(outcome("q6", "clean", "stand", False), parsed=None, cut=True)]
    rows += [replace(outcome("q7", "clean", "stand", False), parsed=None, error="refused")]
    cell = metrics(rows, FAST, 7).arms["stand"].conditions["clean"]
    assert (cell.n, cell.unparsed, cell.cut, cell.errors) == (8, 1, 1, 1)
    assert cell.accuracy.value == 0.75


@pytest.mark.parametrize(("options", "gold"), [((), "yes"), (("red", "blue"), "A")])
def test_no_recovery_at_chance(options, gold):
    rng = random.Random(2)
    rows = []
    for i in range(120):
        for arm, condition in (("stand", "clean"), ("stand", "ec"), ("rop", "clean"), ("rop", "ec")):
            right = (arm, condition) != ("stand", "ec") and rng.random() < 0.5
            rows.append(Sample(replace(outcome(f"q{i}", condition, arm, right), gold=gold), options=options))
    found = metrics(rows, FAST, 7)
    assert found.chance == 0.5
    assert found.arms["stand"].drop["ec"].low > 0
    assert found.arms["rop"].recovery["ec"].value is None
    assert "chance" in found.arms["rop"].recovery["ec"].reason
    assert "chance" in found.arms["stand"].drop["ec"].relative.reason


def test_missing_cells_are_left_out_and_do_not_crash():
    rows = [outcome(f"q{i}", "ec", "rop", True) for i in range(3)] + [outcome("q9", "clean", "stand", True)]
    found = metrics(rows, FAST, 7)
    assert not found.arms["rop"].gain
    assert not found.arms["rop"].drop
    assert not {"gain", "drop"} & set(found.as_dict()["arms"]["rop"]), "what was not measured has no key"
    assert found.arms["stand"].conditions["clean"].accuracy.value == 1.0
    assert metrics([], FAST, 7).questions == 0


def test_pairs_are_made_only_of_questions_asked_both_ways():
    rows = [outcome(f"q{i}", "clean", "stand", True) for i in range(10)]
    rows += [outcome(f"q{i}", "ec", "stand", False) for i in range(4)]
    drop = metrics(rows, FAST, 7).arms["stand"].drop["ec"]
    assert (drop.n, drop.value) == (4, 1.0)


def test_templates_widen_intervals():
    lone = metrics(synthetic.samples(questions=300, conditions=["ec"]), FAST, 7)
    rows = [replace(o.outcome, cluster_id=f"t{int(o.outcome.correct)}{int(o.outcome.question_id[1:]) % 12}")
            for o in synthetic.samples(questions=300, conditions=["ec"])]  # fmt: skip
    one = {row.question_id: row.cluster_id for row in rows if row.condition == "clean" and row.arm == "stand"}
    clustered = metrics([replace(row, cluster_id=one[row.question_id]) for row in rows], FAST, 7)

    def width(found, arm="stand"):
        accuracy = found.arms[arm].conditions["clean"].accuracy
        return accuracy.high - accuracy.low

    assert clustered.clusters == 24
    assert width(clustered) > 1.5 * width(lone)
    assert clustered.arms["stand"].drop["ec"].test == "sign_flip"


def test_clean_passes_through_every_arm_and_the_harm_is_measured():
    rows = synthetic.samples(questions=120, kept=synthetic.KEPT)
    broken = []
    for s in rows:
        if s.outcome.arm == "rop" and s.outcome.condition == "clean":
            text = s.question.replace("marbles", "marble").replace("blue", "9 blue")
            s = replace(s, outcome=replace(s.outcome, corrected_text=text, correct=False))
        broken.append(s)
    rop = metrics(broken, FAST, 7).arms["rop"]
    assert rop.over_correction.altered.value == 1.0
    assert rop.over_correction.numbers_altered.value == 1.0
    assert rop.clean_drop.low > 0.5
    assert rop.clean_drop.low <= rop.clean_drop.value <= rop.clean_drop.high


def test_numbers_are_kept_where_others_were_added_and_not_where_one_is_gone():
    rows = [s for s in synthetic.samples(questions=30) if s.outcome.corrected_text is not None]

    def kept(change):
        changed = [
            replace(s, outcome=replace(s.outcome, corrected_text=change(s.question), fallback=None)) for s in rows
        ]
        return metrics(changed, FAST, 7).arms["rop"].correction["ec"].numbers_kept.value

    assert kept(lambda text: text + " Another 977 people were asked.") == 1.0
    assert kept(lambda text: re.sub(r"\d+", "some", text, count=1)) == 0.0


def test_correction_quality_is_measured_on_the_text(measured):
    found = measured.arms["rop"].correction["ec"]
    assert found.cer_after < found.cer_before
    assert 0.7 < found.restored.value < 0.95
    assert found.numbers_kept.value == 1.0
    assert found.options_kept is None
    assert sum(found.fallback.values()) > 0
    assert not measured.arms["stand"].correction


def test_answers_and_refusals_in_place_of_a_correction_are_counted():
    clean = "Tom has 3 pens and buys 5 more. How many pens does Tom have now?"
    said = ["The answer is 8.", "8", "I'm sorry, I can't help.", clean, clean.replace("pens", "pnes")]
    rows = []
    for i, text in enumerate(said):
        asked = replace(outcome(f"q{i}", "ec", "rop", True), gold="8", corrected_text=clean)
        rows.append(Sample(asked, clean, clean, calls=({"purpose": "correct", "reply": {"text": text}},)))
    found = metrics(rows, FAST, 7).arms["rop"].correction["ec"]
    assert found.answered_instead.value == 0.4
    assert found.refused.value == 0.2
    assert found.restored.value == 1.0


def test_noise_floor_of_the_engine():
    found = metrics(synthetic.samples(questions=400, arms=["stand"], conditions=["ec"], replicate=0.1), FAST, 7)
    floor = found.noise_floor["stand"]
    assert floor.verdict_differs.low <= 0.1 <= floor.verdict_differs.high
    assert "clean#2" not in found.arms["stand"].drop


def test_strength_curve_and_its_area():
    rows = synthetic.samples(questions=300, arms=["stand"], conditions=["ec@0.1", "ec@0.3", "ec@0.5"])
    found = metrics(rows, FAST, 7)
    curve = found.arms["stand"].curves["ec"]
    assert [p.strength for p in curve.points] == [0.0, 0.1, 0.3, 0.5]
    a, b, c, d = (p.accuracy.value for p in curve.points)
    by_hand = (0.1 * (a + b) / 2 + 0.2 * (b + c) / 2 + 0.2 * (c + d) / 2) / 0.5
    assert curve.area.value == pytest.approx(by_hand, abs=1e-5)
    assert curve.area.low < by_hand < curve.area.high


def test_draws_and_search_seeds_vary_apart_from_sampling():
    found = metrics(synthetic.samples(questions=60, conditions=["ec"], draws=3, search_seeds=2), FAST, 7)
    repeats = found.arms["rop"].repeats["ec"]
    assert len(repeats.draws.accuracy) == 3
    assert len(repeats.search_seeds.accuracy) == 2
    assert repeats.draws.sd > 0 < repeats.sampling_se_of_drop
    assert found.arms["stand"].repeats["ec"].search_seeds is None
    # a draw of noise is no new question
    assert found.arms["rop"].gain["ec"].n == 60


def test_held_out_matrix():
    found = metrics(synthetic.samples(questions=150, conditions=["ec", "uic"], holdout=True), FAST, 7)
    matrix = found.arms["rop"].holdout
    assert set(matrix) == set(matrix["ec"]) == {"ec", "uic"}
    assert matrix["ec"]["ec"].value < matrix["uic"]["ec"].value
    assert not found.arms["stand"].holdout


def test_an_arm_that_only_ran_held_out_is_judged_where_it_never_looked():
    rows = [s for s in synthetic.samples(questions=80, conditions=["ec", "uic"], holdout=True)
            if s.outcome.arm != "rop" or s.outcome.meta.get("holdout")]  # fmt: skip
    cell = metrics(rows, FAST, 7).arms["rop"].conditions["ec"]
    held = [s.outcome.correct for s in rows if s.outcome.meta.get("holdout") == "ec" == s.outcome.condition]
    assert cell.outcomes == 80
    assert cell.accuracy.value == pytest.approx(sum(held) / 80)


def test_price_is_given_where_tokens_have_one(measured):
    assert measured.arms["rop"].conditions["ec"].price is None
    priced = FAST.model_copy(update={"price_prompt": 2.0, "price_completion": 10.0})
    found = metrics(synthetic.samples(questions=10, arms=["stand"], conditions=["ec"]), priced, 7)
    assert found.arms["stand"].conditions["ec"].price == pytest.approx(10 * (40 * 2 + 30 * 10) / 1e6)


def test_samples_are_read_back_from_a_run(tmp_path):
    rows = synthetic.rows(questions=5)
    folder = synthetic.write_run(tmp_path / "run", [{"kind": "search", "calls": []}, *rows])
    with (folder / "samples.jsonl").open("a") as journal:
        journal.write('{"kind": "outcome", "key": "torn')
    read = list(Run(folder).samples())
    assert read == [Sample.from_row(row) for row in rows]
    assert read[-1].outcome.calls == 2
    assert read[-1].seconds > 0


def test_engine_seconds_are_shared_by_the_tokens_that_the_engine_worked_on():
    """10 s for 100 tokens: 20 + 10 of `stand` (its other 70 prompt tokens were cached), 40 + 30 of `rop`."""

    def call(prompt, completion, prefix, cached=False, seconds=0.0):
        usage = [prompt, completion, prefix]
        return {"purpose": "answer", "reply": {"text": "4", "usage": usage}, "cached": cached, "seconds": seconds}

    def sample(arm, *calls):
        outcome = Outcome("q", "q", "clean", arm, 0, "4", True, "4", calls=len(calls))
        return Sample(outcome, calls=calls)

    samples = [
        sample("stand", call(90, 10, 70, seconds=7.0)),
        sample("rop", call(40, 30, 0, seconds=3.0)),
        sample("guide_only", call(40, 30, 0, cached=True)),
    ]
    found = {arm: t["clean"].engine_seconds for arm, t in metrics(samples, FAST, 7).timing.items()}
    assert found == {"stand": 3.0, "guide_only": 7.0, "rop": 7.0}
    known = metrics([samples[2]], FAST, 7).timing["guide_only"]["clean"]
    assert known.as_dict() == {"engine_seconds": None, "prefix_cached_tokens": 0, "cached_calls": 1}
