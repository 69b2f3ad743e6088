"""`spelling` in other languages than English: which words it misspells, and what no misspelling is."""

from __future__ import annotations

from random import Random

import pytest
from helpers import languages
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.perturb import Perturber
from llmkit.perturb.graphemes import is_mark
from llmkit.perturb.identification import identified
from llmkit.perturb.languages import language_codes, language_named
from llmkit.perturb.misspelt import misspeller
from llmkit.perturb.number_words import number_word_spans
from llmkit.perturb.word_lists import has_word_list, small_list, word_list

SERVED = ["de", "el", "hi", "ar", "tr"]


@settings(max_examples=200, deadline=None, database=None)
@given(st.data(), st.sampled_from(SERVED), st.integers(0, 2**32))
def test_no_misspelling_is_a_word_and_each_is_written_in_its_language(data, code, seed):
    language = language_named(code)
    words = word_list(language)
    word = data.draw(st.sampled_from(list(words.common)))
    word = words.written(word, data.draw(st.sampled_from([word, language.upper(word)]))) or word
    typed = misspeller(language).misspell(word, Random(seed))
    assert typed == misspeller(language).misspell(word, Random(seed))
    if typed is not None:
        assert not words.knows(typed)
        assert typed != word
        assert language.writes(typed)
        assert not is_mark(typed[0])
        assert not number_word_spans(typed, language)
        # One capital alone says nothing of the others: D is written Dö.
        assert typed.isupper() == word.isupper() or min(len(typed), len(word)) < 2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("de", "Straße GÜNSTIG Wohnung"),
        ("tr", "kırmızı Işık İSTANBUL"),
        ("el", "άνθρωπος Είναι"),
        ("ru", "Потому ДВЕРЬ"),
    ],
)
def test_a_misspelling_keeps_capitals_and_letters_of_the_language(code, words):
    language = language_named(code)
    for word in words.split():
        forms = {misspeller(language).misspell(word, Random(seed)) for seed in range(60)} - {None}
        assert len(forms) > 5
        for form in forms:
            assert [form == language.lower(form), form == language.upper(form)] == [
                word == language.lower(word),
                word == language.upper(word),
            ]
            assert "ss" not in form or "ß" not in word
            assert not form.endswith("σ")


@pytest.mark.parametrize("word", ["Grzegorzewskaja", "iPhone", "приvet", "x", "e\u0301a", ""])
def test_what_is_no_word_of_the_language_stays(word):
    assert misspeller(language_named("de")).misspell(word, Random(1)) is None


def test_every_language_with_a_list_has_words_in_its_own_letters():
    served = [code for code in language_codes() if has_word_list(language_named(code))]
    assert len(served) == 38
    for code in served:
        assert len(small_list(code)) > 20_000, code


def test_the_missing_extra_is_named_where_the_language_was_asked_for(monkeypatch):
    monkeypatch.setattr("llmkit.perturb.word_lists.installed", lambda package: False)
    monkeypatch.setattr("llmkit.extras.installed", lambda package: False)
    with pytest.raises(UsageError, match="operator `spelling` in German needs wordfreq and msgpack") as caught:
        Perturber("spelling", rate=0.5, lang="de").apply("Wie schön ist das für mich?", "q")
    assert caught.value.hint == 'pip install "llmkit-robust[lang]"'
    made = Perturber("spelling", rate=0.5).apply("Wie schön ist das für mich?", "q")
    assert (made.rejected, made.reason) == (True, "spelling: does not serve German")


@pytest.mark.parametrize("code", ["de", "hi", "ar", "es"])
def test_a_set_is_misspelt_and_keeps_what_is_protected(code):
    made = [
        Perturber("spelling", rate=0.2, lang=code).apply(row["question"], row["id"]) for row in languages.rows(code)
    ]
    assert sum(bool(one.edits) for one in made) >= 28
    words = word_list(language_named(code))
    assert not any(words.knows(edit.new) for one in made for edit in one.edits)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("mein Paket fehlt", "de"), ("dove il pacco", "it"), ("hvor er pakken", "da"), ("waar is mijn pakket", "nl"),
        ("где мой заказ", "ru"), ("where is my parcel", "en"), ("de quoi parle le livre", "fr"),
    ],
)  # fmt: skip
def test_three_words_say_the_language(text, code):
    assert identified(text).code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Mitu õuna jääb Mariale alles, kui ta sööb kolm?", "et"),
        ("Колико јабука остаје Марији ако поједе три?", "sr"),
    ],
)
def test_a_language_without_a_list_is_not_taken_for_one_with_a_list(text, code):
    assert identified(text).code == code
