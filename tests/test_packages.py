"""What an installed package can add by entry points, through the command line and a tiny real model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = '''
"""A set of questions, a way to put them, a noise and a verdict of somebody's own."""

from llmkit.engines import EngineIdentity
from llmkit.perturb import WordEdit, operator
from llmkit.rop import Arm, arm
from llmkit.tasks import GeneratedTask, Item, Scorer, scorer, task
from llmkit.types import Answer, Reply


@task("doubles")
class Doubles(GeneratedTask):
    """Twice a number."""

    def generate(self, split, size, levels, seed):
        start = ("train", "dev", "test").index(split) * 10_000
        return (Item(f"What is twice {start + n} please?", 2 * (start + n)) for n in range(size))


@arm("begging")
class Begging(Arm):
    """Asks nicely."""

    def ask(self, variant):
        return (yield from self.answer(variant.text, variant, "I beg you, answer this."))


@operator("shout", level="word")
class Shout(WordEdit):
    """Writes a word in capitals (a habit)."""

    def edit(self, word, rng):
        return word.upper()


@scorer("lenient")
class Lenient(Scorer):
    """Takes any reply to a question of an even number for the right answer, and finds none in others."""

    def extract(self, text, question):
        return question.gold if int(question.gold) % 4 == 0 else None


class Parrot:
    """An engine that repeats the last line of what it is asked."""

    kind = "parrot"
    identity_is_local = True
    capabilities = frozenset()
    canary = None

    @classmethod
    def takes(cls, model, section):
        return False

    def __init__(self, model, section):
        self.identity = EngineIdentity(self.kind, "1", model.path, "1")
        self.pending = []

    def submit(self, key, request):
        self.pending.append((key, request))

    def drain(self):
        while self.pending:
            key, request = self.pending.pop()
            yield key, Reply(request.messages[-1].content.splitlines()[-1])

    def close(self):
        self.pending.clear()
'''
POINTS = {
    "tasks": "doubles = extra:Doubles",
    "arms": "begging = extra:Begging",
    "operators": "shout = extra:Shout",
    "scorers": "lenient = extra:Lenient",
    "engines": "parrot = extra:Parrot",
}
FLAGS = "--task doubles --limit 6 --conditions shout --rate 0.5 --set eval.arms=[begging] --set eval.scorer=lenient"


@pytest.fixture
def llmkit(tmp_path: Path):
    """llmkit(args) in an empty folder, with the package installed as pip would leave it: a module and its metadata."""
    (tmp_path / "extra.py").write_text(PACKAGE)
    info = tmp_path / "extra-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(f"[llmkit.{group}]\n{line}\n" for group, line in POINTS.items()))
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "LLMKIT_CACHE": str(tmp_path / "cache")}

    def go(*args: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llmkit", *args]
        return subprocess.run(command, cwd=tmp_path, env=environment, input=input, capture_output=True, text=True)

    return go


@pytest.mark.tiny
def test_a_package_brings_a_task_an_arm_an_operator_and_a_scorer(llmkit, tiny_llama, tmp_path):
    engine = ("--set", "engine.kind=transformers", "--set", "engine.dtype=float32", "--set", "rop.max_tokens=4")
    done = llmkit("eval", "--model", tiny_llama, *FLAGS.split(), *engine, "--json")
    assert done.returncode == 0, done.stderr
    run = tmp_path / json.loads(done.stdout)["run"]
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert {row["arm"] for row in rows} == {"begging"}
    assert {row["condition"] for row in rows} == {"clean", "shout"}
    assert any("PLEASE" in row["text"] or "WHAT" in row["text"] for row in rows if row["condition"] == "shout")
    assert all("I beg you" in row["calls"][0]["messages"][-1]["content"] for row in rows)
    assert [row["correct"] for row in rows] == [int(row["gold"]) % 4 == 0 for row in rows]
    assert {row["correct"] for row in rows} == {True, False}
    again = llmkit("eval", "score", str(run), "--json")
    assert json.loads(again.stdout)["changed"] == 0, again.stderr
    plain = llmkit("eval", "score", str(run), "--set", "eval.scorer=answer", "--json")
    assert json.loads(plain.stdout)["changed"] == sum(row["correct"] for row in rows), plain.stderr
    written = llmkit("eval", "export", str(run), "--format", "lm-eval", "--arm", "begging")
    assert written.returncode == 0, written.stderr
    assert "SCORERS['lenient']()" in (run / "lm-eval" / "utils.py").read_text()


def test_a_packages_operator_works_in_a_pipe(llmkit):
    done = llmkit("perturb", "-", "--op", "shout", "--rate", "1", input='{"question": "say 3 words"}\n')
    assert json.loads(done.stdout)["question"] == "SAY 3 WORDS", done.stderr


def test_a_packages_engine_is_chosen_by_name(llmkit, tmp_path):
    command = ["eval", "--model", "polly", "--task", "doubles", "--limit", "4", "--conditions", "shout", "--json"]
    done = llmkit(*command, "--engine", "parrot")
    assert done.returncode == 0, done.stderr
    run = tmp_path / json.loads(done.stdout)["run"]
    said = [json.loads(line)["said"] for line in (run / "samples.jsonl").read_text().splitlines()]
    assert all(text.startswith("Question: ") for text in said)
    assert json.loads((run / "run.json").read_text())["engine"] == "parrot"
    unknown = llmkit(*command, "--engine", "parott")
    assert unknown.returncode == 2
    assert "unknown engine `parott`" in unknown.stderr
    assert "`parrot`" in unknown.stderr


@pytest.mark.tiny
def test_an_unknown_scorer_is_an_error_with_the_nearest_name(llmkit, tiny_llama):
    done = llmkit("eval", "--model", tiny_llama, "--task", "doubles", "--set", "eval.scorer=leniant")
    assert done.returncode == 2
    assert "unknown scorer `leniant`" in done.stderr
    assert "`lenient`" in done.stderr
