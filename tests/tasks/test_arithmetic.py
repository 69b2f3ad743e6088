"""The generated set `arithmetic`."""

from __future__ import annotations

import re

import pytest

from llmkit.recipe.schema import DataSection
from llmkit.tasks import extract, load, normalise, score
from llmkit.tasks.generated.arithmetic import LEVELS, TEST_ONLY, templates

ALL = DataSection(task="arithmetic", levels=(1, 2, 3, 4), size=240)


@pytest.fixture(scope="module")
def splits():
    return {split: load(ALL, split) for split in ("train", "dev", "test")}


def test_every_level_is_in_every_split_and_no_two_templates_have_one_name():
    both = {level: all_of_it + TEST_ONLY.get(level, ()) for level, all_of_it in LEVELS.items()}
    names = [template.id for all_of_it in both.values() for template in all_of_it]
    assert len(names) == len(set(names)) == 171
    for level, all_of_it in both.items():
        assert {template.level for template in all_of_it} == {level}
        sizes = [len(templates(split, level)) for split in ("train", "dev", "test")]
        assert sizes == {1: [26, 7, 65], 2: [25, 6, 12]}.get(level, [9, 2, 4])


def test_splits_share_no_template_and_no_question(splits):
    for kind in (lambda q: q.meta["template"], lambda q: normalise(q.text), lambda q: q.id):
        sets = [{kind(q) for q in questions} for questions in splits.values()]
        assert len(set.union(*sets)) == sum(map(len, sets))


def test_all_questions_of_a_split_differ_and_carry_their_template_as_cluster(splits):
    for questions in splits.values():
        assert len(questions) == 240
        assert len({normalise(q.text) for q in questions}) == 240
        assert {q.cluster for q in questions} == {f"arithmetic-{q.meta['template']}" for q in questions}


def test_every_solution_works_out_to_the_gold_answer(splits):
    for question in [q for questions in splits.values() for q in questions]:
        solution = question.meta["solution"]
        equations = re.findall(r"([\d.]+)(%?) ([-+*/]|of) ([\d.]+) = (\d+(?:\.\d+)?)", solution)
        assert len(equations) == question.meta["level"]
        for left, percent, sign, right, result in equations:
            value = float(left) * float(right) / 100 if percent else eval(f"{left} {sign} {right}")
            assert abs(value - float(result)) < 1e-9
        assert equations[-1][-1] == question.gold
        assert score(extract(solution, question), question)


def test_no_gap_is_left_and_no_sentence_is_malformed(splits):
    for question in [q for questions in splits.values() for q in questions]:
        assert not re.search(r"[{}\[\]|]|  |(?<![\d.])1 \w+s\b| \.", question.text + question.meta["solution"]), (
            question.text
        )
        assert question.text[0].isupper()
        assert question.text.endswith("?")


def test_the_same_seed_gives_the_same_questions_and_another_gives_others():
    data = DataSection(task="arithmetic", size=50)
    assert load(data, "test", seed=3) == load(data, "test", seed=3)
    assert not {q.text for q in load(data, "test", seed=3)} & {q.text for q in load(data, "test", seed=4)}


def test_a_smaller_size_lies_inside_a_larger_one():
    small = load(DataSection(task="arithmetic", size=20), "dev")
    large = load(DataSection(task="arithmetic", size=60), "dev")
    assert {q.id for q in small} < {q.id for q in large}


def test_levels_are_drawn_as_asked():
    assert {q.meta["level"] for q in load(DataSection(task="arithmetic", size=30, levels=(3,)), "test")} == {3}


def test_every_template_of_the_test_split_has_questions_for_a_set_of_3000():
    """demo-loop asks for a set of this size."""
    assert len(load(DataSection(task="arithmetic", size=3000, levels=(1,)), "test")) == 3000
