"""Runs whose answers have parts: JSON by fields and by a schema, tool calls, and spans under noise."""

from __future__ import annotations

import json
import re

import pytest

from llmkit.errors import DataError
from llmkit.evaluate.rescore import rescore
from llmkit.recipe import load
from llmkit.types import Reply, ToolCall

ROWS = 30


@pytest.fixture
def parts(tmp_path, run):
    """parts(kind, rows, answer): a run over rows of this kind of answer."""

    def go(kind, rows, answer, **more):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        overrides = {
            "data.task": None, "data.path": str(path), "data.kind": kind, "data.split": "all", "data.limit": None,
            "data.size": 1000, "eval.arms": ["stand"], "perturb.conditions": ["ec"], "perturb.rate": 0.4,
        } | more  # fmt: skip
        return run(answer, "eval", **{key.replace(".", "__"): value for key, value in overrides.items()})[0]

    return go


def asked(request):
    return request.messages[0].content.rpartition("Question: ")[2]


def story(number):
    return f"Please order {number} boxes of nails for the workshop before next summer arrives."


def test_fields_and_the_schema_are_measured_one_by_one(parts, tmp_path):
    schema = tmp_path / "order.json"
    schema.write_text(json.dumps({"type": "object", "properties": {"count": {"type": "integer"}}}))

    def clerk(request):
        number = int(re.search(r"\d+", asked(request))[0])
        noisy = asked(request) != story(number)
        count = str(number) if noisy and number % 3 == 0 else number
        return json.dumps({"count": count, "item": "nials" if noisy else "nails"})

    rows = [{"question": story(n), "answer": {"count": n, "item": "nails"}} for n in range(ROWS)]
    gates = [
        {"metric": "stand.fields/count_drop", "max": 0.6},
        {"metric": "stand.valid", "condition": "ec", "min": 0.4},
    ]
    result = parts("json", rows, clerk, **{"data.json_schema": str(schema), "eval.gates": gates})
    stand = result.metrics.arms["stand"]
    assert stand.conditions["clean"].accuracy.value == 1.0
    assert stand.conditions["ec"].accuracy.value == 0.0
    values = {name: score.conditions["ec"].value for name, score in stand.scores.items()}
    third = pytest.approx(2 / 3, abs=1e-6)
    assert values == {
        "valid": third,
        "fields": pytest.approx(1 / 3, abs=1e-6),
        "fields/count": third,
        "fields/item": 0.0,
    }
    assert [gate.verdict for gate in result.gates] == ["pass", "pass"]
    # Tolerance and schema are settings of the recipe: another one judges the same replies anew.
    again = rescore(result.folder, load(result.folder / "recipe.resolved.yaml", {"data.json_schema": None}))
    assert "valid" not in again.metrics.arms["stand"].scores
    with pytest.raises(DataError, match="does not follow the schema"):
        parts("json", [{"question": story(1), "answer": {"count": "1"}}], clerk, **{"data.json_schema": str(schema)})


def test_tool_calls_of_a_server_are_compared(parts):
    def caller(request):
        number = int(re.search(r"\d+", asked(request))[0])
        calls = (ToolCall("order", {"count": number}),)
        if asked(request) != story(number):
            calls = (ToolCall("order", {"count": number + number % 2}), ToolCall("log", {}))
        return Reply("", tool_calls=calls)

    rows = [{"question": story(n), "answer": [{"name": "order", "arguments": {"count": n}}]} for n in range(ROWS)]
    stand = parts("tool", rows, caller).metrics.arms["stand"]
    assert stand.conditions["clean"].accuracy.value == 1.0
    assert stand.conditions["ec"].accuracy.value == 0.0
    values = {name: score.conditions["ec"].value for name, score in stand.scores.items()}
    third = pytest.approx(1 / 3, abs=1e-6)  # one of two calls, in every second row
    assert values == {"calls": third, "tool_names": pytest.approx(2 / 3, abs=1e-6), "arguments": 0.5}


def test_a_finder_that_copies_the_noisy_words_loses_nothing(parts):
    """Gold spans are what noise made of them: a model that marks the right place is right on noisy text as well."""
    sentence = "Yesterday the friendly postman brought parcel {n} from Liverpool to the old castle."
    gold = [{"text": "Liverpool", "label": "city"}, {"text": "castle", "label": "place"}]
    rows = [{"question": sentence.format(n=n), "answer": gold} for n in range(ROWS)]

    def finder(request):
        words = asked(request).rstrip(".").split()
        return json.dumps([{"text": words[8], "label": "city"}, {"text": words[-1], "label": "place"}])

    def speller(request):
        return json.dumps([{"text": "Liverpool", "label": "city"}, {"text": "town", "label": "place"}])

    stand = parts("spans", rows, finder, **{"perturb.rate": 0.8}).metrics.arms["stand"]
    assert stand.conditions["clean"].accuracy.value == stand.conditions["ec"].accuracy.value == 1.0
    assert {name: score.drop["ec"].value for name, score in stand.scores.items()} == {
        "span_f1": 0.0,
        "span_overlap": 0.0,
    }
    meant = parts("spans", rows, speller, **{"perturb.rate": 0.8, "output.name": "meant", "cache": "other"})
    assert meant.metrics.arms["stand"].scores["span_f1"].conditions["ec"].value == 0.5
    assert rescore(meant.folder, load(meant.folder / "recipe.resolved.yaml")).changed == 0
