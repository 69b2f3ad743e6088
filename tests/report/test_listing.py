"""The page of the runs in a folder."""

from __future__ import annotations

import json
import os

import pytest
from helpers import synthetic
from helpers.pages import CUT, WIDTH, opened

from llmkit.measure import gates
from llmkit.measure.metrics import metrics
from llmkit.recipe.schema import EvalSection, Gate, IntervalSection
from llmkit.report import html, listing
from llmkit.runs.listing import listings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]
FAST = EvalSection(interval=IntervalSection(draws=100))
GATES = [Gate(metric="rop.accuracy", min=0.1), Gate(metric="rop.gain", min=0.9, bound="high")]
EVIL = "x<script>window.hacked=1"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three runs of one recipe, one of another without gates, one unfinished, one damaged, and a training."""
    home = tmp_path_factory.mktemp("runs")
    names = ["rop-demo-a1", "rop-demo-b2", "rop-demo-c3", "eval-plain-d4", "eval-half-e5", "eval-torn-f6", "tuned-a7"]
    for seed, name in enumerate(names):
        arms = ["stand", "rop"] if name.startswith("rop") else ["stand"]
        rows = synthetic.rows(questions=30, arms=arms, conditions=["ec", "sc"], seed=seed)
        run = synthetic.write_run(home / name, rows)
        recipe = f"model: {{path: org/tiny}}\ndata: {{task: '{EVIL if seed == 0 else 'arithmetic'}'}}\n"
        (run / "recipe.resolved.yaml").write_text("- torn" if "torn" in name else recipe)
        if "half" not in name and "torn" not in name:
            measured = metrics(synthetic.samples(questions=30, arms=arms, conditions=["ec", "sc"], seed=seed), FAST, 7)
            if arms != ["stand"]:
                measured = measured.model_copy(update={"gates": tuple(gates.evaluate(GATES, measured))})
            content = {"seconds": 3.0} if name.startswith("tuned") else measured.as_dict()
            (run / "metrics.json").write_text(json.dumps(content))
        for i, file in enumerate(sorted(run.iterdir())):
            os.utime(file, (1_700_000_000 + 100 * seed + i,) * 2)
        os.utime(run, (1_700_000_000 + 100 * seed,) * 2)
    (home / "rop-demo-c3" / "report.html").write_text("the report")
    return home


@pytest.fixture
def page(chromium, home, tmp_path):
    view = listing.runs(listing.measured(listings(home)), home, tmp_path)
    (tmp_path / "runs.html").write_text(html.runs(view), encoding="utf-8")
    with opened(chromium, tmp_path / "runs.html") as page:
        yield page


def rows_of(page) -> dict[str, list[str]]:
    """The texts of each row's cells, by the name of the run."""
    return {name: row.locator("td").all_text_contents() for name, row in named(page).items()}


def named(page):
    """The rows of the table, by the name of the run, which is followed by the time of the last change."""
    return {row.locator("th").text_content().partition("20")[0]: row for row in page.locator("tbody tr").all()}


def test_the_newest_run_is_first_and_states_are_said(page):
    rows = rows_of(page)
    assert next(iter(rows)) == "rop-demo-c3"  # its report came last
    assert list(rows)[-1] == "rop-demo-a1"
    states = {name: cells[0] for name, cells in rows.items()}
    assert states["eval-half-e5"].startswith("unfinished")
    assert states["eval-torn-f6"] == "damaged"
    assert states["tuned-a7"].startswith("finished")
    assert states["eval-plain-d4"].startswith("finished")


def test_the_worst_verdict_is_that_of_the_run(page):
    rows = rows_of(page)
    assert rows["rop-demo-a1"][1] == "fail1 of 2"
    assert rows["eval-plain-d4"][1] == ""


def test_main_numbers_are_those_of_the_metrics(page, home):
    measured = json.loads((home / "rop-demo-b2" / "metrics.json").read_text())
    stand = measured["arms"]["stand"]["conditions"]
    cells = rows_of(page)["rop-demo-b2"]
    assert cells[2].startswith(f"{stand['clean']['accuracy']['value']:.3f}(")
    assert cells[3].startswith(f"{stand['noisy']['accuracy']['value']:.3f}(")
    assert cells[4].startswith(f"{measured['arms']['rop']['gain']['noisy']['value']:+.3f}(")
    assert cells[4].endswith("rop")
    assert rows_of(page)["tuned-a7"][2:5] == ["", "", ""]


def test_a_line_shows_the_runs_of_one_recipe_up_to_this_one(page):
    lines = {name: row.locator("svg[role=img]") for name, row in named(page).items()}
    assert {name: line.count() for name, line in lines.items() if line.count()} == {"rop-demo-c3": 1, "rop-demo-b2": 1}
    assert "of 3 runs of this recipe" in lines["rop-demo-c3"].get_attribute("aria-label")
    assert "of 2 runs of this recipe" in lines["rop-demo-b2"].get_attribute("aria-label")
    assert len(lines["rop-demo-c3"].locator("polyline").get_attribute("points").split()) == 3


def test_a_run_leads_to_its_report(page):
    assert page.locator("tbody th a").count() == 1
    page.get_by_role("link", name="rop-demo-c3").click()
    assert page.locator("body").text_content() == "the report"


def test_the_page_runs_nothing_and_fits_the_screen(page):
    assert EVIL in page.locator("main").text_content()
    assert page.locator("script").count() == 0
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.evaluate(CUT) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate(WIDTH) <= 390
