"""Several models in one run, and the system prompt that the answering one has."""

from __future__ import annotations

import pytest
from fakes import FakeEngine
from helpers.scripted import OVERRIDES, scholar

from llmkit.evaluate import pipeline
from llmkit.recipe import load
from llmkit.recipe.schema import ModelSection

ROLES = {"rop.optimizer": "writer", "rop.corrector": "mender"}


@pytest.fixture
def files(tmp_path):
    """A chat template and a system prompt, as recipe keys."""
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    (tmp_path / "system.txt").write_text("Be brief.\n")
    return {"model.chat_template": str(tmp_path / "chat.jinja"), "model.system_prompt": str(tmp_path / "system.txt")}


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """The model sections for which an engine was opened."""
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    sections = []

    def engine(model, section):
        sections.append(model)
        return FakeEngine(scholar, name=model.path)

    monkeypatch.setattr(pipeline, "open_engine", engine)
    return sections


def test_what_is_made_for_the_answering_model_goes_to_no_other(opened, files, tmp_path):
    own = {"model.revision": "abc", "model.adapter": "adapter", "output.dir": str(tmp_path / "runs")}
    recipe = load(None, OVERRIDES | ROLES | files | own)
    pipeline.run(recipe, "rop", quiet=True)
    assert opened == [recipe.recipe.model, ModelSection(path="writer"), ModelSection(path="mender")]


def test_one_model_for_all_roles_is_opened_once(opened, files, tmp_path):
    recipe = load(None, OVERRIDES | files | {"output.dir": str(tmp_path / "runs"), "rop.corrector": "scripted"})
    pipeline.run(recipe, "rop", quiet=True)
    assert opened == [recipe.recipe.model]
