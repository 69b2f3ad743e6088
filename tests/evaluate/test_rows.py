"""Rows without answers: what is asked of them, and that nothing in them is right or wrong."""

from __future__ import annotations

import csv
import json

import pytest

from llmkit.cli import rows
from llmkit.errors import DataError, UsageError
from llmkit.evaluate import tunes
from llmkit.recipe import load

TICKETS = [
    "My parcel has not arrived since Monday, please help me to find it",
    "I was charged twice for the blue jacket that I ordered last week",
    "How can I change the address of my order before it is sent",
    "The zipper of the bag is broken and I would like another one",
]


@pytest.fixture
def tickets(tmp_path):
    """Writes rows to tickets.csv, by default the four above; returns its path."""

    def write(texts=TICKETS, **columns):
        path = tmp_path / "tickets.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["body", *columns])
            writer.writeheader()
            writer.writerows({"body": text, **{k: v[i] for k, v in columns.items()}} for i, text in enumerate(texts))
        return str(path)

    return write


def as_overrides(path, **more):
    """Returns the overrides that `llmkit eval PATH --field body` makes, with others over them."""
    made = {override.key: override.value for override in rows.defaults(path)}
    changed = {"data.question": "body", **{k.replace("__", "."): v for k, v in more.items()}}
    return {k.replace(".", "__"): v for k, v in {"data.task": None, "data.limit": None, **made, **changed}.items()}


def echo(request):
    """Answers with the last words of what was asked, so that other words are another answer."""
    return " ".join(request.messages[-1].content.split()[-3:])


def test_each_row_is_asked_as_sent_and_under_noise_and_both_again(run, tickets):
    result, engine = run(echo, "eval", **as_overrides(tickets(), perturb__rate=0.5))
    assert result.metrics.conditions == ("clean", "clean#2", "typing", "typing#2")
    assert len(engine.asked) == result.metrics.outcomes == 4 * len(TICKETS)
    journal = [json.loads(line) for line in (result.folder / "samples.jsonl").open(encoding="utf-8")]
    assert all(row["gold"] is row["correct"] is None for row in journal)
    again = {row["question_id"] for row in journal if row["condition"] == "typing#2"}
    assert again == {row["question_id"] for row in journal}
    texts = {(row["question_id"], row["condition"]): row["text"] for row in journal}
    assert all(texts[row, "typing"] == texts[row, "typing#2"] for row, _ in texts)


def test_nothing_is_right_or_wrong(run, tickets):
    result, _ = run(echo, "eval", **as_overrides(tickets()))
    (arm,) = result.metrics.arms.values()
    assert all(cell.accuracy is None for cell in arm.conditions.values())
    assert not arm.drop
    assert not arm.flips
    assert list(arm.stability) == ["typing"]


def test_an_engine_that_answers_by_the_text_alone_changes_nothing_by_itself(run, tickets):
    result, _ = run(echo, "eval", **as_overrides(tickets(), perturb__rate=0.9))
    stable = result.metrics.arms["stand"].stability["typing"]
    assert stable.itself.value == 0
    assert stable.changed.value > 0


@pytest.mark.parametrize("arm", ["few_shot_cot", "rop", "guide_only"])
def test_an_arm_that_needs_answers_is_refused(run, tickets, arm):
    with pytest.raises(UsageError, match="needs rows with answers"):
        run(echo, "eval", **as_overrides(tickets(), eval__arms=["stand", arm], data__split="test"))


def test_a_field_that_is_not_there_is_answered_with_the_nearest(run, tickets):
    with pytest.raises(DataError, match="no field `bdy`") as caught:
        run(echo, "eval", **as_overrides(tickets(), data__question="bdy"))
    assert "`body`" in caught.value.hint


def test_every_row_is_measured_unless_some_are_needed_to_tune():
    path = "tickets.csv"
    loaded = load(None, rows.defaults(path))
    assert loaded.recipe.data.split == "all"
    assert not tunes(loaded.recipe, "eval")
    tuned = load(None, [*rows.defaults(path), "eval.arms=[stand, correct_only]"])
    assert tunes(tuned.recipe, "eval")
    assert load(None, [*rows.defaults(path), *rows.keep_a_pool(tuned, path)]).recipe.data.split == "test"
    chosen = load(None, [*rows.defaults(path), "data.split=dev"])
    assert rows.keep_a_pool(chosen, path) == []


def test_answers_beside_the_rows_make_them_right_or_wrong(run, tickets):
    path = tickets(queue=["delivery", "billing", "order", "returns"])
    result, _ = run(lambda request: "billing", "eval", **as_overrides(path, data__answer="queue"))
    assert result.metrics.arms["stand"].conditions["clean"].accuracy.value == 0.25
