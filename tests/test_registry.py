"""The registry of names: what replaces an item for a while is gone afterwards, whatever was looked up meanwhile."""

from __future__ import annotations

from unittest import mock

from llmkit.registry import Registry


def test_a_lookup_keeps_what_a_patch_will_restore():
    registry: Registry[object] = Registry("thing", "llmkit.tests_of_the_registry")
    registry.add("real")(int)

    with mock.patch.dict(registry._items, {"real": float}):
        assert "real" in registry
        assert list(registry) == ["real"]
        assert registry["real"] is float
    assert registry["real"] is int


def test_the_order_is_that_of_the_modules_whatever_was_imported_first():
    from llmkit.perturb import like, words  # noqa: F401 - imported out of order
    from llmkit.perturb.base import _OWN, OPERATORS

    modules = [OPERATORS[name].__module__.rpartition(".")[2] for name in OPERATORS]
    places = [_OWN.index(module) for module in modules if module in _OWN]  # other tests install operators

    assert places == sorted(places)
