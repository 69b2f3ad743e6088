"""report.html in a real browser: it opens from a file, filters, counts right, runs nothing that a question says."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from dataclasses import replace

import pytest
from helpers import synthetic
from helpers.pages import CUT, WIDTH, opened

from llmkit.measure import gates
from llmkit.measure.metrics import metrics
from llmkit.recipe.schema import EvalSection, Gate, IntervalSection
from llmkit.report import browser, html, view, write
from llmkit.report.facts import facts
from llmkit.runs.samples import Sample
from llmkit.types import CLEAN

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]
FAST = EvalSection(interval=IntervalSection(draws=200))
EVIL = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'> & <!-- \u2028 {{7*7}} 2+2?"


@pytest.fixture(scope="module")
def samples():
    rows = synthetic.samples(questions=30, draws=2, replicate=0.1, holdout=True, search_seeds=2)
    for rate in (0.1, 0.3):
        rows += [s for s in synthetic.samples(questions=30, conditions=[f"uic@{rate}"]) if "@" in s.outcome.condition]
    evil = replace(rows[0], question=EVIL, text=EVIL, calls=({"purpose": "answer", "reply": {"text": EVIL}},))
    return [evil, *rows[1:]]


@pytest.fixture(scope="module")
def folder(samples, tmp_path_factory):
    home = tmp_path_factory.mktemp("runs") / "rop-demo-0123456789ab"
    home.mkdir()
    (home / "recipe.resolved.yaml").write_text(
        "seed: 7\nmodel: {path: org/tiny-<b>model}\nengine: {kind: vllm, dtype: float32}\n"
        "data: {task: arithmetic, split: test, limit: 30}\nperturb: {conditions: [ec, uic], rate: paper}\n"
    )
    (home / "env.json").write_text(json.dumps({"llmkit": "0.1.0", "packages": {"vllm": "0.32.0"}}))
    found = {"trained_on": "pooled", "seed": 0, "correction": {"best": "Mend it."}, "guidance": {"best": "Solve it."}}
    (home / "instructions.json").write_text(json.dumps({"instructions": [found]}))
    measured = metrics(samples, FAST, 7)
    verdicts = gates.evaluate([Gate(metric="rop.gain", min=0.0, bound="low")], measured)
    write(home, samples, measured.model_copy(update={"gates": tuple(verdicts)}))
    return home


def of_many(tmp_path, monkeypatch, chromium, most, questions=40, loss=synthetic.LOSS):
    """Returns the sentence of a page with room for so many answers, and the questions that it holds."""
    monkeypatch.setattr(browser, "MOST", most)
    samples = synthetic.samples(questions=questions, arms=["stand"], conditions=list(loss), loss=loss)
    shuffled = random.Random(1).sample(samples, len(samples))
    pages = []
    for given in (samples, shuffled):
        with opened(chromium, write_page(tmp_path, given)) as page:
            held = page.inner_text("#held") if page.query_selector("#held") else ""
            pages.append((page.inner_text("#count"), held, page.content()))
    assert pages[0] == pages[1], "the order of the answers changes nothing"
    found = set(re.findall(r"q\d{5}", pages[0][2]))
    return pages[0][0], pages[0][1], {s.outcome.question_id for s in samples if s.outcome.question_id in found}, samples


def changed_questions(samples):
    right = {(s.outcome.question_id, s.outcome.condition): s.outcome.correct for s in samples}
    return {question for (question, condition), ok in right.items() if ok != right[question, CLEAN]}


def test_a_page_without_room_for_all_holds_what_changed_and_a_sample_of_the_others(tmp_path, monkeypatch, chromium):
    loss = {"ec": 0.2}
    count, held, found, samples = of_many(tmp_path, monkeypatch, chromium, 40, loss=loss)
    assert "40" in count
    assert held.startswith("This page holds 40 of the 80 answers of this run: all to questions whose answers differ")
    assert "seeded sample of the others" in held
    assert changed_questions(samples) < found
    assert len(found) == 20


def test_a_page_without_room_for_what_changed_says_how_much_of_it_there_is(tmp_path, monkeypatch, chromium):
    _, held, found, samples = of_many(tmp_path, monkeypatch, chromium, 8, loss={"ec": 0.6})
    changed = changed_questions(samples)
    assert len(changed) > 4
    assert found < changed
    assert f"a seeded sample, 4 of the {len(changed)} questions whose answers differ or failed" in held


def test_a_page_with_room_for_all_says_nothing_of_a_sample(tmp_path, monkeypatch, chromium):
    _, held, found, _ = of_many(tmp_path, monkeypatch, chromium, 240)
    assert held == ""
    assert len(found) == 40


def write_page(folder, samples):
    """The report of these answers alone, in a folder without a run's other files."""
    shown = view.of_run(metrics(samples, FAST, 7), facts(folder), samples)
    (folder / "report.html").write_text(html.page(shown), encoding="utf-8")
    return folder / "report.html"


@pytest.fixture
def clean_only(samples, tmp_path):
    """A run folder in which no question was perturbed."""
    kept = [s for s in samples if s.outcome.condition == CLEAN]
    write(tmp_path, kept, metrics(kept, FAST, 7))
    return tmp_path


@pytest.fixture
def losses_declared(samples, tmp_path):
    """A run folder whose recipe declares losses and harm as the family of its comparisons."""
    wide = FAST.model_copy(update={"family": ("drop", "clean_drop")})
    measured = metrics(samples, wide, 7)
    (tmp_path / "metrics.json").write_text(json.dumps(measured.as_dict()))
    write(tmp_path, samples, measured)
    return tmp_path


@pytest.fixture
def page(chromium, request):
    """The page, open, and after the test: no error on its console and nothing asked of any network."""
    folder = request.getfixturevalue(getattr(request, "param", "folder"))
    with opened(chromium, folder / "report.html") as page:
        page.wait_for_selector("html[data-ready=yes]")
        yield page


def shown(page) -> tuple[int, int]:
    hits, everything = re.findall(r"[\d,]+", page.locator("#count").text_content())
    return int(hits.replace(",", "")), int(everything.replace(",", ""))


def test_the_page_is_one_closed_file(folder):
    text = (folder / "report.html").read_text()
    assert re.findall(r"https?://[\w./]+", text) == []
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert "<" not in data
    assert json.loads(data)["browser"]["questions"][0][1] == EVIL
    assert "org/tiny-<b>model" not in text


@pytest.mark.parametrize("page", ["clean_only"], indirect=True)
def test_it_opens_where_nothing_was_perturbed(page):
    titles = page.locator("h2").all_text_contents()
    assert "Accuracy" in titles
    assert "What noise takes" not in titles


def test_it_opens_from_a_file_with_all_its_sections(page):
    titles = page.locator("h2").all_text_contents()
    for title in ("Accuracy", "What each arm wins", "What noise takes", "Ablation", "Strength", "Held-out noise"):
        assert title in titles
    for title in ("Correction", "Cost", "Noise of the measurement", "The run", "Questions"):
        assert title in titles
    assert page.locator("h1").text_content() == "arithmetic, asked of tiny-<b>model"
    assert "Mend it." in page.locator("#run").text_content()
    assert "rop-demo-0123456789ab" in page.locator("#run").text_content()
    assert page.locator("#verdicts tbody tr").count() == 1


def altered_clean(sample):
    return sample.outcome.condition.startswith("clean") and sample.outcome.corrected_text not in (None, sample.question)


def test_filters_show_the_right_counts(page, samples):
    def count(wanted):
        return sum(map(wanted, samples))

    assert shown(page) == (len(samples), len(samples))
    page.select_option("#arm", "rop")
    assert shown(page)[0] == count(lambda s: s.outcome.arm == "rop")
    page.select_option("#condition", "ec")
    assert shown(page)[0] == count(lambda s: s.outcome.arm == "rop" and s.outcome.condition == "ec")
    page.select_option("#kind", "wrong")
    assert shown(page)[0] == count(
        lambda s: s.outcome.arm == "rop" and s.outcome.condition == "ec" and not s.outcome.correct
    )
    page.select_option("#arm", "")
    page.select_option("#condition", "")
    for kind, wanted in (
        ("unparsed", lambda s: s.outcome.parsed is None),
        ("cut", lambda s: s.outcome.cut),
        ("fallback", lambda s: s.outcome.fallback is not None),
        ("right", lambda s: s.outcome.correct),
        ("over_corrected", altered_clean),
    ):
        page.select_option("#kind", kind)
        assert shown(page)[0] == count(wanted), kind


def test_flips_on_the_page_are_those_of_the_metrics(page, samples):
    measured = metrics(samples, FAST, 7)
    page.select_option("#arm", "stand")
    page.select_option("#condition", "uic")
    drop = measured.arms["stand"].drop["uic"]
    page.select_option("#kind", "right_to_wrong")
    assert shown(page)[0] == drop.better > 0
    page.select_option("#kind", "wrong_to_right")
    assert shown(page)[0] == drop.worse


def test_adjusted_p_values_stand_where_there_are_some_and_others_are_called_raw(page):
    assert titles_under(page, "#effects", "#effect-condition", "ec")[-1] == "p, Holm"
    assert titles_under(page, "#losses", "#loss-condition", "ec")[-1] == "p, raw"


@pytest.mark.parametrize("page", ["losses_declared"], indirect=True)
def test_losses_and_harm_show_their_adjusted_p_values(page, losses_declared):
    measured = json.loads((losses_declared / "metrics.json").read_text())
    adjusted = {(row["metric"], row["arm"], row["condition"]): row["adjusted"] for row in measured["holm"]}

    def cell(p):
        return "<0.001" if p < 0.001 else f"{p:.3f}"

    assert titles_under(page, "#effects", "#effect-condition", "ec")[-1] == "p, raw"
    harm = page.locator("#effects tbody tr").filter(has_text="correct_only").locator("td").nth(3).text_content()
    assert f"p, Holm {cell(adjusted['clean_drop', 'correct_only', 'clean'])}" in harm
    assert titles_under(page, "#losses", "#loss-condition", "ec")[-1] == "p, Holm"
    rows = page.locator("#losses tbody tr")
    found = {row.locator("th").text_content(): row.locator("td").last.text_content() for row in rows.all()}
    undecided = {arm: measured["arms"][arm]["drop"]["ec"]["undecided"] for arm in measured["arms"]}
    assert found == {
        arm: cell(adjusted["drop", arm, "ec"]) + ("undecided" if undecided[arm] else "") for arm in measured["arms"]
    }
    assert titles_under(page, "#losses", "#loss-condition", "noisy")[-1] == "p, raw"


def titles_under(page, section, picker, condition):
    page.select_option(picker, condition)
    return page.locator(f"{section} thead th").all_text_contents()


def test_search_and_pages(page, samples):
    from playwright.sync_api import expect

    assert page.locator("article").count() == 25
    page.locator("#next").click()
    expect(page.locator("#page")).to_contain_text("Page 2 of")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.type("q00007")
    expect(page.locator("#count")).to_contain_text(f"{sum(s.outcome.question_id == 'q00007' for s in samples)} of")
    assert set(page.locator("article h3").all_text_contents()) == {"q00007"}
    page.fill("#text", "no such words anywhere")
    expect(page.locator("#results")).to_contain_text("No answer fits")
    assert page.locator("#next").is_disabled()


def test_a_bar_leads_to_its_answers(page, samples):
    page.get_by_role("button", name=re.compile("^rop under uic: accuracy")).click()
    assert page.input_value("#arm") == "rop"
    assert page.input_value("#condition") == "uic"
    assert shown(page)[0] == sum(s.outcome.arm == "rop" and s.outcome.condition == "uic" for s in samples)


def test_what_a_question_says_is_never_run(page):
    from playwright.sync_api import expect

    page.fill("#text", "window.hacked")
    expect(page.locator("#count")).not_to_contain_text("0 of")
    article = page.locator("article", has_text="window.hacked").first
    assert EVIL in article.text_content()
    assert page.locator("article img").count() == 0
    assert page.locator("article script").count() == 0
    assert page.evaluate("typeof window.hacked") == "undefined"


def test_differences_are_marked(chromium, tmp_path):
    clean, noisy = "Tom buys seven red pens today", "Tom byus seevn red pens tdaoy"
    corrected = "Tom buys seevn red pens today please"
    row = {
        **synthetic.rows(questions=1, arms=["rop"], conditions=["ec"])[1],
        "question": clean,
        "text": noisy,
        "corrected_text": corrected,
    }
    only = [Sample.from_row(row)]
    page = chromium.new_page()
    page.goto(write_page(tmp_path, only).as_uri())
    page.wait_for_selector("article")
    assert page.locator("article mark.noise").all_text_contents() == ["byus", "seevn", "tdaoy"]
    assert page.locator("article mark.fixed").all_text_contents() == ["buys", "today"]
    assert page.locator("article mark.off").all_text_contents() == ["seevn", "please"]
    page.close()


def test_light_and_dark(chromium, folder, page):
    background = "getComputedStyle(document.body).backgroundColor"

    def dark(of):
        return sum(map(int, re.findall(r"\d+", of.evaluate(background))[:3])) < 150

    assert not dark(page)
    toggle = page.get_by_role("button", name=re.compile("Colour theme"))
    toggle.click()  # light, whatever the system says
    assert not dark(page)
    toggle.click()
    assert dark(page)
    assert toggle.text_content() == "Theme: dark"
    system = chromium.new_page(color_scheme="dark")
    system.goto((folder / "report.html").as_uri())
    assert dark(system)
    system.close()


def test_everything_can_be_reached_and_is_named(page):
    for control in page.locator("button, select, input").all():
        assert control.evaluate("e => e.getAttribute('aria-label') || (e.labels?.[0] ?? e).textContent.trim()")
    for chart in page.locator("svg[role=img]").all():
        assert chart.get_attribute("aria-label")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "questions"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "arm"


def test_on_a_wide_screen_no_table_is_cut_and_no_name_leaves_its_chart(page):
    assert page.evaluate(CUT) == []
    outside = """[...document.querySelectorAll("svg[viewBox] text")].filter(t => {
        const inner = t.getBoundingClientRect(), outer = t.closest("svg").getBoundingClientRect();
        return inner.bottom > outer.bottom + 3 || inner.top < outer.top || inner.right > outer.right;
    }).map(t => t.textContent)"""
    assert page.locator("svg[viewBox] text").count() > 20
    assert page.evaluate(outside) == []


def test_a_narrow_screen_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate(WIDTH) <= 390


def test_ten_thousand_outcomes_stay_small_on_screen(chromium, tmp_path):
    samples = synthetic.samples(questions=420)
    report = write_page(tmp_path, samples)
    assert report.stat().st_size < 5_000_000
    page = chromium.new_page()
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    assert shown(page) == (10_080, 10_080)
    assert page.locator("article").count() == 25
    page.select_option("#kind", "right_to_wrong")
    assert 0 < shown(page)[0] < 2_000
    page.close()


def test_a_report_of_nothing_opens(chromium, tmp_path):
    report = write_page(tmp_path, [])
    page = chromium.new_page()
    problems = []
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    assert shown(page) == (0, 0)
    assert problems == []
    page.close()


def test_no_key_that_a_server_sent_back_is_in_a_report(samples, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a-very-secret-value-1234")
    said = "refused: a-very-secret-value-1234 at http://u:hunter2@host/"
    leaky = [replace(samples[1], outcome=replace(samples[1].outcome, error=said))]
    write(tmp_path, leaky, metrics(leaky, FAST, 7))
    for name in ("report.html", "outcomes.csv"):
        text = (tmp_path / name).read_text()
        assert "refused: *** at" in text
        assert "a-very-secret" not in text
        assert "hunter2" not in text
    from pyarrow import parquet

    assert "secret" not in str(parquet.read_table(tmp_path / "outcomes.parquet").to_pylist())


def test_the_engine_named_is_the_one_that_answered(tmp_path):
    (tmp_path / "recipe.resolved.yaml").write_text("engine: {kind: auto, dtype: float32}\nmodel: {path: m}\n")
    (tmp_path / "run.json").write_text('{"command": "rop", "engine": "vllm"}')
    assert dict(facts(tmp_path).rows)["Engine"] == "vllm · float32"
