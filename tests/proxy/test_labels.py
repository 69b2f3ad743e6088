"""`llmkit label` on a proxy's log: a person says of each changed answer which one is right."""

from __future__ import annotations

import csv
import json

import pytest

from llmkit.cli import app
from llmkit.labels import Change, judged, pairs_of, unlabelled
from llmkit.runs.labels import Judgements, Label, now

BEGUN = {"shadow": 1, "when": "now", "chain": "fold", "guarantee": "none", "texts": True, "floor": 0}


def line(text, sent, repaired, verdict="facts"):
    answers = {"sent": text, "repaired": "", "answers": [sent, repaired], "asked": "repaired", "verdict": verdict}
    counts = {"when": "now", "fired": 1, "action": "repaired", "detector": "a", "added_ms": 1.0, "kinds": ["number"]}
    return {**counts, **answers}


@pytest.fixture
def log(tmp_path):
    lines = [
        BEGUN,
        line("one", "it is 1", "it is 2"),
        line("one", "it is 1", "it is 2"),  # another user wrote the same
        line("two", "it is 3", {"text": "", "tool_calls": [{"name": "refund", "arguments": {}}]}),
        line("three", "same", "same", "same"),
        line("four", "it is 5", "it is 6", "unclear"),
    ]
    path = tmp_path / "shadow.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def test_a_log_is_labelled_in_a_file(log, tmp_path, capsys):
    filled, empty = tmp_path / "filled.csv", tmp_path / "changed.csv"
    main_ends(["label", str(log), "--csv", str(empty)])
    assert "3 different pairs of answers, 3 to label now" in capsys.readouterr().err
    with empty.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        right = {"one": "it is 2", "two": "it is 3"}.get(row["text"])
        row["verdict"] = "both" if right is None else "first" if row["first"] == right else "second"
    with filled.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    main_ends(["label", str(log), "--import", str(filled), "--json"])
    said = json.loads(capsys.readouterr().out)
    counts = {"changes": 3, "better": 1, "worse": 1, "equal": 1, "skipped": 0}
    assert said == {"log": str(log), **counts}
    main_ends(["label", str(log)])
    assert "with the repair 1 got better, 1 worse, 1 stayed as good" in capsys.readouterr().out


def main_ends(words, code=0):
    assert app.run(words) == code


def test_which_answer_is_which_is_hidden_in_the_order():
    changes = [Change(f"text {number}", "it is 1", "it is 2") for number in range(40)]
    pairs = pairs_of(changes)
    first = [pair.answers[0].reply for pair in pairs]
    assert 5 < first.count("it is 1") < 35
    assert [pair.row.text for pair in pairs] != [change.text for change in changes]
    assert pairs_of(changes) == pairs
    pair = pairs[0]
    verdict = "first" if pair.answers[0].reply == "it is 2" else "second"
    known = Judgements([Label(*pair.digests, verdict, now(), "page", "log")])
    assert unlabelled(pairs, known) == pairs[1:]
    assert (judged(pairs, known).better, judged(pairs, known).labelled) == (1, 1)


def test_a_log_without_texts_cannot_be_labelled(log, capsys):
    log.write_text(json.dumps({**BEGUN, "texts": False}) + "\n")
    main_ends(["label", str(log)], 2)
    assert "holds no texts" in capsys.readouterr().err
    main_ends(["label", str(log), "--labels", "a.jsonl"], 2)
