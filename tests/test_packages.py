"""Additions of an installed package by entry points: examples/llmkit_example, installed by pip and used by commands."""

from __future__ import annotations

import doctest
import importlib.metadata
import json
import re
import shutil
import sys
import tomllib
from functools import partial
from pathlib import Path

import pytest
from helpers.forking import commands
from helpers.processes import run

from llmkit.engines import ENGINES
from llmkit.engines.adapters import METHODS
from llmkit.perturb.base import OPERATORS
from llmkit.repair import CORRECTORS, DETECTORS
from llmkit.rop import ARMS
from llmkit.tasks import KINDS, SCORERS, TASKS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "examples" / "llmkit_example"
EVAL = "eval --model abacus --engine calendar --task weekdays --limit 20 --conditions caps_lock --rate 0.1"
SETTINGS = ("eval.arms=[stand,with_calendar]", "eval.scorer=last_line", "eval.interval.draws=200")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the package in it, as pip installs it from its source."""
    source = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / "llmkit_example")
    folder = tmp_path_factory.mktemp("site")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", "-q", *offline, "--target", str(folder), str(source)]
    done = run(command)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(site: Path):
    """Runs commands where the package is installed."""
    with commands(["llmkit.finetune.trainer", "llmkit.evaluate"], [site]) as run:
        yield run


@pytest.fixture
def llmkit(installed, tmp_path: Path):
    """llmkit(args) in an empty folder, where the package is installed."""
    return partial(installed, cwd=tmp_path, cache=tmp_path / "cache")


def sets(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def read(run: Path, kind: str) -> list[dict]:
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def test_the_package_has_one_of_everything_that_can_be_added():
    groups = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"]
    registries = (OPERATORS, TASKS, KINDS, SCORERS, ARMS, ENGINES, METHODS, CORRECTORS, DETECTORS)
    assert set(groups) == {registry.group for registry in registries}


def test_the_docs_show_the_package_as_it_is():
    page = (ROOT / "docs" / "extending.md").read_text()
    shown = dict(re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)```$", page, re.DOTALL | re.MULTILINE))
    files = [PACKAGE / "pyproject.toml", *(PACKAGE / "llmkit_example").glob("[a-z]*.py")]
    assert shown == {str(file.relative_to(PACKAGE)): file.read_text() for file in files}


def test_its_operator_works_in_a_pipe(llmkit):
    done = llmkit("perturb", "-", "--op", "caps_lock", "--rate", "1", input='{"question": "Say 3 words"}\n')
    assert json.loads(done.stdout)["question"] == "sAY 3 WORDS", done.stderr


def test_its_corrector_repairs_rows_and_leaves_other_words_alone(llmkit):
    done = llmkit("repair", "-", "--chain", "fold+day_names", input='{"question": "Is Tue. 3 days after Sat?"}\n')
    assert json.loads(done.stdout)["question"] == "Is Tuesday 3 days after Saturday?", done.stderr


def test_its_detector_makes_a_gate_fire(llmkit, tmp_path):
    scale = {"detector": "short_days", "knots": [[0, 0], [1, 2]]}
    content = {"chain": "day_names", "gate": {"scales": [scale], "threshold": 1.5}}
    (tmp_path / "repair.json").write_text(json.dumps(content))
    rows = '{"question": "Is it Sun?"}\n{"question": "Is it Sunday?"}\n'
    done = llmkit("repair", "-", "--with", "repair.json", input=rows)
    actions = [json.loads(line)["repair"]["action"] for line in done.stdout.splitlines()]
    assert actions == ["repaired", "passed"], done.stderr


def test_its_task_kind_engine_arm_and_scorer_work_together(llmkit, tmp_path):
    done = llmkit(*EVAL.split(), *sets(*SETTINGS), "--json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["chance"] == pytest.approx(1 / 7, abs=1e-3)
    run = tmp_path / metrics["run"]
    assert json.loads((run / "run.json").read_text())["engine"] == "calendar"
    rows = read(run, "outcome")
    assert {row["arm"] for row in rows} == {"stand", "with_calendar"}
    assert {row["question_kind"] for row in rows} == {"weekday"}
    prompts = {row["arm"]: row["calls"][0]["messages"][-1]["content"] for row in rows}
    assert all("and the day of the week." in prompt for prompt in prompts.values())
    assert "after seven days they begin again" in prompts["with_calendar"]
    assert all(row["correct"] for row in rows if row["condition"] == "clean")
    lost = [row["key"] for row in rows if row["condition"] == "caps_lock" and row["parsed"] is None]
    assert 0 < len(lost) < 40
    again = llmkit("eval", "score", str(run), "--json")
    assert json.loads(again.stdout)["changed"] == 0, again.stderr
    assert read(run, "verdict") == []
    plain = llmkit("eval", "score", str(run), "--set", "eval.scorer=answer", "--json")
    assert plain.returncode == 0, plain.stderr
    assert {row["key"]: row["parsed"] for row in read(run, "verdict")} == dict.fromkeys(lost, "tuesday")
    written = llmkit("eval", "export", str(run), "--format", "lm-eval", "--arm", "with_calendar")
    assert written.returncode == 0, written.stderr
    assert "SCORERS['last_line']()" in (run / "lm-eval" / "utils.py").read_text()


@pytest.mark.parametrize(
    ("flags", "message", "name"),
    [
        (("--set", "eval.scorer=last_lin"), "unknown scorer `last_lin`", "`last_line`"),
        (("--engine", "calender"), "unknown engine `calender`", "`calendar`"),
        (("--set", "eval.arms=[with_calender]"), "unknown arm `with_calender`", "`with_calendar`"),
    ],
)
def test_a_misspelt_name_is_an_error_with_the_nearest_one(llmkit, flags, message, name):
    done = llmkit(*EVAL.split(), *sets(*SETTINGS), *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert name in done.stderr


@pytest.mark.tiny
def test_its_kind_can_be_answered_by_likelihood(llmkit, tiny_llama, tmp_path):
    settings = ("engine.dtype=float32", "eval.answer=likelihood", "eval.arms=[stand]", "eval.interval.draws=200")
    flags = ("--engine", "transformers", "--task", "weekdays", "--limit", "2", "--conditions", "caps_lock")
    done = llmkit("eval", "--model", tiny_llama, *flags, *sets(*settings), "--json")
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / json.loads(done.stdout)["run"], "outcome")
    assert all(row["parsed"] == row["arm_parsed"] for row in rows)
    assert all(len(row["calls"]) == 7 for row in rows)
    assert rows[0]["said"] == f"The answer is {rows[0]['parsed'].capitalize()}"


@pytest.mark.tiny
def test_its_peft_method_is_trained_and_asked(llmkit, tiny_llama, tmp_path):
    settings = ("finetune.options.factor=0.5", "data.size=20", "finetune.optim.batch_size=4")
    flags = ("--model", tiny_llama, "--task", "weekdays", "--method", "shift", *sets(*settings))
    shown = llmkit("finetune", *flags, "--dry-run", "--json")
    assert shown.returncode == 0, shown.stderr
    facts = json.loads(shown.stdout)
    assert facts["method"] == "shift"
    assert 0 < facts["trainable_percent"] < 1
    trained = llmkit("finetune", *flags, *sets("finetune.optim.epochs=1"), "--json")
    assert trained.returncode == 0, trained.stderr
    adapter = next(tmp_path.rglob("adapter_config.json")).parent
    assert json.loads((adapter / "adapter_config.json").read_text())["factor"] == 0.5
    asked = ("--engine", "transformers", "--task", "weekdays", "--limit", "2", "--conditions", "caps_lock")
    few = sets("eval.arms=[stand]", "eval.interval.draws=200", "rop.max_tokens=2")
    done = llmkit("eval", "--model", tiny_llama, "--adapter", str(adapter), *asked, *few, "--json")
    assert done.returncode == 0, done.stderr


def test_an_unknown_method_is_refused_with_those_of_packages(llmkit, tiny_llama):
    done = llmkit("finetune", "--model", tiny_llama, "--task", "weekdays", "--method", "shfit", "--dry-run")
    assert done.returncode == 2
    assert "`shift`" in done.stderr


def test_the_examples_in_its_docstrings_hold(site, monkeypatch):
    without = {name: OPERATORS[name] for name in OPERATORS}
    monkeypatch.setattr(OPERATORS, "_items", without)  # or later tests in this process would find its operator
    monkeypatch.syspath_prepend(str(site))
    import llmkit_example.operators

    assert doctest.testmod(llmkit_example.operators).attempted
    assert doctest.testmod(llmkit_example.operators).failed == 0
    assert importlib.metadata.version("llmkit-example") == "1.0"
