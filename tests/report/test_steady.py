"""The view of rows without answers: no accuracy where nothing is right or wrong, and changes beside each other."""

from __future__ import annotations

import pytest
from helpers.pages import CUT, WIDTH, opened
from helpers.unlabelled import FAST, answer, measured, repaired, run
from rich.console import Console

from llmkit.conditions import Condition
from llmkit.measure import gates
from llmkit.recipe.schema import Gate
from llmkit.report import html, junit, markdown, view
from llmkit.report.notes import notes
from llmkit.report.terminal import summary

ROWS = ["AABB" if i % 5 == 0 else "CBCC" if i % 7 == 0 else "BBBB" for i in range(60)]
GATES = (Gate(metric="stand.changed", condition="typing", max=0.4), Gate(metric="stand.drop", max=0.4))


def shown(samples, declared=()):
    found = measured(samples, section=FAST.model_copy(update={"gates": declared}))
    return found.model_copy(update={"gates": tuple(gates.evaluate(declared, found))})


def printed(metrics, width=100):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary(metrics))
    return console.export_text()


def test_one_screen_says_what_changes_by_itself_under_noise_and_what_can_be_wrong():
    text = printed(shown(run(*ROWS), GATES))
    assert "5.8 % of the answers change by themselves" in text
    assert "20.0 % [11.8, 31.8] under typing" in text
    assert "at most 30.4 % can have gone wrong" in " ".join(text.split())
    assert "label 12" in text
    assert "stand, typing" in text
    assert len(text.splitlines()) < 45


def test_nothing_that_needs_answers_is_shown():
    view_of = view.of_run(shown(run(*ROWS)), samples=run(*ROWS))
    words = printed(shown(run(*ROWS))) + html.page(view_of) + markdown.document(view_of)
    for word in ("Accuracy", "accuracy of", "recovery", "gold ", "count as wrong"):
        assert word not in words.split("<script")[0], word
    tables = [*view_of.summary, *(b for s in view_of.sections for b in s.blocks if hasattr(b, "columns"))]
    cells = [column.name for table in tables for column in table.columns]
    cells += [row[0].text for table in tables for row in table.rows]
    assert not [cell for cell in cells if "#2" in cell]


def test_free_text_has_no_bound_and_says_so():
    prose = "We will send the parcel number {} to your address on Monday morning."
    rows = [
        answer(i, condition, prose.format(i + (i % 4 == 0 and condition == "typing")), kind="text")
        for i in range(40)
        for condition in ("clean", "typing")
    ]
    found = shown(rows)
    assert found.arms["stand"].stability["typing"].lost_at_most is None
    text = printed(found)
    assert "can have gone wrong" not in text
    assert "no accuracy lost more" not in text


def test_repairs_begin_with_what_they_do_to_the_rows_as_sent():
    found = shown(repaired("AABBCC" * 5, "BABBCC" * 5, "AABACC" * 5))
    titles = [table.title for table in view.summary(found)]
    assert titles[0] == "What each repair does to the rows as sent"
    assert "What repairs bring back" in titles
    assert [tile.name for tile in view.main_numbers(found)][-1] == "spell_fix: restored less broken"


def test_rows_as_they_are_need_no_noise():
    samples = [s for s in repaired("AABBCC" * 5, "A" * 30, "A" * 30, "ABBBCC" * 5) if s.outcome.condition == "clean"]
    found = shown(samples)
    assert found.arms["spell_fix"].touched.value == pytest.approx(1 / 6, abs=1e-6)
    assert [table.title for table in view.summary(found)] == ["What each repair does to the rows as sent", "Cost"]
    assert "by itself" not in notes(found).headlines


def test_junit_has_the_verdicts_and_their_reasons():
    found = shown(run(*ROWS), GATES)
    text = junit.document(view.of_run(found)).decode()
    assert 'errors="1"' in text
    assert "llmkit label" in text


def test_every_answer_knows_what_it_is_compared_with():
    shown_browser = view.of_run(shown(run(*ROWS)), samples=run(*ROWS)).browser
    before = {c.id: c.before for c in shown_browser.conditions}
    names = [c.id for c in shown_browser.conditions]
    for name, place in before.items():
        condition = Condition.parse(name)
        wanted = "clean" if condition.replicate == 1 else str(condition.once)
        assert place == (-1 if name == "clean" else names.index(wanted))
    counted = {
        kind.value: sum(row[4] & kind.all == kind.all for row in shown_browser.rows) for kind in shown_browser.kinds
    }
    assert (counted["changed"], counted["by_itself"]) == (12, 7)
    assert "right" not in counted


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_shows_changed_answers_side_by_side_at_any_width(chromium, tmp_path, scheme):
    samples = run(*ROWS)
    file = tmp_path / "report.html"
    file.write_text(html.page(view.of_run(shown(samples, GATES), samples=samples)), encoding="utf-8")
    with opened(chromium, file) as page:
        page.emulate_media(color_scheme=scheme)
        page.select_option("#kind", "changed")
        assert page.locator("#count").text_content() == "12 of 240 answers"
        card = page.locator("article").first
        assert card.locator("mark.was").text_content() == "A"
        assert card.locator("mark.now").text_content() == "B"
        assert page.evaluate(CUT) == []
        page.set_viewport_size({"width": 420, "height": 900})
        assert page.evaluate(WIDTH) <= 420
