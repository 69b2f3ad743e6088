"""A task: a set of questions, here one that is made rather than read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmkit.tasks import GeneratedTask, Item, task
from llmkit_example.kinds import DAYS

SPLITS = ("train", "dev", "test")


@task("weekdays")
class Weekdays(GeneratedTask):
    """The day of the week some days from now. Each split has distances of its own, so that no question is in two."""

    kind = "weekday"

    def generate(self, split: str, size: int, levels: Sequence[int], seed: int) -> Iterator[Item]:
        """Yields `size` different questions of one split; a smaller size is the beginning of a larger one."""
        for number in range(size):
            today, distance = number % 7, 2 + 3 * (number // 7) + SPLITS.index(split)
            yield Item(
                f"Today is {DAYS[today].capitalize()}. Which day of the week will it be in {distance} days?",
                gold=DAYS[(today + distance) % 7],
            )
