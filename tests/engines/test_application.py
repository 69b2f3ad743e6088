"""`llmkit eval` asks an application of the user's own: over HTTP by a recipe, and a function by a flag."""

from __future__ import annotations

import json

import pytest
from helpers.fault_server import FaultServer

from llmkit import secrets
from llmkit.cli.app import run as shell
from llmkit.runs import Run, names

ROWS = "text,label\n" + "".join(
    f"The parcel number {n} has {'come too late again and it is broken' if n % 3 else 'come on time and I like it'},"
    f"{'no' if n % 3 else 'yes'}\n"
    for n in range(30)
)
ENGINE = """\
engine:
  kind: http
  url: {url}
  headers_env: {{X-Key: SUPPORT_KEY}}
  body:
    session: "{{{{ session }}}}"
    turns: "{{{{ messages }}}}"
  answer: $.reply.text
  documents: $.found[*].id
  usage: {{prompt: $.tokens.in, completion: $.tokens.out}}
  before: {{url: {door}, session: $.id}}
  retries: 0
"""
RECIPE = """\
model: {path: support-v3}
data: {path: rows.csv, question: text, answer: label, kind: boolean, split: all}
perturb: {conditions: [typing]}
eval: {interval: {draws: 200}}
"""
APP = """
def answer(question: str):
    return {"text": "no" if "late" in question or "broken" in question else "yes", "documents": ["d1"]}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(secrets, "_carried", set())
    (tmp_path / "rows.csv").write_text(ROWS)


class Support:
    """An application with sessions: classifies by a word, and fails `failing` of its answers."""

    def __init__(self):
        self.sessions = 0
        self.answered = []
        self.failing = 0
        self.model = "first"

    def door(self, handler, body):
        self.sessions += 1
        handler._send(200, {"id": self.sessions})

    def chat(self, handler, body):
        if self.failing and len(self.answered) >= self.failing:
            return handler._send(500, {"detail": f"no room for {handler.headers['X-Key']}"})
        self.answered.append(body["turns"][-1]["content"])
        negative = "late" in self.answered[-1] or "broken" in self.answered[-1]
        reply = {"text": f"<think>{handler.headers['X-Key']}</think>{'no' if negative else 'yes'}"}
        return handler._send(
            200, {"model": self.model, "reply": reply, "found": [{"id": 3}], "tokens": {"in": 20, "out": 1}}
        )


def test_an_application_over_http_is_measured_and_the_run_goes_on(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SUPPORT_KEY", "Bearer tiptop-secret-9")
    support = Support()
    with FaultServer(routes={"/chat": support.chat, "/door": support.door}) as server:
        host = server.url.removesuffix("/v1")
        (tmp_path / "mine.yaml").write_text(RECIPE + ENGINE.format(url=f"{host}/chat", door=f"{host}/door"))
        support.failing = 20
        assert shell(["eval", "mine.yaml"]) == 4, "40 of 60 answers failed"
        support.failing = 0
        assert shell(["eval", "mine.yaml"]) == 0
        assert len(support.answered) == 60, "what was answered is not asked again, and nothing is cached"
        assert shell(["eval", "mine.yaml"]) == 0
        assert len(support.answered) == 60, "the journal answers all"
        assert sum("tiptop" in str(headers) for headers in server.headers) == 60 + 40
        assert shell(["--quiet", "eval", "mine.yaml", "--dry-run", "--json"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    rows = [row for row in Run(folder).entries(names.OUTCOME) if not row["error"]]
    assert len(rows) == 60
    assert all(row["calls"][0]["reply"]["documents"] == ["3"] for row in rows)
    metrics = json.loads((folder / names.METRICS).read_text())
    clean = metrics["arms"]["stand"]["conditions"]["clean"]
    assert (clean["accuracy"]["value"], clean["tokens"]) == (1.0, {"prompt": 600, "completion": 30})
    files = [p for p in (*folder.rglob("*"), *(tmp_path / "cache").rglob("*")) if p.is_file()]
    assert not [p for p in files if b"tiptop" in p.read_bytes()]
    screen = capfd.readouterr()
    assert "tiptop" not in screen.out + screen.err
    assert "server error 500: no room for" in (folder / names.JOURNAL).read_text()


def test_answers_are_cached_where_the_application_is_declared_deterministic(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPPORT_KEY", "a")
    support = Support()
    with FaultServer(routes={"/chat": support.chat, "/door": support.door}) as server:
        host = server.url.removesuffix("/v1")
        (tmp_path / "mine.yaml").write_text(RECIPE + ENGINE.format(url=f"{host}/chat", door=f"{host}/door"))
        command = ["eval", "mine.yaml", "--set", "engine.deterministic=true", "--dir"]
        assert shell([*command, "one"]) == 0
        asked = len(support.answered)
        assert shell([*command, "two"]) == 0
        assert len(support.answered) == asked + 5, "the canary alone"


def test_a_run_stops_where_another_model_answers(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SUPPORT_KEY", "a")
    support = Support()
    with FaultServer(routes={"/chat": support.chat, "/door": support.door}) as server:
        host = server.url.removesuffix("/v1")
        engine = ENGINE.format(url=f"{host}/chat", door=f"{host}/door") + "  reported_model: $.model\n"
        (tmp_path / "mine.yaml").write_text(RECIPE + engine)
        support.failing = 20
        assert shell(["eval", "mine.yaml"]) == 4
        support.failing, support.model = 0, "second"
        assert shell(["eval", "mine.yaml"]) == 1
        assert "another model answers as `support-v3`" in capfd.readouterr().err
        assert shell(["eval", "mine.yaml", "--anew"]) == 0
    assert len(support.answered) == 1 + 19 + 1 + 1 + 60


def test_a_function_is_measured_by_flag_only(tmp_path, capfd):
    (tmp_path / "support_app.py").write_text(APP)
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("model: {path: support-v3}\n", ""))
    engine = "python:support_app:answer"
    assert shell(["eval", "mine.yaml", "--engine", engine]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    rows = list(Run(folder).entries(names.OUTCOME))
    assert {row["calls"][0]["reply"]["documents"][0] for row in rows} == {"d1"}
    assert shell(["eval", "score", str(folder)]) == 0, "to score again, nothing of it is run"
    capfd.readouterr()
    (tmp_path / "bad.yaml").write_text(f"extends: mine\nengine: {{kind: {engine}}}\n")
    for command in ("eval", "rop"):
        assert shell([command, "bad.yaml"]) == 2
        assert "bad.yaml:2: engine.kind: a recipe must not name code" in capfd.readouterr().err
    assert shell(["recipe", "check", "bad.yaml"]) == 2
    assert "must not name code" in capfd.readouterr().err
