"""People who misspell by known rules: what a fitted profile has to find again."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from llmkit.perturb.channel import LENGTH_CLASSES, Channel
from llmkit.perturb.wordbook import common_words, real_words

RATES = {
    "(e>)": 0.02, "(e>)$": 0.08, "(mm>m)": 0.3, "(ss>s)": 0.3, "(l>ll)": 0.01, "(l>ll)$": 0.2, "(a>e)": 0.01,
    "(e>a)": 0.01, "(i>e)": 0.02, "(ie>ei)": 0.2, "(ei>ie)": 0.2, "(ph>f)": 0.1, "(t>)": 0.004, "(>e)": 0.002,
}  # fmt: skip
TRUTH = Channel(RATES, {}, {}, [[0.85, 0.15]] * LENGTH_CLASSES, {}, "e")
"""Leaves out, adds, doubles and exchanges letters; one misspelling in seven has two edits."""


def words() -> list[str]:
    """Real words of five letters and more, the most common first."""
    counts = common_words()
    known = [word for word in real_words() if len(word) >= 5 and word.isalpha()]
    return sorted(known, key=lambda word: (-counts[word], word))[:4000]


def misspellings(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs of an intended word and a typed one that is no word."""
    rng, vocabulary, known = Random(seed), words(), real_words()
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        word = rng.choice(vocabulary)
        typed = TRUTH.sample(word, rng)
        if typed and typed not in known:
            pairs.append((word, typed))
    return pairs


def write_pairs(path: Path, count: int, seed: int = 0) -> Path:
    """Writes such pairs, five of each of several people."""
    rows = [
        {"typed": typed, "intended": intended, "user": f"user{number // 5}"}
        for number, (intended, typed) in enumerate(misspellings(count, seed))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def texts(count: int, seed: int = 0, wrong: float = 0.05) -> list[tuple[str, str]]:
    """Typed and intended texts of twelve words; the errors come together in every second text."""
    rng, vocabulary, known = Random(seed), words()[:1500], real_words()
    rows = []
    for number in range(count):
        intended = [rng.choice(vocabulary) for _ in range(12)]
        typed = list(intended)
        for index, word in enumerate(intended):
            if number % 2 and rng.random() < 2 * wrong:
                draws = (TRUTH.sample(word, rng) for _ in range(9))
                typed[index] = next((draw for draw in draws if draw and draw not in known), word)
        rows.append((" ".join(typed), " ".join(intended)))
    return rows
