"""The bundled ticket application: its rows, its labels, and training data that shares nothing with them."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter

import pytest
from helpers import benchmarks

from llmkit.errors import UsageError
from llmkit.recipe import load
from llmkit.resources import shipped
from llmkit.tasks import load as load_questions
from llmkit.tasks import own_prompts
from llmkit.tasks.examples import copy_example, example_names
from llmkit.tasks.leaks import near_duplicates, refuse_leaks
from llmkit.types import Question

FOLDER = shipped("examples") / "tickets"
QUEUES = {"billing", "delivery", "returns", "defect", "account", "technical", "product"}


def rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def chats():
    lines = (FOLDER / "tickets-train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


@pytest.fixture(scope="module")
def tickets():
    return [Question(row["id"], row["body"], row["queue"], "text") for row in rows("tickets-labelled.csv")]


def test_the_labelled_file_is_the_other_one_with_a_queue_for_each_ticket():
    plain, labelled = rows("tickets.csv"), rows("tickets-labelled.csv")
    assert len(plain) == len({row["id"] for row in plain}) == len({row["body"] for row in plain}) == 300
    assert plain == [{name: row[name] for name in ("id", "customer_id", "body")} for row in labelled]
    counts = Counter(row["queue"] for row in labelled)
    assert counts.keys() == QUEUES
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({row["customer_id"] for row in plain}) < 250


def test_no_ticket_and_no_sentence_of_one_is_trained_on(tickets, chats):
    trained = [Question(str(number), turns[1]["content"], "", "text") for number, turns in enumerate(chats)]
    refuse_leaks(trained, tickets)
    assert near_duplicates(trained, tickets, least=0.4) == []
    assert sentences(trained) & sentences(tickets) == set()


def sentences(questions: list[Question]) -> set[str]:
    pieces = (piece for question in questions for piece in re.split(r"(?<=[.!?])\s", question.text))
    return {re.sub(r"\W+", " ", piece).strip().lower() for piece in pieces} - {""}


def test_the_training_file_is_what_its_program_writes(chats):
    assert [row["messages"] for row in benchmarks.load("tickets").rows()] == chats
    assert {turns[-1]["content"] for turns in chats} == QUEUES


def test_a_ticket_is_asked_in_the_words_that_were_trained(chats, tmp_path):
    path = tmp_path / "tickets.jsonl"
    path.write_text("".join(json.dumps({"body": turns[1]["content"]}) + "\n" for turns in chats[:100]))
    keys = {"data.path": str(path), "data.question": "body", "data.answer": None, "data.kind": "text"}
    recipe = load(None, {**keys, "data.split": "all", "prompts": [str(FOLDER / "support.yaml")]}).recipe
    (prompt,) = own_prompts(recipe)
    asked = {question.text: prompt.messages(question, question.texts) for question in load_questions(recipe.data)}
    for *turns, _ in chats[:100]:
        assert [(m.role, m.content) for m in asked[turns[1]["content"]]] == [(t["role"], t["content"]) for t in turns]


def test_the_recipe_trains_on_a_file_of_the_example():
    (source,) = load("tickets").recipe.finetune.data.sources
    assert (FOLDER / str(source.path)).is_file()


def test_an_example_is_copied_whole_and_overwrites_nothing(tmp_path):
    assert example_names() == ["extract", "tickets", "tools"]
    copied = copy_example("tickets", tmp_path / "new")
    assert {path.name: path.read_bytes() for path in copied} == {p.name: p.read_bytes() for p in FOLDER.iterdir()}
    assert copy_example("tickets", tmp_path / "new") == copied
    copied[0].write_text("my own")
    copied[1].unlink()
    with pytest.raises(UsageError, match="would be overwritten"):
        copy_example("tickets", tmp_path / "new")
    assert copied[0].read_text() == "my own"
    assert not copied[1].exists()


def test_an_unknown_example_names_the_nearest(tmp_path):
    with pytest.raises(UsageError) as caught:
        copy_example("ticket", tmp_path)
    assert "tickets" in caught.value.hint
