"""Normalised sets on disk."""

from __future__ import annotations

import json
import os

import pytest
from helpers.processes import in_processes

from llmkit.recipe.schema import DataSection
from llmkit.tasks import TASKS, cache, load
from llmkit.tasks.official import build
from llmkit.tasks.splits import ordered

BODY = [{"Body": f"Ann has {i} pens and gets 2", "Question": "How many?", "Answer": i + 2} for i in range(30)]
TASK = TASKS["svamp"]()


@pytest.fixture
def questions():
    return build(TASK, {"all": [(f"row {i}", row) for i, row in enumerate(BODY)]}, TASK.read)[0]


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path))
    return cache.folder(TASK, [b"source"])


def test_what_is_kept_comes_back_equal_and_opens_as_a_datasets_folder(folder, questions):
    import datasets

    assert cache.read(folder) is None
    cache.write(folder, questions)
    assert cache.read(folder) == questions
    assert datasets.load_from_disk(str(folder))["gold"] == [q.gold for q in questions]
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_options_and_meta_come_back_as_they_were(folder):
    task = TASKS["aqua"]()
    row = {"question": "2 + 3?", "options": ["A)4", "B)5"], "rationale": "5 \u2460", "correct": "B"}
    kept, _ = build(task, {"test": [("row 1", row)]}, task.read)
    cache.write(folder, kept)
    assert cache.read(folder) == kept
    assert kept[0].options == ("4", "5")


def test_other_sources_other_tasks_and_other_code_are_kept_elsewhere(folder, monkeypatch):
    others = {
        cache.folder(TASK, [b"changed"]),
        cache.folder(TASK, [b"sour", b"ce"]),
        cache.folder(TASKS["aqua"](), [b"source"]),
    }
    monkeypatch.setattr(cache, "_code", lambda *modules: b"newer")
    others.add(cache.folder(TASK, [b"source"]))
    assert len(others | {folder}) == 5


@pytest.mark.parametrize("damage", ["cut", "flip", "no checksum", "no arrow", "empty folder"])
def test_a_damaged_folder_is_noticed_and_made_anew(folder, questions, damage):
    cache.write(folder, questions)
    arrow, checksum = folder / "data-00000-of-00001.arrow", folder / "checksum"
    raw = arrow.read_bytes()
    if damage == "cut":
        arrow.write_bytes(raw[:-100])
    elif damage == "flip":
        arrow.write_bytes(raw[:900] + bytes([raw[900] ^ 1]) + raw[901:])
    for path in (arrow, checksum):
        if damage == "empty folder" or damage == {arrow: "no arrow", checksum: "no checksum"}[path]:
            path.unlink()
    assert cache.read(folder) is None
    cache.write(folder, questions)
    assert cache.read(folder) == questions


def test_a_folder_that_cannot_be_written_is_no_error(folder, questions):
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("a file where the folder should be")
    cache.write(folder, questions)
    assert folder.parent.is_file()


def _load_large(data_dir, cache_dir, ids):
    os.environ["LLMKIT_CACHE"] = cache_dir
    ids.write_text(json.dumps([q.id for q in load(DataSection(task="svamp", data_dir=data_dir, limit=50), "all")]))


def test_two_processes_may_make_the_same_set_at_once(tmp_path):
    rows = [
        {"Body": f"Ann has {i} pens " + "and more " * 20, "Question": "How many?", "Answer": i} for i in range(6000)
    ]
    (tmp_path / "svamp").mkdir()
    (tmp_path / "svamp" / "SVAMP.json").write_text(json.dumps(rows))
    ids = [tmp_path / "one.json", tmp_path / "two.json"]
    assert in_processes(_load_large, *((str(tmp_path), str(tmp_path / "cache"), path) for path in ids)) == [0, 0]
    one, two = (json.loads(path.read_text()) for path in ids)
    assert one == two
    (kept,) = (tmp_path / "cache" / "data").iterdir()
    assert [q.id for q in ordered(cache.read(kept), 7, 50)] == one
