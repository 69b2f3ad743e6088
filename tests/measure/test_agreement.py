"""Cohen's kappa: a value by hand, statsmodels, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from llmkit.measure.agreement import kappa

WORDS = ("first", "second", "tie")


def test_a_table_by_hand():
    # 35 of 50 agree (.7); the margins 25, 25 and 30, 20 would agree on .5 by chance: (.7 - .5) / (1 - .5).
    table = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
    found = kappa([pair for pair, count in table.items() for _ in range(count)], 0.95)
    assert (found.observed, found.n) == (0.7, 50)
    assert found.value == pytest.approx(0.4)


@settings(deadline=None)  # the first one loads pandas
@pytest.mark.filterwarnings("ignore:invalid value")
@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)), min_size=2, max_size=60))
def test_value_and_interval_are_those_of_statsmodels(ratings):
    found = kappa(ratings, 0.95)
    table = np.array([[ratings.count((one, other)) for other in WORDS] for one in WORDS])
    if found.value is None:
        assert len(set(ratings)) == 1
        return
    theirs = cohens_kappa(table)
    assert found.value == pytest.approx(theirs.kappa, abs=1e-9)
    if not np.isfinite(theirs.std_kappa):  # rounding made a variance of 0 negative there
        assert found.low == pytest.approx(found.value, abs=1e-6) == found.high
        return
    assert found.low == pytest.approx(max(-1, theirs.kappa_low), abs=1e-6)
    assert found.high == pytest.approx(min(1, theirs.kappa_upp), abs=1e-6)


def test_nothing_rated_is_no_agreement():
    with pytest.raises(ValueError, match="no item"):
        kappa([], 0.95)
