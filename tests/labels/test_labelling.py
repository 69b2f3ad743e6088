"""A run is labelled: its losses are those of a labelled run, its labels serve the next, and its gates are decided."""

from __future__ import annotations

import json

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.evaluate import rescore
from llmkit.labels.labelling import files_of_earlier_runs
from llmkit.measure.results import Metrics
from llmkit.recipe import load
from llmkit.runs import Run
from llmkit.runs.labels import read


def label_all(opened, folder, oracle, rows=None):
    """Labels the open pairs of a run; returns its metrics and how many pairs were asked."""
    with opened(folder) as one:
        pairs = one.open_pairs(rows)
        session = one.session(pairs)
        for number, pair in enumerate(pairs):
            assert session.give(number, oracle(pair))
        return one.conclude(), len(pairs)


def values(metrics):
    """The differences of a run by name, without what a run without answers cannot have."""
    found = {}
    for arm, result in metrics.arms.items():
        fields = {"drop": result.drop, "gain": result.gain, "clean_drop": {"": result.clean_drop}}
        for name, by_condition in fields.items():
            for condition, value in by_condition.items():
                if value is not None:
                    found[arm, name, condition] = {k: v for k, v in value.as_dict().items() if k != "relative"}
    return found


@pytest.mark.parametrize("cluster", [None, "story"])
def test_with_its_labels_a_run_says_what_the_labelled_run_says(asked, opened, oracle, cluster):
    wanted, hidden = asked(gold=True, data__cluster=cluster), asked(data__cluster=cluster)
    assert not hidden.metrics.arms["stand"].drop
    found, pairs = label_all(opened, hidden.folder, oracle)
    assert pairs > 5
    mine, theirs = values(found), values(wanted.metrics)
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        assert mine[name] == pytest.approx(value, abs=2e-6), name
    assert theirs["stand", "drop", "typing"]["value"] != 0
    assert Metrics.read(hidden.folder / "metrics.json").labels == found.labels
    assert found.labels.labelled == found.labels.pairs == pairs


def test_equal_answers_need_no_label(asked, opened):
    hidden = asked(answer=lambda request: "It is 4.")
    with opened(hidden.folder) as one:
        assert one.open_pairs() == []
        measured = one.conclude()
    drop = measured.arms["stand"].drop["typing"]
    assert drop.value == 0
    assert 0 < drop.high < 0.1
    assert measured.labels.pairs == 0


def test_the_next_run_asks_for_new_pairs_only(asked, opened, oracle):
    first, other = asked(), asked(perturb__rate=0.3)
    assert first.folder != other.folder
    _, asked_for = label_all(opened, first.folder, oracle)
    with opened(other.folder) as one:
        before = len(one.open_pairs())
        assert files_of_earlier_runs(Run(other.folder)) == [first.folder / "labels.jsonl"]
        adopted = one.adopt(files_of_earlier_runs(Run(other.folder)))
        assert 0 < adopted <= asked_for
        assert len(one.open_pairs()) < before
        assert one.adopt([first.folder / "labels.jsonl"]) == 0
    measured, more = label_all(opened, other.folder, oracle)
    wanted = asked(gold=True, perturb__rate=0.3)
    assert values(measured)["stand", "drop", "typing"] == pytest.approx(
        values(wanted.metrics)["stand", "drop", "typing"], abs=2e-6
    )
    assert 0 < more < before
    assert {label.run for label in read(other.folder / "labels.jsonl")} == {first.folder.name, other.folder.name}


def test_a_random_part_gives_a_wider_interval_and_grows(asked, opened, oracle):
    hidden = asked()
    part, few = label_all(opened, hidden.folder, oracle, rows=8)
    assert part.labels.used == 8 < part.labels.rows
    whole, rest = label_all(opened, hidden.folder, oracle)
    assert whole.labels.used == whole.labels.rows
    assert few + rest == whole.labels.pairs
    one, other = part.arms["stand"].drop["typing"], whole.arms["stand"].drop["typing"]
    assert one.high - one.low > other.high - other.low


def test_gates_are_decided_by_labels_and_stay_so_when_scored_again(asked, opened, oracle):
    gate = {"metric": "stand.drop", "condition": "typing", "max": 0.9}
    hidden = asked(eval__gates=[gate])
    assert [g.verdict for g in hidden.gates] == ["undecided"]
    measured, _ = label_all(opened, hidden.folder, oracle)
    assert [g.verdict for g in measured.gates] == ["pass"]
    again = rescore(hidden.folder, load(hidden.folder / "recipe.resolved.yaml"))
    assert again.metrics.arms == measured.arms
    assert 'failures="0" errors="0"' in (hidden.folder / "junit.xml").read_text(encoding="utf-8")
    assert "rest on labels of" in (hidden.folder / "report.html").read_text(encoding="utf-8")


def test_labels_hold_no_text(asked, opened, oracle, sums):
    hidden = asked()
    label_all(opened, hidden.folder, oracle)
    lines = (hidden.folder / "labels.jsonl").read_text(encoding="utf-8")
    assert not [text for text in sums if text[:20] in lines]
    keys = {frozenset(json.loads(line)) for line in lines.splitlines()}
    assert keys == {frozenset({"text", "first", "second", "verdict", "when", "where", "run"})}


def test_what_has_answers_or_is_unfinished_or_busy_is_refused(asked, opened):
    gold, hidden = asked(gold=True), asked()
    with pytest.raises(UsageError, match="have answers"), opened(gold.folder):
        pass
    with opened(hidden.folder):
        (hidden.folder / "metrics.json").unlink()
    with pytest.raises(DataError, match="unfinished"), opened(hidden.folder):
        pass
