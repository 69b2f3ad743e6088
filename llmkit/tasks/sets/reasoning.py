"""Everyday knowledge and symbol tracking: CommonsenseQA and three tasks of BIG-bench."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from llmkit.errors import DataError
from llmkit.seeds import derive
from llmkit.tasks.base import Hub, Item, Task, parts, task
from llmkit.tasks.text import normalise

_PREFIX = re.compile(r"^\s*Q\s?:\s*")
_SUFFIX = re.compile(r"(?:\n\s*choice:[^\n]*)*\s*(?:\bA\s?:\s*)?$")  # what the hub's rendering adds behind a question


@task("csqa")
class Csqa(Task):
    """CommonsenseQA: five choices (Talmor et al. 2019, arXiv 1811.00937). The official dev split is the test split.

    {"question": {"stem": "Where would you keep milk cold?", "choices": [{"label": "A", "text": "oven"},
     {"label": "B", "text": "refrigerator"}, {"label": "C", "text": "shelf"}]}, "answerKey": "B"}
    """

    kind = "choice"
    files = parts(pool="csqa/train_rand_split.jsonl", test="csqa/dev_rand_split.jsonl")
    hub = Hub("tau/commonsense_qa", None, {"pool": ("train",), "test": ("validation",)})

    def read(self, row: Mapping[str, Any]) -> Item:
        choices = {choice["label"]: choice["text"] for choice in row["question"]["choices"]}
        return Item(row["question"]["stem"], f"({row['answerKey']})", list(choices.values()))

    def read_hub(self, row: Mapping[str, Any]) -> Item:
        return Item(row["question"], f"({row['answerKey']})", row["choices"]["text"])


class _BigBench(Task):
    """A task of BIG-bench (arXiv 2206.04615): options with scores, of which the right one has 1. Split by hash."""

    def read(self, row: Mapping[str, Any]) -> Item:
        return self.item(row["input"].strip(), row["target_scores"])

    def read_hub(self, row: Mapping[str, Any]) -> Item:
        text = _SUFFIX.sub("", _PREFIX.sub("", row["inputs"])).strip()
        scores = zip(row["multiple_choice_targets"], row["multiple_choice_scores"], strict=True)
        return self.item(text, dict(scores))

    def item(self, text: str, scores: Mapping[str, int]) -> Item:
        """Returns a choice question, its options shuffled by a seed from the text: files name the right one first."""
        options = {option.strip().rstrip("."): score for option, score in scores.items()}
        names = sorted(options)
        Random(derive(0, "options", normalise(text))).shuffle(names)
        return Item(text, right(options), names)


def right(scores: Mapping[str, int]) -> str:
    """Returns the one option that scores."""
    scoring = [option for option, score in scores.items() if score]
    if len(scoring) != 1:
        raise DataError(f"{len(scoring)} options have a score above 0, instead of one")
    return scoring[0]


def _bigbench(config: str) -> Hub:
    return Hub("tasksource/bigbench", config, {"all": ("train", "validation")})


@task("strategyqa")
class StrategyQA(_BigBench):
    """StrategyQA: yes or no by implicit steps (Geva et al. 2021, arXiv 2101.02235), in BIG-bench's form. Split by hash.

    {"input": "Could a cat swim across the Atlantic?", "target_scores": {"Yes": 0, "No": 1}}
    """

    kind = "boolean"
    files = parts(all="strategyqa/task.json")
    hub = _bigbench("strategyqa")

    def item(self, text: str, scores: Mapping[str, int]) -> Item:
        return Item(text, right(scores))


@task("date_understanding")
class DateUnderstanding(_BigBench):
    """Dates inferred from a short story (BIG-bench). Questions about one story share a split and a cluster.

    {"input": "Today is May 2, 2020. What is the date tomorrow in MM/DD/YYYY?",
     "target_scores": {"05/03/2020": 1, "05/01/2020": 0, "02/05/2020": 0}}
    """

    kind = "choice"
    files = parts(all="date_understanding/task.json")
    hub = _bigbench("date_understanding")

    def item(self, text: str, scores: Mapping[str, int]) -> Item:
        item = super().item(text, scores)
        return Item(text, item.gold, item.options, group=text.rpartition("What is the date")[0] or text)


@task("tracking_shuffled_objects")
class TrackingShuffledObjects(_BigBench):
    """Three people swap things; who has what in the end (BIG-bench)? One story asked about thrice is one cluster.

    {"input": "Ann, Ben, and Cid hold a red, green, and blue ball. First, Ann and Ben swap. At the end Ann has the ",
     "target_scores": {"red ball.": 0, "green ball.": 1, "blue ball.": 0}}
    """

    kind = "choice"
    files = parts(all="tracking_shuffled_objects/task.json")
    hub = _bigbench("tracking_shuffled_objects")

    def item(self, text: str, scores: Mapping[str, int]) -> Item:
        item = super().item(text, scores)
        return Item(text, item.gold, item.options, group=text.rpartition("At the end of")[0] or text)

    def wanted(self, row: Mapping[str, Any]) -> bool:
        """Leaves out stories of five and of seven people, which the hub's copy mixes in."""
        return len(row["multiple_choice_targets"]) == 3
