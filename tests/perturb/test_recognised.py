"""`asr` and `ocr`: their tables, what they promise on any text, and what they do with bad input."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from random import Random

import pytest
from helpers import guarantees
from helpers.strategies import questions, rates, seeds, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.cli import app
from llmkit.errors import DataError
from llmkit.perturb import OPERATORS, PROTECT, Perturber, undo
from llmkit.perturb.numerals import numbers
from llmkit.perturb.recogniser import ABOUT, SHIPPED, Word, core_of, load, safe, unsafe
from llmkit.perturb.text import Source

NAMES = ("asr", "ocr")
TEXT = "Maria buys 12 red apples because they are cheaper, and she eats three of them. How many apples are left?"
RATES = st.one_of(rates, st.just("fitted"), st.just("x2"))


def noisy(name, text=TEXT, **settings):
    return Perturber(name, **{"rate": 0.3, **settings}).apply(text, "q")


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, database=None)
@given(spec=st.sampled_from([*NAMES, "asr+ocr"]), text=st.one_of(questions, texts), rate=RATES, seed=seeds)
def test_they_keep_numbers_options_and_code_and_can_be_undone(spec, text, rate, seed):
    protect = [*PROTECT, "eggs at"]
    made = Perturber(spec, rate=rate, seed=seed, protect=protect, retries=0).apply(text, "q")
    guarantees.keeps(made, text, protect)
    assert undo(made.text, made.edits) == text


@settings(max_examples=300, deadline=None, database=None)
@given(name=st.sampled_from(NAMES), text=st.one_of(questions, texts), rate=RATES, seed=seeds)
def test_with_numbers_released_they_can_be_undone_and_repeated(name, text, rate, seed):
    made = noisy(name, text, rate=rate, seed=seed, release=("numbers",))
    assert undo(made.text, made.edits) == text
    assert made == noisy(name, text, rate=rate, seed=seed, release=("numbers",))


@pytest.mark.parametrize("name", NAMES)
class TestNumbers:
    def copies(self, name, **settings):
        return [Perturber(name, rate=0.5, seed=seed, **settings).apply(TEXT, "q") for seed in range(60)]

    def test_they_stay_unless_they_are_released(self, name):
        assert all(numbers(made.text) == numbers(TEXT) for made in self.copies(name))

    def test_released_ones_are_misread_like_other_words(self, name):
        assert any(numbers(made.text) != numbers(TEXT) for made in self.copies(name, release=("numbers",)))

    @pytest.mark.parametrize("heard", ["twenty-one", "two of", "4", "forty"])
    def test_no_word_is_taken_for_one(self, name, heard):
        op = OPERATORS[name]()
        op.table = replace(op.table, words={"apples": Word(1.0, {heard: 1000.0})}, added={heard: 0.5})
        source = Source("red apples and apples for apples")
        written = {new for seed in range(30) for _, _, new in op.changes(source, 4, Random(seed))}
        assert written
        assert not any(heard in new for new in written)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_behind_an_option(name):
    text = "Which is a good place to store the butter?\n(A) a fridge (B) a shelf"
    copies = [Perturber(name, rate=1.0, seed=seed).apply(text, "q").text for seed in range(80)]
    assert all(copy.endswith("(A) a fridge (B) a shelf") for copy in copies)


@pytest.mark.parametrize("name", NAMES)
class TestStrength:
    def test_a_rate_asks_for_so_many_changes(self, name):
        made = noisy(name, rate=0.3)
        assert len(made.edits) == 6  # 20 words

    def test_fitted_leaves_some_texts_alone_and_says_why(self, name):
        copies = [Perturber(name, seed=seed).apply(TEXT, "q") for seed in range(80)]
        clean = [made for made in copies if not made.edits]
        assert 0 < len(clean) < len(copies)
        assert not any(made.rejected for made in clean)
        assert {made.reason for made in clean} == {"no error was drawn"}

    def test_twice_the_rate_changes_more(self, name):
        def changed(rate):
            return sum(len(Perturber(name, rate=rate, seed=seed).apply(TEXT, "q").edits) for seed in range(40))

        assert changed("x0.5") < changed("fitted") < changed("x2")


@pytest.mark.parametrize(("spec", "rate"), [("asr", "fitted"), ("ocr,asr", "fitted"), ("asr,ec", 0.1)])
def test_the_command_draws_as_many_errors_as_the_recogniser_made(tmp_path, capfd, spec, rate):
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": TEXT}) + "\n", encoding="utf-8")
    assert app.run(["perturb", str(tmp_path / "q.jsonl"), "--op", spec]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(rows) == len(spec.split(","))
    assert {row["perturbation"]["rate"] for row in rows} == {rate}


@pytest.mark.parametrize("name", NAMES)
class TestBadInput:
    @pytest.mark.parametrize("text", ["", "  \n"])
    def test_an_empty_text_is_left_and_says_so(self, name, text):
        made = noisy(name, text)
        assert (made.text, made.rejected, made.reason) == (text, True, "the text is empty")

    @pytest.mark.parametrize("text", ["12 345 6.7", "2 + 2 = 4", "$1/2 - (3)."])
    def test_a_text_of_numbers_is_left_and_says_so(self, name, text):
        made = noisy(name, text)
        assert (made.text, made.rejected, made.reason) == (text, True, f"{name}: no word that can be misread")

    def test_a_set_in_another_language_is_left_and_says_so(self, name):
        made = noisy(name, "Maria kauft 12 rote Äpfel.", english=False)
        assert (made.rejected, made.reason) == (True, f"{name}: the set is not in English")

    def test_a_line_of_a_megabyte_is_changed(self, name):
        text = f"{TEXT} " * 10_000
        source = Source(text)
        changes = OPERATORS[name]().changes(source, 5_000, Random(1))
        assert len(changes) == 5_000

    def test_a_word_of_a_megabyte_ends(self, name):
        made = noisy(name, "a" * 1_000_000)
        assert undo(made.text, made.edits) == "a" * 1_000_000


@pytest.mark.parametrize("name", NAMES)
class TestTables:
    def content(self, name):
        return json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))

    def test_their_provenance_is_complete(self, name):
        about = self.content(name)["about"]
        assert set(ABOUT) <= about.keys()
        assert all(about[key] not in ("", None) for key in ABOUT)
        assert list(filter(None, about["sources"].values()))
        assert about["texts"] > 5 * about["left_out"]

    def test_no_run_of_source_words_is_in_them(self, name):
        """Five words of a source in a row cannot be in a table none of whose strings has four."""

        def strings(value):
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield key
                    yield from strings(inner)
            elif isinstance(value, list):
                for inner in value:
                    yield from strings(inner)
            elif isinstance(value, str):
                yield value

        content = self.content(name)
        del content["about"], content["channel"]["abc"]
        assert max(len(re.findall(r"\w+(?:['’]\w+)?", string)) for string in strings(content)) < 4

    def test_they_are_small(self, name):
        assert (SHIPPED / f"{name}.json").stat().st_size < 1_500_000

    def test_writing_a_table_gives_its_file(self, name):
        assert load(SHIPPED / f"{name}.json").text() == (SHIPPED / f"{name}.json").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"form": 2}, "a table of form 2"),
            ({"form": None}, "no form that is known"),
            ({"by_length": [0.1]}, "another size"),
            ({"parts": {"short": {"eaten": 1.0}, "long": {}}}, "unknown parts: eaten"),
            ({"run": -1}, "not a number from 0 to 1"),
            ({"words": {"the": 1}}, "not a table"),
            ({"about": {}}, "does not say"),
            ({"channel": {}}, "not a table"),
        ],
    )
    def test_a_damaged_or_newer_table_is_named(self, tmp_path, name, change, message):
        path = tmp_path / "table.json"
        path.write_text(json.dumps(self.content(name) | change), encoding="utf-8")
        with pytest.raises(DataError, match=message):
            load(path)

    @pytest.mark.parametrize("text", ["", "[]", "{", "no json"])
    def test_what_is_no_table_is_named(self, tmp_path, name, text):
        path = tmp_path / "table.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"table\.json"):
            load(path)

    def test_a_missing_table_is_named(self, tmp_path, name):
        with pytest.raises(DataError, match="No such file"):
            load(tmp_path / "table.json")


@given(st.text())
def test_marks_of_rules_are_carried_through(text):
    assert unsafe(safe(text)) == text or any("\ue000" <= letter <= "\ue006" for letter in text)
    assert not set("()>^$\0 ") & set(safe(text))


def test_the_core_of_a_token_begins_and_ends_with_a_letter_or_digit():
    assert [core_of(token) for token in ("\"don't,", "$7.50.", "--", "_a_")] == [
        ("don't", 1),
        ("7.50", 1),
        ("", 0),
        ("a", 1),
    ]
