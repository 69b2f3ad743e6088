"""The instruction search against a scripted model whose best instruction is known."""

from __future__ import annotations

import json
from random import Random

import pytest
from helpers.drive import drive
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.recipe.schema import RopSection, SearchSection
from llmkit.rop import Instructions, Pools, read, search_both, to_json
from llmkit.rop.search import _Arm, halving, restoration, search, ucb
from llmkit.tasks.scorers import MarkedAnswer
from llmkit.types import Question, Reply, Variant

GOOD = "Undo the noise by reading backwards."


def pool(name, n):
    questions = [
        Question(f"{name}{i}", f"Tom has {i} pens and buys 2. How many?", str(i + 2), "numeric") for i in range(n)
    ]
    return [Variant(q, "ec", q.text[::-1]) for q in questions]


POOLS = Pools(pool("train", 12), pool("dev", 12))


def model(request):
    """Writes the good instruction as one of its candidates, and follows only that one."""
    content = request.messages[0].content
    if request.purpose == "propose":
        return GOOD if request.replicate == 1 else f"Bad instruction {request.replicate}"
    if request.continuation is not None:
        good = GOOD in content or "good guide" in content
        return Reply("", logprobs=(-0.1, -0.1) if good else (-2.0, -2.0))
    if request.purpose == "correct":
        asked = content.rsplit("Text: ", 1)[1]
        return asked[::-1] if GOOD in content else asked
    return "The answer is 4"


def ask_with(answer, log=None):
    def ask(jobs):
        for name, steps in jobs:
            result, asked = drive(steps, answer)
            if log is not None:
                log.extend(asked)
            yield name, result

    return ask


def found(**search):
    section = RopSection(search=SearchSection(**search))
    log = []
    return search_both(section, POOLS, ask_with(model, log), MarkedAnswer(), trained_on="pooled", seed=1, number=0), log


@pytest.mark.parametrize("strategy", ["halving", "ucb"])
@pytest.mark.parametrize("score", ["execution", "likelihood"])
def test_the_best_instruction_is_found_within_the_budget(strategy, score):
    got, log = found(strategy=strategy, score=score, budget=60, completions=4)
    assert got.correction.best == GOOD
    assert 0 < got.correction.spent <= 60
    if score == "likelihood":
        assert sum(r.purpose == "score" for r in log) == got.correction.spent + got.guidance.spent


def test_hand_written_candidates_always_take_part_and_win_over_worse_ones():
    got, _ = found(budget=30)
    origins = {c.text: c.origin for c in got.guidance.candidates}
    assert list(origins.values()).count("hand-written") == 2
    assert origins[got.guidance.best] == "hand-written"  # all guidance scores are equal here


def test_budget_zero_asks_nothing_and_takes_the_first_hand_written_one():
    got, log = found(budget=0)
    assert got.correction.strategy == "hand-written"
    assert [r for r in log if r.purpose in ("propose", "score")] == []


def test_guidance_is_tuned_on_corrected_text():
    got, _ = found(budget=60)
    inputs = [row["input"] for row in got.guidance.items.values()]
    assert inputs
    assert all(text.startswith("Tom has") for text in inputs)


def test_a_search_is_the_same_again_and_differs_with_its_number():
    assert found(budget=40)[0] == found(budget=40)[0]
    section = RopSection(search=SearchSection(budget=40))
    other = search_both(section, POOLS, ask_with(model), MarkedAnswer(), trained_on="pooled", seed=1, number=1)
    assert other.correction.seed != found(budget=40)[0].correction.seed


def test_failed_calls_score_worst_and_do_not_stop_the_search():
    def failing(jobs):
        for name, steps in jobs:
            steps.close()
            yield name, None

    got = search_both(RopSection(), POOLS, failing, MarkedAnswer(), trained_on="pooled", seed=1, number=0)
    assert {s for c in got.correction.candidates for s in c.scores.values()} == {0.0}


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 60),
    items=st.integers(1, 50),
    budget=st.integers(1, 400),
    strategy=st.sampled_from([halving, ucb]),
    seed=st.integers(0, 9),
)
def test_no_strategy_spends_more_than_its_budget(n, items, budget, strategy, seed):
    arms, options = [_Arm(str(i), "generated") for i in range(n)], SearchSection(budget=budget)
    random, asked = Random(seed), []

    def measure(wanted):
        asked.extend(wanted)
        for c, i in wanted:
            arms[c].scores[i] = random.random()

    spent, finalists = strategy(arms, [str(i) for i in range(items)], options, measure, Random(seed))
    assert spent == len(asked) <= budget
    assert finalists


def test_restoration_counts_characters_but_never_forgives_a_number():
    assert restoration("He has 3 pens", "He has 3 pens") == 1.0
    assert restoration("He has 3 pen", "He has 3 pens") == pytest.approx(1 - 1 / 13)
    assert restoration("He has 8 pens", "He has 3 pens") == 0.0


def test_instructions_survive_their_file(tmp_path):
    got, _ = found(budget=40)
    path = tmp_path / "instructions.json"
    path.write_text(json.dumps(to_json([got], {"model": "m"}), allow_nan=False))
    assert read(path) == [got]


def test_a_hand_made_file_is_enough(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"correction": "Fix it.", "guidance": "Think."}')
    assert read(path)[0].correction.best == "Fix it."


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"correction": ""}', '{"instructions": [{}]}', "3"])
def test_a_broken_file_is_a_clear_error(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="bad"):
        read(path)


def test_an_instruction_that_makes_the_model_ramble_earns_nothing():
    def rambles(request):
        return Reply("so", finish_reason="length") if request.purpose == "correct" else model(request)

    got = search_both(RopSection(), POOLS, ask_with(rambles), MarkedAnswer(), trained_on="pooled", seed=1, number=0)
    assert {s for c in got.correction.candidates for s in c.scores.values()} == {0.0}


def test_where_arms_answer_by_likelihood_guidance_is_scored_so_too():
    """Options are compared by their own text, as the arms compare them; nothing is generated for an answer."""
    questions = [
        Question(f"q{i}", "Which?\nAnswer Choices: (A) ab (B) cd", "B", "choice", ("ab", "cd")) for i in range(4)
    ]
    variants = [Variant(q, "ec", q.text) for q in questions]
    log = []

    def says(request):
        if request.continuation is not None:
            return Reply("", logprobs=(-1.0 if request.continuation == "cd" else -3.0,))
        return model(request)

    got = search_both(
        RopSection(),
        Pools(variants, variants),
        ask_with(says, log),
        MarkedAnswer(),
        trained_on="pooled",
        seed=1,
        number=0,
        likelihood=True,
    )
    assert {s for c in got.guidance.candidates for s in c.scores.values()} == {1.0}
    assert not [r for r in log if r.purpose == "answer"]
    assert {r.continuation for r in log if r.purpose == "score"} == {"ab", "cd"}


def test_the_winner_does_not_depend_on_the_order_of_replies():
    """Equal means of 0.1, 0.2 and 0.3 differ in their last bit where they are added one after another."""
    texts = [q.question.text for q in POOLS.dev]
    worth = {"First": dict(zip(texts, [0.1, 0.2, 0.3] * 4, strict=True))}
    worth["Second"] = dict(zip(texts, [0.3, 0.2, 0.1] * 4, strict=True))

    def score(instruction, variant):
        return worth.get(instruction, {}).get(variant.question.text, 0.0)
        yield

    def won(order):
        def ask(jobs):
            done = []
            for name, steps in jobs:
                result, _ = drive(steps, lambda request: ["First", "Second"][request.replicate])
                done.append((name, result))
            return order.sample(done, len(done))

        section = RopSection(search=SearchSection(budget=96, queries=1, completions=2, strategy="halving"))
        return search("guidance", section, POOLS, lambda v: (v.text, "4"), score, ask, seed=1)

    found = [won(Random(i)) for i in range(20)]
    assert {f.best for f in found} == {"First"}  # of equals the first written, of the same length or shorter
    assert len({json.dumps(to_json([Instructions(f, f)], {})) for f in found}) == 1
