"""`llmkit runs compare` and `llmkit eval export`, as a user calls them."""

from __future__ import annotations

import json

import pytest
from helpers import synthetic

from llmkit.cli.app import run


@pytest.fixture
def home(tmp_path):
    weak = {**synthetic.KEPT, "rop": 0.9}
    for name, kept in (("rop-before-1", weak), ("rop-after-2", synthetic.KEPT)):
        folder = synthetic.write_run(
            tmp_path / name, synthetic.rows(questions=40, arms=("stand", "rop"), conditions=("ec",), kept=kept)
        )
        (folder / "recipe.resolved.yaml").write_text("seed: 7\n")
    return tmp_path


def test_two_runs_are_compared_by_name(home, capsys):
    assert not run(["runs", "compare", "rop-before", "rop-after", "--dir", str(home)])
    shown = capsys.readouterr().out
    assert "rop-after-2 against rop-before-1" in shown
    assert "40 shared questions" in shown
    assert not run(["runs", "compare", "rop-before", "rop-after", "--dir", str(home), "--json"])
    assert json.loads(capsys.readouterr().out)["questions"] == 40


def test_one_run_is_no_comparison(home, capsys):
    assert run(["runs", "compare", "rop-before", "--dir", str(home)]) == 2
    assert "two runs" in capsys.readouterr().err


def test_a_run_is_exported(home, capsys):
    assert not run(["eval", "export", str(home / "rop-after-2"), "--format", "lm-eval", "--out", str(home / "task")])
    assert str(home / "task" / "utils.py") in capsys.readouterr().out
    assert (home / "task" / "clean.yaml").is_file()


def test_an_unknown_format_names_the_nearest(home, capsys):
    assert run(["eval", "export", str(home / "rop-after-2"), "--format", "lm-evl"]) == 2
    assert "lm-eval" in capsys.readouterr().err
