"""The view of a run: what is shown is decided once, for every medium."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from xml.etree import ElementTree as xml

import pytest
from helpers import synthetic
from rich.console import Console

from llmkit.measure.cells import NOISY
from llmkit.measure.metrics import metrics
from llmkit.measure.values import Difference, Interval, Unmeasured
from llmkit.recipe.schema import EvalSection, IntervalSection
from llmkit.report import drawing, html, markdown, tables, terminal, view, written
from llmkit.report.browser import CHIPS, KINDS, Flag, browser
from llmkit.report.elements import Cell, Chart, Choice, Column, Facts, Point, Series, Span, Table

FAST = EvalSection(interval=IntervalSection(draws=200))


@pytest.fixture(scope="module")
def measured():
    return metrics(synthetic.samples(questions=40, replicate=0.1, holdout=True), FAST, 7)


def visible(text):
    """A page's words as a reader sees them."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)).replace("−", "-")


def test_terminal_page_and_markdown_show_the_same_numbers(measured):
    shown = view.of_run(measured)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(terminal.summary(measured))
    drawn = {"terminal": console.export_text(), "markdown": markdown.document(shown).replace("\\", "")}
    drawn["page"] = visible(html.page(shown))
    for table in shown.summary:
        for row in table.rows:
            for column, cell in zip(table.columns, row, strict=True):
                for medium, text in drawn.items() if column.narrow and cell.text != "-" else ():
                    assert cell.text in text, (table.title, medium, cell)


def test_sections_without_content_are_left_out():
    clean = [s for s in synthetic.samples(questions=10, arms=["stand"]) if s.outcome.condition == "clean"]
    assert [section.id for section in view.of_run(metrics(clean, FAST, 7)).sections] == ["accuracy", "cost"]
    assert [section.id for section in view.of_run(metrics([], FAST, 7)).sections] == ["cost"]


def test_the_average_over_noise_is_shown_only_where_there_are_several_kinds():
    one = metrics(synthetic.samples(questions=10, conditions=["ec"]), FAST, 7)
    several = metrics(synthetic.samples(questions=10, conditions=["ec", "sc"]), FAST, 7)
    assert tables.noisy_conditions(one) == ["ec"]
    assert tables.noisy_conditions(several) == [NOISY, "ec", "sc"]
    (losses,) = [s for s in view.of_run(several).sections if s.id == "losses"]
    (choice,) = losses.blocks
    assert isinstance(choice, Choice)
    assert [option.label for option in choice.options] == ["all noise, averaged", "ec", "sc"]


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        (["stand"], ("stand", None)),
        (["stand", "spell_fix", "oracle"], ("stand", "spell_fix")),
        (["stand", "rop", "oracle"], ("stand", "rop")),
        (["spell_fix"], ("spell_fix", None)),
    ],
)
def test_the_main_numbers_are_about_the_repair_that_an_application_can_use(arms, expected):
    found = metrics(synthetic.samples(questions=10, arms=arms, conditions=["ec"]), FAST, 7)
    assert view.main_arms(found) == expected


def test_numbers_are_written_in_one_way():
    gain = Difference(value=-0.0123, low=-0.2, high=1.5, se=0.1, n=9, clusters=9, p=0.0004, test="mcnemar")
    assert written.difference(gain) == Cell("-0.012", Span("-.20", "+1.50", signed=True))
    assert written.difference(gain, plus=False).span == Span("-.20", "1.50", signed=True)
    assert written.rate(Interval(value=0.5, low=0.0, high=1.0)) == Cell("0.500", Span(".00", "1.00"))
    gone = written.difference(Unmeasured(reason="nothing was lost"))
    assert (gone.text, gone.hint) == ("-", "nothing was lost")
    assert written.p_value(gain.p) == "<0.001"


def test_p_values_are_called_raw_where_the_recipe_compares_nothing_of_their_kind(measured):
    gains = measured.arms["rop"].gain
    declared = tables.tests_of(measured, "gain", [("rop", "ec", gains["ec"]), ("rop", NOISY, gains[NOISY])])
    assert declared.title == "p, Holm"
    assert not declared.cells[0].text.endswith("raw")
    assert declared.cells[1].text.endswith(" raw")
    drops = measured.arms["rop"].drop
    assert tables.tests_of(measured, "drop", [("rop", "ec", drops["ec"])]).title == "p, raw"


def test_narrow_media_leave_out_what_is_wide_and_split_what_is_long():
    columns = (Column("a"), Column("b"), Column("wide", wide=True), Column("c"), Column("d"))
    table = Table(
        "T", columns, (tuple(map(Cell, "12345")),), footer=(Cell("sum"), Cell(), Cell(), Cell("9"), Cell()), split=2
    )
    first, second = terminal.draw(table)
    assert [str(column.header) for column in first.columns] == ["a", "b", "c"]
    assert [str(column.header) for column in second.columns] == ["a", "d"]
    assert (first.row_count, second.row_count) == (2, 1)
    assert "wide" not in markdown.document(
        view.View(Facts(), view.notes(metrics([], FAST, 7)), (), None, (), (), (table,), (), browser([]))
    )


@pytest.mark.parametrize("text", ["a | b", "<b>*x*</b>", "[link](http://a)", "line\nbreak", "# no title", "`x`"])
def test_no_text_is_markup_in_markdown(text, measured):
    shown = view.of_run(measured, Facts(title=text))
    title = markdown.document(shown).splitlines()[0]
    assert title.startswith("# ")
    assert re.sub(r"\\(.)", r"\1", title[2:]).replace("\u200b", "") == " ".join(text.split())
    assert not re.search(r"(?<!\\)[|<*`\[]", title)


def test_every_answer_is_right_or_wrong_and_found_by_its_kind():
    shown = browser(synthetic.samples(questions=20))

    def fits(kind, flags):
        return flags & kind.all == kind.all and not flags & kind.none

    kinds = {kind.value: kind for kind in KINDS}
    for row in shown.rows:
        assert fits(kinds["right"], row[4]) != fits(kinds["wrong"], row[4])
        assert fits(kinds[""], row[4])
        assert sum(fits(chip, row[4]) for chip in CHIPS[:2]) == 1
        assert not row[4] & Flag.RIGHT_TO_WRONG or not row[4] & Flag.RIGHT
    names = {(c.id, c.clean, c.rate) for c in browser(synthetic.samples(questions=2, conditions=["ec@0.3"])).conditions}
    assert names == {("clean", True, None), ("ec@0.3", False, 0.3)}


@pytest.mark.parametrize("most", [0.01, 0.07, 0.5, 0.83, 1.0, 7, 123, 98765.4])
def test_ticks_are_few_and_reach_the_largest_value(most):
    ticks = drawing.ticks(most)
    assert ticks[0] == 0
    assert ticks[-1] >= most * 0.999
    assert 2 <= len(ticks) <= 6
    assert ticks[-2] < most


def test_names_in_a_chart_do_not_overlap_and_points_stand_apart():
    heights = [0.5, 0.5, 0.51, 0.9, 0.02]
    series = [
        Series(f"arm {i}", (Point(v, v - 0.01, v + 0.01, i, x=0.0), Point(v, v, v, i, x=1.0)))
        for i, v in enumerate(heights)
    ]
    chart = Chart("lines", tuple(series), (0.0, 0.5, 1.0), x_ticks=(0.0, 1.0))
    ends = sorted(name.y for name in drawing.lines(chart).names)
    assert all(b - a >= 14 - 1e-9 for a, b in pairwise(ends))
    dots = sorted(dot.x for dot in drawing.points(chart).dots)
    assert all(b - a >= 7 - 1e-9 for a, b in pairwise(dots))


def test_a_picture_is_an_svg_file_of_its_own():
    series = (Series("a <b> & c", (Point(0.2, 0.1, 0.4, text="0.20"), Point(0.3, 0.2, 0.5, text="0.30"))),)
    names = (("clean", "#123456"), ("noisy", "#abcdef"))
    text = html.picture(Chart("bars", series, (0.0, 0.5), words="what it shows"), names)
    root = xml.fromstring(text)
    assert root.get("aria-label") == "what it shows"
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["clean", "noisy", "a <b> & c", "0.20", "0.30"]
    widths = [rect.get("width") for rect in root.iter("{http://www.w3.org/2000/svg}rect")][2:]
    assert widths == ["40.00%", "60.00%"]
    assert "var(" not in text
