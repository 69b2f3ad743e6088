"""Looks at a run under way: when they come, what they decide, and how often they err."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from helpers import benchmarks
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.measure import looks
from llmkit.recipe.schema import EvalSection, Gate, IntervalSection
from llmkit.types import Question

DROP = Gate(metric="stand.drop", max=0.05)


def questions(sizes):
    return [Question(f"{c}/{i}", "", "", "text", cluster=f"c{c}") for c, size in enumerate(sizes) for i in range(size)]


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30), count=st.integers(1, 8), seed=st.integers(0, 99))
def test_looks_ask_whole_clusters_each_once_and_all_of_them_in_the_end(sizes, count, seed):
    asked = questions(sizes)
    schedule = looks.schedule(asked, EvalSection(looks=count), seed)
    clusters = [cluster for look in schedule for cluster in look.clusters]
    assert sorted(clusters) == sorted({q.cluster_id for q in asked})
    assert [look.looked.number for look in schedule] == [*range(1, len(schedule) + 1)]
    assert [look.last for look in schedule] == [False] * (len(schedule) - 1) + [True]
    seen = 0
    for look in schedule:
        seen += sum(q.cluster_id in look.clusters for q in asked)
        assert look.looked.asked == seen
        assert look.looked.shares[-1] == pytest.approx(seen / len(asked))
        assert look.looked.nominal >= 0.95 - 1e-9
    assert len(schedule) <= count


def test_the_order_of_clusters_is_seeded_and_depends_on_no_other_cluster():
    names = [f"c{i}" for i in range(50)]
    order = looks.in_order(names, 7)
    assert order == looks.in_order(reversed(names), 7) != looks.in_order(names, 8)
    assert looks.in_order(names[:20], 7) == [name for name in order if name in names[:20]]


def test_one_look_is_no_look():
    section = EvalSection()
    [look] = looks.schedule(questions([1] * 9), section, 7)
    assert look.last
    assert looks.at_level(section, look.looked) is section
    assert looks.expected(questions([1] * 9), section, 7) == ""


def test_before_the_last_look_a_gate_is_judged_by_its_whole_interval():
    gates = [replace_bound(DROP, "point"), replace_bound(Gate(metric="rop.gain", min=0.1), "high")]
    assert [gate.bound for gate in looks.careful(gates)] == ["high", "low"]


def replace_bound(gate, bound):
    return gate.model_copy(update={"bound": bound})


def test_looks_need_gates_and_no_shards():
    looks.refuse(EvalSection(), (1, 2))
    with pytest.raises(UsageError, match="needs gates"):
        looks.refuse(EvalSection(looks=5), None)
    with pytest.raises(UsageError, match="does not go with --shard"):
        looks.refuse(EvalSection(looks=5, gates=(DROP,)), (1, 2))


def test_what_is_expected_is_said():
    lone = questions([1] * 500)
    strict = EvalSection(looks=5, gates=(DROP,))
    assert looks.expected(lone, strict, 7).startswith("5 looks: at most 500 questions; about 0.8")
    loose = EvalSection(looks=5, gates=(DROP.model_copy(update={"max": 0.2}),))
    assert looks.expected(lone, loose, 7).startswith("5 looks: at most 500 questions; about 0.3")
    share = EvalSection(looks=5, gates=(DROP, Gate(metric="stand.accuracy", min=0.5)))
    assert looks.expected(lone, share, 7) == "5 looks: at most 500 questions; fewer where all gates are decided early"


def test_another_level_moves_the_levels_of_looks():
    section = EvalSection(looks=5, gates=(DROP,), interval=IntervalSection(level=0.8))
    last = looks.schedule(questions([1] * 100), section, 7)[-1].looked
    assert 0.8 < last.nominal < 0.85
    moved = looks.at_level(section.model_copy(update={"interval": IntervalSection(level=0.95)}), last)
    assert moved.interval.level == pytest.approx(0.9577, abs=1e-3)


@pytest.mark.slow
def test_5000_simulated_runs_err_as_rarely_as_the_level_says_and_keep_the_power_of_one_test():
    """The table of docs/gates.md has more: benchmarks/looks.py."""
    simulated = benchmarks.load("looks")
    design, runs = replace(simulated.DESIGNS[0], clusters=150), 5_000
    limit = simulated.simulate(design, simulated.LIMIT, runs)
    most = 0.025 + 3 * math.sqrt(0.025 * 0.975 / runs)
    assert limit.looks_pass <= most
    assert limit.looks_fail <= most
    assert limit.covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / runs)
    clear = simulated.simulate(design, 0.12, runs)
    assert clear.looks_fail >= clear.fixed_fail - 0.03
    assert clear.asked < 0.95
