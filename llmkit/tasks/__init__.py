"""Question sets: read or made, split without leaks, and their answers extracted and scored."""

from llmkit.tasks import generated, sets
from llmkit.tasks.asking import question_messages, question_prompt, worked_examples
from llmkit.tasks.base import TASKS, GeneratedTask, Hub, Item, Task, task
from llmkit.tasks.kinds import KINDS, Kind, as_asked, extract, gold_text, kind, kind_of, recorded_kind, score
from llmkit.tasks.loading import Questions, load
from llmkit.tasks.own_prompts import OwnPrompt, as_sent, own_prompts, values_of
from llmkit.tasks.scorers import SCORERS, GradedScorer, Scored, Scorer, score_names, scorer, scorer_of
from llmkit.tasks.text import normalise, render_options, wording

__all__ = [
    "KINDS",
    "SCORERS",
    "TASKS",
    "GeneratedTask",
    "GradedScorer",
    "Hub",
    "Item",
    "Kind",
    "OwnPrompt",
    "Questions",
    "Scored",
    "Scorer",
    "Task",
    "as_asked",
    "as_sent",
    "extract",
    "generated",
    "gold_text",
    "kind",
    "kind_of",
    "load",
    "normalise",
    "own_prompts",
    "question_messages",
    "question_prompt",
    "recorded_kind",
    "render_options",
    "score",
    "score_names",
    "scorer",
    "scorer_of",
    "sets",
    "task",
    "values_of",
    "wording",
    "worked_examples",
]
