"""The search by reflection, with the real package, against scripted models whose best pair of instructions is known."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from helpers.drive import drive
from helpers.killing import Forks, marks, result, rop
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import Incomplete, UsageError
from llmkit.recipe import load
from llmkit.recipe.schema import RopSection, SearchSection
from llmkit.rop import ARMS, ArmContext, Pools, arms_of, read_instructions, search_both, to_json
from llmkit.rop.instructions import NO_CORRECTION, hand_written
from llmkit.rop.reflection import search_pairs
from llmkit.rop.trajectory import Trajectory
from llmkit.tasks import as_asked
from llmkit.tasks.scorers import MarkedAnswer
from llmkit.types import Question, Reply, Variant

SWAPPED, STARRED = "Put swapped letters back.", "Mark a word that is in doubt with a star."
LAST, SOUNDS = "State the answer last.", "A star marks a word to be read by its sound."


def pool(name, size):
    """Questions whose first misspelling can be corrected, and whose second one only a reader of sounds understands."""
    questions = [
        Question(f"{name}{i}", f"Tom has {i + 3} pens and buys 2. How many?", str(i + 5), "numeric")
        for i in range(size)
    ]
    return [Variant(q, "ec", q.text.replace("has", "hsa").replace("pens", "pnes")) for q in questions]


POOLS = Pools(pool("train", 12), pool("dev", 30))
DIGITS = str.maketrans("0123456789", "abcdefghij")
BUDGET = 100  # 200 scored sequences, for one search or for two


def model(request):
    """Follows the four rules above and no others. It answers rightly only what was marked and is read by its sound."""
    prompt = request.messages[0].content
    if request.purpose == "correct":
        asked = prompt.rsplit("Text: ", 1)[1]
        fixed = asked.replace("hsa", "has") if SWAPPED in prompt else asked
        return fixed.replace("pnes", "pnes*") if STARRED in prompt else fixed
    if request.purpose == "answer":
        pens = re.search(r"(\d+) pnes\*", prompt)
        if pens and SOUNDS in prompt:
            return f"The answer is {int(pens[1]) + 2}"
        return "The answer is 0" if LAST in prompt else "Hard to say."
    if prompt.startswith("I gave a friend"):  # for APE, which is even given both halves of the best pair
        halves = [SWAPPED, f"{SWAPPED} {STARRED}"] if "Output: Tom" in prompt else [LAST, f"{LAST} {SOUNDS}"]
        return halves[request.replicate % 2]
    return reflects(prompt)


def reflects(prompt):
    """Adds to an instruction the rule against the first fault that the remarks name."""
    step = re.search(r"better instruction for the (\w+)", prompt)[1]
    instruction = re.search(f"Instruction for the {step}: (.*)", prompt)[1]
    if step == "correction":
        rule = SWAPPED if '"hsa" should be "has"' in prompt else STARRED
    else:
        rule = LAST if "No answer could be read" in prompt else SOUNDS
    return instruction if rule in instruction else f"{instruction} {rule}"


def ask_with(answer, log=None, order=None):
    def ask(jobs):
        done = []
        for name, steps in jobs:
            result, asked = drive(steps, answer)
            if log is not None:
                log.extend(asked)
            done.append((name, result))
        yield from order.sample(done, len(done)) if order else done

    return ask


def searched(answer=model, log=None, pools=POOLS, order=None, ask=None, **options):
    section = RopSection(search=SearchSection(**{"method": "gepa", "budget": BUDGET, **options}))
    ask = ask or ask_with(answer, log, order)
    return search_both(section, pools, ask, MarkedAnswer(), trained_on="pooled", seed=1, number=0)


def accuracy(instructions):
    """The share of new questions that the arm `rop` answers rightly under these instructions."""
    arm = ARMS["rop"](ArmContext(RopSection(), instructions))
    variants = pool("test", 10)
    answers = [drive(arm.ask(variant), model)[0] for variant in variants]
    judged = [
        MarkedAnswer().judge(answer.reply.said, answer.parsed, as_asked(variant))
        for answer, variant in zip(answers, variants, strict=True)
    ]
    return sum(bool(verdict.correct) for verdict in judged) / len(judged)


def scored(log):
    return sum(request.purpose in ("correct", "answer") for request in log)


def test_what_helps_only_together_is_found_within_200_sequences_and_missed_by_two_searches():
    log, log_of_two = [], []
    pair, two = searched(log=log), searched(log=log_of_two, method="ape")
    assert SWAPPED in pair.correction.best
    assert STARRED in pair.correction.best
    assert LAST in pair.guidance.best
    assert SOUNDS in pair.guidance.best
    assert scored(log) == pair.correction.spent + pair.guidance.spent == 191  # docs/rop.md
    assert two.correction.best == SWAPPED
    assert two.guidance.best in hand_written("guidance")
    assert two.correction.spent + two.guidance.spent <= 200
    assert (accuracy(pair), accuracy(two)) == (1.0, 0.0)


def test_a_winner_says_why_it_won_and_both_halves_of_each_pair_survive_their_file(tmp_path):
    pair = searched()
    assert pair.correction.why.startswith("better than the best hand-written pair by 0.562 on ")
    assert pair.correction.verdict.challenger == pair.correction.best
    assert pair.guidance.verdict.challenger == pair.guidance.best
    assert pair.correction.mean == pair.guidance.mean == 0.5625
    pairs = [(c.text, c.partner) for c in pair.correction.candidates]
    assert pairs == [(c.partner, c.text) for c in pair.guidance.candidates]
    assert pairs[0] == (pair.correction.best, pair.guidance.best)
    path = tmp_path / "instructions.json"
    path.write_text(json.dumps(to_json([pair], {}), allow_nan=False))
    assert read_instructions(path) == [pair]


def test_the_two_that_meet_last_meet_on_items_that_no_round_used():
    pair = searched()
    verdict, candidates = pair.correction.verdict, pair.correction.candidates
    used_before = set().union(*(c.scores for c in candidates if c.text != verdict.challenger and c.partner == ""))
    others = [set(c.scores) for c in candidates if c.text not in (verdict.challenger, verdict.incumbent)]
    rounds = used_before.union(*others)
    last = next(set(c.scores) for c in candidates if c.text == verdict.challenger)
    assert len(last - rounds) == verdict.items >= 5


def test_a_search_is_the_same_again_whatever_the_order_of_replies_and_leaves_no_trace(capsys):
    state = random.getstate()
    first = searched()
    assert searched(order=Random(1)) == searched(order=Random(2)) == first
    assert random.getstate() == state
    assert capsys.readouterr() == ("", "")


def test_reflection_reads_train_questions_only_and_asks_the_optimizer():
    log = []
    searched(log=log)
    prompts = [r.messages[0].content for r in log if r.purpose == "propose"]
    assert {r.role for r in log if r.purpose == "propose"} == {"optimizer"}
    shown = {line for prompt in prompts for line in re.findall(r"Question \d+: (.*)", prompt)}
    assert shown <= {v.text for v in POOLS.train}


def never_better(text):
    return lambda request: text if request.purpose == "propose" else model(request)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Tom has pens and buys some.", None),
        ("The answer is 7.", "answers instead of instructing"),
        ("Read Tom hsa pnes as Tom has pens, and buys 2 as 2.", "copies an example: the number 2"),
        ("Beware where it ends in pnes and buys two How many pens", None),
        (Reply("Go on and on", finish_reason="length"), "longer than rop.search.max_tokens (50)"),
    ],
)
def test_what_cannot_be_an_instruction_is_refused_with_the_reason_and_costs_no_scores(text, reason):
    pair = searched(never_better(text))
    refused = {c.refused for c in pair.correction.candidates + pair.guidance.candidates}
    assert refused == ({None, reason} if reason else {None})
    assert pair.correction.best in (NO_CORRECTION, *hand_written("correction"))
    assert pair.guidance.best in hand_written("guidance")
    if reason:
        assert "written ones were refused" in pair.correction.why
    else:
        assert "no written pair did better on the questions that it learned from" in pair.correction.why


def test_a_model_that_writes_nothing_leaves_the_hand_written_ones():
    pair = searched(never_better(""))
    assert {c.origin for c in pair.correction.candidates} == {"hand-written", "no correction"}
    assert pair.guidance.best in hand_written("guidance")
    assert not pair.guidance.verdict.better


def test_asking_uncorrected_is_among_the_hand_written_pairs():
    """A correction that breaks every question loses to none at all."""

    def breaks(request):
        if request.purpose == "correct":
            return "Something else entirely."
        return "" if request.purpose == "propose" else model(request)

    pair = searched(breaks)
    assert pair.correction.best == NO_CORRECTION
    assert "asked uncorrected" in pair.correction.why


@pytest.mark.parametrize("error", [Incomplete("the budget is spent"), UsageError("no"), KeyboardInterrupt()])
def test_what_stops_a_reflection_stops_the_search_at_once(error):
    """GEPA by itself logs an error of its reflection, asks again and goes on."""
    asked = []

    def stops(request):
        if request.purpose == "propose":
            asked.append(request)
            raise error
        return model(request)

    with pytest.raises(type(error)) as raised:
        searched(stops)
    assert raised.value is error
    assert len(asked) == 1


def test_a_fault_in_the_remarks_is_no_silent_end(monkeypatch):
    monkeypatch.setattr("llmkit.rop.trajectory.Trajectory.shown", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        searched()


def test_failed_calls_score_worst_and_do_not_stop_the_search():
    def failing(jobs):
        for name, steps in jobs:
            steps.close()
            yield name, None

    pair = searched(ask=failing)
    assert {s for c in pair.correction.candidates for s in c.scores.values()} == {-0.5}
    assert pair.guidance.best in hand_written("guidance")


def test_calls_that_fail_now_and_then_cost_the_pair_its_score():
    def flaky(jobs):
        for place, (name, course) in enumerate(ask_with(model)(jobs)):
            yield name, None if place % 7 == 3 else course

    assert searched(ask=flaky).correction.spent > 0


def test_budget_zero_asks_nothing():
    log = []
    pair = searched(log=log, budget=0)
    assert (pair.correction.best, pair.guidance.best) == (hand_written("correction")[0], hand_written("guidance")[0])
    assert not log


@settings(max_examples=25, deadline=None)
@given(
    budget=st.integers(1, 250),
    size=st.integers(0, 40),
    train=st.integers(0, 7),
    templates=st.integers(1, 30),
    share=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_a_search_stays_within_the_budget_of_two(budget, size, train, templates, share):
    dev = [
        replace(v, question=replace(v.question, cluster=f"t{i % templates}")) for i, v in enumerate(pool("dev", size))
    ]
    log = []
    pools = Pools(POOLS.train[:train], dev)
    pair = searched(log=log, pools=pools, budget=budget, noisy_share=share)
    assert scored(log) == pair.correction.spent + pair.guidance.spent <= 2 * budget
    assert pair.correction.spent <= pair.correction.budget or not size
    kept = {c.text for c in pair.correction.candidates}
    assert not size or set(hand_written("correction")) <= kept


def test_without_the_package_a_run_says_how_to_get_it_before_anything_is_asked(monkeypatch):
    monkeypatch.setattr("llmkit.extras.installed", lambda package: package != "gepa")
    recipe = load(None, {"model.path": "m", "data.task": "arithmetic", "rop.search.method": "gepa"}).recipe
    with pytest.raises(UsageError, match=r"method: gepa needs gepa, which is not installed") as error:
        arms_of(recipe, "rop")
    assert 'llmkit-robust[gepa]"' in error.value.hint
    assert arms_of(recipe, "eval")  # which searches nothing


def test_it_learns_from_answers_and_not_from_likelihoods():
    with pytest.raises(UsageError, match="goes with score: execution only"):
        load(None, {"rop.search.method": "gepa", "rop.search.score": "likelihood"})


def test_an_equal_pair_hardly_ever_wins():
    """Scores that no instruction changes, in 100 searches that each write several pairs."""
    wins = written = 0
    for seed in range(100):

        def trial(pair, variant, seed=seed):
            random = Random(f"{seed} {pair} {variant.question.id}")
            worth, right = random.uniform(-0.5, 0.5), random.random() < 0.3
            return Trajectory(variant, ("",), ("",), None, "", False, "1", right, worth)
            yield

        def ask(jobs):
            for name, steps in jobs:
                reply = Reply(f"Look at {name} with care.".translate(DIGITS))
                yield name, drive(steps, lambda request, reply=reply: reply)[0]

        options = SearchSection(method="gepa")
        pair = search_pairs(options, POOLS.train, pool("dev", 60), trial, ask, "pooled", seed, 0)
        wins += pair.correction.verdict.better
        written += pair.correction.verdict.challenger is not None
    assert written > 60
    assert wins <= 9


KILLED = {
    "model.path": "scripted",
    "data.task": "arithmetic",
    "data.limit": 4,
    "data.size": 60,
    "perturb.conditions": ["ec"],
    "rop.arms": ["rop"],
    "rop.search.method": "gepa",
    "rop.search.budget": 60,
    "rop.search.pool": 12,
    "eval.interval.draws": 100,
}


@pytest.mark.slow
def test_killed_at_random_moments_a_search_finds_the_same_pair_and_asks_nothing_twice(tmp_path):
    def found(name):
        written = json.loads(next((tmp_path / name).glob("*/instructions.json")).read_text())
        return written["instructions"]

    with Forks(tmp_path) as forks:

        def run(name, count=0):
            delay = Random(count).uniform(0, 0.002)
            return forks.run(rop(KILLED, tmp_path / name), tmp_path / f"{name}.log", "answer", count, delay)

        assert run("whole") == 0
        shutil.rmtree(tmp_path / "cache")  # or there would be nothing left to ask
        whole = [json.dumps(what) for name, _, what in marks(tmp_path / "whole.log") if name == "answer"]
        kills = sum(run("killed", count) == -signal.SIGKILL for count in (1, 15, 20, 20))
        assert kills == 4
        assert run("killed") == 0

    reflected = [what for what in whole if '"propose"' in what]
    assert len(reflected) >= 4
    asked = Counter(json.dumps(what) for name, _, what in marks(tmp_path / "killed.log") if name == "answer")
    assert set(asked) == set(whole)
    assert asked.total() <= len(whole) + kills  # the one reply that neither cache nor journal had yet
    assert found("killed") == found("whole")
    assert result(tmp_path / "killed") == result(tmp_path / "whole")
