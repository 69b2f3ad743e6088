"""A task of Inspect on clean or noisy rows: `inspect eval capitals.py -T noise=typing@0.2`."""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice

from llmkit.integrations.inspect import noisy


def sample(row: dict) -> Sample:
    """Returns a sample of a row."""
    return Sample(input=row["question"], choices=row["choices"], target="ABCD"[row["answer"]])


@task
def capitals(noise: str = "") -> Task:
    """Asks for capitals, with noise in the questions where one is named."""
    rows = json_dataset("capitals.jsonl", sample)
    return Task(dataset=noisy(rows, noise) if noise else rows, solver=multiple_choice(), scorer=choice())
