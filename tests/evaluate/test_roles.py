"""The models of a run: each in its role, the system prompt of the answering one, and what a search will ask of them."""

from __future__ import annotations

import json

import pytest
from helpers.fakes import FakeEngine
from helpers.scripted import OVERRIDES, scholar

from llmkit import evaluate
from llmkit.cli import measure
from llmkit.errors import UsageError
from llmkit.evaluate.estimate import estimate
from llmkit.recipe import load
from llmkit.recipe.schema import ModelSection
from llmkit.report.export import export

ROLES = {"rop.optimizer": "writer", "rop.corrector": "mender"}


@pytest.fixture
def files(tmp_path):
    """A chat template and a system prompt, as recipe keys."""
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    (tmp_path / "system.txt").write_text("Be brief.\n")
    return {"model.chat_template": str(tmp_path / "chat.jinja"), "model.system_prompt": str(tmp_path / "system.txt")}


@pytest.fixture
def opened(monkeypatch, tmp_path, opens):
    """The model sections for which an engine was opened."""
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    sections = []

    def engine(model, section):
        sections.append(model)
        return FakeEngine(scholar, name=model.path)

    opens(engine)
    return sections


def test_what_is_made_for_the_answering_model_goes_to_no_other(opened, files, tmp_path):
    own = {"model.revision": "abc", "model.adapter": "adapter"}
    recipe = load(None, OVERRIDES | ROLES | files | own | {"output.dir": str(tmp_path / "runs")})
    evaluate.run(recipe, "rop", quiet=True)
    assert opened == [recipe.recipe.model, ModelSection(path="writer"), ModelSection(path="mender")]


def test_one_model_for_all_roles_is_opened_once(opened, files, tmp_path):
    recipe = load(None, OVERRIDES | files | {"output.dir": str(tmp_path / "runs"), "rop.corrector": "scripted"})
    evaluate.run(recipe, "rop", quiet=True)
    assert opened == [recipe.recipe.model]


def test_a_system_prompt_is_shown_before_the_run_and_exported_after_it(opened, files, tmp_path):
    loaded = load(None, OVERRIDES | files | {"output.dir": str(tmp_path / "runs")})
    bare = load(None, OVERRIDES)
    found, without = (estimate(evaluate.plan(one.recipe, "eval")).arms[0] for one in (loaded, bare))
    assert [m.role for m in found.first[0]] == ["system", "user"]
    assert found.first[0][0].content == "Be brief."
    more = found.prompt_tokens - without.prompt_tokens
    assert more == pytest.approx(found.calls * len("Be brief.") / 4, abs=1)
    folder = evaluate.run(loaded, "eval", quiet=True).folder
    (tmp_path / "system.txt").write_text("Ramble.")  # what the run asked with counts, not what stands there now
    export(folder, "inspect", tmp_path / "out")
    doc = json.loads((tmp_path / "out" / "clean.jsonl").read_text().splitlines()[0])
    assert doc["messages"][0] == {"role": "system", "content": "Be brief."}
    assert doc["system"] == "Be brief."


def test_a_run_of_before_its_system_prompt_was_kept_takes_it_from_the_file(opened, files, tmp_path):
    folder = evaluate.run(load(None, OVERRIDES | files | {"output.dir": str(tmp_path)}), "eval", quiet=True).folder
    (folder / "run.json").write_text("{}")
    export(folder, "lm-eval", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "clean.jsonl").read_text().splitlines()[0])["system"] == "Be brief."
    (tmp_path / "system.txt").unlink()
    with pytest.raises(UsageError, match="system prompt"):
        export(folder, "lm-eval", tmp_path / "out")


@pytest.mark.parametrize(("score", "generated"), [("execution", 2 * 12 * 256), ("likelihood", 0)])
def test_what_a_search_will_cost_is_known_before_it(opened, tmp_path, score, generated):
    keys = {"output.dir": str(tmp_path / "runs"), "rop.search.score": score, "rop.scope": "per_type"}
    loaded = load(None, OVERRIDES | keys)
    found = estimate(evaluate.plan(loaded.recipe, "rop"))
    folder = evaluate.run(loaded, "rop", quiet=True, use_cache=False).folder
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    asked = [call for row in rows if row["kind"] == "search" for call in row["calls"]]
    assert found.search.calls == len(asked)
    tokens = sum(len(m["content"]) for call in asked for m in call["messages"]) / 4
    assert found.search.prompt_tokens == pytest.approx(tokens, rel=0.25)
    # for each of two kinds of noise: four proposals of 50 tokens, the scores, and sixteen corrections
    assert found.search.most_completion_tokens == 2 * (4 * 50 + generated + 16 * 256)
    assert found.json()["search"]["calls"] == found.json()["search_calls"]


def test_the_search_has_its_row_in_the_table(opened, capsys):
    loaded = load(None, OVERRIDES)
    found = estimate(evaluate.plan(loaded.recipe, "rop"))
    measure._print_estimate(found)
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("(search, at most)"))
    numbers = [found.search.calls, found.search.prompt_tokens, found.search.most_completion_tokens]
    assert row.split()[-3:] == list(map(str, numbers))
