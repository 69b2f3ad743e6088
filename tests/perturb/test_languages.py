"""Noise in other languages: script, marks and numbers stay, and every edit can be undone."""

from __future__ import annotations

import json
import logging
import unicodedata
from random import Random

import pytest
from helpers import languages
from helpers.languages import FIRST, TWENTY, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.cli import app
from llmkit.errors import UsageError
from llmkit.perturb import OPERATORS, Perturber, identification, undo
from llmkit.perturb import languages as known
from llmkit.perturb.base import Letters
from llmkit.perturb.graphemes import clusters, is_mark
from llmkit.perturb.hangul import is_syllable, syllable
from llmkit.perturb.identification import identified
from llmkit.perturb.keyboards import languages_with_layout, layout_named, layout_names, layout_of
from llmkit.perturb.keys import Keyboard, neighbour_keys
from llmkit.perturb.number_words import number_word_spans
from llmkit.perturb.numerals import numbers
from llmkit.perturb.segments import segmenter
from llmkit.perturb.segments import words as segmented

SPECS = [name for name in OPERATORS if OPERATORS[name].argument is None and not OPERATORS[name].most_calls]
SPECS += ["chars(2)", "ec+typing", "woo+no_diacritics", "nlpaug:keyboard"]
OTHER_SCRIPT = {"sc", "wrong_layout", "checklist", "leet"}  # they write other letters on purpose
BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"
WHOLE = ["👩‍👩‍👧", "👍🏽", "🇩🇪", "https://a.example/b?c=1", "{name}"]


def scripts(text: str) -> set[str]:
    return {unicodedata.name(char, "?").split()[0] for char in text if char.isalpha()}


def stray_marks(text: str) -> int:
    """Counts marks that follow no letter, digit, sign or other mark."""
    return sum(is_mark(char) and (not place or text[place - 1].isspace()) for place, char in enumerate(text))


def check(spec: str, code: str, text: str, rate: float, seed: int) -> None:
    made = Perturber(spec, rate=rate, seed=seed, retries=0, lang=code).apply(text, "q")
    assert undo(made.text, made.edits) == text
    assert made == Perturber(spec, rate=rate, seed=seed, retries=0, lang=code).apply(text, "q")
    assert made.lang == code
    assert made.edits or made.reason
    if spec not in ("leet", "hw_number"):
        assert numbers(made.text) == numbers(text)
    assert made.reason not in ("a number was lost", "a number was added", "a protected span was changed")
    assert [made.text.count(mark) for mark in BIDI] == [text.count(mark) for mark in BIDI]
    assert all(made.text.count(whole) >= text.count(whole) for whole in WHOLE)
    assert stray_marks(made.text) <= stray_marks(text)
    if spec not in OTHER_SCRIPT:
        language = known.language_named(code)
        assert scripts(made.text) <= scripts(text) | scripts(language.alphabet)


@settings(max_examples=400, deadline=None, database=None)
@given(st.data(), st.sampled_from(SPECS), st.sampled_from(list(FIRST)), st.floats(0.05, 1.0), st.integers(0, 2**32))
def test_every_operator_keeps_eight_scripts(data, spec, code, rate, seed):
    check(spec, code, data.draw(languages.texts(code)), rate, seed)


@pytest.mark.slow
@settings(max_examples=800, deadline=None, database=None)
@given(st.data(), st.sampled_from(SPECS), st.sampled_from(list(TWENTY)), st.floats(0.05, 1.0), st.integers(0, 2**32))
def test_every_operator_keeps_twenty_two_languages(data, spec, code, rate, seed):
    check(spec, code, data.draw(languages.texts(code)), rate, seed)


@pytest.mark.parametrize("code", ["de", "zh", "hi", "ar", "es"])
def test_every_operator_changes_a_set_or_says_that_it_does_not_serve_its_language(code):
    language = known.language_named(code)
    for spec in SPECS:
        perturber = Perturber(spec, rate=0.3, lang=code)
        made = [perturber.apply(row["question"], row["id"], gold=row["answer"]) for row in rows(code)]
        members = [member for chain in perturber.mixture.chains for member in chain]
        changed = sum(bool(one.edits) for one in made)
        if not any(member.serves(language) for member in members):
            assert {one.reason for one in made} == {f"{members[0].name}: does not serve {language.name}"}
        else:
            least = {"wrong_layout": 1, "no_diacritics": 14, "punctuation": 25}  # Spanish has ñ on another key only
            assert changed >= least.get(spec, 28), (spec, changed)


@pytest.mark.parametrize("code", ["de", "zh", "hi", "ar", "es"])
def test_a_set_is_identified_and_its_language_recorded(code):
    perturber = Perturber("ec", rate=0.2, lang="auto")
    assert {perturber.apply(row["question"], row["id"]).lang for row in rows(code)} == {code}
    assert perturber.record("x", perturber.apply(rows(code)[0]["question"], "q"))["lang"] == code


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("code", "conditions"),
    [
        ("de", "ec,typing,woo,no_diacritics,wrong_layout"),
        ("zh", "ec,swap,woo,pinyin,hanzi"),
        ("hi", "ec,typing,vowel_sign"),
        ("ar", "ec,typing,no_diacritics"),
        ("es", "ec,typing,no_diacritics"),
    ],
)
def test_a_model_that_is_right_loses_nothing_by_reading(code, conditions, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(languages.SETS))
    given = ["--path", str(languages.SETS / f"{code}.jsonl"), "--kind", "numeric", "--split", "all", "--json"]
    asked = ["--engine", "python:scripted:answer", "--conditions", conditions, "--set", "perturb.rate=0.2"]
    assert app.run(["eval", *given, *asked]) == 0
    results = json.loads(capsys.readouterr().out)
    cells = results["arms"]["stand"]["conditions"]
    assert {condition: cell["accuracy"]["value"] for condition, cell in cells.items()} == dict.fromkeys(cells, 1.0)
    assert set(conditions.split(",")) <= set(cells)


@pytest.mark.e2e
def test_a_run_in_a_language_misspells_and_repairs_its_words(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(languages.SETS))
    given = ["--path", str(languages.SETS / "de.jsonl"), "--kind", "numeric", "--split", "all", "--json"]
    asked = ["--engine", "python:scripted:answer", "--conditions", "spelling", "--arms", "stand,fold+spell"]
    assert app.run(["eval", *given, *asked, "--set", "perturb.lang=de", "--set", "perturb.rate=0.2"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["arms"]["fold+spell"]["conditions"]["spelling"]["accuracy"]["value"] == 1.0
    correction = results["arms"]["fold+spell"]["correction"]["spelling"]
    assert correction["cer_after"] < 0.8 * correction["cer_before"]
    assert correction["numbers_kept"]["value"] == 1.0


# Layouts


def test_the_american_layout_is_the_table_that_english_noise_has_always_had():
    assert layout_named("us").neighbours == neighbour_keys()


def test_every_layout_has_letters_and_neighbours_of_their_own_kind():
    assert len(layout_names()) > 500
    for name in layout_names():
        layout = layout_named(name)
        assert layout.letters, name
        for character, others in layout.neighbours.items():
            assert character not in others
            assert {is_mark(other) for other in others} == {is_mark(character)}
    assert all(layout_named(str(layout_of(code))).letters for code in languages_with_layout())


def test_layouts_equal_those_of_multypo():
    # Written by `benchmarks/keyboards.py --multypo`: letters side by side in its rows, and in the layout of that name.
    facts = json.loads((languages.SETS.parents[1] / "benchmarks/results/keyboards.json").read_text("utf-8"))
    apart = {language: fact["apart"] for language, fact in facts["languages"].items()}
    assert len(apart) == 11
    assert {language: pairs for language, pairs in apart.items() if pairs} == {"bn": ["ফৎ", "ৎখ"]}
    assert not any(fact["missing"] for fact in facts["languages"].values())


def test_a_wrong_key_is_one_of_the_layout():
    german = Keyboard().in_language(known.language_named("de"))
    assert {german.edit_in("z", Random(seed)) for seed in range(40)} == set("tugh")
    russian = Keyboard().in_language(known.language_named("ru"))
    assert {russian.edit_in("й", Random(seed)) for seed in range(40)} == set("цф")
    korean = Keyboard().in_language(known.language_named("ko"))
    for seed in range(40):
        (edited,) = korean.edit_in("한", Random(seed))
        assert is_syllable(edited)
        assert sum(a != b for a, b in zip(syllable("한"), syllable(edited), strict=True)) == 1


@pytest.mark.parametrize(
    ("code", "text", "typed"),
    [
        ("ru", "привет", "ghbdtn"), ("ko", "안녕", "dkssud"), ("el", "γεια", "geia"), ("he", "שלום", "akuo"),
        ("th", "เขา", "g-k"), ("de", "zehn Yachten", "yehn Zachten"),
    ],
)  # fmt: skip
def test_the_wrong_layout_left_on(code, text, typed):
    assert Perturber("wrong_layout", rate=1.0, lang=code, release=["number_words"]).apply(text, "q").text == typed


@pytest.mark.parametrize(
    ("code", "text", "plain"),
    [
        ("de", "über Straße", "uber Strasse"), ("es", "mañana", "manana"), ("vi", "người Việt", "nguoi Viet"),
        ("pl", "żółć Łódź", "zolc Lodz"), ("ru", "ёлка йод", "елка йод"), ("el", "μήλα", "μηλα"),
        ("ar", "أحمد مُعَلِّم", "احمد معلم"), ("tr", "ışık", "isik"),
    ],
)  # fmt: skip
def test_diacritics_are_dropped(code, text, plain):
    assert Perturber("no_diacritics", rate=1.0, lang=code).apply(text, "q").text == plain


def test_case_is_that_of_the_language():
    turkish = known.language_named("tr")
    assert (turkish.upper("ilik ışık"), turkish.lower("IŞIK İLİK")) == ("İLİK IŞIK", "ışık ilik")
    forms = {Perturber("case", rate=1.0, seed=seed, lang="tr").apply("ilgi", "q").text for seed in range(30)}
    assert "İLGİ" in forms
    assert not any("I" in form for form in forms)


# Letters and words


def test_grapheme_clusters_are_those_of_the_regex_package():
    regex = pytest.importorskip("regex")
    for code, text in TWENTY.items():
        assert clusters(text) == regex.findall(r"\X", text), code
    for row in [row for code in ("de", "zh", "hi", "ar", "es") for row in rows(code)]:
        assert clusters(row["question"]) == regex.findall(r"\X", row["question"])
    for text in ("👩‍👩‍👧👍🏽🇩🇪🇫🇷", "क्ष्म्य", "각힣", "cafe\u0301", "ก็ำ", "می‌خواهم"):
        assert clusters(text) == regex.findall(r"\X", text)


@given(st.text(alphabet="abé\u0301\u093f\u094dकषगी한글ำ", max_size=12))
def test_a_word_is_coded_with_one_character_for_each_cluster(word):
    letters = Letters(clusters(word), padded=True)
    assert len(letters.coded) == len(clusters(word)) + 2
    assert letters.decoded(letters.coded) == word


@pytest.mark.parametrize("code", ["zh", "ja", "th", "km", "lo", "my"])
def test_segments_are_the_text_without_its_spaces(code):
    text = TWENTY.get(code, "") + " 一三五 abc ၁၂ ភាសា ພາສາ 12.5%"
    found = list(segmented(text, code))
    assert all(text.startswith(word, start) for start, word in found)
    assert "".join(word for _, word in found) == "".join(text.split())


def test_without_the_extra_a_character_is_a_word_and_that_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr("llmkit.perturb.segments.installed", lambda package: False)
    segmenter.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert [[word for _, word in segmented("苹果便宜", "zh")] for _ in range(2)] == [list("苹果便宜")] * 2
    assert caplog.messages == [
        'zh: each character counts as a word, without a segmenter: pip install "llmkit-robust[lang]"'
    ]
    segmenter.cache_clear()


def test_chinese_is_no_longer_left_unchanged():
    changed = [
        bool(Perturber(spec, rate=0.2).apply(row["question"], row["id"]).edits)
        for spec in ("ec", "swap", "delete", "substitute", "woo", "hanzi", "pinyin")
        for row in rows("zh")
    ]
    assert sum(changed) / len(changed) > 0.96


# Which language


def test_plain_english_is_taken_as_english_without_asking(monkeypatch):
    monkeypatch.setattr("llmkit.perturb.engine.identified", None)
    made = Perturber("ec", rate=0.2).apply("Tom’s café has 12 red apples — how many are left?", "q")
    assert made.lang == ""
    assert "lang" not in Perturber("ec").record("x", made)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("How many apples are left?", "en"), ("7 + 5", "en"), ("👍", "en"), ("Сколько яблок осталось?", "ru"),
        ("Скільки яблук залишилося у неї?", "uk"), ("Wie viele Tage hat eine Woche?", "de"), ("太郎は何歳ですか", "ja"),
        ("一共有几个？", "zh"), ("몇 개가 남았습니까?", "ko"), ("چند سیب داری؟ می‌خواهم بدانم", "fa"),
    ],
)  # fmt: skip
def test_each_text_is_identified(text, code):
    assert identified(text).code == code


def test_without_the_extra_scripts_and_small_words_decide_and_that_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(identification, "installed", lambda package: False)
    identification._has_identifier.cache_clear()
    with caplog.at_level(logging.WARNING):
        found = [identified(text).code for text in ("Wie viele sind das?", "Скільки яблук", "Koliko jabuka ima")]
    identification._has_identifier.cache_clear()
    assert found == ["de", "ru", "en"]
    (said,) = caplog.messages
    assert said.startswith("--lang auto: without the extra `lang`")


def test_serbian_has_two_scripts():
    made = [
        Perturber("typing", rate=1.0, lang="sr").apply(text, "q") for text in ("Колико јабука има", "Koliko čaja ima")
    ]
    assert [scripts(one.text) for one in made] == [{"CYRILLIC"}, {"LATIN"}]
    assert all(one.edits for one in made)


# Bad input


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ("german", "unknown language `german`", "did you mean `de` (German)?"),
        ("turkic", "unknown language `turkic`", "did you mean `turkish`?"),
        ("dee", "unknown language `dee`", "did you mean `de`?"),
    ],
)
def test_an_unknown_language_names_the_nearest(given, message, hint):
    with pytest.raises(UsageError) as caught:
        Perturber("ec", lang=given)
    assert caught.value.message == message
    assert caught.value.hint.startswith(hint.rstrip("?"))


@pytest.mark.parametrize("spec", ["keyboard:qwert", "typing(azertyy)", "wrong_layout:rus"])
def test_an_unknown_layout_names_the_nearest(spec):
    with pytest.raises(UsageError, match="unknown keyboard layout") as caught:
        Perturber(spec)
    assert caught.value.hint.startswith("did you mean ")


@pytest.mark.parametrize("text", ["Вook", "прiвет", "\u200f", "👩‍👩‍👧", "\u0301", ""])
def test_a_word_of_two_scripts_and_what_is_no_word_stay(text):
    made = Perturber("typing", rate=1.0, lang="ru").apply(text, "q")
    assert (made.text, made.rejected) == (text, True)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("hi", "क" + "\u094d" * 30_000 + " x"), ("hi", "क\u094d" * 15_000), ("th", "\u0e33" * 30_000),
        ("ar", "ش" * 30_000), ("ko", "ᄀ" * 30_000), ("de", "e\u0301" * 15_000), ("zh", "果" * 3_000),
        ("ru", "👩\u200d" * 10_000),
    ],
)  # fmt: skip
def test_a_word_of_any_length_takes_linear_time(code, text):
    for spec in ("ec", "typing", "woo", "no_diacritics"):
        made = Perturber(spec, rate=1.0, retries=0, lang=code).apply(text, "q")
        assert undo(made.text, made.edits) == text


def test_pinyin_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("llmkit.extras.installed", lambda package: False)
    with pytest.raises(UsageError, match="operator `pinyin` needs pypinyin") as caught:
        Perturber("pinyin", lang="zh").apply("苹果", "q")
    assert caught.value.hint == 'pip install "llmkit-robust[lang]"'


@pytest.mark.parametrize(
    ("code", "text", "numbers_of_it"),
    [
        ("de", "Vierundzwanzig Äpfel, drei Birnen", ["Vierundzwanzig", "drei"]), ("ar", "وخمسة كتب", ["وخمسة"]),
        ("ko", "사과 열두 개, 이백 원", ["열두", "이백"]), ("th", "ซื้อสามผล", ["สาม"]), ("es", "tres panes", ["tres"]),
    ],
)  # fmt: skip
def test_number_words_of_a_language_stay(code, text, numbers_of_it):
    spans = number_word_spans(text, known.language_named(code))
    assert [text[start:end] for start, end in sorted(spans)] == numbers_of_it
    made = Perturber("typing", rate=1.0, lang=code).apply(text, "q")
    assert made.edits
    assert all(number in made.text for number in numbers_of_it)


def test_what_is_not_served_is_counted_and_said_once(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert app.run(["perturb", str(languages.SETS / "zh.jsonl"), "--op", "keyboard,ec", "--rate", "0.2"]) == 0
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 60
    assert err.count("keyboard: does not serve Chinese (30 rows)") == 1
