"""Shards with seals: what is joined is the whole of one run, and anything else is refused by name."""

from __future__ import annotations

import json
import shutil

import pytest
from helpers.fakes import FakeEngine

from llmkit import evaluate
from llmkit.errors import DataError, EngineError, Incomplete
from llmkit.recipe import load
from llmkit.runs import Run, seals

ROWS = [{"question": f"Tom buys {n} red apples at the market on Monday. How many?", "answer": n} for n in range(24)]


@pytest.fixture
def shard(tmp_path, run):
    """shard(i, n): runs part i of n of an evaluation, and returns its folder and what was asked."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def go(number, of, **more):
        values = {
            "data__task": None, "data__path": str(rows), "data__kind": "numeric", "data__split": "all",
            "data__limit": None, "cache": f"cache-{number}",
        } | more  # fmt: skip
        result, engine = run(lambda request: "The answer is 7.", "eval", shard=of and (number, of), **values)
        return result.folder, engine.asked

    go.rows = rows
    return go


@pytest.fixture
def shards(shard):
    return [shard(number, 3)[0] for number in (1, 2, 3)]


def measured(result):
    return {name: value for name, value in result.metrics.as_dict().items() if name != "timing"}


def contents(folder):
    """The outcomes of a run without times and without what tells who asked first."""
    rows = {row["key"]: row for row in Run(folder).outcomes()}
    for row in rows.values():
        row["calls"] = [{k: v for k, v in call.items() if k not in ("seconds", "cached")} for call in row["calls"]]
    return rows


def change(folder, **values):
    path = folder / "shard.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_sealed_shards_are_the_run_that_was_never_cut(shard, shards, tmp_path, monkeypatch):
    whole, _ = shard(0, None, output__dir=str(tmp_path / "whole"), cache="whole")
    # Nothing is planned or perturbed again: the rows need not be there.
    shard.rows.unlink()
    merged = evaluate.merge_folders(shards)
    assert contents(merged.folder) == contents(whole)
    assert measured(merged) == {k: v for k, v in Run(whole).metrics.items() if k != "timing"}
    assert {path.name for path in whole.iterdir()} == {path.name for path in merged.folder.iterdir()}
    assert Run(merged.folder).facts == Run(whole).facts
    assert Run(merged.folder).state == "finished"


def test_a_merge_is_done_again_without_growing(shards):
    merged = evaluate.merge_folders(shards)
    size = (merged.folder / "samples.jsonl").stat().st_size
    (merged.folder / "metrics.json").unlink()
    assert measured(evaluate.merge_folders(shards[::-1])) == measured(merged)
    assert (merged.folder / "samples.jsonl").stat().st_size == size


def test_a_merge_that_was_cut_off_is_finished(shards):
    merged = evaluate.merge_folders(shards)
    journal = merged.folder / "samples.jsonl"
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) // 2])
    assert measured(evaluate.merge_folders(shards)) == measured(merged)
    assert sorted(journal.read_bytes().splitlines()) == sorted(content.splitlines())


def test_a_whole_run_of_other_rows_does_not_mix_with_the_shards(shard, tmp_path):
    rows = shard.rows.read_text()
    shard.rows.write_text(rows.replace("red apples", "green pears"))
    before, _ = shard(0, None)
    shard.rows.write_text(rows)
    merged = evaluate.merge_folders([shard(number, 2)[0] for number in (1, 2)])
    assert merged.folder == before
    assert all("red apples" in sample.question for sample in merged.samples)
    assert len(merged.samples) == merged.metrics.outcomes == len(ROWS) * 3
    assert any("green pears" in row["question"] for row in Run(before).entries("outcome", every=True))


def test_missing_shards_are_named(shards):
    with pytest.raises(Incomplete, match=r"2 of 3 shards are missing: 1, 3") as raised:
        evaluate.merge_folders(shards[1:2])
    assert "--shard 1/3" in raised.value.hint


def test_a_shard_that_is_there_twice_is_named(shards, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(shards[1], again)
    with pytest.raises(DataError, match="shard 2/3 is there twice") as raised:
        evaluate.merge_folders([*shards, again])
    assert str(again) in raised.value.message


def test_an_unfinished_shard_is_named_and_the_same_command_finishes_it(shard, shards):
    """As a killed one leaves it: a part of the journal, the last line torn, and no seal."""
    (shards[2] / "shard.json").unlink()
    journal = shards[2] / "samples.jsonl"
    journal.write_bytes(journal.read_bytes()[:-400])
    with pytest.raises(Incomplete, match="unfinished") as raised:
        evaluate.merge_folders(shards)
    assert str(shards[2]) in raised.value.message
    folder, asked = shard(3, 3, cache="cleared")
    assert folder == shards[2]
    assert len(asked) == 1, "only the torn answer"
    assert evaluate.merge_folders(shards).metrics.outcomes == len(ROWS) * 3


@pytest.mark.parametrize("cut", [lambda content: content[:-700], lambda content: content.replace(b"apples", b"apPles")])
def test_a_journal_that_was_cut_or_changed_is_named_and_nothing_is_joined(shards, cut):
    """A full disk on one node, or a copy that broke off."""
    journal = shards[0] / "samples.jsonl"
    journal.write_bytes(cut(journal.read_bytes()))
    with pytest.raises(DataError, match=r"samples\.jsonl") as raised:
        evaluate.merge_folders(shards)
    assert str(journal) in raised.value.message
    assert not [
        path for path in shards[0].parent.glob("*/samples.jsonl") if "of3" not in str(path) and path.stat().st_size
    ]


def test_a_shard_goes_on_after_its_disk_was_full(shard, shards):
    journal = shards[0] / "samples.jsonl"
    journal.write_bytes(journal.read_bytes()[:-700])
    _, asked = shard(1, 3, cache="cleared")
    assert len(asked) == 1
    assert evaluate.merge_folders(shards).metrics.outcomes == len(ROWS) * 3


def test_a_shard_of_another_version_is_named(shards):
    change(shards[1], llmkit="0.0.1")
    with pytest.raises(DataError, match=r"by llmkit .*0\.0\.1|llmkit 0\.0\.1") as raised:
        evaluate.merge_folders(shards)
    assert "one version" in raised.value.hint


def test_shards_that_another_version_sealed_are_compared_with_the_plan(shard, shards):
    for folder in shards:
        change(folder, llmkit="0.0.1")
    assert evaluate.merge_folders(shards).metrics.outcomes == len(ROWS) * 3
    shard.rows.write_text(shard.rows.read_text().replace("red apples", "green pears"))
    with pytest.raises(Incomplete, match="in none of the shards"):
        evaluate.merge_folders(shards)


def test_a_shard_of_another_recipe_is_named(shard, shards):
    other, _ = shard(2, 3, perturb__conditions=["ec"])
    with pytest.raises(DataError, match="not a shard of the same run") as raised:
        evaluate.merge_folders([shards[0], other, shards[2]])
    assert str(other) in raised.value.message


def test_a_shard_of_another_cut_is_named(shard, shards):
    with pytest.raises(DataError, match="cut differently"):
        evaluate.merge_folders([*shards[:2], shard(3, 4)[0]])


def test_a_shard_whose_rows_had_changed_is_named(shard):
    first, _ = shard(1, 2)
    shard.rows.write_text(shard.rows.read_text().replace("red apples", "green pears"))
    second, _ = shard(2, 2)
    with pytest.raises(DataError, match="other questions, prompts or instructions"):
        evaluate.merge_folders([first, second])


def test_answers_to_rows_that_are_gone_are_left_out(shard):
    rows = shard.rows.read_text()
    shard.rows.write_text(rows.replace("red apples", "green pears"))
    shard(1, 2)
    shard.rows.write_text(rows)
    parts = [shard(number, 2)[0] for number in (1, 2)]
    assert len(seals.read(parts[0]).stale) == len(ROWS) // 2 * 3
    merged = evaluate.merge_folders(parts)
    assert merged.metrics.outcomes == len(ROWS) * 3
    assert all("red apples" in sample.question for sample in merged.samples)


def test_a_shard_with_failed_answers_is_not_sealed(run):
    def answer(request):
        return (
            EngineError("busy") if "Question: " in request.messages[0].content and len(str(request)) % 7 == 0 else "4"
        )

    failing, _ = run(answer, "eval", shard=(1, 2), eval__max_errors=1.0, data__limit=12)
    failed = sum(sample.outcome.error is not None for sample in failing.samples)
    assert 0 < failed < len(failing.samples)
    assert not (failing.folder / "shard.json").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"shard": [1]}', '{"shard": ["1", 3], "stale": []}'])
def test_a_damaged_seal_is_named(shards, content):
    (shards[0] / "shard.json").write_text(content)
    with pytest.raises(DataError, match=r"shard\.json: is not the seal") as raised:
        evaluate.merge_folders(shards)
    assert str(shards[0]) in raised.value.message


def test_a_seal_is_gone_while_its_shard_is_at_work(shard, shards, opens):
    seen = []
    loaded = load(shards[0] / "recipe.resolved.yaml")

    def opened(model, section):
        seen.append((shards[0] / "shard.json").exists())
        return FakeEngine(lambda request: seen.append((shards[0] / "shard.json").exists()) or "7")

    opens(opened)
    journal = shards[0] / "samples.jsonl"
    journal.write_bytes(journal.read_bytes()[:-700])
    evaluate.run(loaded, "eval", quiet=True, use_cache=False, shard=(1, 3))
    assert seen == [True, False]
    assert seals.read(shards[0]) is not None
