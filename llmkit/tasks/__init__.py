"""Question sets: read or made, split without leaks, and their answers extracted and scored."""

from llmkit.tasks import generated, sets
from llmkit.tasks.answers import extract, gold_text, score
from llmkit.tasks.base import TASKS, GeneratedTask, Hub, Item, Task, task
from llmkit.tasks.loading import Questions, load
from llmkit.tasks.scorers import SCORERS, Scorer, scorer
from llmkit.tasks.text import normalise, render_options

__all__ = [
    "SCORERS",
    "TASKS",
    "GeneratedTask",
    "Hub",
    "Item",
    "Questions",
    "Scorer",
    "Task",
    "extract",
    "generated",
    "gold_text",
    "load",
    "normalise",
    "render_options",
    "score",
    "scorer",
    "sets",
    "task",
]
