"""Puts TalkLoRA into PEFT's parametrised tests as they are collected, and leaves out the tests of other methods."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

import llmkit.talklora  # noqa: F401  registers the method
from llmkit.talklora import TalkLoraConfig, TalkLoraModel
from peft_matrix.cases import INLINE, LISTS
from peft_matrix.expected import reason_of

NOT_MERGEABLE = "gates depend on the input: not mergeable by design"


@contextlib.contextmanager
def offline(_: str) -> Iterator[None]:
    """Stands in for `hub_online_once`: every model is in the local cache."""
    yield


def pytest_pycollect_makemodule(module_path: Any, parent: Any) -> pytest.Module:
    """Collects a module of PEFT's tests with TalkLoRA's parameters."""
    collected = pytest.Module.from_parent(parent, path=module_path)
    prepare(collected.obj)
    return collected


def prepare(module: ModuleType) -> None:
    """Exchanges parameters and helpers in a module of PEFT's tests."""
    name = module.__name__.rpartition(".")[2]
    if name not in LISTS:
        return
    common = inspect.getmodule(module.PeftCommonTester) if hasattr(module, "PeftCommonTester") else None
    for where in filter(None, (module, common)):
        where.hub_online_once = offline
        exchange_skips(where)
    if common:
        declare_shared_state(common.PeftCommonTester)
    lists = {id(getattr(module, old)): new for old, new in LISTS[name].items()}
    for test in tests_of(module):
        marks = getattr(test, "pytestmark", [])
        test.pytestmark = [with_talklora(test.__name__, mark, lists) for mark in marks]


def tests_of(module: ModuleType) -> Iterator[Any]:
    """Yields the test functions of a module, those in classes too."""
    for value in vars(module).values():
        if inspect.isclass(value) and value.__module__ == module.__name__:
            yield from (f for name, f in vars(value).items() if name.startswith("test_") and inspect.isfunction(f))
        elif inspect.isfunction(value) and value.__name__.startswith("test_"):
            yield value


def with_talklora(test: str, mark: pytest.Mark, lists: dict[int, Any]) -> pytest.Mark:
    """Returns a parametrize mark with TalkLoRA's values where it has other methods'."""
    if mark.name != "parametrize":
        return mark
    values = INLINE.get(test, {}).get(str(mark.args[0]), lists.get(id(mark.args[1])))
    if values is None:
        return mark
    kept = {key: value for key, value in mark.kwargs.items() if key != "ids" or callable(value)}
    return pytest.Mark("parametrize", (mark.args[0], values), kept, _ispytest=True)


def exchange_skips(module: ModuleType) -> None:
    """Says of TalkLoRA what PEFT's helpers know of its own methods: several experts cannot be merged; Conv1D works."""
    for name, decide in (
        ("_skip_if_merging_not_supported", skip_merging),
        ("_skip_if_conv1d_not_supported", lambda *_: None),
    ):
        if hasattr(module, name):
            setattr(module, name, decide)


def declare_shared_state(tester: type) -> None:
    """Lets PEFT's flag for shared state, which it has for each class, be what it is for each configuration."""
    name = "_test_load_model_low_cpu_mem_usage"
    test = getattr(tester, name)
    if hasattr(test, "__wrapped__"):
        return

    @functools.wraps(test)
    def declared(self: Any, model_id: str, config_cls: type, config_kwargs: dict[str, Any]) -> None:
        with mock.patch.object(TalkLoraModel, "uses_shared_state", config_cls(**config_kwargs).share_B):
            test(self, model_id, config_cls, config_kwargs)

    setattr(tester, name, declared)


def skip_merging(_: str, config_cls: type, kwargs: dict[str, Any]) -> None:
    """Skips a test of merging where gates depend on the input."""
    if config_cls(**kwargs).constant_gate is None:
        pytest.skip(NOT_MERGEABLE)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests that have TalkLoRA among their parameters, and marks the expected failures."""
    kept = [item for item in items if has_talklora(item) or "test_hqq" in item.nodeid]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept
    for item in items:
        if "test_quantization.py" in item.nodeid and "test_merge_unmerge_unload[talklora-" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason=NOT_MERGEABLE))
        if (reason := reason_of(item.nodeid)) and "bnb_4bit" not in item.nodeid:  # which PEFT skips on a CPU
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def has_talklora(item: pytest.Item) -> bool:
    """Returns whether one of a test's parameters is a configuration of TalkLoRA, or its class."""
    parameters = getattr(item, "callspec", None)
    values = parameters.params.values() if parameters else ()
    return any(
        isinstance(value, TalkLoraConfig) or (isinstance(value, type) and issubclass(value, TalkLoraConfig))
        for value in values
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declares the markers of PEFT's tests, which its own configuration would."""
    for name in ("single_gpu_tests", "multi_gpu_tests", "regression", "bitsandbytes"):
        config.addinivalue_line("markers", f"{name}: PEFT's own")
    os.environ["HF_HUB_OFFLINE"] = "1"
