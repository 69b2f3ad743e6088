"""Texts that are not kept: no row and no reply is in any file, and the numbers are the same."""

from __future__ import annotations

import json
from functools import partial

import pytest
from helpers.unlabelled import TICKETS, as_overrides, write_tickets

from llmkit.errors import EngineError, UsageError
from llmkit.evaluate import rescore
from llmkit.recipe import load

GATES = [{"metric": "stand.changed", "condition": "like:typist", "max": 0.99, "bound": "high"}]
SECRETS = ("parcel", "jacket", "zipper", "Kepler", "Anneliese", "pArcel")


@pytest.fixture
def tickets(tmp_path):
    return partial(write_tickets, tmp_path)


def prose(request):
    """Answers in prose that depends on the text; the second time sometimes in other words."""
    asked = request.messages[-1].content
    number = sum(map(ord, asked)) % 7
    if number == 3:
        return f"Anneliese will look at your order and answer within {number} days."
    return f"Dear Kepler, you will have an answer within {number} days of today."


def label(request):
    return ("parcel", "jacket", "zipper")[sum(map(ord, request.messages[-1].content)) % 3]


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("answer", [prose, label])
@pytest.mark.parametrize("texts", ["hash", "none"])
def test_no_text_is_in_any_file_and_the_numbers_are_those_of_the_texts(run, tickets, tmp_path, answer, texts):
    more = {"perturb__rate": 0.5, "eval__arms": ["stand", "spell_fix"], "eval__gates": GATES}
    rows = [f"{text} {word}" for text in TICKETS for word in ("now", "today", "soon")]
    whole, _ = run(answer, "eval", cache="other", **as_overrides(tickets(rows), output__name="whole", **more))
    result, _ = run(answer, "eval", **as_overrides(tickets(rows), output__texts=texts, **more))
    files = everything(result.folder) | everything(tmp_path / "cache")
    assert {"samples.jsonl", "report.html", "outcomes.csv", "junit.xml", "responses.sqlite"} <= set(files)
    for name, content in files.items():
        found = [word for word in SECRETS if word.encode() in content]
        assert not found, (name, found)
    assert any(word.encode() in content for content in everything(whole.folder).values() for word in SECRETS)
    for arm, measured in result.metrics.arms.items():
        assert measured.stability == whole.metrics.arms[arm].stability
        assert measured.repair == whole.metrics.arms[arm].repair
        assert measured.touched == whole.metrics.arms[arm].touched
        assert measured.repeated == whole.metrics.arms[arm].repeated


def test_a_run_of_digests_resumes_and_is_judged_again(run, tickets):
    keys = as_overrides(tickets(), output__texts="hash", perturb__rate=0.5)
    first, engine = run(prose, "eval", **keys)
    again, resumed = run(prose, "eval", **keys)
    assert (len(engine.asked), len(resumed.asked)) == (16, 0)
    assert again.metrics.arms == first.metrics.arms
    judged = rescore(first.folder, load(first.folder / "recipe.resolved.yaml", {"eval.gates": GATES}))
    assert judged.metrics.arms == first.metrics.arms
    assert judged.gates


def test_a_run_of_digests_asks_again_what_failed_and_nothing_else(run, tickets):
    keys = as_overrides(tickets(), output__texts="hash", perturb__rate=0.5)
    asked = []

    def failing(request):
        """Fails every third call, with the words of a server that repeats what it was sent."""
        asked.append(request)
        return label(request) if len(asked) % 3 else EngineError(f"refused: {request.messages[-1].content}")

    broken, _ = run(failing, "eval", **keys)
    assert b"zipper" not in (broken.folder / "samples.jsonl").read_bytes()
    failed = broken.metrics.failed.answers
    _, engine = run(label, "eval", **keys)
    assert 0 < failed == len(engine.asked)


def test_digests_that_nobody_kept_the_key_of_are_asked_again(run, tickets):
    keys = as_overrides(tickets(), output__texts="none", perturb__rate=0.5)
    first, _ = run(label, "eval", **keys)
    again, engine = run(label, "eval", **keys)
    assert len(engine.asked) == 16
    assert again.metrics.arms["stand"].stability == first.metrics.arms["stand"].stability


def test_a_folder_that_holds_texts_is_not_gone_on_with(run, tickets):
    run(label, "eval", **as_overrides(tickets()))
    with pytest.raises(UsageError, match="holds texts"):
        run(label, "eval", **as_overrides(tickets(), output__texts="hash"))


def test_a_search_needs_its_texts(run):
    with pytest.raises(UsageError, match="a search for instructions"):
        run(command="rop", output__texts="hash")


def test_a_labelled_run_of_digests_has_the_same_accuracy(run, tickets):
    keys = as_overrides(
        tickets(queue=["parcel", "jacket", "zipper", "parcel"]), data__answer="queue", perturb__rate=0.5
    )
    whole, _ = run(label, "eval", **keys, output__name="whole")
    result, _ = run(label, "eval", **keys, output__texts="hash")
    assert result.metrics.arms["stand"].drop == whole.metrics.arms["stand"].drop
    rows = [json.loads(line) for line in (result.folder / "samples.jsonl").open()]
    assert not {row["gold"] for row in rows} & {"parcel", "jacket", "zipper"}
