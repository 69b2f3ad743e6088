"""Labels, JSON, tool calls and spans: read from rows, read out of replies, compared and scored in parts."""

from __future__ import annotations

import json
import random

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import DataError, UsageError
from llmkit.perturb import Perturber
from llmkit.perturb.text import undo
from llmkit.recipe import load as load_recipe
from llmkit.recipe.schema import DataSection
from llmkit.tasks import KINDS, as_asked, load, question_prompt, scorer_of, worked_examples
from llmkit.tasks.answer_kinds.places import moved, paired
from llmkit.types import Edit, Variant

LABELS = ("billing", "delivery", "account access", "other")


@pytest.fixture
def rows(tmp_path):
    """rows(kind, *rows, **data): the questions of a file."""

    def read(kind, *lines, **data):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return load(DataSection(path=str(path), kind=kind, split="all", **data))

    return read


def kind(name, **data):
    return KINDS[name].of(DataSection(**data))


def read(name, reply, question=None, **data):
    text = kind(name, **data).extract(reply, question)
    return None if text is None else json.loads(text)


# --- labels


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("billing", "billing"),
        ("Billing.", "billing"),
        ("**Delivery**", "delivery"),
        ("The answer is account access.", "account access"),
        ("The customer asks for a refund, so it is a matter of billing.", "billing"),
        ('{"label": "other"}', "other"),
        ("Category: account access\nThe user cannot sign in.", "account access"),
        ("It could be billing or delivery.", None),
        ("I would rather not say.", None),
        ("Neither billing nor delivery.\nThe answer is other", "other"),
        ("", None),
    ],
)
def test_a_label_is_read(rows, reply, label):
    (question,) = rows("label", {"question": "Where is it?", "answer": "delivery"}, labels=LABELS)
    assert kind("label").extract(reply, question) == label


def test_labels_are_those_of_the_recipe_or_of_all_rows(rows):
    lines = [{"question": f"Text {i}", "answer": LABELS[i % 3]} for i in range(9)]
    assert {q.labels for q in rows("label", *lines)} == {("account access", "billing", "delivery")}
    assert {q.labels for q in rows("label", *lines, labels=LABELS)} == {LABELS}
    prompt = question_prompt(rows("label", *lines)[0], "Text 0")
    assert 'says "The answer is" and one of these labels: account access, billing, delivery.' in prompt


def test_an_unknown_label_names_its_row(rows):
    with pytest.raises(DataError, match=r"rows\.jsonl:1: the answer 'biling' is none of the labels") as caught:
        rows("label", {"question": "Text", "answer": "biling"}, labels=LABELS)
    assert caught.value.hint == "did you mean `billing`?"


# --- JSON

TOTAL = {"total": 12.5, "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}], "paid": True}


def test_json_is_compared_by_value(rows):
    (question,) = rows("json", {"question": "Read it", "answer": TOTAL})
    scorer = kind("json")
    same = json.dumps({"paid": True, "lines": TOTAL["lines"], "total": 12.50})
    assert scorer.same(scorer.extract(f"Here it is:\n```json\n{same}\n```", question), question.gold)
    for change in ({"total": "12.5"}, {"paid": 1}, {"lines": TOTAL["lines"][::-1]}, {"more": None}):
        assert not scorer.same(scorer.extract(json.dumps(TOTAL | change), question), question.gold)
    assert scorer.extract("There is no invoice.", question) is None
    assert scorer.extract("[" * 100_000, question) is None


def test_numbers_may_differ_by_the_tolerance():
    gold, said = json.dumps({"total": 100}), json.dumps({"total": 101})
    assert kind("json", tolerance=0.01).same(said, gold)
    assert not kind("json", tolerance=0.009).same(said, gold)
    assert not kind("json").same(json.dumps({"total": 10**400}), json.dumps({"total": 1.5}))


def test_fields_are_scored_one_by_one():
    said = json.dumps(TOTAL | {"total": 13, "lines": [{"sku": "a", "n": 1}, {"sku": "c", "n": 2}], "note": "x"})
    assert kind("json").scores(said, json.dumps(TOTAL)) == {
        "fields": 4 / 7,  # of total, paid, two times sku and n, and note
        "fields/total": 0.0,
        "fields/lines/*/sku": 0.5,
        "fields/lines/*/n": 1.0,
        "fields/paid": 1.0,
    }
    nothing = kind("json").scores(None, json.dumps(TOTAL))
    assert nothing.keys() == kind("json").scores(said, json.dumps(TOTAL)).keys()
    assert set(nothing.values()) == {0.0}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(value=JSON, other=JSON)
def test_a_value_agrees_with_itself_in_every_field(value, other):
    gold, said = kind("json").canonical(json.dumps(value)), kind("json").canonical(json.dumps(other))
    assert kind("json").same(gold, gold)
    assert set(kind("json").scores(gold, gold).values()) == {1.0}
    scores = kind("json").scores(said, gold)
    assert all(0 <= score <= 1 for score in scores.values())
    assert (scores["fields"] == 1) == kind("json").same(said, gold)


SCHEMA = {
    "type": "object",
    "required": ["total"],
    "properties": {"total": {"type": "number", "minimum": 0}, "sku": {"type": "string", "pattern": "^[a-z]+$"}},
}


@pytest.fixture
def schema(tmp_path):
    def write(content):
        path = tmp_path / "schema.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def test_an_answer_has_to_follow_the_schema(schema, rows):
    answers = kind("json", json_schema=schema(SCHEMA))
    for value in ({"total": 1, "sku": "ab"}, {"total": -1}, {"sku": "ab"}, [], {"total": 1, "sku": "AB"}, 5):
        valid = jsonschema.Draft202012Validator(SCHEMA).is_valid(value)
        assert answers.scores(json.dumps(value), '{"total": 1}')["valid"] == valid
    with pytest.raises(DataError, match=r"rows\.jsonl:1: the answer does not follow the schema: \$\.total: -1 is less"):
        rows("json", {"question": "Read it", "answer": {"total": -1}}, json_schema=schema(SCHEMA))
    lax = kind("json", json_schema=schema({"type": "object", "properties": {"n": {"maximum": 100}}}), tolerance=0.1)
    assert lax.same('{"n": 95}', '{"n": 100}')
    assert not lax.same('{"n": 105}', '{"n": 100}')


ENDLESS = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)} | {"a40": {"type": "object"}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "a schema is an object"),
        ({"type": "objekt"}, r"is no JSON Schema: \$\.type"),
        ({"$ref": "https://example.org/schema.json"}, "only references inside the file"),
        ({"properties": {"a": {"$ref": "other.json#/a"}}}, "only references inside the file"),
        ({"$dynamicRef": "#meta"}, "a dynamic reference"),
        ({"pattern": "(?=a)b"}, "is no pattern that takes linear time"),
        ({"patternProperties": {"a": {}}, "additionalProperties": False}, "beside `additionalProperties`"),
        ("[" * 5000, "is no JSON"),
        ('{"not": ' * 500 + "{}" + "}" * 500, "nested more than 64 deep"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema, content, said):
    with pytest.raises(UsageError, match=said):
        kind("json", json_schema=schema(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"$ref": "#/$defs/a0", "$defs": ENDLESS}, "refers to itself without an end"),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, "refers to itself without an end"),
        ({"$ref": "#/$defs/none"}, "which it does not have"),
    ],
)
def test_a_check_ends(schema, content, said):
    with pytest.raises(DataError, match=said):
        kind("json", json_schema=schema(content)).canonical("{}")


def test_there_has_to_be_a_schema_file():
    with pytest.raises(UsageError, match="there is no file nowhere"):
        kind("json", json_schema="nowhere.json")


# --- tools

CALLS = [{"name": "find", "arguments": {"id": 7, "deep": True}}, {"name": "refund", "arguments": {"amount": 10.0}}]


def test_calls_are_compared_by_name_and_arguments(rows):
    (question,) = rows("tool", {"question": "Refund me", "answer": CALLS})
    tool = kind("tool")
    openai = {
        "tool_calls": [
            {"id": "x", "function": {"name": c["name"], "arguments": json.dumps(c["arguments"])}} for c in CALLS
        ]
    }
    for reply in (json.dumps(CALLS), json.dumps({"tool_calls": CALLS}), json.dumps(openai)):
        assert tool.same(tool.extract(reply, question), question.gold)
    turned = tool.extract(json.dumps(CALLS[::-1]), question)
    assert not tool.same(turned, question.gold)
    assert kind("tool", any_order=True).same(turned, question.gold)
    assert tool.scores(turned, question.gold) == {"calls": 1.0, "tool_names": 1.0, "arguments": 1.0}
    one_wrong = [CALLS[0] | {"arguments": {"id": 8, "deep": True}}]
    scores = tool.scores(json.dumps(one_wrong), question.gold)
    assert scores == {"calls": 0.0, "tool_names": pytest.approx(2 / 3), "arguments": 0.25}


def test_a_reply_without_json_calls_nothing(rows):
    (question,) = rows("tool", {"question": "Hello", "answer": []})
    assert read("tool", "Hello, how can I help?", question) == []
    assert kind("tool").same("[]", question.gold)
    assert kind("tool").scores("[]", "[]") == {"calls": 1.0, "tool_names": 1.0, "arguments": None}
    assert read("tool", '{"tool_calls": [{"name": "find", "argum', question) is None
    assert read("tool", '{"city": "Rome"}', question) is None


def test_an_answer_that_is_no_list_of_calls_names_its_row(rows):
    with pytest.raises(DataError, match=r"rows\.jsonl:1: .* is no list of calls"):
        rows("tool", {"question": "Refund me", "answer": [{"tool": "find"}]})


# --- spans

FLIGHT = "Please book a flight from Boston to San Francisco for Anna."
CITY, OTHER = ({"start": 26, "end": 32, "label": "city"}, {"start": 36, "end": 49, "label": "city"})


def test_spans_get_their_words_and_their_place(rows):
    by_words = [{"text": "Boston", "label": "city"}, {"text": "San Francisco", "label": "city"}]
    (placed,) = rows("spans", {"question": FLIGHT, "answer": [CITY, OTHER]})
    (found,) = rows("spans", {"question": FLIGHT, "answer": by_words})
    assert placed.gold == found.gold
    assert [span["text"] for span in json.loads(placed.gold)] == ["Boston", "San Francisco"]
    assert placed.labels == ("city",)


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ({"start": 50, "end": 99, "label": "city"}, "the span 50 to 99 is outside of its text"),
        ({"start": 32, "end": 26, "label": "city"}, "outside of its text"),
        ({"start": 26, "end": 33, "label": "city", "text": "Boston"}, "is 'Boston ' in the text, not 'Boston'"),
        ({"text": "London", "label": "city"}, "stands 0 times in the text"),
        ({"text": "o", "label": "city"}, "stands 8 times in the text"),
        ({"start": 26, "end": 32, "label": "town"}, "the label 'town' is none of the labels"),
        ({"start": 26, "end": 32}, "has no span at place 0"),
    ],
)
def test_spans_that_do_not_fit_their_text_name_their_row(rows, span, said):
    with pytest.raises(DataError, match=said) as caught:
        rows("spans", {"question": FLIGHT, "answer": [span]}, labels=("city",))
    assert "rows.jsonl:1: " in str(caught.value)


def test_spans_are_moved_through_noise_and_compared_by_words_or_places(rows):
    (question,) = rows("spans", {"question": FLIGHT, "answer": [CITY, OTHER]})
    noisy = "Plase book a flight from Bsoton to San Francisco for Anna."
    edits = (Edit(0, 5, "Please", "Plase"), Edit(25, 31, "Boston", "Bsoton"))
    asked = as_asked(Variant(question, "ec", noisy, edits))
    spans = kind("spans")
    right = [
        [{"text": "Bsoton", "label": "city"}, {"text": "San Francisco", "label": "City"}],
        [{"text": "San Francisco", "label": "city"}, {"text": "Boston", "label": "city"}],  # as it was meant
        [{"start": 25, "end": 31, "label": "city"}, {"start": 35, "end": 48, "label": "city"}],
    ]
    for reply in right:
        parsed = spans.extract(json.dumps({"spans": reply}), asked)
        assert spans.same(parsed, asked.gold)
        assert spans.scores(parsed, asked.gold) == {"span_f1": 1.0, "span_overlap": 1.0}
    part = spans.extract('[{"text": "Francisco", "label": "city"}, {"text": "Anna", "label": "city"}]', asked)
    assert not spans.same(part, asked.gold)
    assert spans.scores(part, asked.gold) == {"span_f1": 0.0, "span_overlap": 0.5}
    assert spans.extract("Boston and San Francisco", asked) is None
    assert spans.same(spans.extract("[]", asked), "[]")
    assert as_asked(Variant.unchanged(question)).gold == question.gold


def test_a_span_that_noise_takes_out_is_no_answer_any_more(rows):
    (question,) = rows("spans", {"question": FLIGHT, "answer": [CITY]})
    gone = Variant(question, "drop", FLIGHT[:26] + FLIGHT[33:], (Edit(26, 26, "Boston ", ""),))
    assert as_asked(gone).gold == "[]"


def test_a_span_is_part_of_one_text(rows):
    with pytest.raises(DataError, match="are about one text"):
        rows("spans", {"messages": [{"role": "user", "content": FLIGHT}], "answer": [CITY]})


def cut(edits, start, end):
    """Whether an edit changes characters of the span and others at once."""
    delta = 0
    for edit in edits:
        here = edit.start - delta
        there = here + len(edit.old)
        if here < end and there > start and (here < start or there > end):
            return True
        delta += len(edit.new) - len(edit.old)
    return False


def test_spans_are_exact_on_ten_thousand_noisy_texts():
    """What stands before a moved span, in it and behind it undoes to what stood before, in and behind it."""
    story = "Anna flew from Boston to San Francisco, then 3 days later (on 5 May) back home with her sister's cat."
    words = story.split()
    operators = ("ec", "typing", "whitespace", "punctuation", "drop", "repeat", "sc", "woo", "uic", "hw_spell")
    perturbers = [Perturber(name, 0.5) for name in operators]
    draw = random.Random(5)
    exact = looked_into = 0
    for number in range(10_000):
        text = " ".join(draw.choices(words, k=draw.randint(6, 14)))
        starts = [0, *(i + 1 for i, char in enumerate(text) if char == " ")]
        start = draw.choice(starts)
        end = draw.choice([i for i, char in enumerate(f"{text} ") if char == " " and i > start])
        result = perturbers[number % len(perturbers)].apply(text, str(number))
        begin, close = moved(start, end, result.edits)
        assert 0 <= begin <= close <= len(result.text)
        if cut(result.edits, start, end):
            looked_into += 1
            continue
        inside = [e for e in result.edits if begin <= e.start and e.end <= close]
        shifted = [e._replace(start=e.start - begin, end=e.end - begin) for e in inside]
        # An insertion at an end of the span is none of it, and stands outside of the moved one.
        assert text[start:end] in {
            undo(result.text[begin:close], part) for part in _without_ends(shifted, close - begin)
        }
        exact += 1
    assert exact > 9_000
    assert looked_into > 100


def _without_ends(edits, length):
    """The edits in a moved span; deletions at its very ends may be of characters outside."""
    kept = [e for e in edits if not (e.start == e.end and e.start in (0, length))]
    ends = [e for e in edits if e.start == e.end and e.start in (0, length)]
    for choice in range(2 ** len(ends)):
        chosen = [e for place, e in enumerate(ends) if choice >> place & 1]
        yield sorted(kept + chosen, key=lambda e: (e.start, e.end))


@given(
    pieces=st.lists(
        st.tuples(st.text("ab ", max_size=4), st.text("cd", max_size=3), st.text("ab ", max_size=4)), max_size=5
    ),
    tail=st.text("ab ", max_size=4),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_moved_span_holds_every_character_that_was_not_edited(pieces, tail, ends):
    original = final = ""
    edits, kept = [], []  # kept: places of equal characters, in the original and in the final text
    for old, new, between in [*pieces, ("", "", tail)]:
        if old or new:
            edits.append(Edit(len(final), len(final) + len(new), old, new))
        original, final = original + old, final + new
        kept += [(len(original) + i, len(final) + i) for i in range(len(between))]
        original, final = original + between, final + between
    start, end = sorted(int(share * len(original)) for share in ends)
    if start == end:
        return
    begin, close = moved(start, end, edits)
    assert all((begin <= there < close) == (start <= here < end) for here, there in kept)


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), max_size=6))
def test_as_many_as_can_are_paired(ours, theirs):
    common = sum(min(ours.count(n), theirs.count(n)) for n in range(4))
    assert paired(ours, theirs, lambda one, other: one == other) == common
    assert paired(ours, theirs, lambda one, other: True) == min(len(ours), len(theirs))


def test_a_bad_setting_of_the_recipe_is_a_usage_error(schema):
    recipe = load_recipe(None, {"data.kind": "json", "data.json_schema": schema("{")}).recipe
    with pytest.raises(UsageError, match="is no JSON"):
        scorer_of(recipe).kind(type("Q", (), {"kind": "json"})())


def test_worked_examples_show_answers_in_the_form_that_is_asked_for(rows):
    spans = rows("spans", {"question": FLIGHT, "answer": [CITY]})
    assert worked_examples(spans, 1) == [(FLIGHT, '[{"label": "city", "text": "Boston"}]')]
    assert (
        worked_examples(rows("json", {"question": "Read", "answer": {"b": 1, "a": 2}}), 1)[0][1] == '{"a": 2, "b": 1}'
    )
    labels = rows("label", {"question": "Sort", "answer": "other"}, labels=LABELS)
    assert worked_examples(labels, 1)[0][1] == "The answer is other"
