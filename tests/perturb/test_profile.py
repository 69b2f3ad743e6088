"""Noise profiles: fitted from pairs and logs, kept as rates alone, and drawn from with all guarantees of `perturb`."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from helpers import guarantees, people
from helpers.strategies import questions, rates, seeds, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.cli import app, common
from llmkit.errors import DataError, UsageError
from llmkit.perturb import PROTECT, Perturber, undo
from llmkit.perturb.alignment import align, kind
from llmkit.perturb.keys import neighbour_keys
from llmkit.perturb.observed import Observed, observe, read_pairs
from llmkit.perturb.profile import FORM, Profile, fit, load, shipped_names
from llmkit.perturb.protection import Protection
from llmkit.perturb.text import Source

SENTENCE = "Maria buys 12 red apples because they are cheaper, and she eats three of them. How many are left?"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Texts of forty people, with errors of all kinds that a profile knows."""
    path = tmp_path_factory.mktemp("noise") / "typed.jsonl"
    rows = []
    for number, (typed, intended) in enumerate(people.texts(900, wrong=0.08)):
        intended = f"I cannot say, it's into {intended.capitalize()}."
        typed = (
            f"i cannot say its in to {typed.capitalize()}"
            if number % 3 == 0
            else intended.replace(intended.split()[-1], typed.split()[-1] + ".")
        )
        rows.append({"typed": typed, "intended": intended, "user": f"u{number % 40}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def profile(source) -> Profile:
    return fit(read_pairs(str(source)), "en", {})


@pytest.fixture(scope="module")
def spec(profile, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("profile") / "people.json"
    path.write_text(profile.text(), encoding="utf-8")
    return f"like:{path}"


@pytest.fixture
def llmkit(capfdbinary, tmp_path, monkeypatch):
    """Runs `llmkit noise` in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> tuple[int, str, str]:
        code = app.run(["noise", *args])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    yield run
    common.settings.debug = common.settings.quiet = False


def rows(path: Path, *made: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return str(path)


def test_a_profile_is_the_same_from_its_file(profile, spec):
    again = load(spec.removeprefix("like:"))
    assert again == replace(profile, about=dict(profile.about))
    assert again.text() == profile.text()


def test_the_file_holds_no_word_of_its_source(source, profile):
    content = profile.text().lower()
    written = set(re.findall(r"[^\W\d_]{5,}", source.read_text(encoding="utf-8").lower()))
    named_by_the_form = {"typed", "intended"}
    assert len(written) > 500
    assert [word for word in written - named_by_the_form if word in content] == []
    assert not re.search(r"[^\W\d_]{5,}", profile.text())


def test_errors_that_are_no_misspellings_have_their_rates(profile):
    assert set(profile.other) == {"cut", "apos", "caps", "punc"}
    assert profile.other["apos"] == pytest.approx(1 / 3, abs=0.05)
    assert profile.rate is not None
    assert profile.spread > 0.01  # a third of the texts has most of the errors


@settings(max_examples=700, deadline=None, database=None)
@given(text=texts, rate=st.one_of(rates, st.sampled_from(["fitted", "x0.5", "x4"])), seed=seeds)
def test_the_original_can_be_rebuilt(spec, text, rate, seed):
    made = Perturber(spec, rate=rate, seed=seed, retries=1).apply(text, "q")
    assert undo(made.text, made.edits) == text
    assert all(first.end <= second.start for first, second in pairwise(made.edits))
    assert bool(made.edits) == (made.text != text)
    assert made.edits or made.reason
    assert made == Perturber(spec, rate=rate, seed=seed, retries=1).apply(text, "q")


@settings(max_examples=700, deadline=None, database=None)
@given(text=questions, rate=rates, seed=seeds)
def test_protected_spans_and_numbers_survive(spec, text, rate, seed):
    protect = [*PROTECT, "eggs at"]
    guarantees.keeps(Perturber(spec, rate=rate, seed=seed, protect=protect, retries=0).apply(text, "q"), text, protect)


@settings(max_examples=300, deadline=None, database=None)
@given(text=questions, rate=rates, seed=seeds)
def test_no_more_words_change_than_the_rate_asks_for(spec, text, rate, seed):
    made = Perturber(spec, rate=rate, seed=seed, retries=0).apply(text, "q")
    assert len(made.edits) <= max(1, round(rate * Source(text, Protection().spans(text)).words))


def test_the_fitted_rate_leaves_texts_alone_as_often_as_people_do(spec, profile, source):
    texts = [json.loads(line)["intended"] for line in source.read_text(encoding="utf-8").splitlines()][:600]
    words = sum(len(text.split()) for text in texts)
    copies = [Perturber(spec, rate="fitted").apply(text, str(n)) for n, text in enumerate(texts)]
    untouched = sum(not copy.edits for copy in copies) / len(copies)
    assert not any(copy.rejected for copy in copies)
    assert sum(len(copy.edits) for copy in copies) / words == pytest.approx(profile.rate, rel=0.25)
    assert untouched > (1 - profile.rate) ** (words / len(texts))  # more than where every word errs for itself
    doubled = [len(Perturber(spec, rate="x2").apply(text, str(n)).edits) for n, text in enumerate(texts)]
    assert sum(doubled) / words == pytest.approx(2 * profile.rate, rel=0.25)


def test_long_words_are_misspelt_more_often(tmp_path):
    observed = Observed()
    rng = Random(3)
    for number in range(2000):
        wrong = "informatin" if rng.random() < 0.5 else "information"
        observe(observed, f"the cat sees {wrong} near", "the cat sees information near", str(number))
    for number, (intended, typed) in enumerate(people.misspellings(200)):
        observe(observed, f"the {typed}", f"the {intended}", f"other{number}")
    made = fit(observed, "en", {})
    assert made.length_rate(11) > 20 * made.length_rate(3)


def test_a_log_alone_finds_most_misspellings(tmp_path, llmkit):
    made = people.texts(500, wrong=0.1)
    path = rows(tmp_path / "log.jsonl", *({"body": typed, "user": f"u{n}"} for n, (typed, _) in enumerate(made)))
    code, _, err = llmkit("fit", path, "--field", "body", "-o", "p.json")
    assert code == 0
    assert "cannot be seen in a log" in err
    planted = sum(a != b for typed, intended in made for a, b in zip(typed.split(), intended.split(), strict=True))
    profile = load("p.json")
    assert 0.7 * planted < profile.about["n"] < 1.1 * planted
    assert profile.rate == pytest.approx(planted / (500 * 12), rel=0.3)


def test_fit_compare_and_generate_as_a_new_user_would(tmp_path, llmkit):
    people.write_pairs(tmp_path / "mine.jsonl", 900)
    people.write_pairs(tmp_path / "later.jsonl", 400, seed=5)
    code, out, _ = llmkit("fit", "mine.jsonl", "--source", "my users", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["n"] == 900
    assert facts["src"] == "my users"
    assert facts["auc"] < 0.65
    code, out, _ = llmkit("compare", "later.jsonl", "like:profile.json", "ec", "--json")
    by_name = {row["noise"]: row for row in json.loads(out)}
    assert code == 0
    assert set(by_name) == {"like:profile.json", "ec", "nlpaug:keyboard", "real against real"}
    assert by_name["like:profile.json"]["auc"] < 0.65 < 0.7 < by_name["ec"]["auc"]
    assert by_name["like:profile.json"]["kinds"] < 0.12 < by_name["ec"]["kinds"]
    made = Perturber("like:profile.json", rate=0.3).apply(SENTENCE, "q")
    assert made.edits


def test_a_file_of_noisy_copies_can_be_compared(tmp_path, llmkit):
    people.write_pairs(tmp_path / "real.jsonl", 300)
    perturber = Perturber("ec", rate=1.0)
    copies = []
    for intended, _ in people.misspellings(300):
        made = perturber.apply(intended, "q")
        copies.append({"question": made.text, "perturbation": perturber.record(intended, made)})
    rows(tmp_path / "noisy.jsonl", *copies)
    code, out, _ = llmkit("compare", "real.jsonl", "noisy.jsonl", "--json")
    assert code == 0
    assert json.loads(out)[0]["pairs"] > 50


PAIR = {"typed": "becuase", "intended": "because"}
GERMAN = "Maria kauft zwei rote Äpfel weil sie billiger sind und isst drei davon am Abend"


@pytest.mark.parametrize(
    ("made", "args", "message"),
    [
        ([PAIR] * 3, [], "too little to fit: 3 misspellings"),
        ([PAIR | {"user": "one"}] * 100, [], "by 1 people"),
        ([{"typed": "the red house", "intended": "das rote Haus"}] * 80, [], "share fewer than half"),
        ([{"question": "no original"}] * 80, [], "no pair of a typed and an intended text"),
        ([{"typed": "", "intended": "because"}] * 80, [], "80 rows: an empty field"),
        ([{"typed": "x" * 2**20, "intended": "y"}] * 2, [], "longer than 100,000 characters"),
        ([{"body": "hello there"}] * 3, ["--field", "text"], "no row has a text in `text`"),
        ([{"body": "she likes teh red apples"}] * 3, ["--field", "body"], "too little to fit"),
        ([{"body": GERMAN}] * 80, ["--field", "body"], "of its words are common English"),
        ([{"body": GERMAN}] * 80, ["--field", "body", "--lang", "de"], "there is no word list for `de`"),
        ([], [], "no pair of a typed and an intended text (it has no row)"),
    ],
)
def test_bad_input_is_refused_with_what_to_do(tmp_path, llmkit, made, args, message):
    path = rows(tmp_path / "bad.jsonl", *made)
    code, out, err = llmkit("fit", path, *args)
    assert (code, out) == (2, "")
    assert message in err
    assert "hint:" in err
    assert not Path("profile.json").exists()


def test_a_line_of_a_megabyte_in_a_log_is_read(tmp_path, llmkit):
    made = people.texts(300, wrong=0.1)
    bodies = [{"body": typed, "user": str(n)} for n, (typed, _) in enumerate(made)]
    path = rows(tmp_path / "log.jsonl", {"body": "house " * 180_000}, {"body": "x" * 2**20}, *bodies)
    code, _, _ = llmkit("fit", path, "--field", "body")
    assert code == 0


def test_pairs_that_say_nothing_are_left_out_and_counted(tmp_path, llmkit):
    people.write_pairs(tmp_path / "mine.jsonl", 100)
    with open(tmp_path / "mine.jsonl", "a", encoding="utf-8") as file:
        file.write('{"typed": "", "intended": "because"}\nnot json\n')
    code, _, err = llmkit("fit", "mine.jsonl")
    assert code == 0
    assert "1 rows left out: an empty field" in err
    assert "1 rows left out: no typed and intended text" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        (f'{{"form": {FORM + 1}}}', "update llmkit"),
        ("[]", "not a noise profile"),
        ('{"form": 1, "lang": "en"}', "not a noise profile"),
    ],
)
def test_a_file_that_is_no_profile_says_so(tmp_path, content, message):
    path = tmp_path / "p.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as failure:
        load(str(path))
    assert message in f"{failure.value.message} {failure.value.hint}"


@pytest.mark.parametrize("part", ["edit", "len", "rate", "swap", "more"])
def test_a_profile_with_a_broken_part_is_refused(tmp_path, profile, part):
    content = json.loads(profile.text())
    content[part] = {"edit": {"(a>b)": -1}, "len": [1], "rate": "high", "swap": {"to": 3}, "more": [[2]]}[part]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match="not a noise profile"):
        load(str(path))


def test_names_of_profiles_are_suggested():
    with pytest.raises(UsageError) as failure:
        load("lerner")
    assert "learner" in f"{failure.value.message} {failure.value.hint}"


def test_an_english_profile_leaves_other_languages_alone(spec):
    made = Perturber(spec, rate=0.3, english=False).apply(GERMAN, "q")
    assert made.text == GERMAN
    assert "not in English" in made.reason


def test_shipped_profiles_say_where_they_are_from(llmkit):
    code, out, _ = llmkit("ls", "--json")
    assert code == 0
    for shipped in json.loads(out):
        assert shipped["src"]
        assert shipped["lic"]
        assert shipped["date"]
        assert shipped["n"] > 1000 or shipped["src"].startswith("synthetic")


@settings(max_examples=300, deadline=None, database=None)
@given(name=st.sampled_from(shipped_names()), text=questions, rate=rates, seed=seeds)
def test_shipped_profiles_keep_the_guarantees(name, text, rate, seed):
    copy = Perturber(f"like:{name}", rate=rate, seed=seed, retries=0).apply(text, "q")
    guarantees.keeps(copy, text, PROTECT)
    assert undo(copy.text, copy.edits) == text


def test_chat_writes_short_messages():
    text = Perturber("like:chat", rate=1.0, retries=0).apply("Why are you late? I don't know what you want.", "q").text
    assert text == text.lower()
    assert not set(text) & set("'?")
    assert {"r", "u"} & set(text.split())


def test_phone_hits_keys_that_touch():
    wrong = Counter()
    for number in range(400):
        misspelling = load("phone").channel.sample("market", Random(number))
        edits = align("market", misspelling)
        if len(edits) == 1 and kind("market", edits[0]) == "sub":
            wrong[edits[0].new in neighbour_keys()["market"[edits[0].start]]] += 1
    assert wrong[True] > 100
    assert not wrong[False]
