"""English resources and sets in other languages: decided by the whole set, said once."""

from __future__ import annotations

import json
import logging

import pytest

from llmkit.perturb import OPERATORS, Perturber, make_variants
from llmkit.perturb.english import is_english, share_known
from llmkit.perturb.input_rows import InputRows, RowFields
from llmkit.recipe.schema import DataSection, PerturbSection
from llmkit.types import Question

OTHERS = {
    "German": "Ein Bäcker verkauft am Montag vierzig Brote und am Dienstag doppelt so viele. Wie viele sind das?",
    "French": "Un boulanger vend quarante pains le lundi et deux fois plus le mardi. Combien en a-t-il vendu en tout ?",
    "Spanish": "Un panadero vende cuarenta panes el lunes y el doble el martes. ¿Cuántos ha vendido en los dos días?",
    "Italian": "Un fornaio vende quaranta pani il lunedì e il doppio il martedì. Quanti ne ha venduti nei due giorni?",
    "Dutch": "Een bakker verkoopt op maandag veertig broden en op dinsdag twee keer zoveel. Hoeveel zijn dat er samen?",
    "Portuguese": "Um padeiro vende quarenta pães na segunda e o dobro na terça. Quantos vendeu ao todo nos dois dias?",
    "Russian": "Пекарь продал в понедельник сорок хлебов, а во вторник вдвое больше. Сколько он продал всего?",
    "Chinese": "小明有二百四十个苹果，他又买了十个。现在一共有几个？",
}
FOR_ENGLISH = sorted(name for name in OPERATORS if OPERATORS[name].english)


@pytest.mark.parametrize("language", OTHERS)
def test_another_language_is_told_from_english(language):
    assert share_known([OTHERS[language]]) < 0.3
    assert not is_english([OTHERS[language]], ["hw"])


def test_english_stays_english_under_noise(data_dir):
    lines = (data_dir / "gsm8k" / "test.jsonl").read_text("utf-8").splitlines()[:100]
    texts = [json.loads(line)["question"] for line in lines]
    assert share_known(texts) > 0.85
    for spec, rate in (("ec", 1.0), ("sc", "paper"), ("hw_spell", "paper"), ("woo", 1.0)):
        noisy = [Perturber(spec, rate=rate).apply(text, str(i)).text for i, text in enumerate(texts)]
        assert is_english(noisy, ["hw"]), spec


def test_what_works_from_english_words_leaves_a_set_alone_and_says_so_once(caplog):
    assert {"hw", "hw_spell", "spelling", "contraction", "drop", "uic", "stress"} <= set(FOR_ENGLISH)
    questions = [Question(str(i), text, "7", "numeric") for i, text in enumerate(list(OTHERS.values())[:3])]
    section = PerturbSection(conditions=("contraction+uic", "ec", "ec+drop"), rate=0.2)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            made = make_variants(questions, section, 1)
    (said,) = caplog.messages
    assert said.startswith("contraction, uic, drop: for English only, and ")
    for variant in made:
        if variant.condition == "contraction+uic":
            assert (variant.text, variant.rejected) == (
                variant.question.text,
                "contraction: the set is not in English; uic: the set is not in English",
            )
        elif variant.condition != "clean":
            assert variant.text != variant.question.text


def test_one_foreign_question_in_an_english_set_is_left_alone_by_itself():
    english = [Question(str(i), "Tom is not at home. How many are there?", "7", "numeric") for i in range(9)]
    foreign = Question("x", OTHERS["German"], "7", "numeric")
    made = make_variants([*english, foreign], PerturbSection(conditions=("uic",)), 1)
    assert {v.rejected for v in made} == {None, "uic: does not serve German"}
    assert [v.question.id for v in made if v.rejected] == ["x"]


def test_rows_are_read_ahead_without_losing_any(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"question": text}) + "\n" for text in OTHERS.values()) + "{broken")
    rows = InputRows(str(path), RowFields(), DataSection(skip_bad_lines=True))
    assert list(rows.texts()) == list(OTHERS.values())
    assert [row.fields["question"] for row in rows] == list(OTHERS.values())
    assert rows.skipped == 1
