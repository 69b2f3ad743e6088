"""`load`: from the recipe's `data` section to questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from llmkit.errors import DataError, UsageError
from llmkit.recipe.schema import DataSection
from llmkit.tasks import official, user
from llmkit.tasks.base import TASKS, GeneratedTask, question
from llmkit.tasks.splits import SPLITS, digest, ordered
from llmkit.tasks.text import normalise
from llmkit.types import Question


class Questions(list[Question]):
    """A list of questions that also knows how many bad lines were left out (`skip_bad_lines`), and how many rows of a
    user's own file are in other splits (`aside`)."""

    def __init__(
        self, questions: Iterable[Question] = (), skipped: int = 0, aside: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(questions)
        self.skipped = skipped
        self.aside = dict(aside or {})


def load(data: DataSection, split: str | None = None, seed: int = 7, noisy: Sequence[str] = ()) -> Questions:
    """Returns the questions of one split (default: `data.split`) in a seeded order, at most `data.limit` of them.

    `noisy` are the fields of a user's own rows that noise falls on (`perturb.fields`), by default `data.question`.

    Raises UsageError for an unknown task or a section that names none, DataError for a set that is not at hand, a bad
    row, or a split without questions.
    """
    wanted = split or data.split
    skipped = 0
    if noisy and data.path is None:
        hint = "leave it out, or give a file"
        raise UsageError("perturb.fields names fields of your own rows, and a task has none", hint)
    if data.path is not None:
        if data.task is not None:
            raise UsageError(f"both a task ({data.task}) and a file ({data.path}) are given", "set one of them to null")
        questions, skipped = user.read(data, data.path, noisy)
    elif data.task is None:
        raise UsageError("no questions are named", "give a task (`--task gsm8k`) or a file (`--path FILE`)")
    elif isinstance(task := TASKS[data.task](), GeneratedTask):
        parts = SPLITS if wanted == "all" else (wanted,)
        questions = [question for part in parts for question in _generated(task, data, part, seed)]
    else:
        questions, skipped = official.read(task, data.data_dir, wanted, data.skip_bad_lines)
    chosen = ordered((q for q in questions if wanted in ("all", q.split)), seed, data.limit)
    if not chosen:
        raise DataError(
            f"{data.path or f'`{data.task}`'} has no questions in its {wanted} split",
            f"it has {len(questions)} in all; `data.split: all` takes every one",
        )
    others = Counter(q.split for q in questions if data.path is not None and wanted not in ("all", q.split))
    return Questions(chosen, skipped, others)


def _generated(task: GeneratedTask, data: DataSection, split: str, seed: int) -> list[Question]:
    return [
        question(
            item,
            task.kind,
            id=f"{task.name}-{digest(normalise(item.text))}",
            split=split,
            cluster=f"{task.name}-{item.group}" if item.group else "",
        )
        for item in task.generate(split, data.size, data.levels, seed)
    ]
