"""`llmkit runs`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmkit.measure.metrics import metrics as measure
from llmkit.measure.results import GateResult
from llmkit.recipe import digest, load, to_yaml
from llmkit.runs import RunFolder
from llmkit.types import Outcome

GATE = GateResult(
    gate="stand.accuracy >= 0.9",
    metric="stand.accuracy",
    condition="clean",
    bound="point",
    verdict="fail",
    value=0.75,
    low=0.3,
    high=0.95,
)


def metrics() -> dict:
    """Four questions, two arms, clean and under ec: stand loses one of three, rop none."""
    right = {("stand", "clean"): 3, ("stand", "ec"): 2, ("rop", "clean"): 3, ("rop", "ec"): 3}
    outcomes = [
        Outcome(f"q{i}", f"q{i}", condition, arm, 0, "1", i < known, "1", calls=1)
        for (arm, condition), known in right.items()
        for i in range(4)
    ]
    return measure(outcomes, load().recipe.eval, 7).model_copy(update={"gates": (GATE,)}).as_dict()


def answer(folder: RunFolder, key: str, error: str | None = None) -> None:
    said = '"error":null'
    row = {"kind": "outcome", "key": key, "question_id": key, "cluster_id": key, "condition": "clean", "arm": "stand"}
    folder.append({**row, "draw": 0, "correct": True, "gold": "1", "text": said, "error": error})


@pytest.fixture
def runs(llmkit) -> dict[str, Path]:
    """One finished run, one that was interrupted, and a folder that is no run."""
    Path("runs/other").mkdir(parents=True)
    made = {}
    for name, seed in (("done", 1), ("half", 2)):
        recipe = load("demo", [f"seed={seed}", "output.name=" + name]).recipe
        with RunFolder.open("runs", name, digest(recipe), recipe=None, resolved=to_yaml(recipe)) as folder:
            folder.append({"kind": "search", "key": "s", "calls": []})
            answer(folder, "q")
            if name == "done":
                answer(folder, 'the "second"', error="too many requests")
                answer(folder, 'the "second"')
                answer(folder, "third", error="too many requests")
                folder.write_json("metrics.json", metrics())
            made[name] = folder.path
    return made


def test_ls(llmkit, runs):
    found = {row["run"].partition("-")[0]: row for row in json.loads(llmkit("runs", "ls", "--json")[1])}
    assert {name: (row["state"], row["outcomes"]) for name, row in found.items()} == {
        "done": ("finished", 2),
        "half": ("unfinished", 1),
    }
    assert found["done"]["model"] == "smollm2-135m"
    assert found["done"]["task"] == "arithmetic"
    out = llmkit("runs", "ls")[1]
    assert runs["done"].name in out
    assert "other" not in out


def test_ls_counts_an_answer_once_and_only_since_the_run_began_anew(llmkit, runs):
    with RunFolder.reopen(runs["done"]) as folder:
        folder.begin_generation()
        answer(folder, "q")
    assert [row["outcomes"] for row in json.loads(llmkit("runs", "ls", "--json")[1])] == [1, 1]


def test_ls_elsewhere_and_of_nothing(llmkit):
    code, _, err = llmkit("runs", "ls")
    assert code == 2
    assert "no folder `runs`" in err
    Path("empty").mkdir()
    assert llmkit("runs", "ls", "--dir", "empty") == (0, "", "no runs in empty\n")
    assert llmkit("runs", "ls", "--dir", "empty", "--json")[1] == "[]\n"


def test_ls_writes_a_page(llmkit, runs):
    Path("pages").mkdir()
    code, out, err = llmkit("runs", "ls", "--html", "pages/runs.html")
    assert code == 0
    assert runs["half"].name in out
    assert "wrote pages/runs.html" in err
    page = Path("pages/runs.html").read_text()
    assert "<h1>Runs in runs</h1>" in page
    assert page.index(runs["half"].name) != page.index(runs["done"].name)
    assert "0.750" in page
    assert 'class="fail left"' in page
    (runs["done"] / "report.html").write_text("")
    llmkit("runs", "ls", "--html", "pages/runs.html")
    assert f'href="../runs/{runs["done"].name}/report.html"' in Path("pages/runs.html").read_text()


def test_show_as_markdown(llmkit, runs):
    code, out, err = llmkit("runs", "show", "done", "--markdown")
    assert code == 0, err
    assert out.startswith("# arithmetic, asked of smollm2-135m\n")
    assert "| stand | 0.750 (.30 to .95) | 0.500 (.15 to .85) |" in out
    assert "## Gates" in out
    code, _, err = llmkit("runs", "show", "half", "--markdown")
    assert code == 2
    assert "has no measurements to show" in err


def test_show_in_two_forms_at_once_is_refused(llmkit, runs):
    code, out, err = llmkit("runs", "show", "done", "--markdown", "--json")
    assert (code, out) == (2, "")
    assert "--markdown and --json exclude each other" in err


def test_show_prints_the_accuracies(llmkit, runs):
    code, out, _ = llmkit("runs", "show", "done")
    assert code == 0
    accuracies = next(line for line in out.splitlines() if line.startswith("stand"))
    assert accuracies.split()[1] == "0.750"
    assert "stand.accuracy >= 0.9" in out
    assert "fail" in out
    assert llmkit("runs", "show", str(runs["done"]))[1] == out
    assert "unfinished" in llmkit("runs", "show", "half")[1]


def test_show_as_json(llmkit, runs):
    found = json.loads(llmkit("runs", "show", runs["done"].name, "--json")[1])
    assert found["metrics"] == metrics()
    assert found["recipe"]["seed"] == 1
    assert found["environment"]["llmkit"]


def test_other_metrics_are_listed(llmkit, runs):
    (runs["half"] / "metrics.json").write_text('{"loss": {"train": 0.123456}}')
    out = llmkit("runs", "show", "half")[1]
    assert "loss.train" in out
    assert "0.1235" in out


def test_names_that_do_not_fit(llmkit, runs):
    code, _, err = llmkit("runs", "show", "doen")
    assert code == 2
    assert "unknown run `doen`" in err
    twin = runs["done"].with_name("done-0123")
    twin.mkdir()
    (twin / "recipe.resolved.yaml").write_text("seed: 1")
    assert "`done` is the start of several runs: done-0123, " in llmkit("runs", "show", "done")[2]
    assert llmkit("runs", "show", "done-0123")[0] == 0
    assert "there are none in nowhere" in llmkit("runs", "show", "x", "--dir", "nowhere")[2]


def test_metrics_of_another_version_are_said_to_be_so(llmkit, runs):
    (runs["done"] / "metrics.json").write_text('{"arms": {"stand": {}}}')
    code, _, err = llmkit("runs", "show", "done")
    assert code == 2
    assert "metrics.json: was written by another version of llmkit" in err


def test_a_damaged_file_is_named(llmkit, runs):
    (runs["done"] / "metrics.json").write_text("{")
    code, out, err = llmkit("runs", "show", "done")
    assert code == 2
    assert runs["done"].name in out, "which run it is can still be seen"
    assert f"{runs['done'].name}/metrics.json: cannot be read" in err
