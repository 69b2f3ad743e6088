"""`eval.max_tokens_total`: one budget over all sets and all starts of a run."""

from __future__ import annotations

import pytest
from helpers.fakes import FakeEngine, fake_reply
from helpers.scripted import OVERRIDES, scholar

from llmkit.cli.app import run as shell
from llmkit.errors import Incomplete
from llmkit.runs import RunFolder
from llmkit.runs.replies import tokens_asked

ALL = 6 * 3 * 5


def tokens(requests):
    """What a scripted engine counts for these requests."""
    replies = [fake_reply(request, scholar(request)) for request in requests]
    return sum(reply.usage.prompt + reply.usage.completion for reply in replies)


def test_a_spent_budget_stops_cleanly_and_the_run_goes_on_once_it_is_raised(run):
    with pytest.raises(Incomplete, match="budget of 500 tokens") as stop:
        run(eval__max_tokens_total=500)
    assert "larger --max-tokens-total" in stop.value.hint
    result, _ = run(eval__max_tokens_total=100_000)
    assert len(result.samples) == ALL


def test_every_start_spends_of_the_same_budget(run):
    one = {"command": "eval", "eval__arms": ["stand"], "use_cache": False}
    whole, engine = run(output__name="whole", **one)
    assert whole.tokens == tokens(engine.asked)
    spent = 0
    for budget in (whole.tokens // 3, whole.tokens // 3, whole.tokens // 2, whole.tokens // 2):
        with pytest.raises(Incomplete, match=f"budget of {budget} tokens"):
            run(eval__max_tokens_total=budget, **one)
        # what is journalled of the next start; nothing is asked where all was spent before
        folder = next(path for path in whole.folder.parent.iterdir() if path != whole.folder)
        used = tokens_asked(RunFolder(folder).entries())
        assert budget <= used < budget + 100
        assert used >= spent
        spent = used
    result, _ = run(eval__max_tokens_total=whole.tokens + 1, **one)
    assert result.tokens == whole.tokens
    again, engine = run(eval__max_tokens_total=1, **one)
    assert engine.asked == []  # what is known costs nothing
    assert len(again.samples) == 18


def test_what_the_cache_answers_is_not_counted(run):
    first, _ = run(command="eval")
    second, _ = run(command="eval", output__name="again", eval__max_tokens_total=1)
    assert first.tokens > 0 == second.tokens


def test_several_sets_share_the_budget(tmp_path, monkeypatch, capsys, opens):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    asked = []

    def engine(model, section):
        return FakeEngine(lambda request: asked.append(request) or "The answer is 4.")

    opens(engine)
    keys = {k: v for k, v in OVERRIDES.items() if k.startswith(("model", "engine", "data.limit", "data.size", "eval"))}
    keys |= {"data.tasks": "[arithmetic,coin_flip,last_letters]", "perturb.conditions": "[]"}
    command = ["eval", *(arg for k, v in keys.items() for arg in ("--set", f"{k}={v}"))]
    assert shell(command) == 0
    each = [asked[i : i + 6] for i in (0, 6, 12)]
    first, second = (sum(len(r.messages[0].content.split()) + 4 for r in part) for part in each[:2])
    asked.clear()
    (tmp_path / "cache").rename(tmp_path / "old")
    capped = [*command, "--dir", "capped", "--max-tokens-total", str(first + second // 2)]
    assert shell(capped) == 4
    assert 6 < len(asked) < 12  # the first set, and a part of the second
    before = len(asked)
    assert shell(capped) == 4
    assert len(asked) == before
    assert shell([*capped[:-1], "1000000"]) == 0
    assert len(asked) == 18
