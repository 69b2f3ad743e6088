"""Markdown for a pull request: what moved, and nothing that a text of users or models could do to it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from helpers import synthetic, unlabelled
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from llmkit.measure import gates, metrics
from llmkit.recipe.schema import Gate
from llmkit.report import markdown, view
from llmkit.report.elements import Cell, Column, Facts, Table
from llmkit.report.moved import ROWS, moved
from llmkit.runs.samples import Hidden, Sample

FAST = unlabelled.FAST
READER = MarkdownIt("commonmark", {"html": True}).enable("table")
INJECTIONS = (
    "| a | b |\n|---|---|\n| c | d |",
    "<!-- --> <script>alert(1)</script> <img src=x onerror=alert(1)>",
    "-->\n\n# A heading\n\n![](https://evil.example/p.png) [here](https://evil.example)",
    "@octocat and @org/team, see #1, org/repo#2 and GH-3, www.evil.example https://evil.example mail@evil.example",
    "`` ` ``` \\| \\` </code> ~~~ $x$ :smile: &lt;b&gt; &#64;octocat",
    "\x1b[31m\u202e\u200b\x00",
)


WHOLE = view.of_run(metrics(synthetic.samples(questions=5, arms=["stand"]), FAST, 7))


def shown(table, **more):
    return markdown.document(replace(WHOLE, facts=Facts(**more), moved=(table,), summary=()))


def live(text):
    """Everything in a text that GitHub would bring to life: what its reader of Markdown finds, and plain names."""
    tokens = READER.parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    html = [t.content for t in (*tokens, *inline) if t.type.startswith("html")]
    kinds = {t.type for t in inline} | {t.type for t in tokens}
    found = [kind for kind in kinds if kind.startswith(("link", "image", "fence", "code", "hr", "html_block"))]
    texts = ["".join(t.content for t in token.children or () if t.type != "html_inline") for token in tokens]
    plain = re.findall(r"@\w|#\d|:/|(?i:www\.|gh-\d)", "\n".join(texts))
    return found + plain + [tag for tag in html if tag not in ("<code>", "</code>")]


@given(st.one_of(st.sampled_from(INJECTIONS), st.text(max_size=60), st.text("|`\\<>!-[]()#@*_~:/&;\n", max_size=40)))
@settings(deadline=None)
@pytest.mark.parametrize("quoted", [True, False])
def test_a_text_stays_one_cell_of_text(quoted, text):
    columns = (Column("a"), Column("b", quoted=quoted), Column("c"))
    written = shown(Table("T", columns, ((Cell("1"), Cell(text), Cell("2")),)), title=text[:200])
    tokens = READER.parse(written)
    assert [t.type for t in tokens].count("table_open") == 1
    assert [t.type for t in tokens].count("td_open") == 3
    assert [t.type for t in tokens].count("heading_open") == 2
    assert live(written) == []
    assert re.findall(r"(?<!\\)\$", written) == [], "GitHub would set it as a formula"


def test_what_a_text_says_can_still_be_read():
    written = shown(Table("T", (Column("a", quoted=True),), ((Cell('My "order", 5 % off: where? (No. 7)'),),)))
    assert '<code>My "order", 5 % off&#58; where? (No. 7)</code>' in written


def since(now, then):
    return {table.title: [[cell.text for cell in row] for row in table.rows] for table in moved(now, then)}


def test_rows_that_noise_turned_are_shown_without_a_baseline():
    samples = synthetic.samples(questions=40, arms=["stand"], conditions=["ec"], seed=3)
    (worse,) = moved(samples)
    lost = sum(s.outcome.correct for s in samples if s.outcome.condition == "clean")
    lost -= sum(s.outcome.correct for s in samples if s.outcome.condition == "ec")
    assert worse.title == f"Worse under noise: {lost} answers{f', {ROWS} of them here' if lost > ROWS else ''}"
    row = next(r for r in worse.rows)
    assert [cell.text for cell in row[1:3]] == ["stand", "ec"]
    assert row[3].text == row[4].text != row[5].text


def turned(samples, *places):
    return [
        replace(s, outcome=replace(s.outcome, correct=not s.outcome.correct, parsed="7")) if i in places else s
        for i, s in enumerate(samples)
    ]


def test_rows_that_moved_since_a_baseline_are_shown_and_no_others():
    then = synthetic.samples(questions=20, arms=["stand"], conditions=["ec"], clean=1.0, loss={})
    assert since(then, then) == {}
    now = turned(then, 0, 3)
    found = since(now, then)
    assert {title: [(r[2], r[5]) for r in rows] for title, rows in found.items()} == {
        "Worse since the baseline: 2 answers": [("clean", "7"), ("ec", "7")]
    }
    assert list(since(then, now)) == ["Better since the baseline: 2 answers"]
    other = [replace(s, question="another") for s in then]
    assert since(now, other) == {}


def test_many_rows_are_counted_and_few_shown():
    then = synthetic.samples(questions=30, arms=["stand"], conditions=[], clean=1.0)
    (table,) = moved(turned(then, *range(30)), then)
    assert (table.title, len(table.rows)) == ("Worse since the baseline: 30 answers, 10 of them here", 10)


def test_answers_that_changed_are_shown_where_rows_have_no_labels():
    (table,) = moved(unlabelled.run("AABB", "AAAA"))
    assert table.title == "Answers that changed under noise: 1 answer"
    assert [cell.text for cell in table.rows[0]] == ["txet 0", "stand", "typing", "", "A", "B"]
    assert list(since(unlabelled.run("AAAA"), unlabelled.run("AAAB"))) == [
        "Answers that changed since the baseline: 1 answer"
    ]


def test_texts_that_are_not_kept_are_not_shown():
    kept = synthetic.samples(questions=20, arms=["stand"], conditions=["ec"], clean=1.0)
    hidden = [replace(s, question="d1", text="d2", hidden=Hidden("hash", "d3", True, False, {})) for s in kept]
    (worse,) = moved(hidden)
    cells = {cell.text for row in worse.rows for cell in row}
    assert {"(right)", "(wrong)", "stand", "ec", ""} <= cells
    assert cells - {"(right)", "(wrong)", "stand", "ec", ""} <= {s.outcome.question_id for s in kept}


def test_the_verdict_and_the_gates_come_first():
    samples = synthetic.samples(questions=40, arms=["stand"], conditions=["ec"])
    measured = metrics(samples, FAST, 7)
    judged = gates.evaluate([Gate(metric="stand.drop", max=0.001), Gate(metric="stand.accuracy", min=0.1)], measured)
    written = markdown.document(view.of_run(measured.model_copy(update={"gates": tuple(judged)}), None, samples, ()))
    assert written.startswith("# A run\n\n**Gates: 1 failed, 1 passed.**\n")
    heads = re.findall("^## (.*)", written, re.MULTILINE)
    assert heads[0] == "Gates"
    assert heads[1].startswith("Worse under noise")
    assert "Accuracy" in heads
    assert written.count("## Gates") == 1
    assert "No gates" in markdown.document(view.of_run(measured))


def test_a_large_run_fits_into_a_comment():
    arms = [f"arm{i:02d}" for i in range(40)]
    samples = [Sample.from_row(row) for row in synthetic.rows(questions=3, arms=["stand"])]
    many = [replace(s, outcome=replace(s.outcome, arm=arm)) for arm in ["stand", *arms] for s in samples]
    long = [replace(s, text=s.text + "|" * 1_000_000) for s in many]
    written = markdown.document(view.of_run(metrics(many, FAST, 7), None, long, ()))
    assert len(written.encode()) <= markdown.LONGEST
    assert len(markdown.document(view.of_run(metrics(many, FAST, 7), None, many, ()), 3_000).encode()) <= 3_000
