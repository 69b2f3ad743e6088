"""The instruction search against a scripted model whose best instruction is known."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest
from helpers.drive import drive
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.recipe.schema import RopSection, SearchSection
from llmkit.rop import Instructions, Pools, read_instructions, search_both, to_json
from llmkit.rop.instructions import NO_CORRECTION, Candidate, hand_written
from llmkit.rop.scoring import restored
from llmkit.rop.search import search
from llmkit.rop.strategies import Rounds, halving, hold_back, ucb
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
        return GOOD if request.replicate == 1 else f"Bad instruction {'abcd'[request.replicate]}."
    if request.continuation is not None:
        good = GOOD in content or "good guide" in content
        return Reply("", logprobs=(-0.1, -0.1) if good else (-2.0, -2.0))
    if request.purpose == "correct":
        asked = content.rsplit("Text: ", 1)[1]
        return asked[::-1] if GOOD in content and asked.startswith("?") else asked
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


@pytest.mark.parametrize("strategy", ["halving", "ucb"])
def test_a_winner_says_why_it_won(strategy):
    got, _ = found(strategy=strategy, budget=60)
    verdict = got.correction.verdict
    assert (verdict.challenger, verdict.better, verdict.difference) == (GOOD, True, 0.5)
    assert got.correction.why.startswith("better than the best hand-written one by 0.500 on ")
    assert not got.guidance.verdict.better
    assert got.guidance.best == got.guidance.verdict.incumbent == hand_written("guidance")[0]
    assert got.guidance.why.startswith("no candidate was better: ")
    assert 0 < got.guidance.verdict.detectable < 1
    assert f"rop.search.budget={got.guidance.verdict.budget} and rop.search.pool=" in got.guidance.why


def test_the_two_that_meet_last_meet_on_items_that_no_round_used():
    got, _ = found(budget=60)
    scores = {c.text: set(c.scores) for c in got.correction.candidates}
    verdict = got.correction.verdict
    last = scores[verdict.challenger] & scores[verdict.incumbent]
    others = [scores[c.text] for c in got.correction.candidates if c.origin == "generated" and c.text != GOOD]
    rounds = set().union(*others)
    assert len(scores[verdict.challenger] - rounds) >= verdict.items >= 5
    assert len(last - rounds) == verdict.items
    by_hand = [c for c in got.correction.candidates if c.origin == "hand-written"]
    assert all(c.scores for c in by_hand)


def test_a_budget_too_small_to_show_anything_is_spent_on_the_hand_written_ones():
    got, _ = found(budget=12)
    assert got.correction.verdict.challenger is None
    assert "this budget could have shown no difference" in got.correction.why
    assert {c.origin for c in got.guidance.candidates if c.scores} == {"hand-written"}
    assert got.guidance.spent == 12


def test_a_model_that_cannot_correct_is_left_to_answer_uncorrected():
    def mangles(request):
        return "Something else entirely." if request.purpose == "correct" else model(request)

    section = RopSection(search=SearchSection(budget=60))
    got = search_both(section, POOLS, ask_with(mangles), MarkedAnswer(), trained_on="pooled", seed=1, number=0)
    assert got.correction.best == NO_CORRECTION
    assert "restores nothing" in got.correction.why
    nothing = next(c for c in got.correction.candidates if c.origin == "no correction")
    assert set(nothing.scores.values()) == {0.0}
    inputs = [row["input"] for row in got.guidance.items.values()]
    assert all(text.startswith("?") for text in inputs)  # guidance is tuned on what it will meet


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
    scores = {c.origin: set(c.scores.values()) for c in got.correction.candidates}
    assert scores == {"hand-written": {-1.0}, "no correction": {0.0}}
    assert got.correction.best == NO_CORRECTION


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 60),
    items=st.integers(1, 50),
    budget=st.integers(1, 400),
    strategy=st.sampled_from([halving, ucb]),
    seed=st.integers(0, 9),
)
def test_no_strategy_spends_more_than_its_budget(n, items, budget, strategy, seed):
    candidates = [Candidate(str(i), "generated") for i in range(n)]
    random, asked = Random(seed), []

    def measure(wanted):
        asked.extend(wanted)
        for c, i in wanted:
            candidates[c].scores[i] = random.random()

    hand = range(min(2, n))
    play = Rounds(hand, range(len(hand), n), [str(i) for i in range(items)], budget)
    spent = strategy(candidates, play, SearchSection(), measure, Random(seed))
    assert spent == len(asked) <= budget


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=60), st.integers(0, 9))
def test_items_held_back_share_no_cluster_with_those_of_the_rounds(clusters, seed):
    items = {str(i): cluster for i, cluster in enumerate(clusters)}
    early, held = hold_back(items, Random(seed))
    assert sorted(early + held) == sorted(items)
    assert not {items[i] for i in early} & {items[i] for i in held}
    assert early
    assert len({items[i] for i in held}) >= 5 or not held


CLEAN = "He has 3 red pens and buys 2 more."


@pytest.mark.parametrize(
    ("asked", "text", "share"),
    [
        ("He has 3 rde pens nad buys 2 more.", CLEAN, 1.0),
        ("He has 3 rde pens nad buys 2 more.", "He has 3 red pens nad buys 2 more.", 0.5),
        ("He has 3 rde pens nad buys 2 more.", "He has 3 rde pens nad buys 2 more.", 0.0),
        ("He has 3 rde pens nad buys 2 more.", "He hsa 3 rde pesn nad buys 2 more.", -1.0),
        ("He has 3 rde pens nad buys 2 more.", "He has three red pens and buys 2 more.", -1.0),  # a number is lost
        ("He has 3 rde pens nad buys 2 more.", "5", -1.0),
        ("He has three red pens and buys 2 more.", "He has three red pens and buys 2 more.", 0.0),  # noise lost it
        (CLEAN, "Pens.", 0.0),  # nothing to restore
    ],
)
def test_what_was_restored_is_the_share_of_errors_removed_and_a_lost_number_costs_all(asked, text, share):
    assert restored(asked, text, CLEAN) == pytest.approx(share)


@pytest.mark.parametrize(("share", "score"), [(0.5, 0.0), (0.9, 0.8), (0.0, -1.0), (1.0, 1.0)])
def test_a_correction_pays_for_the_clean_questions_that_it_alters(share, score):
    """One that restores every noisy question and alters every clean one."""

    def alters(request):
        if request.purpose != "correct":
            return model(request)
        asked = request.messages[0].content.rsplit("Text: ", 1)[1]
        return asked[::-1] if asked.startswith("?") else asked.replace("Tom", "Tim")

    section = RopSection(search=SearchSection(noisy_share=share, queries=0, budget=24))
    got = search_both(section, POOLS, ask_with(alters), MarkedAnswer(), trained_on="pooled", seed=1, number=0)
    by_hand = [c.mean for c in got.correction.candidates if c.origin == "hand-written"]
    assert by_hand == pytest.approx([score, score])
    assert got.correction.best == (hand_written("correction")[0] if score > 0 else NO_CORRECTION)


def test_instructions_survive_their_file(tmp_path):
    got, _ = found(budget=40)
    path = tmp_path / "instructions.json"
    path.write_text(json.dumps(to_json([got], {"model": "m"}), allow_nan=False))
    assert read_instructions(path) == [got]
    assert json.loads(path.read_text())["instructions"][0]["guidance"]["why"] == got.guidance.why


def test_a_file_of_an_earlier_version_opens(tmp_path):
    scored = {"text": "Mend it.", "origin": "generated", "mean": 1.0, "scores": {"a": 1.0}}
    old = {"best": "Mend it.", "candidates": [scored], "strategy": "halving", "budget": 9, "spent": 9, "seed": 1}
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"format": 1, "instructions": [{"correction": old, "guidance": old}]}))
    (got,) = read_instructions(path)
    assert (got.correction.best, got.correction.mean, got.correction.why) == ("Mend it.", 1.0, None)


def test_no_correction_survives_its_file_and_only_a_search_can_find_it(tmp_path):
    silent = ask_with(lambda request: "")
    got = search_both(RopSection(), POOLS, silent, MarkedAnswer(), trained_on="pooled", seed=1, number=0)
    assert got.correction.best == NO_CORRECTION
    path = tmp_path / "instructions.json"
    path.write_text(json.dumps(to_json([got], {})))
    assert read_instructions(path) == [got]


def test_a_hand_made_file_is_enough(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"correction": "Fix it.", "guidance": "Think."}')
    assert read_instructions(path)[0].correction.best == "Fix it."


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"correction": ""}', '{"instructions": [{}]}', "3"])
def test_a_broken_file_is_a_clear_error(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="bad"):
        read_instructions(path)


def test_an_instruction_that_makes_the_model_ramble_earns_nothing():
    def rambles(request):
        return Reply("so", finish_reason="length") if request.purpose == "correct" else model(request)

    got = search_both(RopSection(), POOLS, ask_with(rambles), MarkedAnswer(), trained_on="pooled", seed=1, number=0)
    assert {s for c in got.correction.candidates for s in c.scores.values()} == {0.0}
    assert got.correction.best == NO_CORRECTION


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
    worth = {"First": [0.1, 0.2, 0.3] * 4, "Second": [0.3, 0.2, 0.1] * 4}
    place = {v.question.id: i for i, v in enumerate(POOLS.dev)}

    def score(instruction, variant):
        return worth.get(instruction, [0.0] * 12)[place[variant.question.id]]
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
    assert len({f.best for f in found}) == 1
    assert found[0].best in worth
    assert len({json.dumps(to_json([Instructions(f, f)], {})) for f in found}) == 1


@settings(max_examples=40, deadline=None)
@given(
    budget=st.integers(1, 200),
    size=st.integers(1, 30),
    templates=st.integers(1, 30),
    strategy=st.sampled_from(["halving", "ucb"]),
    rule=st.sampled_from(["execution", "likelihood"]),
)
def test_a_whole_search_stays_within_its_budget_and_keeps_the_hand_written_ones(
    budget, size, templates, strategy, rule
):
    dev = [
        replace(v, question=replace(v.question, cluster=f"t{i % templates}")) for i, v in enumerate(pool("dev", size))
    ]
    log = []
    section = RopSection(search=SearchSection(budget=budget, strategy=strategy, score=rule, queries=1, completions=4))
    order = {"trained_on": "pooled", "seed": 1, "number": 0}
    got = search_both(section, Pools(POOLS.train, dev), ask_with(model, log), MarkedAnswer(), **order)
    for stage in (got.correction, got.guidance):
        assert stage.spent <= budget
        by_hand = [len(c.scores) for c in stage.candidates if c.origin == "hand-written"]
        assert min(by_hand) > 0 or stage.spent + 4 > budget
        assert stage.why
        if stage.verdict.better:
            assert len({v.question.cluster_id for v in dev}) > 5
