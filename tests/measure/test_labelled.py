"""Labels of changed rows give the losses and gains of a labelled run: exactly, and as a part of them is known."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.measure import statistics, two_phase
from llmkit.measure.contrasts import Contrast
from llmkit.measure.labelled import LabelledRun, with_labels
from llmkit.measure.metrics import metrics
from llmkit.measure.values import Unmeasured
from llmkit.recipe.schema import EvalSection, IntervalSection
from llmkit.runs.labels import Judgements, Label
from llmkit.runs.samples import Sample
from llmkit.types import Outcome

SECTION = EvalSection(interval=IntervalSection(draws=200))


def hidden(samples):
    """The same samples as a run of rows without answers has them."""
    return [replace(s, outcome=replace(s.outcome, gold=None, correct=None)) for s in samples]


def oracle(run, golds, skips=frozenset()):
    """The labels of a person who knows the gold answers; `skips` are numbers of pairs of which they cannot tell."""
    labels = []
    for number, pair in enumerate(run.pairs):
        right = tuple(s.outcome.parsed == golds[pair.row.id] for s in pair.answers)
        verdict = {(1, 1): "both", (1, 0): "first", (0, 1): "second", (0, 0): "neither"}[right]
        labels.append(label(pair, "skip" if number in skips else verdict, number))
    return labels


def label(pair, verdict, number=0):
    return Label(*pair.digests, verdict, f"2026-11-30T12:{number // 60:02}:{number % 60:02}+00:00", "page", "run")


def labelled_run(samples, **skips):
    """The metrics that labels give, and those of the same run with its gold answers."""
    run = LabelledRun(hidden(samples), SECTION.interval, 7)
    golds = {s.outcome.question_id: s.outcome.gold for s in samples}
    measured = metrics(hidden(samples), SECTION, 7)
    return with_labels(measured, run, Judgements(oracle(run, golds, **skips)))


def without_ratio(value):
    return {key: x for key, x in value.as_dict().items() if key != "relative"}


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"per_template": 5},
        {"draws": 3},
        {"search_seeds": 2, "draws": 2},
        {"holdout": True},
        {"replicate": 0.1, "clean": 0.3},
        {"conditions": ["uic"], "arms": ["stand"]},
    ],
)
def test_with_the_golds_labels_give_what_the_labelled_run_gives(shape):
    samples = synthetic.samples(60, **{"conditions": ["ec", "uic"], **shape})
    wanted, found = metrics(samples, SECTION, 7), labelled_run(samples)
    assert found.arms.keys() == wanted.arms.keys()
    for name, arm in wanted.arms.items():
        mine = found.arms[name]
        assert mine.drop.keys() == arm.drop.keys()
        assert mine.gain.keys() == arm.gain.keys()
        pairs = [(mine.drop[c], arm.drop[c]) for c in arm.drop] + [(mine.gain[c], arm.gain[c]) for c in arm.gain]
        if arm.clean_drop:
            pairs.append((mine.clean_drop, arm.clean_drop))
        for one, other in pairs:
            # Single pairs are counted where each row is one; of repeated ones the labelled run counts more.
            counted = {} if one.better is not None else {"better", "worse"}
            one, other = ({k: v for k, v in without_ratio(d).items() if k not in counted} for d in (one, other))
            assert one == pytest.approx(other, abs=2e-6)
    assert found.labels.labelled == found.labels.pairs > 0
    assert found.labels.used == found.labels.rows
    assert all(cell.accuracy is None for arm in found.arms.values() for cell in arm.conditions.values())


def test_equal_answers_are_never_shown_and_no_answer_is_asked_for_that_earlier_pairs_have():
    samples = hidden(synthetic.samples(80, conditions=["ec", "sc", "uic"]))
    run = LabelledRun(samples, SECTION.interval, 7)
    seen = {}
    for pair in run.pairs:
        one, other = pair.answers
        assert one.outcome.parsed != other.outcome.parsed
        new = {group for group in pair.groups if group >= 0}
        assert new - seen.get(pair.row.id, set())
        seen[pair.row.id] = seen.get(pair.row.id, set()) | new
    by_row = {}
    for s in samples:
        by_row.setdefault(s.outcome.question_id, set()).add(s.outcome.parsed)
    assert seen.keys() == {row for row, answers in by_row.items() if len(answers) > 1}


def test_which_answer_comes_first_says_nothing_of_the_condition():
    samples = hidden(synthetic.samples(400, conditions=["uic"], arms=["stand"]))
    run = LabelledRun(samples, SECTION.interval, 7)
    first = [pair.answers[0].outcome.condition == "clean" for pair in run.pairs if pair.groups[0] >= 0]
    assert len(first) > 80
    assert 0.35 < np.mean(first) < 0.65
    assert [p.digests for p in LabelledRun(samples[::-1], SECTION.interval, 7).pairs] == [p.digests for p in run.pairs]


def test_a_skipped_row_counts_as_it_hurts_each_metric_most():
    samples = synthetic.samples(60, conditions=["ec"], arms=["stand", "rop"])
    run = LabelledRun(hidden(samples), SECTION.interval, 7)
    golds = {s.outcome.question_id: s.outcome.gold for s in samples}
    everything = range(len(run.pairs))
    whole = labelled_run(samples)
    some = labelled_run(samples, skips=frozenset(everything[::4]))
    none = labelled_run(samples, skips=frozenset(everything))
    for milder, harsher in ((whole, some), (some, none)):
        for arm in ("stand", "rop"):
            assert harsher.arms[arm].drop["ec"].value >= milder.arms[arm].drop["ec"].value
        assert harsher.arms["rop"].gain["ec"].value <= milder.arms["rop"].gain["ec"].value
        assert harsher.arms["rop"].clean_drop.value >= milder.arms["rop"].clean_drop.value
    rows = {row.id: row for row in run.rows}
    single = run.contrasts[Contrast("drop", "stand", "ec")]
    could_be_right = [row for row in rows.values() if any(weight > 0 for weight in row.weights(single).values())]
    assert none.arms["stand"].drop["ec"].value == pytest.approx(len(could_be_right) / len(golds), abs=1e-6)
    assert none.labels.skipped == none.labels.labelled == none.labels.pairs


def test_a_call_that_failed_and_a_reply_without_an_answer_are_wrong_unasked():
    samples = hidden(synthetic.samples(3, conditions=["ec"], arms=["stand"], clean=1.0, loss={"ec": 0.0}))
    noisy = [s for s in samples if s.outcome.condition == "ec"]
    kept = [s for s in samples if s.outcome.condition == "clean"]
    kept = [replace(s, outcome=replace(s.outcome, parsed="1")) for s in kept]
    broken = [
        replace(noisy[0], outcome=replace(noisy[0].outcome, parsed=None, error="timeout")),
        replace(noisy[1], outcome=replace(noisy[1].outcome, parsed=None)),
        replace(noisy[2], outcome=replace(noisy[2].outcome, parsed="1")),
    ]
    run = LabelledRun(kept + broken, SECTION.interval, 7)
    assert len(run.pairs) == 2
    # "Both" cannot make an answer right that is not there.
    judged = Judgements(label(pair, "both") for pair in run.pairs)
    assert run.difference(Contrast("drop", "stand", "ec"), judged).value == pytest.approx(2 / 3, abs=1e-6)


def test_of_prose_other_facts_are_shown_and_other_words_are_not():
    said = {
        "q0": ("Order 4411 is on its way to you now.", "Your order 4411 is on its way to you now!"),
        "q1": ("Order 4411 is on its way to you now.", "Order 4412 is on its way to you now."),
        "q2": ("You can return it within 14 days of delivery.", "The blue jacket is sold out in every shop of ours."),
        "q3": ("You can return it within 14 days.", "You cannot return it within 14 days."),
    }
    samples = [
        Sample(
            Outcome(q, q, condition, "stand", 0, reply, None, None),
            "Where is it?",
            "Wher is it?",
            kind="text",
            reply=reply,
        )
        for q, replies in said.items()
        for condition, reply in zip(("clean", "typing"), replies, strict=True)
    ]
    run = LabelledRun(samples, SECTION.interval, 7)
    assert sorted(pair.row.id for pair in run.pairs) == ["q1", "q2", "q3"]


def test_rows_of_one_text_are_looked_at_once():
    answers = {"clean": "4", "ec": "5"}
    samples = [
        Sample(Outcome(q, q, c, "stand", 0, answer, None, None), "2 + 2?", "2 + 2?", kind="numeric", reply=answer)
        for q in ("q0", "q1", "q2")
        for c, answer in answers.items()
    ]
    run = LabelledRun(samples, SECTION.interval, 7)
    assert len(run.pairs) == 1
    judged = Judgements(
        label(pair, "first" if pair.answers[0].outcome.parsed == "4" else "second") for pair in run.pairs
    )
    assert run.difference(Contrast("drop", "stand", "ec"), judged).value == 1.0
    assert run.counts(judged).used == 3


def test_without_any_label_nothing_is_known_and_nothing_passes():
    samples = synthetic.samples(60, conditions=["ec"], arms=["stand"])
    run = LabelledRun(hidden(samples), SECTION.interval, 7)
    measured = with_labels(metrics(hidden(samples), SECTION, 7), run, Judgements())
    drop = measured.arms["stand"].drop["ec"]
    assert drop.value is drop.high is None
    assert "none of the" in drop.reason
    assert measured.labels.used == 0


def test_rows_behind_an_unlabelled_one_do_not_count():
    samples = synthetic.samples(200, conditions=["uic"], arms=["stand"])
    run = LabelledRun(hidden(samples), SECTION.interval, 7)
    golds = {s.outcome.question_id: s.outcome.gold for s in samples}
    labels = oracle(run, golds)
    name = Contrast("drop", "stand", "uic")
    part, gap = Judgements(labels[:20]), Judgements(labels[:20] + labels[21:])
    assert run.difference(name, part) == run.difference(name, gap)
    assert run.counts(gap).used == 20
    whole = run.difference(name, Judgements(labels))
    assert run.difference(name, part).high - run.difference(name, part).low > whole.high - whole.low
    assert isinstance(run.difference(name, Judgements(labels[1:])), Unmeasured)


def test_the_random_order_is_that_of_another_run_of_the_same_rows():
    one = LabelledRun(hidden(synthetic.samples(200, conditions=["uic"], arms=["stand"])), SECTION.interval, 7)
    other = LabelledRun(hidden(synthetic.samples(200, conditions=["uic"], arms=["stand", "rop"])), SECTION.interval, 7)
    both = {row.id for row in one.rows} & {row.id for row in other.rows}
    assert len(both) > 20
    assert [row.id for row in one.rows if row.id in both] == [row.id for row in other.rows if row.id in both]


values_of = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(values_of, st.integers(0, 200), st.integers(1, 6), st.data())
def test_two_phases_keep_what_is_possible_and_become_the_labelled_interval(changed, kept, per_cluster, data):
    known = data.draw(st.integers(1, len(changed)))
    values = np.array([*changed, *[0.0] * kept])
    clusters = np.arange(len(values)) // per_cluster
    places = list(range(len(changed)))
    mean = two_phase.difference(values, places[:known], places[known:], clusters, 0.95)
    assert -1 <= mean.low <= mean.value <= mean.high <= 1
    assert mean.value == pytest.approx(len(changed) / len(values) * np.mean(changed[:known]))
    unread = values.copy()
    unread[places[known:]] = 99.0  # what nobody has looked at is not looked at here either
    assert two_phase.difference(unread, places[:known], places[known:], clusters, 0.95) == mean
    if known == len(changed):
        assert mean == statistics.difference(values, clusters)


def test_fewer_than_six_labelled_rows_leave_everything_possible_among_the_changed():
    values = np.array([1.0] * 100 + [0.0] * 900)
    mean = two_phase.difference(values, list(range(5)), list(range(5, 100)), np.arange(1000), 0.95)
    assert mean.low <= -0.09


def test_the_widths_of_the_docs():
    """1,000 rows of which 100 changed: 55 for the worse, 9 for the better; the mean over ten random parts of 40."""
    changed, clusters, widths = [1.0] * 55 + [-1.0] * 9 + [0.0] * 36, np.arange(1000), []
    for seed in range(10):
        random.Random(seed).shuffle(changed)
        values = np.array(changed + [0.0] * 900)
        mean = two_phase.difference(values, list(range(40)), list(range(40, 100)), clusters, 0.95)
        widths.append((mean.high - mean.low) / 2)
    whole = two_phase.difference(values, list(range(100)), [], clusters, 0.95)
    assert (whole.high - whole.low) / 2 == pytest.approx(0.016, abs=0.0005)
    assert np.mean(widths) == pytest.approx(0.024, abs=0.001)


@pytest.mark.slow
@pytest.mark.parametrize(("clusters", "size", "changed", "known"), [(300, 1, 0.1, 12), (40, 5, 0.2, 15)])
def test_two_phases_cover_the_truth(clusters, size, changed, known):
    """benchmarks/two_phase.py has more designs and runs."""
    rng, held, runs = np.random.default_rng(5), 0, 100
    for _ in range(runs):
        share = rng.beta(changed * 4, (1 - changed) * 4, clusters) if size > 1 else np.full(clusters, changed)
        turned = rng.random((clusters, size)) < share[:, None]
        values = np.where(turned, rng.choice([1.0, -1.0, 0.0], (clusters, size), p=[0.6, 0.1, 0.3]), 0.0).ravel()
        places = rng.permutation(np.flatnonzero(turned.ravel())).tolist()
        mean = two_phase.difference(values, places[:known], places[known:], np.repeat(np.arange(clusters), size), 0.95)
        held += mean.low <= 0.5 * changed <= mean.high
    assert held / runs >= 0.93
