"""`arithmetic`: word problems of one to four steps, made from our own templates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from llmkit.errors import DataError
from llmkit.seeds import derive
from llmkit.tasks.base import GeneratedTask, Item, task
from llmkit.tasks.generated import level1, level1_more, level1_test, level2, level2_more, level3, level4
from llmkit.tasks.generated.template import Template
from llmkit.tasks.text import normalise

LEVELS: dict[int, tuple[Template, ...]] = {
    1: level1.TEMPLATES + level1_more.MORE,
    2: level2.TEMPLATES + level2_more.MORE,
    3: level3.TEMPLATES,
    4: level4.TEMPLATES,
}
# Whose turn a template is, counted within its level. Most are for training: a model that saw few learns those by heart.
_TURN = ("train", "test", "train", "dev", "train", "test", "train")
# Later templates join the test split alone: adapters were trained on the others as they are dealt above.
TEST_ONLY: dict[int, tuple[Template, ...]] = {1: level1_test.TEST_ONLY}


def templates(split: str, level: int) -> list[Template]:
    """Returns the templates of one split and level; no template is in two splits."""
    dealt = [template for i, template in enumerate(LEVELS[level]) if _TURN[i % len(_TURN)] == split]
    return dealt + list(TEST_ONLY.get(level, ())) if split == "test" else dealt


@task("arithmetic")
class Arithmetic(GeneratedTask):
    """Word problems made from 171 templates of our own; the level is the number of steps (1 to 4). No download.

    Splits are disjoint by template, and the template is the cluster. `data.levels` picks levels, `data.size` how many.

    "Nora had 42 seashells in a box. She gave 17 of them to Leo. How many seashells are left in the box?" -> 25
    """

    kind = "numeric"

    def generate(self, split: str, size: int, levels: Sequence[int], seed: int) -> Iterator[Item]:
        turns = [template for level in sorted(set(levels)) for template in templates(split, level)]
        seen: set[str] = set()
        for index in range(size):
            template = turns[index % len(turns)]
            yield self._fresh(template, Random(derive(seed, self.name, split, template.id, index)), seen)

    @staticmethod
    def _fresh(template: Template, rng: Random, seen: set[str]) -> Item:
        """Returns a question that was not asked before."""
        for _ in range(100):
            item = template.fill(rng)
            key = normalise(item.text)
            if key not in seen:
                seen.add(key)
                return item
        raise DataError(f"template {template.id} has no more new questions", "lower `data.size` or add levels")
