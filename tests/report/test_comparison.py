"""Runs beside each other: in the terminal and as a page."""

from __future__ import annotations

import json

import pytest
from helpers import synthetic
from helpers.pages import CUT, WIDTH, opened
from rich.console import Console

from llmkit.measure.beside import beside
from llmkit.measure.compare import compare
from llmkit.recipe.schema import IntervalSection
from llmkit.report import html, terminal
from llmkit.report.comparison import comparison

pytestmark = pytest.mark.xdist_group("chromium")
FAST = IntervalSection(draws=200)
EVIL = "<img src=x onerror='window.hacked=1'>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base with RoP, a trained one without, and a robust one with RoP."""
    home, rows = tmp_path_factory.mktemp("runs"), synthetic.rows(questions=60, arms=["stand", "rop"])
    made = [
        synthetic.write_run(home / f"base {EVIL}".replace("/", ""), rows),
        synthetic.write_run(home / "tuned", [row for row in rows if row["arm"] == "stand"]),
        synthetic.write_run(home / "robust", [row for row in rows if row["condition"] != "uic"]),
    ]
    for run, seconds in zip(made[1:], ({"seconds": 90.0}, {}), strict=True):
        trained = home / f"training of {run.name}"
        (trained / "adapter").mkdir(parents=True)
        (trained / "metrics.json").write_text(json.dumps(seconds))
        (run / "recipe.resolved.yaml").write_text(f"model: {{adapter: '{trained / 'adapter'}'}}\n")
    return made


@pytest.fixture(scope="module")
def view(runs):
    return comparison(beside(runs, FAST), compare(runs, FAST))


@pytest.fixture
def page(chromium, view, tmp_path):
    (tmp_path / "compared.html").write_text(html.comparison(view), encoding="utf-8")
    with opened(chromium, tmp_path / "compared.html") as page:
        yield page


def test_the_terminal_has_both_tables(view):
    console = Console(width=140, record=True)
    console.print(terminal.comparison(view))
    text = console.export_text()
    for words in ("robust, rop", "1.5 min", "unknown", "tuned, robust against base", "drop, noisy", "shared questions"):
        assert words in text
    assert "dtype not known" in text


def test_every_arm_is_a_row_with_its_bars(page, view):
    rows = page.locator("table").first.locator("tbody tr")
    assert rows.locator("th").all_text_contents() == [row[0].text for row in view.runs.rows]
    assert rows.locator("svg[role=img]").count() == 2 * len(view.runs.rows)
    first = view.runs.rows[0][2]
    assert rows.first.locator("td").nth(1).text_content() == f"{first.text}{first.note}"
    assert page.locator("table").nth(1).locator("tbody tr").count() == len(view.changes.rows)


def test_the_page_runs_no_script_and_fits_the_screen(page, view):
    assert "script" not in page.locator("meta[http-equiv]").get_attribute("content")
    assert page.locator("script").count() == 0
    assert page.locator("main img").count() == 0
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert EVIL in page.locator("main").text_content()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate(WIDTH) <= 390


def test_no_table_is_cut_on_a_wide_screen(chromium, runs, tmp_path):
    view = comparison(beside(runs[1:], FAST), compare(runs[1:], FAST))
    (tmp_path / "compared.html").write_text(html.comparison(view), encoding="utf-8")
    with opened(chromium, tmp_path / "compared.html") as page:
        assert page.evaluate(CUT) == []
