"""The bundled applications whose answers are JSON: what is asked, what was trained, and that they share nothing."""

from __future__ import annotations

import csv
import json
import re

import jsonschema
import pytest
from helpers import benchmarks

from llmkit.recipe import load
from llmkit.resources import shipped
from llmkit.tasks import load as load_questions
from llmkit.tasks import own_prompts
from llmkit.tasks.leaks import near_duplicates, refuse_leaks
from llmkit.types import Question

EXAMPLES = {
    "extract": ("orders", "body", "order", "orders.yaml", "json"),
    "tools": ("utterances", "said", "call", "assistant.yaml", "tool"),
}
TOOLS = {
    "set_timer": {"minutes": int},
    "set_temperature": {"room": str, "degrees": int},
    "switch_light": {"room": str, "state": str},
    "add_to_list": {"item": str},
    "get_weather": {"city": str, "day": str},
    "play_music": {"genre": str, "room": str},
}


def folder(name):
    return shipped("examples") / name


def asked(name):
    """(text, answer) of each row that is asked."""
    file, field, answer, *_ = EXAMPLES[name]
    with (folder(name) / f"{file}.csv").open(encoding="utf-8", newline="") as rows:
        return [(row[field], json.loads(row[answer])) for row in csv.DictReader(rows)]


def trained(name):
    """(text, answer) of each row that was trained on."""
    lines = (folder(name) / f"{EXAMPLES[name][0]}-train.jsonl").read_text(encoding="utf-8").splitlines()
    chats = [json.loads(line)["messages"] for line in lines]
    return [(turns[1]["content"], json.loads(turns[2]["content"])) for turns in chats]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_files_are_what_their_program_writes(name):
    program, file = benchmarks.load(name), EXAMPLES[name][0]
    assert (folder(name) / f"{file}.csv").read_text(encoding="utf-8") == program.asked()
    lines = (folder(name) / f"{file}-train.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == program.taught()


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_text_and_no_sentence_is_in_both_files(name):
    rows, more = asked(name), trained(name)
    assert len(rows) == len({text for text, _ in rows}) == 300
    questions = [
        [Question(f"{part}{i}", text, "", "text") for i, (text, _) in enumerate(some)]
        for part, some in (("asked", rows), ("trained", more))
    ]
    refuse_leaks(questions[1], questions[0])
    assert near_duplicates(questions[1], questions[0]) == []
    program = benchmarks.load(name)
    blocks = program.ORDERS if name == "extract" else {p: "\n".join(t.values()) for p, t in program.SENTENCES.items()}
    templates = {part: {blank(line) for line in program.lines(blocks[part]) if line} for part in ("train", "test")}
    assert templates["train"] & templates["test"] == set()
    assert all(any(matches(line, text) for line in program.lines(blocks["test"]) if line) for text, _ in rows)


def blank(template):
    """A sentence without what is filled in, in small letters."""
    return re.sub(r"\W+", " ", re.sub(r"\{\w+\}", "_", template)).strip().lower()


def matches(template, text):
    pattern = "(.+)".join(re.escape(piece) for piece in re.split(r"\{\w+\}", template))
    return re.search(pattern, text, re.IGNORECASE) is not None


@pytest.mark.parametrize("some", [asked, trained])
def test_every_order_follows_the_schema_and_is_in_its_mail(some):
    schema = json.loads((folder("extract") / "order.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    words = benchmarks.load("extract").WORDS
    for mail, order in some("extract"):
        jsonschema.validate(order, schema)
        quantity, product = order["quantity"], order["product"]
        assert re.search(rf"\b({quantity}|{words[quantity]}) {product}s\b", mail, re.IGNORECASE)
        assert order["day"] in mail
        assert order["name"] in mail


@pytest.mark.parametrize("some", [asked, trained])
def test_every_call_is_of_a_known_tool_with_its_arguments(some):
    calls = some("tools")
    assert {call["name"] for _, call in calls} == TOOLS.keys()
    for said, call in calls:
        wanted = TOOLS[call["name"]]
        assert {name: type(value) for name, value in call["arguments"].items()} == wanted
        assert all(str(value).lower() in said.lower() for value in call["arguments"].values() if type(value) is str)


@pytest.mark.parametrize("name", EXAMPLES)
def test_rows_are_asked_in_the_words_that_were_trained(name):
    _, field, answer, prompt, kind = EXAMPLES[name]
    path = str(folder(name) / f"{EXAMPLES[name][0]}.csv")
    keys = {"data.path": path, "data.question": field, "data.answer": answer, "data.kind": kind, "data.split": "all"}
    recipe = load(None, {**keys, "prompts": [str(folder(name) / prompt)]}).recipe
    (own,) = own_prompts(recipe)
    questions = load_questions(recipe.data)
    assert len(questions) == 300
    system = json.loads((folder(name) / f"{EXAMPLES[name][0]}-train.jsonl").read_text().splitlines()[0])["messages"][0]
    for question in questions[:20]:
        first, last = own.messages(question, question.texts)
        assert {"role": first.role, "content": first.content} == system
        assert (last.role, last.content) == ("user", question.text)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_recipe_trains_on_the_file_of_the_example(name):
    (source,) = load(name).recipe.finetune.data.sources
    assert (folder(name) / str(source.path)).is_file()
