"""Folding letters in disguise: what it brings back from noise of other sources, and what it never touches."""

from __future__ import annotations

import json
import re
import unicodedata
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmkit.perturb import Perturber
from llmkit.repair.lookalikes import fold_lookalikes

QUESTION = "Tom has 16 apples in his basket and gives 7 of them to each friend. How many are left for the other people?"

# Written by eye from a character map, not from any table of confusables.
_BY_EYE = """a=аαáäâãåạɑ b=ЬƄ c=сçćϲ d=ԁđɗ e=еéèêëěęẽ f=ƒғ g=ɡğģց h=һнħհ i=іíïîıι k=кķκƙ l=ӏľłļ m=мṁɱ n=пñńņηո
o=оóöôõøοօ p=рρṗ r=гŕřɾ s=ѕśšşʂ t=тţťŧτ u=υúüûųս v=νṽѵ w=ωŵẁѡ y=уýÿγү T=ТΤŤ H=НΗĤ"""
BY_EYE = dict(pair.split("=") for pair in _BY_EYE.split())

FOREIGN = """было Он купил 6 яблок: нет, а оса несёт сор. | Ёлка и ёж, ещё чай
То е убава, ѓавол и ќош | Наш їжак і євро | Ελληνικά είναι ωραία γλώσσα και όχι άλλη
हिन्दी में विराम: क्या है? २४० | বাংলা ভাষা ১২ | தமிழ் மொழி | ไทยสวัสดีครับ | שלום עולם
السلام عليكم ٢٤٠ | 中文字符，一共９０％！ | 他买了Ｔ恤
Ｔシャツを買う。ＡＢＣ株式会社 | 한국어 문장 | Հայերեն լեզու | ქართული ენა
ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ | አማርኛ ቋንቋ | Es war schön, über die große Straße zu gehen.
garçon, où êtes-vous, ça va très bien | Ærø ligger på havet | Łódź jest piękna, żółta i cała
Việt Nam đẹp quá và tôi yêu nước | ¿Cómo está usted? El niño comió piñas
één idee, coördinatie, ideeën | İstanbul'da çok güzel ve ılık bir gün | São Paulo não é a maior
ångström är en enhet för små längder | Čeština má háčky a čárky | Ő is itt ül, őszi fűben
Þetta reddast, það er ágætt | ɗan Hausa ya ƙi ɓata lokaci | Ọjọ́ náà dára gan-an ni
x² + ½ = ¾ and 10³ m | 5 µm, 3 kΩ, 2πr, Δt, σ-algebra, αx + βy, 37 °C | 𝑥 + 𝑦 = ℝ
Henry Ⅳ, stage Ⅱa, Ⅰ l 1 I | №5 ™ © ª º | USBшный кабель и PDFка
The word нет means no, and сор means litter. | naïf | Queensrÿche | I | xᵢ ≤ nᵗʰ | e\u0301"""
TEXTS = [text.strip() for text in re.split(r"[|\n]", FOREIGN)]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_written_as_it_should_be_stays(text):
    assert fold_lookalikes(text) == text


_WORDS = st.sampled_from([word for text in TEXTS for word in text.split() if not word.isascii()])


@example("PDFка")
@given(st.lists(_WORDS, min_size=1, max_size=8).map(" ".join))
def test_words_of_other_scripts_never_become_latin(text):
    assert fold_lookalikes(text) == text


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_plain_text_stays(text):
    assert fold_lookalikes(text) == text


@given(st.text(max_size=80) | st.lists(_WORDS | st.sampled_from(QUESTION.split()), max_size=20).map(" ".join))
def test_folding_again_changes_nothing_and_digits_stay(text):
    once = fold_lookalikes(text)
    assert fold_lookalikes(once) == once
    digits = "".join(c for c in text if unicodedata.category(c) in ("Nd", "No"))
    assert "".join(c for c in once if unicodedata.category(c) in ("Nd", "No")) == digits


@given(st.integers(0, 10**6))
def test_noise_written_by_eye_is_read(seed):
    rng = Random(seed)
    noisy = "".join(rng.choice(BY_EYE[c]) if c in BY_EYE and rng.random() < 0.15 else c for c in QUESTION)
    folded = fold_lookalikes(noisy).split()
    wrong = [(a, b) for a, b in zip(QUESTION.split(), folded, strict=True) if a.lower() != b.lower()]
    assert len(wrong) <= 1


def test_foreign_letters_go_from_words_of_any_language_and_accents_stay_there():
    assert fold_lookalikes("Die Strаße ist sehr lаng und schön, sagt der Вürgermeister.") == (
        "Die Straße ist sehr lang und schön, sagt der Bürgermeister."
    )
    assert fold_lookalikes("How mäny ｏf the ｗords？") == "How many of the words?"
    assert fold_lookalikes("Іf the lаrge І in Іt") == "If the large I in It"
    assert fold_lookalikes("The ϲity and eaϲh of the rivers were full") == "The city and each of the rivers were full"


@pytest.mark.parametrize(("title", "least"), [("CSQA", 0.92), ("MultiArith", 0.88), ("SVAMP", 0.86)])
def test_the_authors_own_noise_is_read(data_dir, title, least):
    """Of the words that their look-alikes changed, nearly all come back; digits, marks and symbols are not folded."""
    changed = restored = 0
    pairs = json.loads((data_dir / "rop_perturbed" / "SC" / f"rewritten_{title}_1.json").read_text("utf-8"))
    for pair in pairs:
        before = pair["original_question"].split(" Answer Choices:")[0].lower().split()
        noisy = pair["rewritten_question"].lower().split()[: len(before)]
        if len(noisy) == len(before):
            after = fold_lookalikes(" ".join(noisy)).lower().split()
            places = [i for i, word in enumerate(before) if word != noisy[i]]
            changed += len(places)
            restored += sum(after[i] == before[i] for i in places)
    assert restored / changed >= least


def test_noise_of_the_same_source_is_undone_nearly_always():
    perturber = Perturber("sc", rate=0.5, seed=5)
    same = [fold_lookalikes(perturber.apply(QUESTION, f"q{i}").text) == QUESTION for i in range(100)]
    assert sum(same) >= 85
