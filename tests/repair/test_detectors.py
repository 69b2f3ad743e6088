"""Detectors: what they see in noise and leave alone in clean text, at any length, without a model."""

from __future__ import annotations

import math
import re
import sys

import pytest
from helpers.processes import run
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmkit.perturb import Perturber
from llmkit.repair.detectors import DETECTORS, evidence
from llmkit.repair.doubts import likelihood_ratio
from llmkit.repair.words import readable, texture
from llmkit.steps import drive
from llmkit.types import Reply, Request

FREE = [name for name in DETECTORS if not DETECTORS[name].asks]
WORDED = ("unknown_words", "word_pairs")
CLEAN = [
    "Tom has 16 apples in his basket and gives 7 of them to each friend. How many are left for the other people?",
    "How do I remove the smell of garlic from my hands?",
    "Maria traveled 120 kilometers in her favorite color of car. Her neighbors' kids drove at 50km/h. Who was faster?",
    "Mr. Lee pays $3 for 2 lbs of cheese at O'Neil's shop in Springfield, VA. What does 1 lb cost him?",
    "How many cakes does the café of Zoë's aunt sell on each of the seven days of a week?",
    "Call `prnt(x)` at https://exmple.org/pgae and read $\\frc{x}$.",
]


def score(name: str, text: str) -> float:
    value = drive(DETECTORS[name]().score(text), lambda _: Reply("", logprobs=(-1.0,)))
    assert isinstance(value, float)
    return value


def noisy(spec: str, rate: float | str | None, text: str) -> str:
    return Perturber(spec, rate, seed=3).apply(text, "row").text


@pytest.mark.parametrize("text", CLEAN)
@pytest.mark.parametrize("name", FREE)
def test_clean_text_scores_nothing_that_a_gate_would_see(name, text):
    assert score(name, text) < 2.0


@pytest.mark.parametrize(
    ("name", "spec", "rate"),
    [
        ("lookalikes", "sc", "paper"),
        ("unknown_words", "ec", "paper"),
        ("unknown_words", "hw", "paper"),
        ("unknown_words", "typing", 0.1),
        ("unknown_words", "spelling", 0.1),
        ("word_pairs", "woo", "paper"),
    ],
)
def test_a_detector_sees_its_noise(name, spec, rate):
    assert score(name, noisy(spec, rate, CLEAN[0])) > 5.0


@pytest.mark.parametrize("length", [1, 20])
def test_the_same_slip_counts_less_in_a_longer_text(length):
    slip = "How mnay apples are there?"
    assert score("unknown_words", slip) > score("unknown_words", " ".join([slip, *[CLEAN[0]] * length])) > 0


@settings(deadline=None)
@given(st.text(max_size=80))
@example("")
@example("\u0430\u0431\u0432 \u202e\x00\ud800")
@example("Ⅻ ﬁne ß İ ŉ")
@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_any_text_has_a_finite_score_and_none_speaks_against_noise(name, text):
    value = score(name, text)
    assert math.isfinite(value)
    assert value >= 0.0


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789 .,?$%\n"), max_size=60))
@pytest.mark.parametrize("name", FREE)
def test_without_words_there_is_no_evidence(name, text):
    assert score(name, text) == 0.0


@settings(deadline=None)
@given(st.permutations(["is", "the", "are", "many", "of", "how", "apples", "there", "a"]))
def test_other_scripts_and_capitals_are_no_slips(words):
    shout = " ".join(words).upper()
    assert score("unknown_words", shout) == score("unknown_words", shout.lower())
    assert score("unknown_words", "Он купил шесть яблок и съел два. 他买了六个苹果") == 0.0


def test_protected_text_is_not_read():
    assert readable("Add `prnt x` to https://exmple.org/pgae now") == "Add  to  now"
    options = "\nAnswer Choices: (A) zzyx qqrt (B) wrld hvae"
    for name in WORDED:
        assert score(name, CLEAN[0] + options) == score(name, CLEAN[0])


def test_names_units_and_codes_are_not_plain_words():
    words = {word for _, word, _ in texture("Yesterday Krzysz drove 5 km in his Toyta at 60kmh, a T-shirt on").contexts}
    assert words == {"Yesterday", "drove", "in", "his", "at", "a", "on", "shirt"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("how mnay apples", "how many apples"), ("the frist day", "the first day"), ("want ot save", "want to save")],
)
def test_a_slip_is_likelier_than_its_word(typed, meant):
    assert likelihood_ratio(*typed.split()) > 20 > 1 > likelihood_ratio(*meant.split())


def test_a_real_word_is_judged_by_its_neighbours():
    assert likelihood_ratio("think", "their", "are") > 100 > 1 > likelihood_ratio("in", "their", "own")


@pytest.mark.parametrize("word", ["flavored", "neighborhoods", "traveling", "unlabeled", "catalyzed", "odor"])
def test_american_and_derived_words_are_no_slips(word):
    assert likelihood_ratio("", word, "") < 100


@settings(deadline=None)
@given(
    st.lists(st.floats(0.0, 1e4), max_size=40),
    st.integers(0, 39),
    st.floats(1.0, 100.0),
)
def test_evidence_grows_with_each_of_its_parts(ratios, place, factor):
    larger = [ratio * factor if i == place else ratio for i, ratio in enumerate(ratios)]
    assert 0.0 <= evidence(ratios, (0.02, 0.3)) <= evidence(larger, (0.02, 0.3)) + 1e-9


def test_surprise_is_in_nats_a_character_of_what_is_read():
    requests: list[Request] = []

    def answer(request: Request) -> Reply:
        requests.append(request)
        return Reply(request.continuation or "", logprobs=(-2.0, -4.0))

    assert drive(DETECTORS["surprise"]().score("Say `x` now!"), answer) == pytest.approx(6.0 / len("Say  now!"))
    assert requests[0].continuation == "Say  now!"
    assert drive(DETECTORS["surprise"]().score(" \n"), answer) == 0.0
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (("How many apples?", "How many apples?"), 0.0),
        (("How many apples?", "How many maples?"), 2 / 16),
        (("How many apples?", "I am sorry, I cannot."), 2 / 16),
    ],
)
def test_disagreement_is_the_share_of_letters_of_two_samples(replies, expected):
    requests: list[Request] = []

    def answer(request: Request) -> Reply:
        requests.append(request)
        return Reply(replies[request.replicate])

    assert drive(DETECTORS["disagreement"]().score("How mnay apples?"), answer) == pytest.approx(expected)
    assert [request.sampling.seed for request in requests] == [0, 1]
    assert all("How mnay apples?" in request.messages[0].content for request in requests)


def test_a_detector_without_a_score_says_so():
    from llmkit.repair.detectors import Detector

    with pytest.raises(TypeError, match="does not say how it scores"):
        drive(Detector().score("x"), lambda _: Reply(""))


def test_detectors_import_no_heavy_package():
    code = (
        "import sys; from llmkit.repair.detectors import DETECTORS;"
        f"[DETECTORS[n]().score_of('mnay wrds') for n in {FREE!r}];"
        "print(sorted({'torch', 'vllm', 'transformers', 'datasets', 'scipy', 'symspellpy'} & set(sys.modules)))"
    )
    done = run([sys.executable, "-c", code])
    assert re.fullmatch(r"\[\]\s*", done.stdout), done
