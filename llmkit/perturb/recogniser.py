"""The table of a recogniser of speech or print: how often it gets words wrong, and what it writes for them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from llmkit.errors import DataError
from llmkit.parsing import parse_json
from llmkit.perturb.base import weighted
from llmkit.perturb.channel import Channel
from llmkit.perturb.channel_file import channel_content, number, numbers, read_channel

FORM = 1
"""The version of the file's form."""

SHIPPED = Path(__file__).parent / "data" / "recognisers"
LONGEST = 15  # longer words are as often wrong as words of this length
OWN_WEIGHT = 3.0
"""Errors in a word that what happens to all words counts for, beside what happened to that word."""

ABOUT = ("what", "made_with", "sources", "licence", "date", "texts", "held_out", "words", "errors", "left_out")
"""What a table says about its making."""

PARTS = ("letters", "drop", "join", "cut")
"""What happens to a word whose own errors are not known: it is written as another, lost, joined to the next, or cut."""

_CORE = re.compile(r"[^\W_](?:.*[^\W_])?", re.DOTALL)
_UNSAFE = {ord(mark): 0xE000 + place for place, mark in enumerate("()>^$\0 ")}
_SAFE = {new: chr(old) for old, new in _UNSAFE.items()}


class Word(NamedTuple):
    """What is known of one word: the share of its occurrences that are wrong, and what is written for it, with counts.
    "" where it is left out; two words where it is taken for two."""

    rate: float
    outcomes: Mapping[str, float]


class Place(NamedTuple):
    """Where in a text a token is: whether it begins a sentence, and whether it is the last."""

    first: bool
    last: bool


@dataclass(frozen=True)
class Recogniser:
    """How one recogniser errs. All numbers are counted in what it wrote; see `benchmarks/channels`."""

    name: str
    lang: str
    per_text: Mapping[str, Sequence[float]]
    """Quantiles, evenly spaced from 0 to 1, of the share of changed words in a text: of "all" changes, and of those
    that leave numbers "kept"."""
    run: float
    """How often the next word is wrong, too, behind a wrong one."""
    by_length: Sequence[float]
    """By length of the word, from 1 to `LONGEST`: the rate of errors of words that are not in `words`."""
    words: Mapping[str, Word]
    parts: Mapping[str, float]
    """Shares of `PARTS` among the errors of other words."""
    marks: Mapping[str, Mapping[str, float]]
    """By a mark ("" for none) and "last" or "inner": the rates of what is written instead."""
    case: Mapping[str, float]
    """Rates of capitals lost at the head of a sentence ("first") and elsewhere ("inner")."""
    added: Mapping[str, float]
    """What is written between two words where nothing was: the rate for each word."""
    channel: Channel
    about: Mapping[str, Any]

    def rate(self, core: str) -> float:
        """Returns how often this word, in lower case, is wrong."""
        known = self.words.get(core)
        return known.rate if known else self.by_length[min(len(core), LONGEST) - 1]

    def outcome(self, core: str, rng: Random) -> str:
        """Draws what happens to a wrong word: one of `PARTS` in capitals, or what is written for it."""
        known = self.words.get(core)
        own = known.outcomes if known else {}
        total = sum(own.values())
        if rng.random() * (total + OWN_WEIGHT) < total:
            return weighted(own, rng)
        return weighted(self.parts, rng).upper()

    def wanted(self, words: int, factor: float, keeps_numbers: bool, rng: Random) -> int:
        """Draws the number of changed words of a text, as unevenly as texts are changed."""
        shares = self.per_text["kept" if keeps_numbers else "all"]
        place = rng.random() * (len(shares) - 1)
        below = int(place)
        share = shares[below] + (shares[min(below + 1, len(shares) - 1)] - shares[below]) * (place - below)
        return min(words, int(min(1.0, share * factor) * words + rng.random()))

    def text(self) -> str:
        """Returns the content of the table's file."""
        content = {
            "form": FORM,
            "name": self.name,
            "lang": self.lang,
            "about": dict(self.about),
            "per_text": {which: list(shares) for which, shares in self.per_text.items()},
            "run": self.run,
            "by_length": list(self.by_length),
            "parts": dict(self.parts),
            "marks": {mark: dict(others) for mark, others in self.marks.items()},
            "case": dict(self.case),
            "added": dict(self.added),
            "channel": channel_content(self.channel),
            "words": {word: [known.rate, dict(known.outcomes)] for word, known in self.words.items()},
        }
        return (
            json.dumps(content, ensure_ascii=False, indent=None, separators=(",", ":")).replace('],"', '],\n"') + "\n"
        )


def core_of(token: str) -> tuple[str, int]:
    """Returns a token from its first to its last letter or digit, and where that begins.

    >>> core_of('"don\\'t,'), core_of("--")
    (("don't", 1), ('', 0))
    """
    match = _CORE.search(token)
    return (match.group(), match.start()) if match else ("", 0)


def safe(token: str) -> str:
    """Returns a token without the characters that have a meaning in the rules of a channel."""
    return token.translate(_UNSAFE)


def unsafe(token: str) -> str:
    """Undoes `safe`."""
    return token.translate(_SAFE)


def quantiles(shares: Sequence[float], count: int = 21) -> list[float]:
    """Returns evenly spaced quantiles, the least and the largest included."""
    ordered = sorted(shares)
    return [round(ordered[round(place * (len(ordered) - 1) / (count - 1))], 4) for place in range(count)]


def load(path: Path) -> Recogniser:
    """Returns the table in a file. DataError where it is damaged or of a newer form."""
    return _load(str(path), path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=8)
def _load(path: str, _changed: int) -> Recogniser:
    hint = "install llmkit again, or make the table again as docs/benchmarks.md says"
    try:
        content = parse_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint) from None
    except ValueError:
        raise DataError(f"{path}: not JSON", hint) from None
    form = content.get("form") if isinstance(content, dict) else None
    if isinstance(form, int) and form > FORM:
        raise DataError(f"{path}: a table of form {form}, and this llmkit reads up to {FORM}", "update llmkit")
    try:
        if form != FORM:
            raise ValueError("it has no form that is known")
        return _read(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a table of a recogniser ({error})", hint) from None


def _read(content: Mapping[str, Any]) -> Recogniser:
    by_length = [number(rate, 1) for rate in content["by_length"]]
    per_text = {which: [number(share, 1) for share in content["per_text"][which]] for which in ("all", "kept")}
    if len(by_length) != LONGEST or any(len(shares) < 2 for shares in per_text.values()):
        raise ValueError("a list of rates has another size")
    if missing := [key for key in ABOUT if key not in content["about"]]:
        raise ValueError(f"it does not say: {', '.join(missing)}")
    if unknown_parts := content["parts"].keys() - set(PARTS):
        raise ValueError(f"unknown parts: {', '.join(sorted(unknown_parts))}")
    return Recogniser(
        name=str(content["name"]),
        lang=str(content["lang"]),
        per_text=per_text,
        run=number(content["run"], 1),
        by_length=by_length,
        words={
            str(word): Word(number(rate, 1), numbers(outcomes)) for word, (rate, outcomes) in content["words"].items()
        },
        parts=numbers(content["parts"], 1),
        marks={str(mark): numbers(others, 1) for mark, others in content["marks"].items()},
        case=numbers(content["case"], 1),
        added=numbers(content["added"], 1),
        channel=read_channel(content["channel"]),
        about=dict(content["about"]),
    )
