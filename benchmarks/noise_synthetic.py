"""The two profiles that no data were at hand for: `phone` and `chat`. Every number here is our own choice.

`python benchmarks/noise.py profiles` writes them beside the fitted ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmkit.perturb.alignment import key
from llmkit.perturb.base import ALPHABET
from llmkit.perturb.channel import LENGTH_CLASSES, Channel
from llmkit.perturb.keys import neighbour_keys
from llmkit.perturb.numerals import NUMBER_WORDS
from llmkit.perturb.profile import LONGEST, Profile
from llmkit.perturb.wordbook import common_words

DATE = "2026-11-30"
CHAT_WORDS = {
    "you": {"u": 0.7}, "your": {"ur": 0.5}, "are": {"r": 0.4}, "why": {"y": 0.1}, "and": {"n": 0.05, "nd": 0.05},
    "that": {"dat": 0.03}, "this": {"dis": 0.02}, "the": {"da": 0.01}, "with": {"w": 0.08, "wit": 0.02},
    "what": {"wat": 0.1, "wut": 0.03}, "have": {"hav": 0.05}, "know": {"kno": 0.1}, "okay": {"k": 0.3, "ok": 0.4},
    "be": {"b": 0.05}, "see": {"c": 0.05}, "was": {"wuz": 0.01}, "love": {"luv": 0.08}, "just": {"jus": 0.05},
    "now": {"nw": 0.03}, "much": {"mch": 0.02}, "want": {"wnt": 0.02}, "yes": {"ya": 0.1, "yep": 0.1},
}  # fmt: skip
VOWELS = "aeiou"
COMMON = 400  # words, among which a phone puts one in the place of another


def profiles() -> Iterable[tuple[str, Profile]]:
    """Yields the profiles with their names."""
    yield "phone", phone()
    yield "chat", chat()


def phone() -> Profile:
    """Returns fingers on a small keyboard, and a corrector that writes another common word in the place of the slip.

    A wrong key is a neighbour, a letter is missed or hit together with its neighbour, a space or apostrophe is missed.
    """
    neighbours = neighbour_keys()
    rates: dict[str, float] = {}
    for letter in ALPHABET:
        rates[key("", letter, "", "")] = 0.008
        rates[key("", letter, letter * 2, "")] = 0.002
        rates[key("", "", letter, "")] = 1e-5
        for near in neighbours[letter]:
            rates[key("", letter, near, "")] = 0.012 / len(neighbours[letter])
            rates[key(near, "", letter, "")] = 0.004 / len(neighbours[letter])
    return Profile(
        lang="en",
        channel=Channel(rates, {"swap": 0.002, "del": 0.004}, {}, [[0.93, 0.07]] * LENGTH_CLASSES, {}, ALPHABET),
        by_length=[round(min(0.15, 0.012 * length), 4) for length in range(1, LONGEST + 1)],
        real=0.5,
        other={"join": 0.008, "apos": 0.25, "caps": 0.03, "punc": 0.05},
        confusions=slips_into_words(0.004),
        rate=0.06,
        spread=0.03,
        about={"src": "synthetic: a touch keyboard (QWERTY) and its corrector", "lic": "MIT", "date": DATE, "n": 0},
    )


def slips_into_words(rate: float) -> dict[str, dict[str, float]]:
    """Returns the common words of up to four letters that one neighbour key makes of each other, at this rate each."""
    counts = common_words(1)
    small = sorted((word for word in counts if 2 <= len(word) <= 4 and word.isalpha()), key=lambda word: -counts[word])
    words = [word for word in small[:COMMON] if word not in NUMBER_WORDS]
    neighbours = neighbour_keys()

    def is_slip(intended: str, typed: str) -> bool:
        if len(intended) != len(typed):
            return False
        wrong = [(old, new) for old, new in zip(intended, typed, strict=True) if old != new]
        return len(wrong) == 1 and wrong[0][1] in neighbours.get(wrong[0][0], "")

    table = {word: {other: rate for other in words if is_slip(word, other)} for word in words}
    return {word: others for word, others in table.items() if others}


def chat() -> Profile:
    """Returns short messages: no capitals, no marks, no apostrophes, "u r"; vowels left out and ends drawn out."""
    rates = {key("", vowel, "", ""): 0.01 for vowel in VOWELS}
    rates |= {key("", letter, "", "$"): 0.002 for letter in "g"} | {"(g>)": 0.002, "n(g>)$": 0.15}
    rates |= {key("", letter, letter * 2, ""): 0.0005 for letter in "aeoyhsm"}
    rates |= {key("", letter, letter * 2, "$"): 0.01 for letter in "oyhsm"}
    return Profile(
        lang="en",
        channel=Channel(rates, {"swap": 0.001}, {"del.head": 0.1}, [[0.8, 0.2]] * LENGTH_CLASSES, {}, ""),
        by_length=[round(min(0.06, 0.006 * length), 4) for length in range(1, LONGEST + 1)],
        real=0.3,
        other={"caps": 0.95, "punc": 0.85, "apos": 0.9, "join": 0.002},
        confusions=CHAT_WORDS,
        rate=0.2,
        spread=0.1,
        about={"src": "synthetic: short messages", "lic": "MIT", "date": DATE, "n": 0},
    )
