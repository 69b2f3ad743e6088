"""The simulated pull requests of benchmarks/pull_requests.py: what their stored result says, and some of them again."""

from __future__ import annotations

import json

import pytest
from helpers import benchmarks

pulls = benchmarks.load("pull_requests")
STORED = json.loads(pulls.RESULTS.read_text())
MAIN = next(
    row for row in STORED["designs"] if pulls.Design(**{k: row[k] for k in row if k in pulls.FIELDS}) == pulls.MAIN
)


def test_a_planted_regression_turns_a_pull_request_red_and_no_change_does_not():
    assert STORED["pulls"] == 500
    assert MAIN["red"]["planted"] >= 0.8
    assert MAIN["red"]["unchanged"] <= 0.05


@pytest.mark.slow
def test_todays_code_judges_the_first_of_them_alike():
    for name in ("planted", "unchanged"):
        again = [pulls.judged(pulls.MAIN, i, name == "planted") for i in range(20)]
        assert "".join("r" if pulls.is_red(v) else "." for v in again) == MAIN["first"][name][:20]


def test_the_page_has_the_table_of_the_result():
    page = pulls.DOCS.read_text(encoding="utf-8")
    assert pulls.table(STORED["designs"]) in page
