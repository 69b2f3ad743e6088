"""Datasets of the real Inspect with noisy input, and its logs paired.

inspect-ai needs other versions than requirements/cpu.txt pins, so these tests are skipped where it is not installed.
docs/harnesses.md has the commands that run them in an environment of its own.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmkit.errors import DataError, UsageError

inspect_ai = pytest.importorskip("inspect_ai", reason="inspect-ai is not installed")
from inspect_ai import Task  # noqa: E402
from inspect_ai import eval as evaluate  # noqa: E402
from inspect_ai.dataset import MemoryDataset, Sample  # noqa: E402
from inspect_ai.model import (  # noqa: E402
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.scorer import match  # noqa: E402
from inspect_ai.solver import generate  # noqa: E402

from llmkit.integrations.inspect import noisy, paired  # noqa: E402

PICTURE = "data:image/png;base64,iVBORw0KGgo="


def said(text):
    """A reply with a usage, because Inspect's mock model would fetch a tokenizer to count its tokens."""
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def text_of(n):
    return f"Janet has {n} ducks that lay {n + 2} brown eggs every morning. How many eggs does she collect?"


@pytest.fixture
def eggs():
    samples = [Sample(input=text_of(n), target=str(n + 2), id=f"eggs-{n}", metadata={"n": n}) for n in range(3, 33)]
    return MemoryDataset(samples, name="eggs")


def test_the_input_is_noisy_and_all_else_stays(eggs):
    made = noisy(eggs, "typing@0.3", seed=7)
    assert made.name == "eggs"
    assert [sample.id for sample in made] == [sample.id for sample in eggs]
    for before, after in zip(eggs, made, strict=True):
        (record,) = after.metadata["perturbation"]
        assert record["original"] == before.input
        assert record["edits"] == [] or after.input != before.input
        assert re.findall(r"\d+", after.input) == re.findall(r"\d+", before.input)
        assert after.metadata["n"] == before.metadata["n"]
        assert after.target == before.target
        assert "perturbation" not in before.metadata
    assert sum(a.input != b.input for a, b in zip(eggs, made, strict=True)) > 25
    assert [s.input for s in noisy(eggs, "typing@0.3", seed=7)] == [s.input for s in made]
    assert [s.input for s in noisy(eggs, "typing@0.3", seed=8)] != [s.input for s in made]


def test_of_a_conversation_the_user_is_noisy_and_options_stay():
    parts = [ContentText(text="Which animals lay the brown eggs?"), ContentImage(image=PICTURE)]
    talk = [
        ChatMessageSystem(content="You answer questions about a large farm."),
        ChatMessageUser(content="Please tell me about the brown eggs on this farm."),
        ChatMessageAssistant(content="There are very many brown eggs."),
        ChatMessageUser(content=parts),
    ]
    choices = ["brown eggs", "white horses"]
    made = noisy(MemoryDataset([Sample(input=talk, choices=choices, target="A")]), "ec@0.9")
    (sample,) = made
    system, first, assistant, second = sample.input
    assert sample.id == 1
    assert (system, assistant) == (talk[0], talk[2])
    assert first.content != talk[1].content
    assert "brown eggs" in first.content
    assert second.content[0].text != parts[0].text
    assert second.content[1] == parts[1]
    assert sample.choices == choices
    assert [record["original"] for record in sample.metadata["perturbation"]] == [talk[1].text, parts[0].text]


def test_logs_of_both_become_paired_statistics(eggs, tmp_path):
    def answer(messages, *unused):
        numbers = re.findall(r"\d+", messages[-1].text)
        return said(numbers["collect" in messages[-1].text])

    logs = {}
    for name, dataset in (("clean", eggs), ("noisy", noisy(eggs, "typing@0.3"))):
        task = Task(dataset=dataset, solver=generate(), scorer=match(numeric=True), name=name)
        model = get_model("mockllm/model", custom_outputs=answer)
        (log,) = evaluate(task, model=model, log_dir=str(tmp_path / name), display="none", epochs=2)
        assert log.status == "success", log.error
        logs[name] = log.location
    result = paired(logs["clean"], logs["noisy"])
    assert result.metric == "match"
    assert result.clean.value == 1
    assert result.drop.n == 30
    assert 0 < result.drop.low < result.drop.value == pytest.approx(1 - result.noisy.value)
    assert result.changed > 0.8
    with pytest.raises(DataError, match="no record of noise"):
        paired(logs["noisy"], logs["clean"])
    with pytest.raises(UsageError, match="no scorer `judge`") as refused:
        paired(logs["clean"], logs["noisy"], "judge")
    assert "match" in refused.value.hint


def test_the_example_runs_clean_and_noisy(tmp_path):
    """A model that always says B: what it is asked differs, what it scores does not."""
    asked = {}
    file = f"{Path(__file__).resolve().parents[2] / 'examples' / 'harnesses' / 'capitals.py'}@capitals"
    logs = []
    for noise in ("", "typing@0.2"):
        model = get_model("mockllm/model", custom_outputs=lambda *_: said("ANSWER: B"), memoize=False)
        arguments = {"noise": noise} if noise else {}
        (log,) = evaluate(file, model=model, task_args=arguments, log_dir=str(tmp_path), display="none")
        assert log.status == "success", log.error
        asked[noise] = [one.messages[0].text for one in log.samples]
        logs.append(log.location)
    assert sum(a != b for a, b in zip(*asked.values(), strict=True)) > 35
    result = paired(*logs)
    assert result.drop.n == 40
    assert result.drop.value == 0
    assert result.clean.value == result.noisy.value > 0


def test_what_cannot_be_is_refused(eggs):
    with pytest.raises(DataError, match="no samples"):
        noisy(MemoryDataset([]), "ec")
    with pytest.raises(UsageError, match="needs a model"):
        noisy(eggs, "llm:ec")
    with pytest.raises(UsageError, match="not one noise"):
        noisy(eggs, "ec,sc")
    with pytest.raises(DataError, match="sample 2 has no text of a user"):
        noisy(MemoryDataset([eggs[0], Sample(input=[ChatMessageSystem(content="Be kind.")])]), "ec")
