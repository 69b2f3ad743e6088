"""Texts in other languages: no corrector of English words touches one, whatever the language of the set is."""

from __future__ import annotations

import random
import re

import pytest
from helpers.languages import rows

from llmkit.repair import Repair, RepairFile
from llmkit.repair.languages import is_foreign
from llmkit.repair.spelling import spell

FOREIGN = (
    "Ich möchte wissen, wann meine Bestellung endlich ankommt und warum sie verspätet ist.",
    "wann kommt mein packet an",
    "Hola, quiero devolver mi pedido porque llego roto y necesito el reembolso",
    "cuando llega mi paquete",
    "Je voudrais savoir quand mon colis va arriver",
    "combien de pommes reste il",
    "Quanto costa la spedizione dei libri, e quando arriva?",
    "Waar blijft mijn bestelling van vorige week",
    "onde fica meu pedido e quando chega",
)
ENGLISH = (
    "How many apples does each of them have when there are only 3 left?",
    "Please help me, the printer in my office does not print.",
    "The van of the zoo was late, so who is to pay for it?",
    "fix my login",
)


@pytest.mark.parametrize("text", FOREIGN)
def test_no_english_word_is_read_into_another_language(text):
    assert spell(text) != text  # by words alone it would be "corrected"
    repaired = Repair(RepairFile(chain="fold+spell"))(text)
    assert (repaired.text, repaired.action) == (text, "unchanged")


@pytest.mark.parametrize("code", ["ar", "de", "es", "hi", "zh"])
def test_no_question_of_five_sets_and_no_sentence_of_them_is_repaired(code):
    repair = Repair(RepairFile(chain="fold+spell"))
    texts = [row["question"] for row in rows(code)]
    texts += [sentence for text in texts for sentence in re.split(r"(?<=[.?!。？؟।])\s*", text) if sentence]
    assert [text for text in texts if repair(text).text != text] == []


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_english_whatever_the_noise(text):
    rng = random.Random(7)

    def shuffled(match):
        letters = list(match.group())
        rng.shuffle(letters)
        return "".join(letters)

    assert not is_foreign(text)
    assert not any(is_foreign(re.sub(r"[A-Za-z]{2,}", shuffled, text)) for _ in range(50))


def test_abbreviations_of_chats_and_names_of_tools_are_words():
    text = "idk lol, thx imo: sudo systemd restarts postgres btw"
    assert spell(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "follow @freind about #recieve please",
        "run it with --recieve and --no-teh -teh=1",
        "SKU abcd-recieve-77 and part teh-4412",
        "the variable %freind% of order.recieve(teh=1)",
        "my login is freind:recieve here",
    ],
)
def test_handles_flags_and_codes_are_no_words(text):
    assert spell(text) == text


def test_words_with_hyphens_and_marks_around_are_words():
    assert spell("a well-knwon (freind) of hers: recieve *that*, \u2013 teh end") == (
        "a well-known (friend) of hers: receive *that*, \u2013 the end"
    )
