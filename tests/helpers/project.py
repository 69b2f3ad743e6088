"""A small application and its rows, as a project has them that tests it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

APPLICATION = '''
import os, re, zlib

def answer(question: str):
    """Adds up, and is wrong on a share of the texts that nothing but their letters decides."""
    assert "token-of-the-job" not in os.environ.values()
    share = float(os.environ.get("WRONG", "0"))
    if zlib.crc32(question.encode()) % 1000 < 1000 * share:
        return "The answer is 1 | @octocat ::error::forged"
    return f"The answer is {sum(map(int, re.findall('[0-9]+', question)))}"
'''
RECIPE = """
data: {path: rows.jsonl, split: all}
perturb: {conditions: [typing], rate: 0.2}
eval: {interval: {draws: 200}}
"""


def write_project(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Writes app.py, rows.jsonl and recipe.yaml, and makes the folder the working directory."""
    (folder / "app.py").write_text(APPLICATION)
    (folder / "recipe.yaml").write_text(RECIPE)
    text = "Ann has {} red marbles and buys {} blue marbles at the market. How many are there <!-- now -->?"
    rows = [{"question": text.format(n, 3 * n + 2), "answer": 4 * n + 2} for n in range(2, 122)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    patch.chdir(folder)
    patch.setenv("LLMKIT_CACHE", str(folder / "cache"))
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [*sys.path, ""])))
