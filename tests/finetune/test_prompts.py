"""Training and asking use the same words: the first request of an arm beside the training row of the same question."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.commonsense import write_set
from helpers.drive import drive

from llmkit import tasks
from llmkit.engines.chat import ChatStyle, Renderer
from llmkit.engines.model_paths import locate
from llmkit.errors import UsageError
from llmkit.finetune import rows as rows_module
from llmkit.finetune.rows import load_rows, sources
from llmkit.finetune.setup import encoder_for
from llmkit.finetune.views import Views
from llmkit.recipe.schema import RopSection
from llmkit.recipe.schema.finetune import SourceSection
from llmkit.rop import arms
from llmkit.rop.arms import ARMS, ArmContext
from llmkit.rop.instructions import Instructions
from llmkit.types import Variant


@pytest.fixture
def pairs(make, tmp_path):
    """pairs(task, arm, **overrides) -> for each of some questions, the token ids that are trained and those asked."""

    write_set(tmp_path, "piqa", 30)

    def go(task, arm, **more):
        recipe = make(data__task=task, data__data_dir=str(tmp_path), **more).recipe
        model = locate(recipe.model.path)
        encoder, views = encoder_for(recipe, model), Views(recipe)
        renderer = Renderer.load(model, ChatStyle.of(recipe.model), 4096, trust_remote_code=False)  # as an engine does
        prompt = next(iter(tasks.own_prompts(recipe)), None)
        ask = ARMS[arm](ArmContext(RopSection(), Instructions("", ""), prompt=prompt)).ask
        for row in load_rows(recipe, sources(recipe)[0], "train")[:3]:
            question = row.question
            _, asked = drive(ask(Variant.unchanged(question)), lambda request: "The answer is 4.")
            yield encoder.encode(views.view(row, 0))[0], renderer.prompt(asked[0]).ids

    return go


PUBLISHED = {"task": "piqa", "form": "llm_adapters"}
CASES = [
    ("arithmetic", "stand", {}),  # a number
    ("coin_flip", "stand", {}),  # yes or no
    ("last_letters", "stand", {}),  # a text
    ("piqa", "stand", {}),  # a choice
    ("arithmetic", "stand", {"model__chat_template": "none"}),
    ("piqa", "llm_adapters", {"model__chat_template": "none", "finetune__data__sources": [PUBLISHED]}),
]


@pytest.mark.parametrize(("task", "arm", "more"), CASES)
def test_a_question_is_asked_in_the_words_it_was_trained_on(pairs, task, arm, more):
    found = list(pairs(task, arm, **more))
    assert len(found) == 3
    for trained, asked in found:
        assert trained == asked


def test_a_system_prompt_is_trained_and_asked(pairs, tmp_path):
    (tmp_path / "system.txt").write_text("Be brief.")
    plain = pairs("arithmetic", "stand")
    brief = pairs("arithmetic", "stand", model__system_prompt=str(tmp_path / "system.txt"))
    for (trained, asked), (without, _) in zip(brief, plain, strict=True):
        assert trained == asked
        assert len(trained) > len(without)


@pytest.mark.parametrize("side", [rows_module, arms])
def test_the_comparison_fails_where_one_side_asks_in_other_words(pairs, monkeypatch, side):
    def reworded(*given, **more):
        (message,) = tasks.question_messages(*given, **more)
        return (replace(message, content=message.content.replace("Question: ", "Q: ")),)

    monkeypatch.setattr(side, "question_messages", reworded)
    assert all(trained != asked for trained, asked in pairs("arithmetic", "stand"))


PROMPT = """
- role: system
  content: Sort the ticket.
- role: user
  content: |
    {%% if customer is defined %%}From {{ customer }}:
    {%% endif %%}{{ %s }}
"""


@pytest.fixture
def own(tmp_path):
    """own(field) -> the file of a prompt that puts that field."""

    def write(field):
        path = tmp_path / "support.yaml"
        path.write_text(PROMPT % field)
        return str(path)

    return write


def test_a_row_is_trained_and_asked_under_the_same_prompt_of_ones_own(pairs, own):
    plain = pairs("arithmetic", "stand")
    under_mine = pairs("arithmetic", "stand", prompts=[own("question")])
    for (trained, asked), (without, _) in zip(under_mine, plain, strict=True):
        assert trained == asked != without


def test_a_file_of_ones_own_rows_is_trained_under_the_prompt(make, own, tmp_path):
    rows = "".join(f"please cancel order {n},Ann {n},returns\n" for n in range(40))
    (tmp_path / "tickets.csv").write_text(f"body,customer,queue\n{rows}")
    fields = {"data__question": "body", "data__answer": "queue", "data__kind": "text", "data__task": None}
    source = {"path": str(tmp_path / "tickets.csv")}
    recipe = make(**fields, prompts=[own("body")], finetune__data__sources=[source]).recipe
    split = {name: load_rows(recipe, sources(recipe)[0], name) for name in ("train", "dev")}
    assert split["train"][0].answer == "returns"
    asked = {row.prompt[-1].content for rows in split.values() for row in rows}
    assert len(asked) >= 37  # the dev rows have a limit
    assert {text.partition(":\n")[0] for text in asked} <= {f"From Ann {n}" for n in range(40)}
    assert not {row.id for row in split["train"]} & {row.id for row in split["dev"]}
    noisy = split["train"][0].asks("pleese cancel")
    assert noisy[0].content == "Sort the ticket."
    assert noisy[-1].content.endswith(":\npleese cancel")


def test_rows_are_trained_under_one_prompt_and_need_answers(make, own, tmp_path):
    (tmp_path / "tickets.csv").write_text("body\na\nb\n")
    fields = {"data__question": "body", "data__answer": None, "data__kind": "text", "data__task": None}
    unlabelled = make(**fields, prompts=[own("body")]).recipe
    with pytest.raises(UsageError, match="no answers to learn"):
        load_rows(unlabelled, SourceSection(path=str(tmp_path / "tickets.csv")), "train")
    two = [{"name": name, "file": own("question")} for name in "ab"]
    with pytest.raises(UsageError, match="under one prompt"):
        load_rows(make(prompts=two).recipe, SourceSection(task="arithmetic"), "train")
