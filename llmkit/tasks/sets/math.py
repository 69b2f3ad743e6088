"""Word problems with a number or a choice as their answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmkit.tasks.base import Hub, Item, Task, parts, task

_CALCULATOR = re.compile(r"<<[^<>]*>>")


@task("gsm8k")
class Gsm8k(Task):
    """GSM8K: grade-school problems of two to eight steps (Cobbe et al. 2021, arXiv 2110.14168). Official test split.

    {"question": "Ada fills 3 boxes with 12 pears each and eats 4 pears. How many are left?",
     "answer": "She packs 3 * 12 = <<3*12=36>>36 pears.\\n36 - 4 = <<36-4=32>>32 are left.\\n#### 32"}
    """

    files = parts(pool="gsm8k/train.jsonl", test="gsm8k/test.jsonl")
    hub = Hub("openai/gsm8k", "main", {"pool": ("train",), "test": ("test",)})

    def read(self, row: Mapping[str, Any]) -> Item:
        solution, _, gold = row["answer"].rpartition("####")
        steps = _CALCULATOR.sub("", solution).strip()
        return Item(row["question"], gold, meta={"solution": f"{steps}\nThe answer is {gold.strip()}."})
