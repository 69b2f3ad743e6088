"""The verdict on a search, and on a model that cannot correct."""

from __future__ import annotations

import json

import pytest
from helpers.scripted import scholar

from llmkit.cli import measure
from llmkit.evaluate.rescore import rescore
from llmkit.measure.restoration import CANNOT
from llmkit.recipe import load
from llmkit.report.terminal import summary


def mangles(request):
    """Answers as the scholar does, but makes nonsense of every text that it is to correct."""
    return "You need 549 pens." if request.purpose == "correct" else scholar(request)


def echoes(request):
    """Corrects nothing: every text comes back as it was asked."""
    return request.messages[0].content.rsplit("Text: ", 1)[1] if request.purpose == "correct" else scholar(request)


def printed(result, capsys, width=100):
    from rich.console import Console

    Console(width=width, highlight=False).print(summary(result.metrics))
    return capsys.readouterr().out


@pytest.mark.parametrize("answer", [mangles, echoes])
def test_a_model_that_cannot_correct_is_named_in_the_first_line_and_at_its_arms(run, answer, capsys):
    result, _ = run(answer)
    arms = result.metrics.arms
    assert {arm for arm, found in arms.items() if found.mark == CANNOT} == {"correct_only", "rop"}
    out = printed(result, capsys)
    assert out.startswith("This model cannot correct: under noise it restored 0.00 of the errors (correct_only, rop).")
    assert out.count(CANNOT) == out.count("\nthis model  ") == out.count("\ncannot correct  ") == 2  # in two tables
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 100
    assert "This model cannot correct" in (result.folder / "report.html").read_text()
    # The search found it out, so no test question is sent to be corrected.
    assert {s.outcome.corrected_text for s in result.samples if s.outcome.arm == "rop"} == {
        s.text for s in result.samples
    }
    assert not [c for s in result.samples for c in s.calls if c["purpose"] == "correct"]


def test_it_is_said_too_where_the_instructions_were_given_and_stays_when_scored_again(run, capsys):
    result, _ = run(mangles, rop__search__budget=0)
    assert result.metrics.arms["rop"].restored == -1.0
    assert printed(result, capsys).startswith("This model cannot correct: under noise it restored -1.00")
    again = rescore(result.folder, load(result.folder / "recipe.resolved.yaml"))
    assert again.metrics.arms == result.metrics.arms


def test_a_model_that_corrects_is_not_marked(run, capsys):
    result, _ = run()
    assert result.metrics.arms["rop"].restored == 1.0
    assert CANNOT not in printed(result, capsys)
    assert "mark" not in json.dumps(result.metrics.as_dict()["arms"])
    assert printed(result, capsys).splitlines()[0].startswith("Accuracy")


def test_the_run_says_why_each_instruction_won(run, capsys):
    result, _ = run(echoes, rop__search__budget=60, rop__search__pool=40)
    measure._print(result, "rop")
    out = " ".join(capsys.readouterr().out.split())
    assert "correction: none: questions are asked as they stand no candidate was better: " in out
    assert "the winner restores nothing (score +0.000), so questions are asked uncorrected" in out
    assert "guidance: Let's think step by step. no candidate was better: " in out
    assert "this budget could have shown a difference of " in out
    told = json.loads((result.folder / "instructions.json").read_text())["instructions"][0]
    assert all(
        told[stage]["why"] in (result.folder / "report.html").read_text() for stage in ("correction", "guidance")
    )
    again, engine = run(echoes, rop__instructions=str(result.folder / "instructions.json"), name="again")
    assert again.instructions == result.instructions
    assert {r.purpose for r in engine.asked} == {"answer"}
