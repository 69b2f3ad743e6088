"""The GitHub Action: its script against a server that plays GitHub, and what action.yml hands to the shell."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from helpers.benchmarks import ROOT
from helpers.github import GitHub, runner
from helpers.processes import run
from ruamel.yaml import YAML

from llmkit.ci.github import Ran, _document, _output

ASK = "--engine python:app:answer --no-cache"
ACTION = YAML(typ="safe").load((ROOT / "action.yml").read_text())


@pytest.fixture
def act(project, tmp_path):
    """act(github, arguments, **variables): runs the script as the Action's step does."""

    def go(github, arguments="", wrong="0", **more):
        variables = {"INPUT_RECIPE": "recipe.yaml", "INPUT_ARGUMENTS": f"{ASK} {arguments}", "WRONG": wrong, **more}
        step = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "run")
        bin_folder = str(Path(sys.executable).parent)
        environment = {
            **os.environ,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            **runner(tmp_path, github, **variables),
        }
        return run(["bash", "-e", "-c", step["run"]], env=environment, cwd=project)

    return go


@pytest.mark.e2e
def test_a_pull_request_from_its_baseline_to_its_comments(act, project, tmp_path):
    with GitHub() as github:
        first = act(github, "--name main", INPUT_COMMENT="false")
        assert first.returncode == 0, first.stderr
        assert github.asked == []
        made = run([sys.executable, "-m", "llmkit", "runs", "baseline", "main", "-o", "baseline.json"], cwd=project)
        assert made.returncode == 0, made.stderr
        gate = "--baseline baseline.json --gate 'stand.accuracy_change >= -0.05'"

        good = act(github, f"{gate} --name good")
        assert good.returncode == 0, good.stderr
        (body,) = github.bodies
        assert body.startswith("<!-- llmkit: llmkit -->\n`llmkit eval` ended with exit code 0: every gate passed.")
        assert "Worse" not in body

        bad = act(github, f"{gate} --name bad", wrong="0.2")
        assert bad.returncode == 3, bad.stderr
        assert len(github.bodies) == 1, "it is the same comment, written again"
        (body,) = github.bodies
        assert "exit code 3: a gate failed" in body
        assert "**Gates: 1 failed.**" in body
        assert "## Worse since the baseline: " in body
        assert "@octocat" not in body
    summary = (tmp_path / "summary.md").read_text()
    assert body.partition("\n")[2] in summary
    assert len(body) < 65_536
    output = (tmp_path / "output.txt").read_text()
    assert re.search(r"^exit-code=3$", output, re.MULTILINE)
    assert re.search(r"^/.*/runs/bad-\w+/report\.html$", output, re.MULTILINE)
    assert {token for _, _, token in github.asked} == {"Bearer token-of-the-job"}
    commands = bad.stdout.split("::stop-commands::")[1]
    pause = commands.split("\n")[0]
    assert commands.index(f"::{pause}::") > commands.index("run:"), "what llmkit prints gives the runner no commands"


@pytest.mark.e2e
def test_without_permission_the_summary_is_written_and_the_verdict_counts(act, tmp_path):
    with GitHub(POST=403) as github:
        done = act(github, "--limit 60 --gate 'stand.accuracy >= 0.9'", wrong="1")
    assert done.returncode == 3
    warning = next(line for line in done.stdout.splitlines() if line.startswith("::warning"))
    assert "GitHub answered 403" in warning
    assert "pull-requests: write" in warning
    assert "exit code 3" in (tmp_path / "summary.md").read_text()
    assert github.bodies == []


@pytest.mark.e2e
def test_a_run_that_never_begins_is_reported_with_its_reason(act, tmp_path):
    with GitHub() as github:
        done = act(github, "--baseline nowhere.json")
    assert done.returncode == 2
    (body,) = github.bodies
    assert "exit code 2: the recipe or a flag is wrong" in body
    assert "error: no run folder and no file `nowhere.json` to compare with" in body


@pytest.fixture
def comment(tmp_path):
    """comment(github, **variables): writes a comment; returns what went wrong."""
    from llmkit.ci.github import CommentFailed, _comment

    def go(github, body="text\n", **more):
        try:
            _comment(body, runner(tmp_path, github, **more))
        except CommentFailed as error:
            return str(error)
        return None

    return go


def theirs(body, login="mallory", kind="User", number=1):
    return {"id": number, "user": {"login": login, "type": kind}, "body": body}


@pytest.mark.parametrize("login", [None, "ann"])
def test_only_a_comment_of_its_own_is_written_again(comment, login):
    marker = "<!-- llmkit: llmkit -->"
    others = [theirs(f"{marker}\nforged", number=n) for n in range(150)]
    with GitHub(others, login) as github:
        assert comment(github, "one") is None
        assert comment(github, "two") is None
        assert comment(github, "three", INPUT_NAME="another --> suite") is None
    assert github.bodies[:150] == [f"{marker}\nforged"] * 150
    assert github.bodies[150:] == [f"{marker}\ntwo", "<!-- llmkit: another-suite -->\nthree"]


@pytest.mark.parametrize(
    ("refuses", "says"),
    [
        ({"GET": 403}, "answered 403 to GET /repos/ann/shop/issues/7/comments; give the job"),
        ({"POST": 404}, "answered 404 to POST"),
        ({"POST": 500}, "answered 500 to POST"),
        ({"POST": 307}, "answered 307 to POST"),
    ],
)
def test_a_refusal_is_said_and_no_redirection_takes_the_token_along(comment, refuses, says):
    with GitHub(**refuses) as github:
        assert says in comment(github)
    assert not any("elsewhere" in path for _, path, _ in github.asked)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"INPUT_TOKEN": ""}, "it has no token"),
        ({"GITHUB_REPOSITORY": "../../user"}, "names no repository"),
        ({"GITHUB_API_URL": "http://127.0.0.1:9"}, "did not answer"),
        ({"GITHUB_API_URL": "file:///etc/passwd"}, "did not answer"),
    ],
)
def test_what_the_runner_lacks_is_said(comment, variables, says):
    with GitHub() as github:
        assert says in comment(github, **variables)


@pytest.mark.parametrize("event", ["", "{}", '{"pull_request": {"number": "7; rm"}}', "[1]"])
def test_other_events_get_no_comment(comment, tmp_path, event):
    file = tmp_path / "other.json"
    file.write_text(event)
    with GitHub() as github:
        assert comment(github, GITHUB_EVENT_PATH=str(file)) is None
    assert github.asked == []


def test_an_error_cannot_leave_its_fence():
    text = _document(Ran(2, (), "error: ``` \n<!-- ````` -->"), "eval")
    (opening, *_, closing) = [line for line in text.splitlines() if set(line) == {"`"}]
    assert opening == closing == "`" * 8


def test_no_value_ends_an_output_early():
    text = _output("runs", ["a", "end-0", "runs<<EOF"])
    end = text.split("\n")[0].removeprefix("runs<<")
    assert text.split("\n").index(end) == 4


def test_no_input_is_ever_a_part_of_a_shells_text():
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", ""), "an expression in `run:` is a part of the shell's text"
        assert ("run" in step) == ("shell" in step)
    run_step = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "run")
    given = {re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", value)[1] for value in run_step["env"].values()}
    assert given == set(ACTION["inputs"]) - {"working-directory", "python-version"}
    assert set(run_step["env"]) == {f"INPUT_{name.upper()}" for name in given}


def test_arguments_are_words_and_no_shell(act, project):
    with GitHub() as github:
        done = act(github, "; touch forged; $(touch forged) `touch forged`", INPUT_RECIPE="none.yaml")
        assert done.returncode == 2
        assert not (project / "forged").exists()
        assert act(github, "'").returncode == 2
        assert act(github, INPUT_COMMAND="cache").returncode == 2
