"""The generated sets `coin_flip` and `last_letters`."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from llmkit.errors import DataError
from llmkit.recipe.schema import DataSection
from llmkit.tasks import extract, load, score
from llmkit.tasks.generated.words import MEN, SURNAMES, WOMEN

NAMES = set(WOMEN + MEN + SURNAMES)


def both(split, **fields):
    return [q for name in ("coin_flip", "last_letters") for q in load(DataSection(task=name, **fields), split)]


def test_no_name_is_a_first_name_twice_or_both():
    assert len(NAMES) == len(WOMEN) + len(MEN) + len(SURNAMES)


def test_splits_share_no_name():
    names = [{w for q in both(split) for w in re.findall(r"\w+", q.text)} & NAMES for split in ("train", "dev", "test")]
    assert len(set.union(*names)) == sum(map(len, names))


def test_coin_flip_is_the_parity_of_the_flips_and_is_balanced():
    questions = load(DataSection(task="coin_flip"), "train")
    for question in questions:
        assert question.gold == ("yes" if question.text.count(" flips the coin") % 2 == 0 else "no")
    assert 0.45 < Counter(q.gold for q in questions)["yes"] / len(questions) < 0.55


def test_last_letters_are_the_last_letters():
    for question in load(DataSection(task="last_letters"), "dev"):
        words = re.search(r'"(.+)"', question.text)[1].split()
        assert question.gold == "".join(word[-1] for word in words)
        assert len(words) == question.meta["level"]


def test_lengths_two_to_four_come_in_equal_shares_and_solutions_end_in_the_answer():
    questions = both("test", size=90)
    assert set(Counter(q.meta["level"] for q in questions).values()) == {60}
    assert all(score(extract(q.meta["solution"], q), q) for q in questions)


def test_a_size_beyond_all_names_is_an_error():
    with pytest.raises(DataError, match="no more new questions"):
        load(DataSection(task="last_letters", size=100_000), "dev")
