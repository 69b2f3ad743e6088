"""`load`: from the recipe's `data` section to questions."""

from __future__ import annotations

from collections.abc import Iterable

from llmkit.errors import DataError, UsageError
from llmkit.recipe.schema import DataSection
from llmkit.tasks import official
from llmkit.tasks.base import TASKS, GeneratedTask, question
from llmkit.tasks.splits import digest, ordered
from llmkit.tasks.text import normalise
from llmkit.types import Question


class Questions(list[Question]):
    """A list of questions that also knows how many bad lines were left out (`skip_bad_lines`)."""

    def __init__(self, questions: Iterable[Question] = (), skipped: int = 0) -> None:
        super().__init__(questions)
        self.skipped = skipped


def load(data: DataSection, split: str | None = None, seed: int = 7) -> Questions:
    """The questions of one split (default: `data.split`) in a seeded order, at most `data.limit` of them.

    Raises UsageError for an unknown task or a section that names none, DataError for a set that is not at hand, a bad
    row, or a split without questions.
    """
    wanted = split or data.split
    if data.task is None:
        raise UsageError("no questions are named", "give a task (`--task gsm8k`) or a file (`--path FILE`)")
    task = TASKS[data.task]()
    skipped = 0
    if isinstance(task, GeneratedTask):
        questions = _generated(task, data, wanted, seed)
    else:
        questions, skipped = official.read(task, data.data_dir, wanted, data.skip_bad_lines)
    chosen = ordered((q for q in questions if q.split == wanted), seed, data.limit)
    if not chosen:
        raise DataError(f"`{data.task}` has no questions in its {wanted} split")
    return Questions(chosen, skipped)


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
