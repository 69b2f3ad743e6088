"""Spelling: what the noisy channel corrects, what it leaves alone, and what it asks a model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers.protected import TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.perturb.candidates import Lexicon, shares, sound
from llmkit.perturb.numerals import numbers
from llmkit.perturb.profile import load
from llmkit.perturb.text import undo
from llmkit.repair import chain_of
from llmkit.repair.american import american
from llmkit.repair.guesses import guesser
from llmkit.repair.regular import is_regular
from llmkit.repair.spelling import doubted_words, spell
from llmkit.steps import drive
from llmkit.types import Reply

PAIRS = [line.split() for line in (Path(__file__).parent / "misspellings.txt").read_text().splitlines()]


def corrected(text, name="spell", answer=None):
    return drive(chain_of(name).correct(text), answer or (lambda request: pytest.fail("a model was asked")))


def test_most_of_the_words_that_people_misspell_are_restored():
    wrong = [(typed, spell(typed), meant) for typed, meant in PAIRS if spell(typed) != meant]
    assert len(wrong) <= len(PAIRS) // 10, wrong


def test_letters_in_any_order_are_restored():
    assert spell("Tehy hvae 12 aplpes, adn ecah colud biuld antoehr huose.") == (
        "They have 12 apples, and each could build another house."
    )


@pytest.mark.parametrize(
    "text",
    [
        "Nyasha and Thandiwe visited Bulawayo with Dr. Chikwanha.",
        "Nyasha paid 12 dollars.",
        "The traveler's favorite theater is two kilometers from the neighborhood.",
        "The unsweetened muffins need a cupholder and snowplows.",
        "They don't, won't and can't; it's Tom's.",
        "How many mL, kg, GB and mph?",
        "The NASDAQ and the iPhone",
        "Ask user_naem or x9hvae about it.",
    ],
)
def test_names_regular_words_and_abbreviations_stay(text):
    assert spell(text) == text


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("I dont know, thats all", "I don't know, that's all"),
        ("my brothr's car", "my brother's car"),
        ("Recieve it.", "Receive it."),
        ("the colour is diferent", "the colour is different"),
        ("my neighbor is freindly", "my neighbor is friendly"),
    ],
)
def test_endings_capitals_and_both_spellings_are_kept(text, right):
    assert spell(text) == right


def test_an_unknown_word_that_the_text_repeats_is_doubted_less():
    once, again = doubted_words("the braile sign is here"), doubted_words("the braile sign is a braile")
    assert once[0].misspelt > again[0].misspelt


def test_neighbours_decide_between_words_that_are_as_near():
    assert [word.best for word in doubted_words("a large fram house", in_context=False)] == ["from"]
    assert spell("a large fram house") == "a large farm house"
    assert spell("then fram the house") == "then from the house"


def test_a_text_with_many_shuffled_words_counts_as_shuffled():
    alone = doubted_words("rset", in_context=False)[0]
    among = doubted_words("Tehn hte ohter poelpe cna rset hree", in_context=False)[5]
    assert among.best == "rest"
    assert among.posterior > dict(meant[:2] for meant in alone.meant)["rest"]


@given(TEXTS, st.sampled_from(PAIRS))
@settings(max_examples=60, deadline=None)
def test_numbers_and_protected_spans_stay_and_edits_undo(text, pair):
    noisy = f"{pair[0]} {text} {pair[0]}"
    result = corrected(noisy)
    assert undo(result.text, result.edits) == noisy
    assert numbers(result.text, True) == numbers(noisy, True)


@given(st.lists(st.sampled_from([typed for typed, _ in PAIRS] + [meant for _, meant in PAIRS]), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_corrected_text_has_no_word_left_to_correct(words):
    once = spell(" ".join(words))
    assert spell(once) == once


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read(text):
    for word in doubted_words(text):
        assert 0 <= word.posterior <= word.misspelt + 1e-9 <= 1 + 2e-9
        assert text[word.start : word.end].lower() != word.best.lower()
        assert sum(meant.posterior for meant in word.meant) <= word.misspelt + 1e-9


def test_another_language_is_left_alone():
    from llmkit.repair import CorrectorContext

    chain = chain_of("spell+spell_in_context", CorrectorContext(lang=""))
    assert drive(chain.correct("Tom hvae Brot"), lambda request: pytest.fail("asked")).text == "Tom hvae Brot"


def test_a_model_decides_where_several_words_may_be_meant():
    asked = []

    def prefers(word):
        def answer(request):
            asked.append(request)
            return Reply("", logprobs=(0.0 if word in request.continuation else -30.0,))

        return answer

    text = "He said so. The boy will rset 3 times. Then he left."
    assert corrected(text, "spell_in_context", prefers("reset")).text == text.replace("rset", "reset")
    assert corrected(text, "spell_in_context", prefers("rest")).text == text.replace("rset", "rest")
    assert {request.role for request in asked} == {"answerer"}
    assert all(request.continuation.startswith("The boy will ") for request in asked)
    assert all(request.continuation.endswith(" 3 times.") for request in asked)


def test_no_model_is_asked_where_nothing_is_open():
    assert corrected("All of it is right.", "spell_in_context").text == "All of it is right."


# Parts.


@given(st.text("abcdeno", min_size=1, max_size=9), st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_all_words_within_some_edits_are_found(typed, edits):
    from rapidfuzz.distance import OSA

    words = {
        "bead",
        "bed",
        "bade",
        "decade",
        "dance",
        "ocean",
        "canoe",
        "node",
        "done",
        "do",
        "a",
        "beacon",
        "abandoned",
    }
    near = Lexicon(dict.fromkeys(words, 5)).near(typed, edits)
    assert near == {word: OSA.distance(word, typed) for word in words if OSA.distance(word, typed) <= edits}


def test_a_lexicon_knows_anagrams_and_sounds():
    lexicon = Lexicon({"listen": 3, "silent": 2, "successful": 5, "physics": 4})
    assert set(lexicon.anagrams("tinsel")) == {"listen", "silent"}
    assert lexicon.alike("fisiks") == ("physics",)
    assert sound("tessd") == sound("tesd")


def test_shares_are_those_of_the_weights():
    assert shares({"a": -1000.0, "b": -1000.0}) == {"a": 0.5, "b": 0.5}
    assert shares({}) == {}


def test_the_usual_sum_of_weights_is_near_the_exact_one():
    channel = load("learner").channel
    for word in ("because", "believe", "different"):
        near = channel.log_probability(word[1:], word, guesser()._totals[len(word)])
        assert near == pytest.approx(channel.log_probability(word[1:], word), abs=1.5)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("cupholder", True),
        ("rebaked", True),
        ("stopped", True),
        ("studyed", False),
        ("becomeing", False),
        ("xqz", False),
    ],
)
def test_regular_words_follow_the_rules_of_spelling(word, said):
    assert is_regular(word, guesser().counts) is said


def test_american_spellings_are_those_of_rules_and_a_dictionary():
    names = guesser().names
    spelt = {
        word: american(word, names) for word in ("encourage", "source", "controlled", "labour", "centimetres", "hour")
    }
    assert spelt == {
        "encourage": "encourage",
        "source": "source",
        "controlled": "controlled",
        "labour": "labor",
        "centimetres": "centimeters",
        "hour": "hour",
    }


LISTS = Path(os.environ.get("LLMKIT_SPELLING_LISTS", "none"))


@pytest.mark.skipif(not LISTS.is_dir(), reason="LLMKIT_SPELLING_LISTS names no folder of misspellings")
def test_learners_misspellings_are_restored():
    rows = [json.loads(line) for line in (LISTS / "toefl.jsonl").read_text().splitlines()]
    words = [(row["typed"].lower(), row["intended"].lower()) for row in rows][:3000]
    assert sum(spell(typed) == intended for typed, intended in words) / len(words) >= 0.82
