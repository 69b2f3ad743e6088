"""Training and asking use the same words: the first request of an arm beside the training row of the same question."""

from __future__ import annotations

import pytest
from helpers.commonsense import write_set
from helpers.drive import drive

from llmkit import tasks
from llmkit.engines.chat import ChatStyle, Renderer
from llmkit.engines.model_paths import locate
from llmkit.finetune import rows as rows_module
from llmkit.finetune.rows import load_rows, sources
from llmkit.finetune.setup import encoder_for
from llmkit.finetune.views import Views
from llmkit.recipe.schema import RopSection
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
        ask = ARMS[arm](ArmContext(RopSection(), Instructions("", ""))).ask
        for row in load_rows(recipe, sources(recipe)[0], "train")[:3]:
            question = row.question
            _, asked = drive(ask(Variant(question, "clean", question.text)), lambda request: "The answer is 4.")
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
    def reworded(question, text, *given, **more):
        return tasks.question_prompt(question, text, *given, **more).replace("Question: ", "Q: ")

    monkeypatch.setattr(side, "question_prompt", reworded)
    assert all(trained != asked for trained, asked in pairs("arithmetic", "stand"))
