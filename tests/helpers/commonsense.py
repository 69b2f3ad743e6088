"""Tiny commonsense sets in the official file layout."""

from __future__ import annotations

import json
from pathlib import Path

from llmkit.tasks import TASKS

FOLDERS = {"arc_easy": "ARC-Easy", "arc_challenge": "ARC-Challenge"}
EIGHT = ("boolq", "piqa", "social_i_qa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa")


def write_set(root: Path, task: str, rows: int) -> None:
    """Writes train.json (`rows` rows) and test.json (4 rows) of a task, as LLM-Adapters publish them."""
    folder = root / "commonsense" / FOLDERS.get(task, task)
    folder.mkdir(parents=True)
    for name, start, count in (("train", 0, rows), ("test", rows, 4)):
        made = [_row(task, i) for i in range(start, start + count)]
        (folder / f"{name}.json").write_text(json.dumps(made))


def _row(task: str, i: int) -> dict[str, str]:
    kind = TASKS[task]()
    if task == "boolq":
        item = kind.read_hub({"question": f"are {i} pears more than {i // 2} pears", "answer": i % 3 > 0})
    else:
        text = (
            f"A box of {i} apples and {i + 7} pears stands on the _" if task == "winogrande" else f"Who eats {i} pears?"
        )
        item = kind.verbalised(text, [f"the child number {i}", "nobody at all"], i % 2)
    output = item.meta["output"]
    return {**item.meta, "input": "", "answer": output.removeprefix("the correct answer is ")}
