"""instructions.json says where its instructions come from, and they are never tested on what they were tuned on."""

from __future__ import annotations

import json

import pytest

from llmkit import __version__
from llmkit.errors import DataError, UsageError
from llmkit.rop import read_instructions


@pytest.fixture
def searched(run):
    """A run that searched, and its instructions.json."""
    result, _ = run()
    return result, result.folder / "instructions.json"


def content(result):
    return json.loads((result.folder / "instructions.json").read_text())


def test_a_search_says_all_that_makes_it_again(searched):
    result, file = searched
    told = json.loads(file.read_text())
    assert {told[role] for role in ("model", "optimizer", "corrector")} == {"scripted"}
    assert told["engines"]["optimizer"]["kind"] == "fake"
    assert (told["task"], told["seed"], told["llmkit"]) == ("arithmetic", 7, __version__)
    assert told["settings"]["rop"]["search"]["budget"] == 12
    assert told["settings"]["perturb"]["rate"] == 0.3
    assert told["settings"]["data"]["size"] == 60
    scored = {name.rpartition(":")[0] for i in result.instructions for name in i.correction.items}
    assert len(told["tuned_on"]["train"]) == len(told["tuned_on"]["dev"]) == 8
    assert scored <= set(told["tuned_on"]["dev"])


def test_instructions_put_to_another_model_still_say_whose_they_are(run, searched):
    first, file = searched
    second, engine = run(rop__instructions=str(file), model__path="another", name="another")
    assert {r.purpose for r in engine.asked} == {"correct", "answer"}
    before, after = content(first), content(second)
    (use,) = after.pop("used_by")
    assert after == before
    assert (use["model"], use["run"], use["file"]) == ("another", second.folder.name, str(file))
    third, _ = run(rop__instructions=str(second.folder / "instructions.json"), model__path="third", name="third")
    assert [use["model"] for use in content(third)["used_by"]] == ["another", "third"]
    assert content(third)["model"] == "scripted"


@pytest.mark.parametrize("split", ["dev", "train", "all"])
def test_instructions_are_not_tested_on_questions_they_were_tuned_on(run, searched, split):
    _, file = searched
    with pytest.raises(DataError, match=r"were tuned on .* arithmetic-") as error:
        run(rop__instructions=str(file), data__split=split, data__limit=None)
    assert str(file) in error.value.message
    assert "another split" in error.value.hint


def test_a_file_of_before_tuning_questions_were_kept_is_checked_by_its_items(run, searched, tmp_path):
    _, file = searched
    old = json.loads(file.read_text())
    del old["tuned_on"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    with pytest.raises(DataError, match="were tuned on"):
        run(rop__instructions=str(path), data__split="dev", data__limit=None)
    result, _ = run(rop__instructions=str(path))
    assert result.instructions == read_instructions(file)


def test_tuning_questions_of_another_form_are_an_error_and_no_pass(run, searched, tmp_path):
    _, file = searched
    broken = json.loads(file.read_text()) | {"tuned_on": ["q1"]}
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(broken))
    with pytest.raises(UsageError, match="tuned_on"):
        run(rop__instructions=str(path))


def test_instructions_by_hand_were_tuned_on_nothing(run, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"correction": "Mend it.", "guidance": "Ponder."}')
    result, _ = run(rop__instructions=str(path), data__split="dev")
    told = content(result)
    assert [use["file"] for use in told["used_by"]] == [str(path)]
    assert "model" not in told
