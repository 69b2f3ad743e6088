"""Runs recipes with a scripted engine."""

from __future__ import annotations

import pytest
from fakes import FakeEngine
from helpers.scripted import OVERRIDES, scholar

from llmkit.evaluate import pipeline
from llmkit.recipe import load as load_recipe


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(answer, command, **overrides) -> (Result, engine). A key's dots are written as two underscores."""

    def go(answer=scholar, command="rop", *, use_cache=True, cache="cache", shuffle=0, shard=None, name="fake", **more):
        monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / cache))
        engine = FakeEngine(answer, shuffle=shuffle, name=name)
        monkeypatch.setattr(pipeline, "open_engine", lambda model, section: engine)
        overrides = (
            OVERRIDES | {"output.dir": str(tmp_path / "runs")} | {k.replace("__", "."): v for k, v in more.items()}
        )
        loaded = load_recipe(None, overrides)
        return pipeline.run(loaded, command, use_cache=use_cache, quiet=True, shard=shard), engine

    return go
