"""Replacements of the best hand-written instruction by a search: rightly, and by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.recipe.schema import RopSection, SearchSection
from llmkit.rop import Pools, duel
from llmkit.rop.instructions import NO_CORRECTION, hand_written
from llmkit.rop.search import search
from llmkit.types import Question, Reply, Variant

SEEDS = 200
DEFAULT = SearchSection().budget, SearchSection().pool


def variants(count, templates=0):
    questions = [
        Question(f"q{i}", f"Question {i}", "x", "text", cluster=f"t{i % templates}" if templates else "")
        for i in range(count)
    ]
    return [Variant(q, "ec", q.text) for q in questions]


def replaced(scores, budget, pool, stage="correction", templates=0):
    """The share of searches, one for each of `SEEDS`, in which a written candidate wins. `scores(rng)` gives the score
    of each candidate on each item: the hand-written ones in the first rows, then the written ones."""
    dev, train = variants(pool, templates), variants(5)
    place = {v.question.id: i for i, v in enumerate(dev)}
    wins = []
    for seed in range(SEEDS):
        table = scores(np.random.default_rng(seed))
        by_hand = hand_written(stage)
        row = {text: i for i, text in enumerate(by_hand)}
        written = len(table) - len(by_hand)

        def trial(instruction, variant, row=row, table=table):
            return float(table[row[instruction], place[variant.question.id]])
            yield

        def ask(jobs, row=row):
            for name, steps in jobs:
                try:
                    request = next(steps)
                except StopIteration as end:
                    yield name, end.value
                    continue
                text = "Way " + "".join("abcdefghij"[int(d)] for d in str(request.replicate))
                row[text] = len(row)
                yield name, Reply(text)

        section = RopSection(search=SearchSection(budget=budget, pool=pool, queries=1, completions=written))
        found = search(stage, section, Pools(train, dev), lambda v: (v.text, "-"), trial, ask, seed=seed)
        assert found.spent <= budget
        wins.append(found.verdict.better)
        winner = found.verdict.challenger if found.verdict.better else found.verdict.incumbent
        assert found.best in (winner, NO_CORRECTION)
    return sum(wins) / SEEDS


def corrections(written, better=0.0, spread=0.2, pool=40):
    """Scores in [-1, .5], as of corrections, that are equal but for one written candidate that is `better`."""

    def scores(rng):
        means = np.full(2 + written, 0.05)
        means[2 + rng.integers(written)] += better
        easy = rng.normal(0, 0.1, pool)
        return np.clip(means[:, None] + easy + rng.normal(0, spread, (2 + written, pool)), -1, 0.5)

    return scores


def verdicts(written, better=0.0, pool=40):
    """Right and wrong answers, as of guidance."""

    def scores(rng):
        means = np.full(2 + written, 0.3)
        means[2 + rng.integers(written)] += better
        return (rng.random((2 + written, pool)) < means[:, None]).astype(float)

    return scores


@pytest.mark.parametrize(
    ("written", "budget", "pool"), [(1, *DEFAULT), (8, *DEFAULT), (50, 1600, 100)], ids=["1", "8", "50, the paper's"]
)
def test_a_candidate_better_by_point_four_wins(written, budget, pool):
    assert replaced(corrections(written, 0.4, pool=pool), budget, pool) >= 0.9


def test_a_guidance_that_answers_four_in_ten_more_wins():
    assert replaced(verdicts(8, 0.4, pool=DEFAULT[1]), *DEFAULT, "guidance") >= 0.9


@pytest.mark.parametrize(("written", "budget", "pool"), [(1, 60, 40), (8, 60, 40), (8, *DEFAULT), (50, 400, 60)])
def test_an_equal_candidate_hardly_ever_wins(written, budget, pool):
    assert replaced(corrections(written, pool=pool), budget, pool) <= 0.09
    assert replaced(verdicts(written, pool=pool), budget, pool, "guidance") <= 0.09


def test_an_equal_candidate_hardly_ever_wins_by_the_templates_that_suit_it():
    def scores(rng):
        suits = np.tile(rng.normal(0, 0.3, (10, 12)), 5)
        return np.clip(suits + rng.normal(0, 0.2, suits.shape), -1, 1)

    assert replaced(scores, 300, 60, "guidance", templates=12) <= 0.09


def test_more_than_twelve_clusters_are_drawn_at_random_near_the_exact_share():
    """Of 13 differences of one size, 10 above 0: the upper tail of a fair coin."""
    p = duel.flip_p([1.0] * 10 + [-1.0] * 3, [str(i) for i in range(13)], 1)
    assert p == pytest.approx(sum([1, 13, 78, 286]) / 2**13, abs=0.006)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_a_p_value_is_one_and_turns_with_the_signs(differences):
    clusters = [str(i) for i in range(len(differences))]
    up, down = (duel.flip_p([s * d for d in differences], clusters, 1) for s in (1, -1))
    assert 0 < up <= 1
    assert up + down >= 1 - 0.02


def test_a_difference_said_to_be_detectable_is_found_in_about_four_of_five():
    rng = np.random.default_rng(5)
    for n in (7, 15, 40):
        clusters = [str(i) for i in range(n)]
        effect = duel.detectable(n, n, 0.3)
        found = [duel.flip_p(rng.normal(effect, 0.3, n).tolist(), clusters, 1) <= duel.LEVEL for _ in range(200)]
        assert 0.7 <= np.mean(found) <= 0.9
    assert duel.detectable(4, 40, 0.3) is None


def test_items_that_show_a_tenth_are_those_of_the_normal_approximation():
    assert duel.items_to_show(0.1, 0.4) == 99  # ((1.645 + .842) x .4 / .1) squared
