"""`asr` and `ocr`: noise as recognisers of speech and of print make it, drawn from tables of what they wrote."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from random import Random

from llmkit.perturb.alignment import LONGEST_WORD
from llmkit.perturb.base import Operator, like, operator, pick, weighted
from llmkit.perturb.like import drawn_order
from llmkit.perturb.numerals import numbers
from llmkit.perturb.recogniser import SHIPPED, Recogniser, core_of, load, safe, unsafe
from llmkit.perturb.soundalikes import PHONES, Phones, sound_of, words_of
from llmkit.perturb.text import PlainChange, Source
from llmkit.perturb.wordbook import common_words

_SURE = 0.95
_MOST_TOKENS = 1 << 16  # that are remembered
_OUTCOMES = 4  # drawn for a word, until one can be made
_DRAWS = 12  # of another word, until one is a word
_LEAST_COUNT = 1_000_000  # of a word, in the frequency list, for it to be heard
_LEAST_COUNT_OF_TWO = 20_000_000
_LEAST_PHONES = 3  # of each of two words that one is taken for
_SOUNDS = {letter: phone for phone, letter in PHONES.items()}


class Recognised(Operator):
    """Draws from the table of a recogniser which words it gets wrong, and what it writes for them."""

    english = True
    fitted = True
    nothing = "no word that can be misread"
    table: Recogniser

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.table = load(SHIPPED / f"{self.name}.json")
        self._known: dict[tuple[str, bool, bool], list[tuple[str, float]]] = {}  # what can happen to a token

    def wanted_as_fitted(self, source: Source, factor: float, rng: Random) -> int:
        return self.table.wanted(source.words, factor, source.numbers, rng)

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[PlainChange]:
        if not wanted or (source.numbers and not any(map(str.isalpha, source.text))):
            return ()
        changes: list[PlainChange] = []
        places, weights = self._places(source)
        order = drawn_order(weights, rng)
        following: int | None = None
        while len(changes) < wanted:
            if following is not None and following < len(source.tokens) and rng.random() < self.table.run:
                index, kind = following, "word"
            else:
                number = next(order, None)
                if number is None:
                    break
                index, kind = places[number]
            following = None
            change = self._change(source, index, kind, rng)
            if change and _takes(changes, change) and kind == "word":
                following = index + 1
        return changes

    def _places(self, source: Source) -> tuple[list[tuple[int, str]], list[float]]:
        """Returns what can happen to which token, and how likely each is."""
        places: list[tuple[int, str]] = []
        weights: list[float] = []
        begins, last = True, len(source.tokens) - 1
        for index, token in enumerate(source.tokens):
            place = token, begins, index == last
            known = self._known.get(place)
            if known is None:
                if len(self._known) >= _MOST_TOKENS:
                    self._known.clear()
                self._known[place] = known = self._odds(*place)
            for kind, odds in known:
                places.append((index, kind))
                weights.append(odds)
            begins = token[-1:] in ".!?" if token else begins
        return places, weights

    def _odds(self, token: str, begins: bool, is_last: bool) -> list[tuple[str, float]]:
        """Returns what can happen to a token. Odds, as some of several are drawn."""
        core, start = core_of(token)
        if not core:
            return []
        table = self.table
        rates = {"word": table.rate(self.key(core))}
        rates["mark"] = sum(self._other_marks(token[start + len(core) :], is_last).values())
        if not is_last and not core.isnumeric():
            rates["add"] = sum(table.added.values())
        if core[0].isupper() and core[1:].islower():
            rates["case"] = table.case.get("first" if begins else "inner", 0.0)
        return [(kind, rate / (1 - min(rate, _SURE))) for kind, rate in rates.items() if rate]

    def _other_marks(self, mark: str, is_last: bool) -> dict[str, float]:
        """Returns the rates of what is written for the mark behind a word."""
        return dict(self.table.marks.get(f"{mark}{'last' if is_last else 'inner'}", {}))

    def key(self, core: str) -> str:
        """Returns a word as it is looked up."""
        raise TypeError(f"{type(self).__name__} does not say what it looks up")

    def region(self, token: str) -> tuple[int, int]:
        """Returns the part of a token that is rewritten."""
        raise TypeError(f"{type(self).__name__} does not say what it rewrites")

    def misread(self, part: str, rng: Random) -> str | None:
        """Draws what is written for a part of a token that the table does not know; None where nothing is."""
        raise TypeError(f"{type(self).__name__} does not say how it misreads")

    def cuts(self, part: str) -> Sequence[int]:
        """Returns the places where a part of a token can be cut in two."""
        return range(1, len(part))

    def _change(self, source: Source, index: int, kind: str, rng: Random) -> PlainChange | None:
        token = source.tokens[index]
        token_start, token_end = source.start(index), source.end(index)
        core, offset = core_of(token)
        if kind in ("add", "mark") and not source.free_word(token_end - 1, token_end):
            return None  # what touches protected text would seem to be a part of it
        if kind == "add":
            added = weighted(self.table.added, rng)
            change = token_end, token_end, f" {added}"
            return None if _changes_number(source, index, change) else change
        if kind == "case":
            start = token_start + offset
            return (start, start + 1, core[0].lower()) if source.free(start, start + len(core)) else None
        if kind == "mark":
            start = token_start + offset + len(core)
            mark = weighted(self._other_marks(token[offset + len(core) :], index == len(source.tokens) - 1), rng)
            return (start, token_end, mark) if source.free(start, token_end) else None
        return self._word(source, index, rng)

    def _word(self, source: Source, index: int, rng: Random) -> PlainChange | None:
        token, token_start = source.tokens[index], source.start(index)
        first, last = self.region(token)
        part, start, end = token[first:last], token_start + first, token_start + last
        if not part or len(part) > LONGEST_WORD or not source.free(start, end):
            return None
        key = self.key(core_of(token)[0])
        for _ in range(_OUTCOMES):
            outcome = self.table.outcome(key, rng)
            if outcome == "JOIN":
                change = _joined(source, index)
            elif outcome == "CUT":
                cuts = self.cuts(part)
                change = (start + (place := pick(cuts, rng)), start + place, " ") if cuts else None
            elif outcome in ("", "DROP"):
                change = _dropped(source, index, start, end)
            else:
                new = (
                    self.misread(part, rng) if outcome == "LETTERS" else outcome if part == "I" else like(outcome, part)
                )
                change = (start, end, new) if new else None
            if (
                change
                and change[2] != source.text[change[0] : change[1]]
                and not _changes_number(source, index, change)
            ):
                return change
        return None


def _takes(changes: list[PlainChange], change: PlainChange) -> bool:
    """Adds a change to sorted ones unless it touches one of them. Returns whether it did."""
    at = bisect(changes, change)
    if (at and change[0] <= changes[at - 1][1]) or (at < len(changes) and changes[at][0] <= change[1]):
        return False
    changes.insert(at, change)
    return True


def _joined(source: Source, index: int) -> PlainChange | None:
    """Returns the change that leaves out the space behind a word; None where the next is protected."""
    if index + 1 >= len(source.tokens) or source.between(index) != " ":
        return None
    start, end = source.end(index), source.start(index + 1)
    return (start, end, "") if source.free(source.start(index), source.end(index + 1)) else None


def _dropped(source: Source, index: int, start: int, end: int) -> PlainChange | None:
    """Returns the change that leaves out a word with a space; None for the only one, or beside protected text."""
    if index and start == source.start(index) and source.between(index - 1) == " " and source.free(start - 1, end):
        return start - 1, end, ""
    if index + 1 < len(source.tokens) and end == source.end(index) and source.between(index) == " ":
        return start, end + 1, ""
    return None


def _changes_number(source: Source, index: int, change: PlainChange) -> bool:
    """Returns whether a change at a token takes or makes a number where numbers are kept as they are."""
    if not source.numbers:
        return False
    start = source.start(max(0, index - 1))
    end = source.end(min(index + 1, len(source.tokens) - 1))
    text = source.text
    new_text = f"{text[start : change[0]]}{change[2]}{text[change[1] : end]}"
    return numbers(text[start:end], source.number_words) != numbers(new_text, source.number_words)


@operator("asr", level="word", default_rate=0.15)
class Asr(Recognised):
    """Words as a recogniser of speech takes them: "free quarters" for "three quarters", marks and capitals as it sets
    them; where a word is not in the table, its sound is misheard (our own table: Whisper tiny.en on synthetic voices).

    >>> Asr().table.about["what"]
    'a tiny recogniser of speech on synthetic voices'
    """

    def key(self, core: str) -> str:
        return core.lower()

    def region(self, token: str) -> tuple[int, int]:
        core, start = core_of(token)
        return start, start + len(core)

    def cuts(self, part: str) -> Sequence[int]:
        common = common_words(_LEAST_COUNT_OF_TWO)
        return [at for at in range(3, len(part) - 2) if part[:at].lower() in common and part[at:].lower() in common]

    def misread(self, part: str, rng: Random) -> str | None:
        sound = sound_of(part.lower())
        if not sound:
            return None
        letters = "".join(PHONES[phone] for phone in sound)
        phones: Phones = ()
        for _ in range(_DRAWS):
            heard = self.table.channel.sample(letters, rng)
            phones = tuple(_SOUNDS[letter] for letter in heard or "")
            if words := _common(phones, _LEAST_COUNT):
                return like(weighted(words, rng), part)
        return like(two, part) if (two := _two_words(phones)) else None


def _common(phones: Phones, least_count: int) -> dict[str, float]:
    """Returns the words that sound so and are common enough, with their counts."""
    counts = common_words(1)
    words = {word: float(counts[word]) for word in words_of(phones) if counts[word] >= least_count}
    return {word: count for word, count in words.items() if len(word) > 1 or word == "a"}


def _two_words(phones: Phones) -> str | None:
    """Returns two common words that sound like one together; None where there are none."""
    for at in range(_LEAST_PHONES, len(phones) - _LEAST_PHONES + 1):
        first, second = (_common(part, _LEAST_COUNT_OF_TWO) for part in (phones[:at], phones[at:]))
        if first and second:
            return f"{max(first, key=first.__getitem__)} {max(second, key=second.__getitem__)}"
    return None


@operator("ocr", level="character")
class Ocr(Recognised):
    """Letters, marks and spaces as a recogniser of print takes them: "ofthe", "haif" for "half", "|" for "I", stray
    marks (our own table: Tesseract on a simulation of print and scan).

    >>> Ocr().table.about["what"]
    'a simulation of print and scan, read by a recogniser of print'
    """

    def key(self, core: str) -> str:
        return core

    def region(self, token: str) -> tuple[int, int]:
        return 0, len(token)

    def misread(self, part: str, rng: Random) -> str | None:
        read = self.table.channel.sample(safe(part), rng)
        return unsafe(read) if read else None
