"""Kinds of engines: chosen by name, open to other packages."""

from __future__ import annotations

import re
from unittest import mock

import pytest
from helpers.fakes import FakeEngine

from llmkit import evaluate
from llmkit.engines import ENGINES, open_engine
from llmkit.errors import UsageError
from llmkit.recipe import load
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.runs import Runner
from llmkit.types import Message, Request


def hello():
    return (yield Request((Message("user", "hello"),)))


def test_an_engine_is_one_class_and_one_line():
    class Echo(FakeEngine):
        kind = "echo"

        def __init__(self, model, section):
            super().__init__(lambda request: f"{model.path}: {request.messages[-1].content}")

    with mock.patch.dict(ENGINES._items):
        ENGINES.add(Echo.kind)(Echo)
        with Runner({"answerer": open_engine(ModelSection(path="m"), EngineSection(kind="echo"))}) as runner:
            (done,) = runner.run([("a", hello())])
    assert done.result.text == "m: hello"


def test_an_unknown_engine_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="unknown engine `qqq`") as refused:
        open_engine(ModelSection(path="m"), EngineSection(kind="qqq"))
    assert {"openai", "transformers", "vllm"} <= set(re.split(r"[ ,:]+", refused.value.hint))


def test_a_run_with_an_unknown_engine_stops_before_anything_is_loaded():
    recipe = load(None, {"model.path": "m", "data.task": "gsm8k", "engine.kind": "vlm"}).recipe
    with pytest.raises(UsageError, match="unknown engine `vlm`") as refused:
        evaluate.plan(recipe, "eval")
    assert refused.value.hint == "did you mean `vllm`?"


@pytest.mark.parametrize("kind", ["vllm:x", "http:a:b", "pythonic:a:b"])
def test_only_a_function_has_a_name_behind_its_kind(kind):
    with pytest.raises(UsageError, match=f"unknown engine `{kind}`"):
        open_engine(ModelSection(path="m"), EngineSection(kind=kind))


def test_only_a_server_has_to_be_asked_who_it_is():
    local = {kind: ENGINES[kind].identity_is_local for kind in ("openai", "transformers", "vllm")}
    assert local == {"openai": False, "transformers": True, "vllm": True}
