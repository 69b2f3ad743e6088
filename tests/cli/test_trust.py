"""A recipe from elsewhere is not let at variables, files and servers before the user has said so."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from helpers.processes import started

ASKS = ("eval", "--dry-run", "--model", "m", "--limit", "3")
NAMED = [
    ("engine: {base_url: [http://127.0.0.1:9/v1]}", "the server http://127.0.0.1:9/v1"),
    ("engine: {api_key_env: MY_TOKEN}", "the variable MY_TOKEN"),
    ("engine: {url: 'http://127.0.0.1:9/chat'}", "the server http://127.0.0.1:9/chat"),
    ("engine: {headers_env: {X-Key: MY_TOKEN}}", "the variable MY_TOKEN"),
    ("engine: {before: {url: 'http://127.0.0.1:9/a', session: $.a}}", "the server http://127.0.0.1:9/a"),
    (
        "engine: {before: {url: 'http://127.0.0.1:9/a', session: $.a, headers_env: {X-Key: MY_TOKEN}}}",
        "the variable MY_TOKEN",
    ),
    ("model: {system_prompt: /etc/hostname}", "the file /etc/hostname"),
    ("perturb: {conditions: ['ec', 'file:pairs.json']}", "the file file:pairs.json"),
    ("output: {dir: ../elsewhere}", "the file ../elsewhere"),
    ("engine: {trust_remote_code: true}", "code that comes with a model"),
    ("eval: {scores: [judge], judge: {rubric: /etc/hostname}}", "the file /etc/hostname"),
    (
        "eval: {scores: [judge], judge: {rubric: r.md, engine: {base_url: [http://127.0.0.1:9/v1]}}}",
        "the server http://127.0.0.1:9/v1",
    ),
    ("eval: {scores: [judge], judge: {rubric: r.md, engine: {api_key_env: MY_TOKEN}}}", "the variable MY_TOKEN"),
]


def recipe(folder, text, name="r.yaml"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"data: {{task: arithmetic, size: 20}}\n{text}\n")
    return str(folder / name)


@pytest.fixture
def elsewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


@pytest.mark.parametrize(("text", "what"), NAMED)
def test_without_a_terminal_it_ends_with_2_and_names_the_flag(llmkit, elsewhere, text, what):
    code, out, err = llmkit(*ASKS, recipe(elsewhere, text))
    assert (code, out) == (2, "")
    assert what in err
    assert "--trust-recipe" in err


def test_the_flag_lets_it_through_wherever_it_stands(llmkit, elsewhere):
    path = recipe(elsewhere, "model: {system_prompt: /etc/hostname}")
    for args in (["--trust-recipe", *ASKS, path], [*ASKS, path, "--trust-recipe"]):
        code, _, err = llmkit(*args)
        assert code == 0, err
    assert llmkit(*ASKS, path)[0] == 2, "a flag is for once"


def test_ordinary_recipes_see_nothing_of_it(llmkit, elsewhere, tmp_path, monkeypatch):
    (tmp_path / "prompt.txt").write_text("Be brief.")
    here = recipe(tmp_path / "recipes", f"model: {{system_prompt: {tmp_path}/prompt.txt}}")
    assert llmkit(*ASKS, here)[0] == 0
    assert llmkit(*ASKS, recipe(elsewhere, "perturb: {rate: 0.2}"))[0] == 0, "it names nothing of the user's"
    assert llmkit(*ASKS, "demo-base")[0] == 0, "shipped"
    # From a folder inside a repository, a recipe elsewhere in that repository is at home.
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert llmkit(*ASKS, "../recipes/r.yaml")[0] == 0
    # What the user says on the command line is no doing of the recipe's.
    free = recipe(elsewhere, "perturb: {rate: 0.2}")
    assert llmkit(*ASKS, free, "--set", f"model.system_prompt={tmp_path}/prompt.txt")[0] == 0


def test_what_a_recipe_extends_and_where_a_link_leads_count(llmkit, elsewhere, tmp_path):
    far = recipe(elsewhere, "model: {system_prompt: /etc/hostname}")
    mine = recipe(tmp_path, f"extends: {far}", "mine.yaml")
    (tmp_path / "link.yaml").symlink_to(far)
    for path in (mine, str(tmp_path / "link.yaml")):
        code, _, err = llmkit(*ASKS, path)
        assert code == 2
        assert "--trust-recipe" in err


@pytest.mark.parametrize(("answer", "codes"), [("y", (0, 0)), ("n", (2, 2))])
def test_a_terminal_is_asked_and_a_yes_is_remembered(elsewhere, tmp_path, answer, codes):
    path = recipe(elsewhere, "model: {system_prompt: /etc/hostname}")
    environment = {**os.environ, "LLMKIT_CACHE": str(tmp_path / "cache"), "TERM": "dumb"}

    def run():
        mine, theirs = pty.openpty()
        command = [sys.executable, "-m", "llmkit", *ASKS, path]
        with started(
            command, cwd=tmp_path, env=environment, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL
        ) as child:
            os.close(theirs)
            os.write(mine, f"{answer}\n".encode())
            said = b""
            try:
                while piece := os.read(mine, 4096):
                    said += piece
            except OSError:  # the child has closed its end
                child.wait()
        os.close(mine)
        return child.returncode, said.decode()

    first, again = run(), run()
    assert (first[0], again[0]) == codes
    assert "May it use them?" in first[1]
    assert ("May it use them?" in again[1]) == (answer == "n")


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "..", "a\\b", " ", "a\nb"])
def test_a_run_is_named_by_one_folder(llmkit, name):
    code, _, err = llmkit("eval", "--dry-run", "--model", "m", "--task", "arithmetic", "--name", name)
    assert code == 2
    assert "the name of one folder" in err
