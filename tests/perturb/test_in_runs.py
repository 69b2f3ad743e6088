"""`llm` and `adversarial` as attacks in `eval` and `rop`: asked once, journalled, resumed, sharded, merged."""

from __future__ import annotations

import json
import zlib

import pytest
from helpers import scripted
from helpers.fakes import FakeEngine

from llmkit import evaluate
from llmkit.errors import EngineError, Incomplete, UsageError
from llmkit.evaluate.estimate import estimate
from llmkit.perturb import undo
from llmkit.recipe import load as load_recipe
from llmkit.types import CLEAN, Edit, Reply

CONDITIONS = ["ec", "llm:ec", "adversarial(k=1,budget=12)"]
OVERRIDES = scripted.OVERRIDES | {"perturb.conditions": CONDITIONS}


def writer(request):
    """Misspells a word when asked for noise, and finds each text more or less likely."""
    question = request.messages[0].content.rsplit("Question: ", 1)[-1]
    if request.continuation is not None:
        return Reply("", logprobs=(-(zlib.crc32(question.encode()) % 997) / 100,))
    if request.purpose == "perturb":
        return (
            question.replace(" many ", " mnay ")
            .replace(" much ", " mcuh ")
            .replace(" is ", " si ")
            .replace(" the ", " teh ")
        )
    return "The answer is 4."


@pytest.fixture
def run(tmp_path, monkeypatch, opens):
    """Runs a recipe with a scripted engine: run(answer, command, **overrides) -> (Result, engine)."""

    def go(answer=writer, command="eval", *, use_cache=True, cache="cache", folder="runs", shard=None, **more):
        monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / cache))
        engine = FakeEngine(answer)
        opens(lambda model, section: engine)
        changes = {"output.dir": str(tmp_path / folder)} | {k.replace("__", "."): v for k, v in more.items()}
        loaded = load_recipe(None, OVERRIDES | changes)
        return evaluate.run(loaded, command, use_cache=use_cache, quiet=True, shard=shard), engine

    return go


def noise(folder):
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    return {row["key"]: row for row in rows if row["kind"] == "noise"}


def texts(result):
    return {(s.outcome.condition, s.outcome.question_id): s.text for s in result.samples}


def test_what_a_model_writes_is_what_is_asked(run):
    result, engine = run()
    written = noise(result.folder)
    assert len(written) == 6 * 2
    answered = {r.messages[0].content.rsplit("Question: ", 1)[1] for r in engine.asked if r.purpose == "answer"}
    noisy = 0
    for sample in result.samples:
        if sample.outcome.condition == CLEAN:
            continue
        assert undo(sample.text, [Edit(**e) for e in sample.edits]) == sample.question
        assert (sample.text == sample.question) == bool(sample.rejected)
        assert sample.text in answered
        noisy += sample.text != sample.question
    assert noisy >= 15
    assert all(row["calls"] for row in written.values())
    attacked = [row["detail"] for name, row in written.items() if name.startswith("noise/adv")]
    assert all(d["queries"] <= 12 for d in attacked)
    assert sum(d["logprob"][1] < d["logprob"][0] for d in attacked) >= 4


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_second_run_writes_no_noise_again(run, use_cache):
    first, _ = run(use_cache=use_cache)
    second, engine = run(use_cache=use_cache)
    assert engine.asked == []
    assert texts(second) == texts(first)


@pytest.mark.parametrize("after", [1, 20, 60, 80])
def test_a_run_that_dies_goes_on_where_it_stopped(run, after):
    whole, engine = run(folder="whole", cache="other")
    total = len(engine.asked)
    assert total > 80
    said = 0

    def dies(request):
        nonlocal said
        said += 1
        if said > after:
            raise EngineError("the server is gone")
        return writer(request)

    with pytest.raises((Incomplete, EngineError)):
        run(dies)
    resumed, engine = run()
    assert len(engine.asked) == total - after
    assert texts(resumed) == texts(whole)


def test_shards_write_their_own_noise_and_merge_into_the_whole(run, tmp_path):
    whole, engine = run(cache="other")
    total = len(engine.asked)
    parts, asked = [], 0
    for part in (1, 2):
        result, engine = run(folder="cut", use_cache=False, shard=(part, 2))
        parts.append(result)
        asked += len(engine.asked)
    assert asked == total
    assert sum(len(noise(p.folder)) for p in parts) == 6 * 2
    loaded = load_recipe(None, OVERRIDES | {"output.dir": str(tmp_path / "joined")})
    merged = evaluate.merge(loaded, "eval", [p.folder for p in parts])
    assert texts(merged) == texts(whole)
    assert {k: v for k, v in merged.metrics.as_dict().items() if k != "timing"} == {
        k: v for k, v in whole.metrics.as_dict().items() if k != "timing"
    }


def test_instructions_are_tuned_on_written_noise_too(run):
    result, engine = run(command="rop", perturb__conditions=["llm:woo", "llm:ec"], rop__correction_shots=2)
    written = noise(result.folder)
    assert len({name.split("/")[3] for name in written}) == 6 + 8 + 8  # test, train and dev questions
    shown = [r.messages[0].content for r in engine.asked if r.purpose == "correct"]
    assert sum("mnay" in text or "mcuh" in text or " si " in text or " teh " in text for text in shown) > 3


def test_a_request_that_fails_costs_a_copy_its_noise_and_is_asked_again(run):
    def fails(request):
        return EngineError("too long") if request.purpose == "perturb" else writer(request)

    result, _ = run(fails, perturb__conditions=["llm:ec"])
    rejected = [s for s in result.samples if s.outcome.condition == "llm:ec"]
    assert [s.rejected for s in rejected] == ["nothing was written"] * 6
    assert {row["error"] for row in noise(result.folder).values()} == {"too long"}
    again, _ = run(perturb__conditions=["llm:ec"])
    assert not any(s.rejected for s in again.samples)


def test_a_dry_run_counts_the_calls_for_noise(run):
    loaded = load_recipe(None, OVERRIDES)
    assert estimate(evaluate.plan(loaded.recipe, "eval")).noise_calls == 6 * 5 * (1 + 12)
    plain = load_recipe(None, OVERRIDES | {"perturb.conditions": ["ec"]})
    assert estimate(evaluate.plan(plain.recipe, "eval")).noise_calls == 0


def test_written_noise_falls_on_questions_only(run):
    with pytest.raises(UsageError, match="falls on questions only"):
        run(perturb__target="instruction")


@pytest.mark.tiny
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("kind", ["transformers", "vllm"])
def test_a_real_model_writes_and_is_searched(tiny_llama, tmp_path, monkeypatch, kind):
    """The tiny model's rewrites are gibberish, which the checks reject; its log-probabilities are real."""
    pytest.importorskip(kind)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    engine = {"engine.kind": kind, "engine.dtype": "float32", "engine.kv_cache_gib": 0.1, "engine.max_model_len": 1024}
    changes = {"model.path": tiny_llama, "data.limit": 2, "output.dir": str(tmp_path / "runs"), "rop.max_tokens": 4}
    loaded = load_recipe(None, OVERRIDES | engine | changes | {"perturb.retries": 0})
    result = evaluate.run(loaded, "eval", quiet=True)
    attacked = [s for s in result.samples if s.outcome.condition.startswith("adversarial")]
    details = [row["detail"] for name, row in noise(result.folder).items() if name.startswith("noise/adv")]
    assert all(s.text != s.question and len(s.edits) == 1 for s in attacked)
    assert all(d["logprob"][1] < d["logprob"][0] < 0 for d in details)
    assert all(s.rejected or s.text != s.question for s in result.samples if s.outcome.condition == "llm:ec")
    again = evaluate.run(loaded, "eval", quiet=True)
    assert again.model_calls == 0
    assert texts(again) == texts(result)
