"""Whatever stands in a file or behind --set, the outcome is a recipe or a RecipeError: never another exception."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.recipe import Recipe, examine, load
from llmkit.recipe.document import parse
from llmkit.recipe.faults import all_keys

KEYS = [*all_keys(), "extends", "limit", "eval.gates.0.min", "perturb.conditions.7", "a.b", "0", "rop.0"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(KEYS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner),
    max_leaves=6,
)
YAML = st.text(alphabet=" \n\t-:[]{}&*!|>'\"%@#,?<ab01.~\\\x00é", max_size=60)


def outcome(overrides) -> None:
    loaded, faults = examine(None, overrides)
    assert (loaded is None) == bool(faults)
    assert all(str(fault) for fault in faults)


@given(YAML)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text):
    document = parse(text, "a.yaml")
    assert document.faults or json.dumps(document.tree, allow_nan=False)
    assert all(str(fault).startswith("a.yaml") for fault in document.faults)


@given(st.lists(st.tuples(st.sampled_from(KEYS), YAML | VALUES.map(repr)), max_size=3))
@settings(max_examples=300, deadline=None)
def test_any_set_is_taken_or_refused(pairs):
    outcome([f"{key}={value}" for key, value in pairs])


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))
@settings(max_examples=300, deadline=None)
def test_any_value_is_taken_or_refused(values):
    outcome(values)


@given(st.sampled_from([k for k in all_keys() if "." in k]))
@settings(max_examples=100, deadline=None)
def test_setting_a_key_to_its_default_changes_nothing(key):
    value = Recipe().model_dump(mode="json")
    for name in key.split("."):
        value = value[name]
    assert load(None, {key: value}).recipe == Recipe()
