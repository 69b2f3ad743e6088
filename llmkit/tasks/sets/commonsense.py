"""The eight commonsense sets that adapters are compared on, in the form of LLM-Adapters (arXiv 2304.01933).

A row is verbalised: "Please choose the correct answer to the question: … Answer1: … Answer2: … Answer format: …", and
answered "the correct answer is answer1". The plain question becomes the text; `meta` keeps the verbalised form
(`instruction`, `output`) for fine-tuning as it is published. From the hub the original rows are verbalised alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.errors import DataError
from llmkit.tasks.base import Hub, Item, Task, parts, task
from llmkit.tasks.text import LABELS

_FORMAT = "\n\nAnswer format: "
_OUTPUT = "the correct answer is "


def _files(folder: str) -> Mapping[str, str]:
    return parts(pool=f"commonsense/{folder}/train.json", test=f"commonsense/{folder}/test.json")


def _hub(name: str, config: str | None = None, test: str = "validation") -> Hub:
    return Hub(name, config, {"pool": ("train",), "test": (test,)})


class _Verbalised(Task):
    """Choices that the instruction names `Answer1`, `Solution1`, `Ending1` or `Option1`."""

    kind = "choice"
    lead = "Please choose the correct answer to the question: "
    noun = "answer"
    between = " "

    def read(self, row: Mapping[str, Any]) -> Item:
        body, _, form = row["instruction"].partition(self.lead)[2].rpartition(_FORMAT)
        text, options = self._options(body, len(form.split("/")))
        index = int(row["answer"].removeprefix(self.noun)) - 1
        if not 0 <= index < len(options):
            raise DataError(f"the answer {row['answer']!r} is not among the {len(options)} options")
        return Item(text, f"({LABELS[index]})", options, meta={key: row[key] for key in ("instruction", "output")})

    def _options(self, body: str, count: int) -> tuple[str, list[str]]:
        marks = [f"{self.noun.capitalize()}{i}:" for i in range(1, count + 1)]
        starts = [body.rfind("\n\n" + marks[0]) + 2]
        for mark in marks[1:]:
            starts.append(body.find(mark, starts[-1]))
        if starts[0] < 2 or -1 in starts:
            raise DataError(f"the instruction does not name its {count} options")
        ends = [*starts[1:], len(body)]
        return body[: starts[0]].strip(), [
            body[s + len(m) : e].strip() for m, s, e in zip(marks, starts, ends, strict=True)
        ]

    def verbalised(self, text: str, options: Sequence[str], index: int) -> Item:
        """Returns the item of a plain row, with the instruction that LLM-Adapters would give it."""
        names = [f"{self.noun}{i}" for i in range(1, len(options) + 1)]
        named = self.between.join(f"{name.capitalize()}: {option}" for name, option in zip(names, options, strict=True))
        instruction = f"{self.lead}{text}\n\n{named}{_FORMAT}{'/'.join(names)}"
        meta = {"instruction": instruction, "output": _OUTPUT + names[index]}
        return Item(text, f"({LABELS[index]})", options, meta=meta)


@task("boolq")
class BoolQ(Task):
    """BoolQ: yes or no questions people searched for (Clark et al. 2019, arXiv 1905.10044), without the passage.

    {"instruction": "Please answer the following question with true or false, question: is ice a solid?\\n\\nAnswer
     format: true/false", "input": "", "output": "the correct answer is true", "answer": "true"}
    """

    kind = "boolean"
    files = _files("boolq")
    hub = _hub("google/boolq")
    lead = "Please answer the following question with true or false, question: "

    def read(self, row: Mapping[str, Any]) -> Item:
        text = row["instruction"].partition(self.lead)[2].rpartition(_FORMAT)[0]
        return Item(text, row["answer"], meta={key: row[key] for key in ("instruction", "output")})

    def read_hub(self, row: Mapping[str, Any]) -> Item:
        text = row["question"].strip().removesuffix("?") + "?"
        answer = str(row["answer"]).lower()
        meta = {"instruction": f"{self.lead}{text}{_FORMAT}true/false", "output": _OUTPUT + answer}
        return Item(text, answer, meta=meta)


@task("piqa")
class Piqa(_Verbalised):
    """PIQA: which of two ways works (Bisk et al. 2020, arXiv 1911.11641)? The official validation split is the test.

    {"instruction": "Please choose the correct solution to the question: cool soup\\n\\nSolution1: boil
     it\\n\\nSolution2: stir it\\n\\nAnswer format: solution1/solution2", "output": "the correct answer is
     solution2", "answer": "solution2"}
    """

    files = _files("piqa")
    hub = _hub("baber/piqa")
    lead = "Please choose the correct solution to the question: "
    noun = "solution"
    between = "\n\n"

    def read_hub(self, row: Mapping[str, Any]) -> Item:
        return self.verbalised(row["goal"], [row["sol1"], row["sol2"]], int(row["label"]))


@task("social_i_qa")
class SocialIQA(_Verbalised):
    """Social IQa: what people feel, want or do next (Sap et al. 2019, arXiv 1904.09728). Validation is the test.

    {"instruction": "Please choose the correct answer to the question: Kim lost a key. How does Kim
     feel?\\n\\nAnswer1: glad Answer2: upset Answer3: tall\\n\\nAnswer format: answer1/answer2/answer3", "answer":
     "answer2", …}
    """

    files = _files("social_i_qa")
    hub = _hub("lighteval/siqa")

    def read_hub(self, row: Mapping[str, Any]) -> Item:
        options = [row["answerA"], row["answerB"], row["answerC"]]
        return self.verbalised(f"{row['context']} {row['question']}", options, int(row["label"]) - 1)


@task("hellaswag")
class HellaSwag(_Verbalised):
    """HellaSwag: how a scene goes on (Zellers et al. 2019, arXiv 1905.07830). Validation is the test.

    {"instruction": "Please choose the correct ending to complete the given sentence: Baking: She beats two eggs.
     She\\n\\n Ending1: adds flour. Ending2: …\\n\\nAnswer format: ending1/ending2/ending3/ending4", "answer":
     "ending1", …}
    """

    files = _files("hellaswag")
    hub = _hub("Rowan/hellaswag")
    lead = "Please choose the correct ending to complete the given sentence: "
    noun = "ending"

    def read_hub(self, row: Mapping[str, Any]) -> Item:
        return self.verbalised(f"{row['activity_label']}: {row['ctx']}", row["endings"], int(row["label"]))


@task("winogrande")
class WinoGrande(_Verbalised):
    """WinoGrande: which of two fills the blank (Sakaguchi et al. 2020, arXiv 1907.10641)? Validation is the test.

    {"instruction": "Please choose the correct answer to fill in the blank to complete the given sentence: The box
     did not fit in the car as the _ was big.\\n\\nOption1: box Option2: car Answer format: option1/option2",
     "answer": "option1", …}
    """

    files = _files("winogrande")
    hub = _hub("allenai/winogrande", "winogrande_xl")
    lead = "Please choose the correct answer to fill in the blank to complete the given sentence: "
    noun = "option"

    def read_hub(self, row: Mapping[str, Any]) -> Item:
        return self.verbalised(row["sentence"], [row["option1"], row["option2"]], int(row["answer"]) - 1)


class _Science(_Verbalised):
    """Rows that the hub keeps as a stem, choices and the key of the right one."""

    def read_hub(self, row: Mapping[str, Any]) -> Item:
        text = row["question_stem"] if "question_stem" in row else row["question"]
        return self.verbalised(text, row["choices"]["text"], list(row["choices"]["label"]).index(row["answerKey"]))


@task("arc_easy")
class ArcEasy(_Science):
    """ARC-Easy: grade-school science (Clark et al. 2018, arXiv 1803.05457). Official test split.

    {"instruction": "Please choose the correct answer to the question: Which one melts in the sun?\\n\\nAnswer1: ice
     Answer2: sand Answer3: iron Answer4: glass\\n\\nAnswer format: answer1/answer2/answer3/answer4", "answer":
     "answer1", …}
    """

    files = _files("ARC-Easy")
    hub = _hub("allenai/ai2_arc", "ARC-Easy", "test")


@task("arc_challenge")
class ArcChallenge(_Science):
    """ARC-Challenge: science questions that simple methods miss (arXiv 1803.05457). Rows as in arc_easy."""

    files = _files("ARC-Challenge")
    hub = _hub("allenai/ai2_arc", "ARC-Challenge", "test")


@task("openbookqa")
class OpenBookQA(_Science):
    """OpenBookQA: elementary science with common knowledge (Mihaylov et al. 2018, arXiv 1809.02789).

    {"instruction": "Please choose the correct answer to the question: A plant on a dark shelf will\\n\\nAnswer1:
     sing Answer2: grow fast Answer3: wither Answer4: boil\\n\\nAnswer format: answer1/answer2/answer3/answer4",
     "answer": "answer3", …}
    """

    files = _files("openbookqa")
    hub = _hub("allenai/openbookqa", "main", "test")
