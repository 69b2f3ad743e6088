"""The fixture `llmkit_run`: real pytest runs of a small project, green and red."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.benchmarks import ROOT
from helpers.processes import run
from helpers.project import write_project

from llmkit.ci.checked import Gates, checked, key_of
from llmkit.errors import UsageError
from llmkit.measure.results import GateResult

SUITE = """
import functools, os, pytest

@pytest.fixture
def ask(llmkit_run, request, monkeypatch):
    def go(gates=("stand.accuracy >= 0.9",), wrong=0, **more):
        monkeypatch.setenv("WRONG", str(wrong))
        name = request.node.name
        return llmkit_run("recipe.yaml", **{"output.name": name, "engine": "python:app:answer", "gates": gates, **more})
    return go

def test_passes(ask):
    run = ask(limit=100)
    assert run.gates.passed
    assert run.metrics.questions == 100
    assert (run.folder / "report.html").is_file()

def test_fails(ask):
    assert ask(wrong=0.5).gates.passed

def test_undecided(ask):
    run = ask(wrong=0.1, limit=60)
    assert run.gates.undecided
    assert run.gates.passed

def test_no_gates(ask):
    assert ask(gates=()).gates.passed

def test_no_endpoint(ask):
    assert ask(engine="auto", model="m", base_url=["http://127.0.0.1:9/v1"], **{"engine.retries": 0}).gates.passed

def test_no_function(ask):
    assert ask(engine="python:app:missing").gates.passed

def test_no_such_key(ask):
    assert ask(limt=3).gates.passed

def test_no_recipe(llmkit_run):
    assert llmkit_run("none.yaml").gates.passed

def test_no_baseline(ask):
    assert ask(baseline="none.json").gates.passed
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What one real run of pytest says of each test of SUITE: "" where it passed, else the report of its failure."""
    folder = tmp_path_factory.mktemp("suite")
    with pytest.MonkeyPatch.context() as patch:
        write_project(folder, patch)
        (folder / "test_app.py").write_text(SUITE)
        flags = ["-p", "llmkit.ci.pytest_plugin", "-p", "no:cacheprovider", "--junitxml=out.xml"]
        done = run([sys.executable, "-m", "pytest", *flags], cwd=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    cases = ElementTree.parse(folder / "out.xml").iter("testcase")
    return {case.get("name"): "".join(case.itertext()) for case in cases}


@pytest.mark.e2e
def test_a_run_that_passes_its_gates_is_green(outcomes):
    assert outcomes["test_passes"] == ""


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("test_fails", "where False = <fail: stand.accuracy@clean >= 0.9 low, 0."),
        ("test_undecided", "where False = <undecided: stand.accuracy"),
        ("test_no_gates", "where False = <no gates: the recipe demands nothing (eval.gates)>"),
    ],
)
def test_only_gates_that_passed_have_passed(outcomes, name, says):
    assert says in outcomes[name]


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("test_no_endpoint", "no server answers at http://127.0.0.1:9"),
        ("test_no_function", "missing"),
        ("test_no_such_key", "unknown recipe key `limt`"),
        ("test_no_recipe", "none.yaml"),
        ("test_no_baseline", "no run folder and no file `none.json`"),
    ],
)
def test_a_run_that_cannot_be_made_is_an_error_and_no_pass(outcomes, name, says):
    assert outcomes[name].startswith("llmkit: "), "the message, and no traceback through llmkit"
    assert says in outcomes[name]


def test_the_entry_point_is_a_plugin_that_imports_nothing():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name = project["entry-points"]["pytest11"]["llmkit"]
    assert hasattr(import_module(name), "llmkit_run")
    code = f"import pytest, sys; before = set(sys.modules); import {name}; print(*sorted(set(sys.modules) - before))"
    loaded = run([sys.executable, "-c", code], cwd=ROOT).stdout.split()
    assert [module for module in loaded if not module.startswith("llmkit")] == []
    assert set(loaded) <= {"llmkit", "llmkit.ci", name}
    assert not any("pytest" in requirement for requirement in project["dependencies"])


def result(verdict, value=0.5):
    ends = (None, None) if value is None else (value - 0.1, value + 0.1)
    return GateResult(
        gate="a >= 1", metric="a", condition=None, bound="low", verdict=verdict, value=value, low=ends[0], high=ends[1],
        reason="no value" if value is None else None,
    )  # fmt: skip


def test_gates_pass_only_where_all_do():
    passed, failed, undecided = result("pass"), result("fail"), result("undecided", None)
    assert Gates((passed, passed)).passed
    assert [Gates(g).passed for g in ((), (passed, failed), (passed, undecided))] == [False, False, False]
    text = repr(Gates((passed, undecided, failed)))
    assert text == (
        "<fail: a >= 1, 0.500 [0.400, 0.600]; undecided: a >= 1, not measured (no value); "
        "pass: a >= 1, 0.500 [0.400, 0.600]>"
    )


@pytest.mark.parametrize(
    ("name", "key"),
    [("limit", "data.limit"), ("baseline", "eval.baseline"), ("gates", "eval.gates"), ("arms", "eval.arms"),
     ("engine", "engine.kind"), ("model", "model.path"), ("rop.temperature", "rop.temperature")],
)  # fmt: skip
def test_a_keyword_sets_one_key(name, key):
    assert key_of(name) == key


def test_a_keyword_of_several_keys_is_refused():
    with pytest.raises(UsageError, match="`kind` is a part of ") as error:
        key_of("kind")
    assert 'name the whole key: **{"engine.kind": ...}' in error.value.hint


def test_a_recipe_from_elsewhere_is_not_trusted(project, tmp_path):
    (project / "pyproject.toml").write_text("")
    elsewhere = tmp_path / "downloads" / "theirs.yaml"
    elsewhere.parent.mkdir()
    elsewhere.write_text("model: {path: m}\nengine: {base_url: ['http://198.51.100.7/v1'], api_key_env: TOKEN}\n")
    with pytest.raises(UsageError, match="comes from elsewhere"):
        checked(Path(elsewhere), {})


def test_several_sets_are_refused(project):
    with pytest.raises(UsageError, match="one set at a time"):
        checked(None, {"tasks": ["svamp", "gsm8k"], "model": "m"})
