"""`Run` reads a run folder: whole, with files missing, or damaged."""

from __future__ import annotations

import pytest
from helpers import synthetic

from llmkit.errors import DataError
from llmkit.runs import Run, RunFolder, names


@pytest.fixture
def run(tmp_path):
    folder = synthetic.write_run(tmp_path / "demo-1", synthetic.rows(4, arms=["stand"], conditions=["ec"]))
    (folder / names.RESOLVED_RECIPE).write_text(
        "seed: 7\nmodel: {path: m, adapter: null}\ndata: {task: null, path: q}\n"
    )
    return Run(folder)


def test_what_was_never_written_is_empty(tmp_path):
    run = Run(tmp_path)
    assert (run.exists, run.state, run.count_answers()) == (False, "unfinished", 0)
    assert (run.recipe, run.facts, run.section("model")) == ({}, {}, {})
    assert (run.environment, run.instructions, run.metrics) == (None, None, None)
    assert (run.model, run.task, run.command, run.dtype, run.system_prompt) == (None,) * 5
    assert list(run.entries()) == []
    with pytest.raises(DataError, match="no samples in"):
        run.samples()


def test_a_whole_folder_is_read(run):
    assert run.exists
    assert (run.name, run.model, run.task) == ("demo-1", "m", "q")
    assert run.count_answers() == len(list(run.samples())) == len(list(run.entries(names.OUTCOME))) == 8
    assert run.files == ["recipe.resolved.yaml", "samples.jsonl"]
    (run.folder / names.METRICS).write_text('{"a": 1}')
    assert (run.state, run.metrics) == ("finished", {"a": 1})


@pytest.mark.parametrize(
    ("file", "attribute"),
    [
        (names.RESOLVED_RECIPE, "recipe"),
        (names.FACTS, "facts"),
        (names.ENVIRONMENT, "environment"),
        (names.INSTRUCTIONS, "instructions"),
        (names.METRICS, "metrics"),
    ],
)
@pytest.mark.parametrize("content", [b"\xff", b"{", b"[1]", b""])
def test_a_damaged_file_is_named(run, file, attribute, content):
    (run.folder / file).write_bytes(content)
    with pytest.raises(DataError, match=file.replace(".", r"\.")) as refused:
        getattr(run, attribute)
    assert refused.value.hint


def test_a_section_of_another_kind_is_none(run):
    run.recipe_file.write_text("model: m\ndata: [1]\n")
    assert (run.section("model"), run.model, run.task) == ({}, None, None)


def test_entries_of_one_kind_since_the_run_began_anew(run):
    with RunFolder.reopen(run.folder) as folder:
        folder.append({"kind": names.SEARCH, "key": "before", "calls": []})
        folder.begin_generation()
        folder.append({"kind": names.SEARCH, "key": "after", "calls": []})
    assert [row["key"] for row in run.entries(names.SEARCH)] == ["after"]
    assert [row["key"] for row in run.entries(names.SEARCH, every=True)] == ["before", "after"]
    assert run.count_answers() == 0


def test_the_dtype_is_said_in_words(run):
    assert run.dtype_in_words == "not known, as a server does not say"
    (run.folder / names.FACTS).write_text('{"dtype": "float32", "system_prompt": "Be brief."}')
    again = Run(run.folder)
    assert (again.dtype_in_words, again.system_prompt) == ("float32", "Be brief.")


def test_a_system_prompt_that_is_no_text_is_named(run):
    (run.folder / names.FACTS).write_text('{"system_prompt": ["Be brief."]}')
    with pytest.raises(DataError, match=r"run\.json: system_prompt is no text"):
        assert Run(run.folder).system_prompt
