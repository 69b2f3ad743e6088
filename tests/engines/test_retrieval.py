"""An application with a retriever: what is kept of its documents, and what `llmkit eval` reports of them."""

from __future__ import annotations

import json
import shutil

import jsonschema
import pytest
from helpers.application import ask, opened
from helpers.fault_server import FaultServer
from helpers.retriever import TICKETS, Retriever, said
from helpers.unlabelled import write_tickets

from llmkit import secrets
from llmkit.cli.app import run as shell
from llmkit.measure.schema import schema
from llmkit.runs import names
from llmkit.tasks.comparing import Response, compare
from llmkit.types import Question

RECIPE = """\
engine:
  kind: http
  url: {url}
  body: {{question: "{{{{ prompt }}}}"}}
  answer: $.answer
  documents: {documents}
  retries: 0
model: {{path: help-desk}}
data: {{path: tickets.csv, question: body, answer: null, kind: text, split: all}}
perturb: {{conditions: [typing], rate: 0.2}}
eval: {{interval: {{draws: 200}}}}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(secrets, "_carried", set())
    write_tickets(tmp_path, TICKETS)


def measured(tmp_path, retriever, *flags, documents="$.sources[*].id", code=0):
    with FaultServer(routes={"/chat": retriever}) as server:
        url = f"{server.url.removesuffix('/v1')}/chat"
        (tmp_path / "mine.yaml").write_text(RECIPE.format(url=url, documents=documents))
        assert shell(["eval", "mine.yaml", *flags]) == code
    (folder,) = (tmp_path / "runs").iterdir()
    return folder, json.loads((folder / names.METRICS).read_text())["arms"]["stand"]


def test_overlap_of_what_is_retrieved_is_that_of_the_retriever(tmp_path, capfd):
    folder, arm = measured(tmp_path, Retriever())
    jsonschema.validate(json.loads((folder / names.METRICS).read_text()), schema())
    retrieval = arm["retrieval"]["typing"]
    retriever = Retriever()
    journal = map(json.loads, (folder / names.JOURNAL).read_text().splitlines())
    asked = {(row["question_id"], row["condition"]): row["text"] for row in journal if row["kind"] == names.OUTCOME}
    rows = sorted({row for row, _ in asked})
    assert len(rows) == retrieval["n"] == 40
    pairs = [[retriever.ranked(asked[row, condition]) for condition in ("clean", "typing")] for row in rows]
    for depth, k in (("1", 1), ("3", 3), ("10", 10), ("all", 50)):
        shares = [
            len({*one[:k]} & {*two[:k]}) / max(len(one[:k]), len(two[:k]), 1) if one or two else 1.0
            for one, two in pairs
        ]
        overlap = retrieval["overlap"][depth]
        assert overlap["noise"]["value"] == pytest.approx(sum(shares) / 40, abs=1e-6)
        assert overlap["noise"]["low"] < overlap["noise"]["value"] < overlap["noise"]["high"]
        assert overlap["itself"]["value"] == 1, "it always finds the same"
        assert overlap["lost"]["value"] == pytest.approx(1 - sum(shares) / 40, abs=1e-6)
    answers = [[said(documents) for documents in pair] for pair in pairs]
    changed = [
        compare(Response(two), Response(one), Question("", asked[row, "clean"], None, "text")).changed
        for row, (one, two) in zip(rows, answers, strict=True)
    ]
    among = [c for c, (one, two) in zip(changed, pairs, strict=True) if one != two]
    assert retrieval["changed_other"]["pairs"] == len(among)
    assert retrieval["changed_other"]["changed"]["value"] == pytest.approx(sum(among) / len(among), abs=1e-6)
    assert retrieval["changed_same"]["changed"]["value"] == 0
    assert "Overlap of documents" in capfd.readouterr().out
    assert "What is retrieved" in (folder / "report.html").read_text()
    before = (folder / names.METRICS).read_bytes()
    assert shell(["eval", "score", str(folder)]) == 0
    assert (folder / names.METRICS).read_bytes() == before


def test_without_texts_the_overlap_is_the_same_and_no_document_is_in_any_file(tmp_path):
    _, whole = measured(tmp_path, Retriever())
    shutil.rmtree(tmp_path / "runs")
    folder, arm = measured(tmp_path, Retriever(), "--set", "output.texts=hash")
    assert arm["retrieval"]["typing"]["overlap"] == whole["retrieval"]["typing"]["overlap"]
    assert not [f for f in folder.rglob("*") if f.is_file() and b"kettle-" in f.read_bytes()]


def test_an_application_that_finds_other_documents_by_itself_shows_it(tmp_path):
    _, arm = measured(tmp_path, Retriever(slip=3), "--set", "engine.max_num_seqs=1")
    overlap = arm["retrieval"]["typing"]["overlap"]["1"]
    assert overlap["itself"]["value"] < 1
    assert overlap["lost"]["low"] < overlap["lost"]["value"] < overlap["lost"]["high"]


def test_a_path_that_finds_no_document_is_said_and_nothing_is_reported(tmp_path, caplog):
    folder, arm = measured(tmp_path, Retriever(), documents="$.source[*].id")
    assert "`engine.documents` ($.source[*].id) finds no document in any reply" in caplog.text
    assert "retrieval" not in arm
    assert "What is retrieved" not in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("sources", "path", "documents"),
    [
        ([{"id": 7}, {"id": None}, {"name": "b"}, {"id": ""}, {"id": "c"}], "$.sources[*].id", ("7", "c")),
        (["a", "b", "a"], "$.sources", ("a", "b", "a")),
        ([["a", "b"], ["c"]], "$.sources[*]", ("a", "b", "c")),
        ("a", "$.sources", ("a",)),
        ({"id": 1}, "$.sources", ('{"id": 1}',)),
        (None, "$.sources", ()),
        ([], "$.sources", ()),
    ],
)
def test_whatever_a_path_finds_is_read_as_documents(sources, path, documents):
    with FaultServer(routes={"/chat": lambda h, b: h._send(200, {"answer": "x", "sources": sources})}) as server:
        assert ask(opened(server, documents=path), "a")["a"].documents == documents
