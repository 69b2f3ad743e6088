"""`llmkit recipe`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema

from llmkit.recipe import digest, load, shipped_recipes

BAD = """\
data:
  task: gsm9k
  limt: 5
rop: {arms: [stant]}
"""


def test_ls_names_and_describes_the_shipped_recipes(llmkit):
    code, out, _ = llmkit("recipe", "ls", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [row["name"] for row in rows] == shipped_recipes()
    assert all(row["about"] for row in rows)
    assert "rop-gsm8k" in llmkit("recipe", "ls")[1]


class TestCheck:
    def test_a_good_recipe_has_a_digest(self, llmkit):
        code, out, err = llmkit("recipe", "check", *shipped_recipes())
        assert (code, err) == (0, "")
        assert f"demo: ok ({digest(load('demo').recipe)})" in out.splitlines()

    def test_all_faults_of_all_recipes_are_printed(self, llmkit):
        Path("bad.yaml").write_text(BAD)
        Path("worse.yaml").write_text("seed: x")
        recipes = ("bad.yaml", "demo", "nowhere.yaml", "worse.yaml")
        code, out, err = llmkit("recipe", "check", *recipes, "--set", "data.split=tset")
        assert code == 2
        assert out == ""
        assert "bad.yaml:3: data.limt: unknown key (did you mean `limit`?)" in err
        assert 'worse.yaml:1: seed: should be a whole number, not "x"' in err
        assert "nowhere.yaml: no recipe `nowhere.yaml`" in err
        assert err.count("--set data.split=tset: data.split: should be") == 3

    def test_names_are_checked_too(self, llmkit):
        more = "perturb: {conditions: [ec, ek], rate: 2.0}\nengine: {kind: vlm}\n"
        Path("bad.yaml").write_text(BAD.replace("  limt: 5\n", "") + more)
        code, _, err = llmkit("recipe", "check", "bad.yaml", "--set", "perturb.protect=['[']")
        assert code == 2
        assert "bad.yaml:2: data.task: unknown task `gsm9k` (did you mean `gsm8k`" in err
        assert "bad.yaml:3: rop.arms.0: unknown arm `stant` (did you mean `stand`" in err
        assert "bad.yaml:4: perturb.conditions.1: unknown operator `ek` (did you mean `ec`" in err
        assert "bad.yaml:5: engine.kind: unknown engine `vlm` (did you mean `vllm`" in err
        assert "bad.yaml:4: perturb.rate: rate 2.0 is not in 0..1" in err
        assert "--set perturb.protect=['[']: perturb.protect: `[` is not a regular expression" in err

    def test_gates_are_checked_too(self, llmkit):
        Path("bad.yaml").write_text(
            "extends: demo-loop-arms\n"
            "data: {limit: 10}\n"
            "eval:\n"
            "  gates:\n"
            "    - {metric: rop.gian, min: 0.05}\n"
            "    - {metric: rop.gain, condition: hv, min: 0.05}\n"
            "    - {metric: rop.accuracy, min: 0.95, bound: low}\n"
            "    - {metric: rop.accuracy, min: 0.5, bound: low}\n"
        )
        code, _, err = llmkit("recipe", "check", "bad.yaml")
        assert code == 2
        assert [line.partition(":")[2][0] for line in err.splitlines() if line.startswith("bad.yaml")] == [
            "5",
            "6",
            "7",
        ]
        assert "did you mean `rop.gain`" in err
        assert "did you mean `hw`" in err
        assert "cannot pass with 10 questions" in err

    def test_json_lists_the_faults(self, llmkit):
        Path("bad.yaml").write_text(BAD)
        code, out, err = llmkit("recipe", "check", "demo", "bad.yaml", "--json")
        found = json.loads(out)
        assert (code, err) == (2, "")
        assert [(r["recipe"], r["ok"]) for r in found["recipes"]] == [("demo", True), ("bad.yaml", False)]
        fault = {"file": "bad.yaml", "line": 3, "key": "data.limt", "message": "unknown key (did you mean `limit`?)"}
        assert found["faults"] == [fault]
        assert llmkit("recipe", "check", "demo", "--json")[0] == 0

    def test_from_a_pipe(self, llmkit, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"extends: demo\nsede: 3\n")))
        assert "<stdin>:2: sede: unknown key (did you mean `seed`?)" in llmkit("recipe", "check", "-")[2]


class TestShow:
    def test_what_is_shown_loads_again(self, llmkit):
        code, out, _ = llmkit("recipe", "show", "demo", "--set", "data.limit=3")
        assert code == 0
        Path("again.yaml").write_text(out)
        assert load("again.yaml").recipe == load("demo", ["data.limit=3"]).recipe

    def test_origins(self, llmkit):
        out = llmkit("recipe", "show", "demo", "--origins", "--set", "data.limit=3")[1]
        lines = [" ".join(line.split()) for line in out.splitlines()]
        assert "limit: 3 # --set data.limit=3" in lines
        assert "seed: 7 # default" in lines

    def test_json(self, llmkit):
        found = json.loads(llmkit("recipe", "show", "demo", "--json")[1])
        assert found["recipe"]["data"]["task"] == "arithmetic"
        assert found["digest"] == digest(load("demo").recipe)
        assert found["origins"]["data.task"].startswith("recipes/demo.yaml:")

    def test_without_a_recipe_the_defaults(self, llmkit):
        assert json.loads(llmkit("recipe", "show", "--json")[1])["origins"] == {}


class TestInit:
    def test_it_writes_a_recipe_that_checks(self, llmkit):
        code, out, err = llmkit("recipe", "init", "mine.yaml", "--extends", "demo")
        assert (code, out) == (0, "")
        assert "llmkit recipe check mine.yaml" in err
        assert load("mine.yaml").recipe == load("demo").recipe
        assert llmkit("recipe", "check", "mine.yaml")[0] == 0

    def test_it_overwrites_only_when_told(self, llmkit):
        Path("recipe.yaml").write_text("mine")
        code, _, err = llmkit("recipe", "init")
        assert code == 2
        assert "recipe.yaml exists" in err
        assert Path("recipe.yaml").read_text() == "mine"
        assert llmkit("recipe", "init", "--force")[0] == 0
        assert load("recipe.yaml").recipe.version == 1

    def test_to_stdout_and_as_json(self, llmkit):
        assert llmkit("recipe", "init", "-")[1].startswith("## A recipe for llmkit.")
        assert json.loads(llmkit("recipe", "init", "x.yaml", "--json")[1]) == {"path": "x.yaml"}

    def test_what_cannot_be_written_or_extended(self, llmkit):
        assert "no/such/x.yaml: cannot be written" in llmkit("recipe", "init", "no/such/x.yaml")[2]
        code, _, err = llmkit("recipe", "init", "--extends", "demmo")
        assert code == 2
        assert "did you mean `demo`" in err
        assert not Path("recipe.yaml").exists()


def test_schema_is_json_schema(llmkit):
    code, out, _ = llmkit("recipe", "schema")
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(out))
