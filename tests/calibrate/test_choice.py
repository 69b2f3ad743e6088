"""The choice of a chain, harm to one row, and the parts of a calibration that ask nobody."""

from __future__ import annotations

import pytest
from helpers.unlabelled import answer

from llmkit.calibrate.choice import choose, gain_of, value
from llmkit.calibrate.gating import doubts, offline
from llmkit.calibrate.harm import harmed, same
from llmkit.calibrate.plan import Claim
from llmkit.files import text_digest
from llmkit.measure.answers import answer_digest
from llmkit.repair import Gate, Repair, RepairFile, Scale
from llmkit.repair.repair import is_looked_at
from llmkit.runs.labels import Judgements, Label


def gain(chain, won, lost, rows=100):
    return gain_of(chain, [1] * won + [-1] * lost + [0] * (rows - won - lost), 0.95)


@pytest.mark.parametrize(
    ("gains", "chosen"),
    [
        ([gain("fold", 0, 0), gain("spell", 20, 2), gain("model", 40, 2)], "model"),
        ([gain("fold", 0, 0), gain("spell", 20, 2), gain("model", 22, 5)], "spell"),  # dearer, and no better
        ([gain("fold", 0, 0), gain("spell", 5, 2), gain("model", 0, 9)], "spell"),
        ([gain("fold", 0, 0), gain("spell", 2, 5), gain("model", 0, 9)], None),
        ([gain("fold", 0, 0)], None),
    ],
)
def test_the_cheapest_chain_near_the_best_is_chosen_and_none_that_loses(gains, chosen):
    best = choose(gains)
    assert (best.chain if best else None) == chosen


def test_a_gain_counts_answers_that_come_back_and_those_that_are_broken():
    clean, same, other = answer(1, "clean", "A"), answer(1, "typing", "A"), answer(1, "typing", "B")
    assert [value(clean, other, same), value(clean, same, other), value(clean, same, same)] == [1, -1, 0]
    failed = answer(1, "typing", "A", failed=True)
    assert value(clean, same, failed) == -1


def label(sent, repaired, verdict):
    names = answer_digest(sent), answer_digest(repaired)
    return Judgements([Label(text_digest(sent.question), *names, verdict, "2026-01-01", "csv", "run")])


def test_harm_by_definition():
    sent, repaired = answer(1, "clean", "A"), answer(1, "clean", "B", arm="spell")
    nobody = Judgements()
    assert harmed(sent, repaired, "changed", nobody)
    assert harmed(sent, repaired, "worse", nobody)  # nobody looked: it counts
    assert harmed(sent, repaired, "worse", label(sent, repaired, "first"))
    for verdict in ("second", "both", "neither"):
        assert not harmed(sent, repaired, "worse", label(sent, repaired, verdict))
    assert harmed(sent, repaired, "worse", label(sent, repaired, "skip"))
    assert not harmed(sent, answer(1, "clean", "A", arm="spell"), "changed", nobody)


@pytest.mark.parametrize("definition", ["changed", "worse", "worse_of_clean", "changed_of_all"])
def test_a_failed_call_is_harm(definition):
    sent, failed = answer(1, "clean", "A"), answer(1, "clean", "A", arm="spell", failed=True)
    assert harmed(sent, failed, definition, Judgements())
    assert harmed(answer(1, "clean", "A", failed=True), sent, definition, Judgements())


def test_two_unreadable_replies_are_equal_only_word_for_word():
    def unread(said):
        from dataclasses import replace

        sample = answer(1, "clean", said)
        return replace(sample, outcome=replace(sample.outcome, parsed=None))

    assert same(unread("no label"), unread("no label"))
    assert not same(unread("no label"), unread("another reply"))


@pytest.mark.parametrize("words", [1, 199, 200, 201, 500])
def test_the_texts_of_a_calibration_are_those_that_a_repair_looks_at(words):
    text = " ".join(["word"] * words)
    repair = Repair(RepairFile(chain="fold"))
    assert is_looked_at(text) == (repair.part(text) is not None)
    doubt = doubts(Gate((Scale("lookalikes", ((0.0, 5.0), (1.0, 6.0))),), 1.0), [("row", text)], offline)["row"]
    assert doubt.rarity == (5.0 if words <= 200 else 0.0)


@pytest.mark.parametrize("text", ["http://" * 2_000, "x" * 10_001])
def test_one_endless_word_is_not_looked_at(text):
    assert not is_looked_at(text)
    assert Repair(RepairFile(chain="fold+spell"))(text).action == "passed"
    assert is_looked_at(text[:10_000])


@pytest.mark.parametrize(
    ("clean", "judged", "definition"),
    [
        ("clean.csv", False, "changed"),
        ("clean.csv", True, "worse_of_clean"),
        (None, True, "worse"),
        (None, False, "changed_of_all"),
    ],
)
def test_what_is_seen_on_clean_rows_is_claimed_of_clean_texts_alone(clean, judged, definition):
    assert Claim(0.01, clean=clean).definition(judged=judged) == definition
