"""`llmkit calibrate` from end to end, with harm planted at known rates."""

from __future__ import annotations

import json

import pytest
from helpers.shop import DAYS, shop, ticket, tickets
from rapidfuzz import process

from llmkit.calibrate import run as calibration
from llmkit.errors import EngineError
from llmkit.perturb.numerals import numbers
from llmkit.repair import Repair
from llmkit.repair.document import read
from llmkit.repair.drift import Drift
from llmkit.runs import Run


@pytest.fixture
def calibrate(llmkit, write):
    """calibrate(*flags, texts=..., answer=...): a calibration of tickets; exit code, result as JSON, stderr, engine."""

    def go(*more, texts=None, answer=shop):
        path = write("rows.csv", tickets() if texts is None else texts)
        code, out, err, engine = llmkit("calibrate", "shop.yaml", "--rows", path, "--harm", "0.02", "--json", *more,
                                        answer=answer)  # fmt: skip
        return code, json.loads(out) if out else None, err, engine

    return go


def test_a_harmless_repair_gets_its_guarantee_at_the_loosest_threshold(calibrate):
    code, result, err, _engine = calibrate()
    assert code == 0
    assert result["chain"] == "fold+spell"
    assert result["gate"]["threshold"] == 1.0
    guarantee = result["guarantee"]
    assert guarantee["definition"] == "changed_of_all"
    assert (guarantee["harmed"], guarantee["reported_harmed"]) == (0, 0)
    assert guarantee["fired"] > 0
    assert guarantee["upper"] < 0.02
    assert "500 rows, one of each cluster" in err
    assert "needs 149 rows without a harm" in err
    # Only rows on which the gate fires are asked, but for the copies that a chain is chosen by.
    fired = guarantee["fired"] + guarantee["reported_fired"]
    assert f"the gate fires on {fired} of" in err
    assert Run(result["run"]).count_answers() == 2 * fired
    assert all(one["passes"] for one in result["tested"])


@pytest.mark.parametrize("fragile", [1.0, 0.5])
def test_harm_makes_the_gate_stricter(calibrate, fragile):
    """Of rows .04 have a slip, and the repair changes the answers to all or half of these."""
    code, result, _, _ = calibrate(texts=tickets(fragile=fragile))
    assert code == 0
    assert result["gate"]["threshold"] > 1.0
    assert result["guarantee"]["harmed"] == 0
    last = result["tested"][-1]
    assert not last["passes"]
    assert last["harmed"] > 0
    assert last["upper"] > 0.02


def test_harm_that_no_threshold_avoids_is_refused(calibrate, monkeypatch):
    monkeypatch.setattr(calibration, "FAMILY", (1.0,))
    code, result, err, _ = calibrate(texts=tickets(slips=0.1, fragile=1.0))
    assert (code, result) == (3, None)
    assert "no guarantee: at its strictest the gate fires on" in err
    assert "llmkit label" in err
    code, result, err, _ = calibrate(texts=tickets(fragile=0.5))
    assert (code, result) == (5, None)
    assert "not below 0.02 at 95%" in err


def test_a_finished_calibration_asks_nothing_again_and_another_limit_finds_its_answers(calibrate):
    first = calibrate()
    again = calibrate()
    assert again[1]["model_calls"] == 0
    assert again[1]["guarantee"] == first[1]["guarantee"]
    code, looser, _, engine = calibrate("--harm", "0.05", "--no-cache")
    assert (code, engine.asked) == (0, [])
    assert looser["run"] == first[1]["run"]
    assert looser["guarantee"]["harm"] == 0.05


@pytest.mark.parametrize(("end", "exit_code"), [(EngineError("the engine died"), 4), (KeyboardInterrupt(), 130)])
def test_what_was_asked_before_an_end_is_kept(calibrate, end, exit_code):
    left = [250]

    def dies(request):
        left[0] -= 1
        if left[0] < 0:
            raise end
        return shop(request)

    code, result, err, _ = calibrate("--no-cache", answer=dies)
    assert (code, result) == (exit_code, None)
    assert "the same command goes on from there" in err
    whole = calibrate("--no-cache")
    fresh = calibrate("--no-cache", "--name", "fresh")
    assert fresh[1]["guarantee"] == whole[1]["guarantee"]
    # A row whose second answer was still missing begins again.
    assert len(whole[3].asked) < len(fresh[3].asked) - 200


def corrector(request):
    """Corrects a text to the nearest ticket without a slip, and answers as the shop does."""
    if request.purpose != "correct":
        return shop(request)
    asked = request.messages[-1].content.rsplit("Text: ", 1)[1]
    return process.extractOne(asked, [text for text in tickets(slips=0) if numbers(text) == numbers(asked)])[0]


def test_a_model_that_corrects_better_is_chosen_and_its_instruction_kept(calibrate, tmp_path):
    (tmp_path / "mine.json").write_text('{"correction": "Correct the text.", "guidance": "Think."}')
    flags = ("--instructions", "mine.json", "--set", "rop.correction_shots=2")
    code, result, err, engine = calibrate(*flags, answer=corrector)
    assert code == 0, err
    assert list(result["chains"]) == ["fold", "fold+spell", "fold+spell+model"]
    assert result["chain"] == "fold+spell+model"
    assert result["instruction"] == "Correct the text."
    corrections = [request for request in engine.asked if request.purpose == "correct"]
    (noisy, clean), _ = result["shots"]
    assert all(clean in request.messages[-1].content for request in corrections)
    assert noisy != clean
    assert clean in tickets()
    plain = calibrate("--instructions", "mine.json", "--chains", "fold+spell", "--name", "plain", answer=corrector)
    assert plain[1]["instruction"] == ""


def test_a_failed_call_counts_as_harm(calibrate):
    """Two repaired texts get no answer: below `eval.max_errors` in all, and harm."""
    bad = {f"order {number}," for number in (50, 100)}

    def fails(request):
        text = request.messages[-1].content
        if "that was" in text and any(mark in text for mark in bad):
            return EngineError("no answer")
        return shop(request)

    code, result, _, _ = calibrate("--set", "eval.max_errors=0.2", answer=fails)
    assert code == 0
    assert sum(result["guarantee"][name] for name in ("harmed", "reported_harmed")) <= 2
    assert any(one["harmed"] for one in result["tested"]) or result["guarantee"]["reported_harmed"]
    code, _, err, _ = calibrate("--set", "eval.max_errors=0.001", "--name", "strict", answer=fails)
    assert code == 4
    assert "eval.max_errors" in err


def test_dry_run_says_calls_and_asks_nobody(llmkit, write):
    path = write("rows.csv", tickets())
    code, out, _, engine = llmkit("calibrate", "shop.yaml", "--rows", path, "--harm", "0.02", "--dry-run")
    assert (code, engine.asked) == (0, [])
    assert "calls at most:" in out
    assert "needs 149 rows without a harm" in out
    code, out, _, _ = llmkit("calibrate", "shop.yaml", "--rows", path, "--harm", "0.02", "--dry-run", "--json")
    estimate = json.loads(out)
    code, out, _, engine = llmkit("calibrate", "shop.yaml", "--rows", path, "--harm", "0.02", "--json")
    assert len(engine.asked) <= estimate["calls"]
    guarantee = json.loads(out)["guarantee"]
    assert estimate["fired"] == guarantee["fired"] + guarantee["reported_fired"]


def test_the_file_is_a_repair_that_leaves_clean_texts_alone_and_watches_its_traffic(calibrate, tmp_path):
    _, result, _, _ = calibrate("-o", str(tmp_path / "mine.json"))
    assert result["repair"] == str(tmp_path / "mine.json")
    repair = Repair.load(tmp_path / "mine.json")
    clean = ticket(5)
    assert repair(clean).text == clean
    assert repair(clean).action == "passed"
    assert repair(clean.replace("parcel", "parcle")).text == clean
    drift = Drift.of(read(tmp_path / "mine.json"))
    assert not any(drift.see(repair(text).rarity) for text in tickets(400))
    assert any(drift.see(repair(ticket(n).replace("parcel", "parcle")).rarity) for n in range(60))


def test_clean_rows_bound_what_changes_and_the_log_is_the_traffic(llmkit, write):
    clean, log = write("clean.csv", tickets()), write("rows.csv", tickets(300, slips=0.2))
    code, out, err, _ = llmkit("calibrate", "shop.yaml", "--rows", log, "--clean", clean, "--harm", "0.02", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["guarantee"]["definition"] == "changed"
    assert sum(result["traffic"]["counts"]) == 300
    code, out, _, _ = llmkit("calibrate", "shop.yaml", "--clean", clean, "--harm", "0.02", "--json")
    assert json.loads(out)["traffic"] is None


OWN = "prompts=[{name: own, text: \"[{role: user, content: '{{ body }}'}]\"}]"


def test_answers_of_the_rows_decide_what_got_worse(calibrate, llmkit, write, monkeypatch):
    """The model is wrong about the days of every second slip: a changed answer there is no harm."""
    monkeypatch.setattr(calibration, "FAMILY", (1.0,))
    texts = tickets(slips=0.1, fragile=1.0)
    golds = ["Someday" if n % 20 == 0 else next(day for day in DAYS if day in text) for n, text in enumerate(texts)]
    path = write("rows.csv", texts, day=golds)
    flags = ("--rows", path, "--answer", "day", "--harm", "0.1", "--json", "--set", OWN)
    code, out, err, _ = llmkit("calibrate", "shop.yaml", *flags)
    assert code == 0, err
    guarantee = json.loads(out)["guarantee"]
    assert guarantee["definition"] == "worse"
    assert 0.3 < guarantee["harmed"] / guarantee["fired"] < 0.7


def test_where_no_chain_wins_anything_there_is_no_repair(calibrate):
    code, result, err, _ = calibrate(answer=lambda request: "always the same")
    assert (code, result) == (3, None)
    assert "no chain wins anything on noisy copies: fold +0.000" in err


def test_a_gate_that_never_fires_is_refused(calibrate):
    """Look-alike letters are in none of these texts, noisy ones included."""
    code, result, err, _ = calibrate("--detectors", "lookalikes")
    assert (code, result) == (3, None)
    assert "fires on none of" in err
    assert "would do nothing" in err


def test_a_run_gives_model_and_rows_of_its_own_kind(llmkit, write, tmp_path):
    path = write("rows.csv", tickets())
    code, out, err, _ = llmkit("eval", "shop.yaml", "--set", f"data.path={path}", "--set", "data.split=all", "--json",
                               "--limit", "20")  # fmt: skip
    assert code == 0, err
    run = json.loads(out)["run"]
    code, out, err, _ = llmkit("calibrate", run, "--rows", path, "--harm", "0.02", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["model"]["model"] == "fake"
    assert Run(result["run"]).state == "finished"


def test_the_file_keeps_how_its_rows_were_asked(calibrate):
    _, first, _, _ = calibrate()
    _, votes, _, _ = calibrate("--set", "rop.correction_votes=9")
    _, tokens, _, _ = calibrate("--set", "rop.max_tokens=99")
    assert (first["votes"], votes["votes"]) == (5, 9)
    assert first["model"]["asked"] == votes["model"]["asked"] != tokens["model"]["asked"]
    assert first["model"]["corrector"] is None  # no chain of these asks a model
