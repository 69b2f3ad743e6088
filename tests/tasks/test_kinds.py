"""A kind of answer is one class: what the others ask it, and that a new one needs nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmkit
from llmkit.errors import DataError, UsageError
from llmkit.prompts import render
from llmkit.recipe.schema import RopSection
from llmkit.rop import ARMS, ArmContext, default_instructions
from llmkit.tasks import KINDS, Item, Kind, extract, gold_text, kind, kind_of, recorded_kind, score
from llmkit.tasks.base import question
from llmkit.tasks.readers import TextReader
from llmkit.types import Question, Variant

OPTIONS = ("bank", "library", "department store", "mall", "30")
BUILT_IN = ("numeric", "choice", "boolean", "text")


def test_the_kinds_are_registered_under_their_names():
    assert [KINDS[name].name for name in BUILT_IN] == list(BUILT_IN)
    with pytest.raises(UsageError, match="unknown kind of answer `bolean`") as failure:
        KINDS["bolean"]
    assert failure.value.hint == "did you mean `boolean`?"


@pytest.mark.parametrize(("name", "options"), [("boolean", ()), ("choice", OPTIONS), ("choice", ("C", "NO2"))])
def test_an_answer_by_likelihood_is_read_back_from_how_it_is_said(name, options):
    """Runs keep the sentence, and `llmkit eval score` on those of before `Answer.parsed` reads it."""
    asked = Question("q", "text", "", name, options)
    answers = [answer for answer, _ in kind_of(asked).continuations(asked)]
    assert len(answers) == (len(options) or 2)
    assert [extract(f"The answer is {kind_of(asked).label(answer)}", asked) for answer in answers] == answers


@pytest.mark.parametrize("name", ["numeric", "text"])
def test_without_a_list_of_possible_answers_there_is_no_likelihood(name):
    asked = Question("q", "text", "1", name)
    assert kind_of(asked).continuations(asked) == []


def test_chance_by_kind():
    assert KINDS["choice"]().chance("C", OPTIONS) == 0.2
    assert KINDS["boolean"]().chance("no") == 0.5
    assert KINDS["numeric"]().chance("42") == 0.0
    assert KINDS["text"]().chance("a bank") == 0.0
    assert KINDS["text"]().chance("Yes") == 0.5


@pytest.mark.parametrize(
    ("gold", "options", "name"), [("C", OPTIONS, "choice"), ("no", (), "boolean"), ("42", (), "text")]
)
def test_an_older_journal_tells_the_kind_by_gold_and_options(gold, options, name):
    assert recorded_kind("", gold, options).name == name
    assert recorded_kind("numeric", gold, options).name == "numeric"


@given(st.sampled_from(BUILT_IN), st.text(min_size=1))
def test_a_canonical_answer_is_its_own_canonical_form(name, gold):
    options = OPTIONS if name == "choice" else ()
    try:
        canonical = KINDS[name]().canonical(gold, options)
    except DataError:
        return
    assert KINDS[name]().canonical(canonical, options) == canonical


def test_no_other_code_branches_on_the_name_of_a_kind():
    name = rf'"(?:{"|".join(BUILT_IN)})"'
    branch = re.compile(rf"kind\s*(?:==|!=|in)\s*[(\[{{]?{name}|[(\[{{]{name}(?:, {name})+[)\]}}]")
    root = Path(llmkit.__file__).parent
    found = [
        f"{path.relative_to(root)}:{number}"
        for path in sorted(root.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if branch.search(line) and "examples=" not in line  # what the schema offers an editor decides nothing
    ]
    assert found == []


@pytest.fixture
def day(monkeypatch):
    """A kind of somebody's own, in the shortest form."""
    monkeypatch.setattr(KINDS, "_items", dict(KINDS._items))

    @kind("day")
    class Day(Kind):
        """A day of the week, kept by its first three letters."""

        def canonical(self, gold, options=()):
            return gold[:3].lower()

        def reader(self, question):
            return TextReader()

        def extract(self, text, question):
            found = super().extract(text, question)
            return found and self.canonical(found)

        def label(self, answer):
            return f"on {answer}"

        def format_request(self):
            return "End with the day."

        def chance(self, gold, options=()):
            return 1 / 7

    return Day


def test_a_new_kind_is_one_class(day):
    asked = question(Item("Which day follows Monday?", "Tuesday"), "day", id="q", split="test")
    assert (asked.kind, asked.gold, gold_text(asked)) == ("day", "tue", "on tue")
    assert score(extract("It is late.\nThe answer is TUESDAY.", asked), asked)
    assert not score(extract("The answer is Friday.", asked), asked)
    arm = ARMS["stand"](ArmContext(RopSection(), default_instructions()))
    prompt = next(arm.ask(Variant(asked, "clean", asked.text))).messages[0].content
    assert "End with the day." in prompt
    assert render("format/text-v1") not in prompt
