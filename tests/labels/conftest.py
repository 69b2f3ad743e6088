"""Rows without answers that were asked, and a person who knows the answers."""

from __future__ import annotations

import csv
import hashlib

import pytest

from llmkit.recipe.schema import DataSection
from llmkit.runs import Run
from llmkit.tasks import load


@pytest.fixture(scope="session")
def sums():
    """Generated questions with their gold answers, by text."""
    return {q.text: q.gold for q in load(DataSection(task="arithmetic", size=120, limit=40), seed=7)}


@pytest.fixture
def unsteady(sums):
    """A scripted model that answers the text as sent mostly rightly, and any other text by its hash: rightly or not."""

    def answer(request):
        text = request.messages[0].content.rpartition("\n\n")[2]
        near = max(sums, key=lambda known: len(set(known.split()) & set(text.split())))
        lot = int(hashlib.sha256(request.messages[0].content.encode()).hexdigest(), 16) % 10
        right = lot < (8 if text in sums else 5)
        return f"It is {sums[near]}." if right else f"It is {int(float(sums[near])) + 1 + lot % 2}."

    return answer


@pytest.fixture
def rows(tmp_path, sums):
    """Writes the questions to a CSV file with their answers beside them, and returns its path."""
    path = tmp_path / "sums.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["body", "answer", "story"])
        writer.writerows([text, gold, f"s{i // 2}"] for i, (text, gold) in enumerate(sums.items()))
    return str(path)


@pytest.fixture
def asked(run, rows, unsteady):
    """asked(gold=False, **overrides): the finished run of these rows, with their answers hidden or not."""

    def go(gold=False, answer=unsteady, **more):
        keys = {
            "data__task": None,
            "data__limit": None,
            "data__path": rows,
            "data__question": "body",
            "data__answer": "answer" if gold else None,
            "data__kind": "numeric",
            "data__split": "all",
            "perturb__conditions": ["typing"],
            "perturb__rate": 0.15,
            "eval__arms": ["stand", "zero_shot_cot"],
            # With and without answers the rows are asked in the same words.
            "prompts": [{"name": "sums", "text": "[{role: user, content: '{{ body }}'}]"}],
        }
        result, _ = run(answer, "eval", **(keys | more))
        return result

    return go


@pytest.fixture
def oracle(sums):
    """oracle(pair): the verdict of a person who knows the answers."""

    def verdict(pair):
        right = tuple(answer.outcome.parsed == sums[pair.row.text] for answer in pair.answers)
        return {(True, True): "both", (True, False): "first", (False, True): "second"}.get(right, "neither")

    return verdict


@pytest.fixture
def opened():
    """opened(folder): its labelling, as a context."""
    from llmkit.labels import labelling
    from llmkit.recipe import load as recipe_of

    def go(folder, **gates):
        found = Run(folder)
        return labelling(found, recipe_of(found.recipe_file, gates).recipe)

    return go
