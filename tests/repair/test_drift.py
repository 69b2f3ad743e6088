"""Drift: false alarms are rare for ever, real changes are noticed, and a warning stays."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from math import comb, exp

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.repair.document import GateFile, RepairFile, Traffic
from llmkit.repair.drift import LEVELS, Drift, _evidence

EDGES = tuple(sorted(LEVELS))
THRESHOLD = 2.0


def texts(rng, count):
    """Draws rarities of clean texts under one detector, at which half of them score 0."""
    return np.where(rng.random(count) < 0.5, 0.0, -np.log10(rng.random(count)))


def watch(rng, rows=2400, **keys):
    classes = Counter(bisect_right(EDGES, rarity) for rarity in texts(rng, rows))
    traffic = Traffic(edges=EDGES, counts=tuple(classes[i] for i in range(len(EDGES) + 1)))
    return Drift(traffic, THRESHOLD, **keys)


@pytest.mark.parametrize("rate", [0.005, 0.02, 0.1, 0.5, 0.97])
@pytest.mark.parametrize(("before", "live"), [(40, 1), (40, 30), (5, 60)])
def test_the_evidence_is_at_most_1_on_average_where_nothing_changed(rate, before, live):
    """Exactly, over all outcomes: with Ville's inequality this is the bound on false alarms."""

    def chance(hits, of):
        return comb(of, hits) * rate**hits * (1 - rate) ** (of - hits)

    mean = sum(
        chance(a, before) * chance(b, live) * exp(_evidence((a, before - a), (b, live - b)))
        for a in range(before + 1)
        for b in range(live + 1)
    )
    assert mean <= 1 + 1e-9


def test_the_weights_of_all_starts_come_to_at_most_1():
    rng = np.random.default_rng(1)
    drift = watch(rng)
    for rarity in texts(rng, 256 * 40):
        drift.see(float(rarity))
    assert len(drift._starts) == 32
    assert sum(start.weight for start in drift._starts) < 1
    assert not drift.drifted
    assert drift.warning is None


@pytest.mark.slow
def test_false_alarms_are_rarer_than_said():
    """1 % is said; nearly all of it is lost where the evidence sinks, so 120 streams should see none or one."""
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(120):
        drift = watch(rng)
        alarms += any(drift.see(float(rarity)) for rarity in texts(rng, 1500))
    assert alarms <= 1


@pytest.mark.parametrize(("share", "most"), [(0.05, 900), (0.2, 150)])
@pytest.mark.parametrize("quiet", [0, 3000])
def test_noise_in_the_traffic_is_noticed(share, most, quiet):
    """The gate fires on .005 of the texts, and then on so many more; before the change nothing is said."""
    rng = np.random.default_rng(3)
    drift = watch(rng)
    for rarity in texts(rng, quiet):
        assert not drift.see(float(rarity))
    rarities = np.where(rng.random(most) < share, 2.5, texts(rng, most))
    assert any(drift.see(float(rarity)) for rarity in rarities)
    assert "the guarantee is void" in drift.warning
    assert f"of {drift.texts:,} texts" in drift.warning


def test_scores_that_move_below_the_threshold_are_noticed_too():
    rng = np.random.default_rng(4)
    drift = watch(rng)
    assert any(drift.see(1.2 if rng.random() < 0.4 else 0.0) for _ in range(400))
    assert drift.fired == 0


def test_traffic_on_which_the_gate_no_longer_fires_is_noticed():
    """A detector that went blind: nothing is repaired any more, and nobody would see it."""
    rng = np.random.default_rng(5)
    drift = watch(rng)
    assert any(drift.see(0.0) for _ in range(200))


def test_a_warning_stays():
    rng = np.random.default_rng(6)
    drift = watch(rng)
    for _ in range(60):
        drift.see(3.0)
    assert drift.drifted
    for rarity in texts(rng, 500):
        assert drift.see(float(rarity))


def test_a_repair_without_traffic_is_not_watched():
    gate = GateFile(scales=(), threshold=2.0)
    assert Drift.of(RepairFile(chain="fold", gate=gate)) is None
    assert Drift.of(RepairFile(chain="fold", traffic=Traffic(edges=(2.0,), counts=(9, 1)))) is None
    assert Drift.of(RepairFile(chain="fold", gate=gate, traffic=Traffic(edges=(2.0,), counts=(9, 1)))) is not None


@pytest.mark.parametrize("traffic", [Traffic(edges=(1.0,), counts=(9, 1)), Traffic(edges=(2.0,), counts=(9,))])
def test_traffic_of_another_threshold_is_refused(traffic):
    with pytest.raises(DataError, match="no count of texts at the gate's threshold 2"):
        Drift(traffic, 2.0)
