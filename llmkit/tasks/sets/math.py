"""Word problems with a number or a choice as their answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmkit.tasks.base import Hub, Item, Task, parts, task

_CALCULATOR = re.compile(r"<<[^<>]*>>")
_LABEL = re.compile(r"^\s*[A-Z]\s?\)\s*")
_CONVERTED = "refs/convert/parquet"  # the hub's own copy of a set that was published as a script


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


@task("aqua")
class Aqua(Task):
    """AQuA-RAT: algebra with five choices (Ling et al. 2017, arXiv 1705.04146). Official test split.

    Train and dev are halves of the official dev split: its 97,467 noisy train rows are not used.

    {"question": "A pump fills 6 liters in 2 minutes. How many liters does it fill in 5 minutes?",
     "options": ["A)3", "B)10", "C)12", "D)15", "E)30"], "rationale": "6/2 = 3, 3 * 5 = 15. Answer D", "correct": "D"}
    """

    kind = "choice"
    files = parts(pool="aqua/dev.json", test="aqua/test.json")
    hub = Hub("deepmind/aqua_rat", "raw", {"pool": ("validation",), "test": ("test",)})
    dev_share = 0.5

    def read(self, row: Mapping[str, Any]) -> Item:
        options = [_LABEL.sub("", option) for option in row["options"]]
        solution = f"{row['rationale'].strip()}\nThe answer is ({row['correct']})."
        return Item(row["question"], f"({row['correct']})", options, meta={"solution": solution})


@task("svamp")
class Svamp(Task):
    """SVAMP: 1,000 one-step problems with distractors (Patel et al. 2021, arXiv 2103.07191). One file, split by hash.

    {"Body": "Tom has 9 red and 5 blue pens. He lends 2 of the red pens to Ann",
     "Question": "How many red pens does he have left?", "Answer": 7.0}
    """

    files = parts(all="svamp/SVAMP.json")
    hub = Hub("ChilleD/SVAMP")

    def read(self, row: Mapping[str, Any]) -> Item:
        body = row["Body"].strip()
        stop = "" if body.endswith((".", ",", "?", "!", ";")) else "."
        return Item(f"{body}{stop} {row['Question'].strip()}", row["Answer"])


class _Mawps(Task):
    """The form that AddSub, MultiArith and SingleEq have in common. One file, split by hash."""

    def read(self, row: Mapping[str, Any]) -> Item:
        (gold,) = row["lSolutions"]
        return Item(row["sQuestion"], gold)


class _Lila(_Mawps):
    def read_hub(self, row: Mapping[str, Any]) -> Item:
        return Item(row["input"], row["output_answer"])


@task("multiarith")
class MultiArith(_Mawps):
    """MultiArith: 600 two-step problems (Roy and Roth 2015, arXiv 1608.01413). One file, split by hash.

    {"sQuestion": " A shop had 40 lamps, sold 12, and got 9 new ones. How many are there now? ", "lSolutions": [37.0]}
    """

    files = parts(all="multiarith/MultiArith.json")
    hub = Hub("ChilleD/MultiArith")

    def read_hub(self, row: Mapping[str, Any]) -> Item:
        return Item(row["question"], row["final_ans"])


@task("addsub")
class AddSub(_Lila):
    """AddSub: 395 additions and subtractions in words (Hosseini et al. 2014). One file, split by hash.

    {"sQuestion": "Ben had 31 shells . He gave 12 to Eva . How many shells does Ben have now ? ", "lSolutions": ["19"]}
    """

    files = parts(all="addsub/AddSub.json")
    hub = Hub("allenai/lila", "addsub", {"all": ("train", "validation", "test")}, _CONVERTED)


@task("singleeq")
class SingleEq(_Lila):
    """SingleEq: 508 problems of one equation (Koncel-Kedziorski et al. 2015). One file, split by hash.

    {"sQuestion": "Ben had 31 shells. He lost some and has 19 now. How many did he lose ?", "lSolutions": [12.0]}
    """

    files = parts(all="singleeq/questions.json")
    hub = Hub("allenai/lila", "singleq", {"all": ("train", "validation", "test")}, _CONVERTED)
