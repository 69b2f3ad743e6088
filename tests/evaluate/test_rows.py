"""Rows without answers: what is asked of them, and that nothing in them is right or wrong."""

from __future__ import annotations

import io
import json
from functools import partial

import pytest
from helpers.unlabelled import TICKETS, as_overrides, write_tickets

from llmkit.cli import rows
from llmkit.errors import DataError, UsageError
from llmkit.evaluate import estimate, plan, rescore, tunes
from llmkit.measure import compare
from llmkit.recipe import load
from llmkit.types import Reply, ToolCall


@pytest.fixture
def tickets(tmp_path):
    return partial(write_tickets, tmp_path)


def echo(request):
    """Answers with the last words of what was asked, so that other words are another answer."""
    return " ".join(request.messages[-1].content.split()[-3:])


def test_each_row_is_asked_as_sent_and_under_noise_and_both_again(run, tickets):
    result, engine = run(echo, "eval", **as_overrides(tickets(), perturb__rate=0.5))
    assert result.metrics.conditions == ("clean", "clean#2", "like:typist", "like:typist#2")
    assert len(engine.asked) == result.metrics.outcomes == 4 * len(TICKETS)
    journal = [json.loads(line) for line in (result.folder / "samples.jsonl").open(encoding="utf-8")]
    assert all(row["gold"] is row["correct"] is None for row in journal)
    again = {row["question_id"] for row in journal if row["condition"] == "like:typist#2"}
    assert again == {row["question_id"] for row in journal}
    texts = {(row["question_id"], row["condition"]): row["text"] for row in journal}
    assert all(texts[row, "like:typist"] == texts[row, "like:typist#2"] for row, _ in texts)


def test_a_word_in_twenty_is_misspelt(run, tickets):
    texts = [" ".join([*TICKETS[i:], *TICKETS[:i]]) for i in range(4)]
    result, _ = run(echo, "eval", **as_overrides(tickets(texts)))
    journal = [json.loads(line) for line in (result.folder / "samples.jsonl").open(encoding="utf-8")]
    words = {(row["question_id"], row["condition"]): row["text"].split() for row in journal}
    for row, condition in words:
        misspelt = sum(a != b for a, b in zip(words[row, "clean"], words[row, condition], strict=True))
        assert misspelt == (round(0.05 * len(words[row, "clean"])) if "typist" in condition else 0)


def test_nothing_is_right_or_wrong(run, tickets):
    result, _ = run(echo, "eval", **as_overrides(tickets()))
    (arm,) = result.metrics.arms.values()
    assert all(cell.accuracy is None for cell in arm.conditions.values())
    assert not arm.drop
    assert not arm.flips
    assert list(arm.stability) == ["like:typist", "noisy"]


def test_an_engine_that_answers_by_the_text_alone_changes_nothing_by_itself(run, tickets):
    result, _ = run(echo, "eval", **as_overrides(tickets(), perturb__rate=0.9))
    stable = result.metrics.arms["stand"].stability["like:typist"]
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


def test_rows_with_one_text_are_rows_of_their_own(run, tickets):
    result, _ = run(echo, "eval", **as_overrides(tickets([TICKETS[0], *TICKETS]), perturb__rate=0.5))
    assert result.metrics.unlabelled == result.metrics.questions == 5
    assert result.metrics.arms["stand"].stability["like:typist"].n == 5


def test_a_field_that_is_text_here_and_a_list_there_is_refused_with_its_row_or_left_out(run, tmp_path):
    path = tmp_path / "mixed.jsonl"
    rows_ = [{"body": TICKETS[0]}, {"body": ["a", "list"]}, {"body": TICKETS[1]}, {"body": TICKETS[2]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_), encoding="utf-8")
    with pytest.raises(DataError, match=r"mixed\.jsonl:2.*turn 1 is no map"):
        run(echo, "eval", **as_overrides(str(path), perturb__rate=0.5))
    result, _ = run(echo, "eval", **as_overrides(str(path), perturb__rate=0.5, data__skip_bad_lines=True))
    assert result.metrics.questions == 3


def test_a_run_says_what_so_many_rows_can_show_and_what_they_cost(run, tickets):
    keys = {"model.path": "scripted", "engine.kind": "fake", "eval.price_prompt": 1e6, "eval.price_completion": 0.0}
    given = {k.replace("__", "."): v for k, v in as_overrides(tickets(), perturb__rate=0.5).items()}
    planned = plan(load(None, given | keys | {"engine.rps": 2.0}).recipe, "eval")
    assert planned.remarks()[0].startswith("4 rows without answers: where none of their answers changes, at most 0.527")
    counted = estimate(planned)
    assert counted.price == sum(arm.prompt_tokens for arm in counted.arms)
    assert counted.minutes == 16 / 2 / 60
    assert counted.json()["set_aside"] == {}


def test_runs_without_answers_are_compared_by_the_answers_that_change(run, tickets):
    keys = as_overrides(tickets(), perturb__rate=0.9)
    answers = {"one": lambda request: f"No. {sum(map(ord, str(request.messages)))}", "steady": lambda request: "No. 7"}
    folders = [run(answer, "eval", cache=name, **keys, output__name=name)[0].folder for name, answer in answers.items()]
    changes = {row.condition: row for row in compare(folders).rows}
    assert {row.metric for row in changes.values()} == {"changed"}
    assert changes["clean#2"].change.value == 0
    assert (changes["like:typist"].before, changes["like:typist"].after) == (1.0, 0.0)
    assert (changes["like:typist"].change.better, changes["like:typist"].change.worse) == (4, 0)


def test_a_finished_run_is_scored_again_without_a_model(run, tickets):
    result, _ = run(echo, "eval", **as_overrides(tickets(), perturb__rate=0.5))
    gate = {"metric": "stand.changed", "condition": "like:typist", "max": 0.99, "bound": "point"}
    again = rescore(result.folder, load(result.folder / "recipe.resolved.yaml", {"eval.gates": [gate]}))
    assert again.metrics.arms == result.metrics.arms
    assert [verdict.metric for verdict in again.gates] == ["stand.changed"]


def test_a_dear_run_is_asked_about_once_and_only_on_a_terminal(run, tickets, monkeypatch):
    from llmkit.cli import measure

    given = {k.replace("__", "."): v for k, v in as_overrides(tickets()).items()}
    given |= {"model.path": "m", "engine.kind": "fake", "eval.ask_above": 1.0}
    loaded = load(None, given | {"eval.price_prompt": 1e6})
    measure._ask_above(loaded, "eval")  # no terminal here
    asked = []
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("typer.confirm", lambda text, err: asked.append(text))
    with pytest.raises(UsageError, match="not started"):
        measure._ask_above(loaded, "eval")
    assert len(asked) == 1
    measure._ask_above(load(None, given), "eval")
    assert len(asked) == 1


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


def test_a_tool_call_is_part_of_the_answer(run, tickets):
    def calls(request):
        text = request.messages[-1].content
        return Reply("", tool_calls=(ToolCall("refund", {"order": text}),))

    result, _ = run(calls, "eval", **as_overrides(tickets(), perturb__rate=0.9))
    stable = result.metrics.arms["stand"].stability["like:typist"]
    assert stable.itself.value == 0
    assert stable.changed.value > 0
    assert list(stable.kinds) == ["tool_call"]
    assert stable.lost_at_most.value == stable.changed.value
    assert not result.metrics.unreadable
