"""The corrector `adapter`: what it asks for, what it takes from a reply, and that training asks in the same words."""

from __future__ import annotations

import re

import pytest
from helpers.drive import drive

from llmkit.errors import UsageError
from llmkit.finetune.views import Views
from llmkit.perturb.text import undo
from llmkit.recipe import load
from llmkit.repair import CorrectorContext, adapter, chain_of
from llmkit.repair.adapter import words_answer, words_in_doubt, words_prompt
from llmkit.repair.spelling import DoubtedWord, Meant
from llmkit.rop import arm_of
from llmkit.rop.repairs import refuse_untrained
from llmkit.runs.roles import model_of
from llmkit.types import Edit, Reply

TEXT = "How mnay alppes did the two peolpe see at http://mnay.org on 3 dasy?"
REPLY = "mnay: many\nalppes: apples\ndasy: days"
RIGHT = "How many apples did the two people see at http://mnay.org on 3 days?"


WORDS = {"mnay": ("many", "may"), "alppes": ("apples", "alps"), "dasy": ("days", "daisy"), "peolpe": ("people",)}


@pytest.fixture
def channel(monkeypatch):
    """A channel whose doubts do not change with its fit: it is sure of "peolpe" only."""

    def doubted(text):
        words = [(match, WORDS[match.group()]) for match in re.finditer(r"\w+", text) if match.group() in WORDS]
        return [
            DoubtedWord(*match.span(), meant[0], p := 1 / len(meant), 1.0, tuple(Meant(w, p, 0.0) for w in meant))
            for match, meant in words
        ]

    monkeypatch.setattr(adapter, "_doubted_words", doubted)


def correct(text, *said, name="adapter", lang="en"):
    replies = iter(said)
    chain = chain_of(name, CorrectorContext(lang=lang))
    return drive(chain.correct(text), lambda request: next(replies))


def test_it_asks_for_the_words_in_doubt_with_their_spellings(channel):
    corrected, asked = correct(TEXT, REPLY)
    assert corrected.text == RIGHT
    assert undo(corrected.text, corrected.edits) == TEXT
    content = asked[0].messages[0].content
    assert all(content.count(f"[{word}: ") == 1 for word in ("mnay", "alppes", "dasy"))
    assert ": many, " in content
    assert "the two people see at http://mnay.org" in content, "what is sure is not asked for, nor is an address"
    assert asked[0].role == "corrector"


def test_a_text_without_a_word_in_doubt_costs_no_call():
    assert correct("How many apples are there?")[1] == []
    assert correct(TEXT, lang="")[1] == []


@pytest.mark.parametrize(
    ("said", "text", "fallback"),
    [
        ("mnay: many\nalppes: apples", "How many apples did the two people see", None),
        ("alppes: apples\nmnay: many", "How mnay apples did the two people see", None),
        ("two: 2\nhow: why\nmnay: many", "How many alppes did the two people see", None),
        ("mnay: 12\nalppes: apples", "How mnay apples did the two people see", None),
        ("mnay: monkey\nalppes: apples", "How mnay apples did the two people see", None),
        (Reply("mnay: many\nalppes: ap", finish_reason="length"), "How many alppes did the two people see", None),
        ("The answer is 7.", "How mnay alppes did the two people see", "empty"),
        ("", "How mnay alppes did the two people see", "empty"),
        (Reply("mnay: ma", finish_reason="length"), "How mnay alppes did the two people see", "cut"),
    ],
)
def test_only_lines_for_words_in_doubt_count(channel, said, text, fallback):
    corrected, _ = correct(TEXT, said)
    assert corrected.text.startswith(text)
    assert corrected.fallback == fallback


def test_many_words_are_asked_for_in_several_requests_at_once(channel):
    text = "mnay alppes. " * 200
    corrected, asked = correct(text, *["mnay: many\nalppes: apples"] * 20)
    assert len(asked) == 17
    assert all(len(request.messages[0].content) < 4_000 for request in asked)
    assert corrected.text.startswith("many apples. mnay")


def test_the_answer_that_is_taught_undoes_the_noise(channel):
    text, edits = "How mnay alppes?", (Edit(4, 8, "many", "mnay"), Edit(9, 15, "apples", "alppes"))
    assert words_answer(text, words_in_doubt(text), edits) == "mnay: many\nalppes: apples"
    assert words_answer(text, words_in_doubt(text), ()) == "mnay: mnay\nalppes: alppes"
    assert words_answer(text, words_in_doubt(text), (Edit(4, 15, "many apples", "mnay alppes"),)) is None
    assert words_answer("How many?", [], ()) is None


def test_training_asks_as_the_corrector_asks():
    recipe = load("corrector-en", {"data.size": 60}).recipe
    from llmkit.finetune.rows import load_rows, sources

    views, rows = Views(recipe), load_rows(recipe, sources(recipe)[0], "train")
    shown = [views.view(row, 0) for row in rows[:30]]
    assert shown == [Views(recipe).view(row, 0) for row in rows[:30]], "the same in every process"
    texts = [v.prompt[0].content for v in shown]
    assert sum(": " in v.answer for v in shown) > 25
    noisy = "How mnay alppes?"
    assert texts[0].partition("\n\n")[0] == words_prompt(noisy, words_in_doubt(noisy)).partition("\n\n")[0]
    for view in shown:
        for line in view.answer.splitlines():
            assert f"[{line.partition(': ')[0]}: " in view.prompt[0].content


def test_the_corrector_of_a_run_may_be_an_adapter(tmp_path):
    shipped = load(None, {"model.path": "x", "rop.corrector": "demo-loop", "engine.kind": "transformers"}).recipe
    assert (model_of(shipped, "corrector").path, model_of(shipped, "corrector").adapter) == (
        "smollm2-135m",
        "demo-loop",
    )
    assert model_of(shipped, "answerer").adapter is None
    (tmp_path / "adapter_config.json").write_text("{}")
    own = load(None, {"model.path": "x", "rop.corrector": str(tmp_path), "engine.kind": "vllm"}).recipe
    assert (model_of(own, "corrector").path, model_of(own, "corrector").adapter) == ("x", str(tmp_path))
    served = load(None, {"rop.corrector": "demo-loop", "engine.base_url": ["http://127.0.0.1:9/v1"]}).recipe
    assert (model_of(served, "corrector").path, model_of(served, "corrector").adapter) == ("demo-loop", None)


def test_an_adapter_that_is_not_named_is_asked_for():
    recipe = load(None, {"data.task": "arithmetic"}).recipe
    with pytest.raises(UsageError, match="trained to correct") as error:
        refuse_untrained([arm_of("fold+adapter")], recipe)
    assert "llmkit finetune corrector-en" in error.value.hint
    refuse_untrained([arm_of("fold+adapter")], load(None, {"rop.corrector": "corrector-en"}).recipe)
    refuse_untrained([arm_of("fold+model"), arm_of("stand")], recipe)
