"""A repair at work: what passes leaves byte for byte, what fails passes, and only the user's part is looked at."""

from __future__ import annotations

import asyncio
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
from helpers.processes import run
from helpers.strategies import texts
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import EngineError, UsageError
from llmkit.perturb import undo
from llmkit.repair import DETECTORS, Detector, Repair, RepairFile, document
from llmkit.repair.document import GateFile, Knots
from llmkit.repair.repair import MOST_WORDS
from llmkit.types import Message, Request, Sampling

NOISY = "How mnay alppes does Tom hvae?"
CLEAN = "How many apples does Tom have?"
GATE = GateFile(scales=(Knots(detector="unknown_words", knots=((0.0, 0.0), (0.1, 2.0), (0.5, 3.0))),), threshold=1.5)
GATED = RepairFile(chain="fold+spell", gate=GATE)
ASKING = RepairFile(chain="model", instruction="Correct the text.", max_tokens=40)


def test_the_gate_decides_and_the_result_says_why():
    repair = Repair(GATED)
    fired, passed = repair(NOISY), repair(CLEAN)
    assert (fired.text, fired.action, fired.detector) == (CLEAN, "repaired", "unknown_words")
    assert undo(fired.text, fired.edits) == fired.original == NOISY
    assert (passed.text, passed.action, passed.edits, passed.rarity) == (CLEAN, "passed", (), 0.0)
    assert fired.seconds > 0
    assert fired.rarity > 1.5
    ungated = Repair(RepairFile(chain="fold+spell"))(CLEAN)
    assert (ungated.text, ungated.action) == (CLEAN, "unchanged")


@settings(deadline=None)  # the first text reads the dictionary
@given(text=texts, pattern=st.sampled_from([None, r"(?s)\[user\](?P<text>.*?)\[end\]", r"(?P<text>[a-z ]+)"]))
def test_what_does_not_change_leaves_byte_for_byte(text, pattern):
    turn = f"Be kind, teh user is allways rigth.\r\n[user]{text}[end] ansewr\u00a0"
    repaired = Repair(GATED.model_copy(update={"where": pattern}))(turn)
    assert undo(repaired.text, repaired.edits) == repaired.original == turn
    assert (repaired.text == turn) == (repaired.action != "repaired")
    part = Repair(GATED.model_copy(update={"where": pattern})).part(turn)
    for edit in repaired.edits:
        assert part
        assert part.start <= edit.start
        assert edit.old
        assert len(turn) - part.end <= len(repaired.text) - edit.end
    if part:
        assert repaired.text.startswith(turn[: part.start])
        assert repaired.text.endswith(turn[part.end :])


def test_only_the_users_part_is_corrected():
    repair = Repair(GATED.model_copy(update={"where": r"(?s)Question: (?P<text>.*?)\nAnswer"}))
    turn = f"Anwser teh qeustion.\nQuestion: {NOISY}\nAnswer in two wrods."
    assert repair(turn).text == turn.replace(NOISY, CLEAN)
    assert repair(NOISY).action == "passed"


def test_a_long_turn_passes_unless_its_part_is_named():
    short, long = " ".join(["wrods"] * MOST_WORDS), " ".join(["wrods"] * (MOST_WORDS + 1))
    assert (Repair(GATED)(short).action, Repair(GATED)(long).action) == ("repaired", "passed")
    assert Repair(GATED.model_copy(update={"where": "(?s)(?P<text>.*)"}))(long).action == "repaired"


def test_a_model_is_asked_with_messages_and_returns_text():
    asked = []

    def complete(messages, *, max_tokens, temperature):
        asked.append((messages, max_tokens, temperature))
        return CLEAN

    repaired = Repair(ASKING)(NOISY, complete=complete)
    assert (repaired.text, repaired.action) == (CLEAN, "repaired")
    [(messages, max_tokens, temperature)] = asked
    assert [message["role"] for message in messages] == ["user"]
    assert NOISY in messages[0]["content"]
    assert (max_tokens, temperature) == (40, 0.0)


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (TimeoutError("slow"), "TimeoutError: slow"),
        (EngineError("down"), "down"),
        (None, "TypeError: `complete` returned NoneType, not text"),
    ],
)
def test_what_fails_passes_with_its_reason(problem, reason):
    def complete(**_):
        if problem:
            raise problem

    async def acomplete(**_):
        complete()

    repair = Repair(ASKING)
    for repaired in (repair(NOISY, complete=complete), asyncio.run(repair.acall(NOISY, complete=acomplete))):
        assert (repaired.text, repaired.edits, repaired.action) == (NOISY, (), "failed")
        assert repaired.reason == reason


def test_a_reply_that_is_no_correction_is_not_used():
    repaired = Repair(ASKING)(NOISY, complete=lambda **_: "I'm sorry, I cannot do that.")
    assert (repaired.text, repaired.action, repaired.fallback) == (NOISY, "unchanged", "refused")


def test_an_interrupt_is_no_failure():
    def complete(**_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Repair(ASKING)(NOISY, complete=complete)


def test_a_chain_that_asks_needs_a_model():
    with pytest.raises(UsageError, match="asks a model"):
        Repair(ASKING)(NOISY)
    with pytest.raises(UsageError, match="asks a model"):
        asyncio.run(Repair(ASKING).acall(NOISY))
    assert Repair(GATED)(NOISY).text == CLEAN


def test_async_gives_what_sync_gives_and_many_run_at_once():
    waiting, most = 0, 0

    async def complete(messages, *, max_tokens, temperature):
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.01)
        waiting -= 1
        return messages[0]["content"].rsplit("Text: ", 1)[-1].replace("hvae", "have")

    async def all_of(texts):
        repair = Repair(ASKING)
        return await asyncio.gather(*(repair.acall(text, complete=complete) for text in texts))

    results = asyncio.run(all_of([NOISY, "They hvae a dog."]))
    assert [repaired.text for repaired in results] == ["How mnay alppes does Tom have?", "They have a dog."]
    assert most == 2
    assert asyncio.run(Repair(GATED).acall(NOISY)).text == CLEAN


class Surprise(Detector):
    """A detector that scores a text by a model."""

    name = "test-surprise"
    asks = True

    def score(self, text):
        reply = yield Request((Message("user", "Text:"),), Sampling(max_tokens=1), continuation=text)
        return -sum(reply.logprobs) / max(1, len(text))


def test_a_detector_with_log_probabilities_needs_a_score_at_load(tmp_path):
    scale = Knots(detector="test-surprise", knots=((0.0, 0.0), (1.0, 2.0)))
    with mock.patch.dict(DETECTORS._items, {"test-surprise": Surprise}):
        path = tmp_path / "repair.json"
        document.write(RepairFile(chain="spell", gate=GateFile(scales=(scale,), threshold=1.0)), path)
        with pytest.raises(UsageError, match="`test-surprise` needs log-probabilities"):
            Repair.load(path)
        noisy = Repair.load(path, score=lambda messages, text: [-1.0] * len(text))
        assert (noisy(NOISY).text, noisy(NOISY).detector) == (CLEAN, "test-surprise")
        calm = Repair.load(path, score=lambda messages, text: [-0.1])
        assert calm(NOISY).action == "passed"
        assert asyncio.run(calm.acall(NOISY)).action == "passed"


def test_one_repair_serves_many_threads():
    repair = Repair(GATED)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(repair, [NOISY, CLEAN] * 40))
    assert {repaired.text for repaired in results} == {CLEAN}
    assert [repaired.action for repaired in results] == ["repaired", "passed"] * 40


LOADED = """
import sys
from llmkit.repair import Repair
repair = Repair.load(sys.argv[1])
rooms = {name for name in sys.modules if name.startswith("llmkit.")}
heavy = {"torch", "vllm", "datasets", "transformers", "scipy", "numpy", "symspellpy", "nltk"} & sys.modules.keys()
large = {"llmkit.recipe", "llmkit.tasks", "llmkit.engines"} & rooms
assert not heavy and not large, (heavy, large)
print(repair(sys.argv[2]).text)
heavy = {"torch", "vllm", "datasets", "transformers", "scipy"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_it_loads_without_heavy_libraries(tmp_path):
    document.write(GATED, tmp_path / "repair.json")
    done = run([sys.executable, "-c", LOADED, str(tmp_path / "repair.json"), NOISY])
    assert done.stdout.strip() == CLEAN, done.stderr


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch, capsys):
    page = Path(__file__).parents[2] / "docs" / "repair.md"
    example = re.search(
        r"```python\n(from llmkit.repair import Repair\n\n\ndef ask.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
    )[1]
    document.write(GATED, tmp_path / "repair.json")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert capsys.readouterr().out.startswith("I have not received my order repaired unknown_words ")
