"""A text taken apart: its words, the spans that noise must not touch, and edits that can be undone."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from typing import NamedTuple

from rapidfuzz.distance import LCSseq, Levenshtein

from llmkit.perturb.numerals import JOINTS, amounts, may_join, phrases
from llmkit.perturb.protection import Span, merged
from llmkit.types import Edit, Strength


class Change(NamedTuple):
    """Put `new` where `text[start:end]` stands in the source."""

    start: int
    end: int
    new: str


PlainChange = tuple[int, int, str]
"""A `Change`, or the same as a plain tuple, which costs the innermost loop less."""

_WORD = re.compile(r"\S+")


def _end(span: Span) -> int:
    return span[1]


class Source:
    """A text and its words, as `str.split` parts it: `tokens`, of which number i begins at `offsets[i] + i * gap`.

    Empty tokens stand for further spaces in a row. `spans` are protected; `numbers` says whether words that hold a
    digit are, too, and `number_words` whether "three" is. `words` counts those outside `spans`: it is what every rate
    and every strength refers to, so that long answer options do not bring more noise into a short question.
    """

    __slots__ = (
        "_all_words", "_ends", "_spans", "_word_spans", "gap", "number_words", "numbers", "offsets", "spans", "text",
        "tokens", "words",
    )  # fmt: skip

    def __init__(self, text: str, spans: Sequence[Span] = (), numbers: bool = True, number_words: bool = True) -> None:
        self.text = text
        self.spans = spans
        self.numbers = numbers
        self.number_words = number_words
        if text.isprintable():  # then all white space is plain spaces, and the fast way is exact
            self.tokens = tokens = text.split(" ")
            self.offsets = list(accumulate(map(len, tokens), initial=0))
            self.gap = 1
            self._all_words = len(tokens) - tokens.count("")
        else:
            found = list(_WORD.finditer(text))
            self.tokens = [match.group() for match in found]
            self.offsets = [match.start() for match in found]
            self.gap = 0
            self._all_words = len(found)
        self.words = _words_outside(text, spans) if spans else self._all_words
        self._spans: Sequence[Span] | None = None
        self._word_spans: Sequence[Span] | None = None
        self._ends: list[int] = []

    def start(self, i: int) -> int:
        """Where token i begins."""
        return self.offsets[i] + i * self.gap

    def end(self, i: int) -> int:
        """Where token i ends."""
        return self.offsets[i] + i * self.gap + len(self.tokens[i])

    def split(self) -> list[str]:
        """The words, as `str.split` gives them."""
        return self.tokens if self._all_words == len(self.tokens) else self.text.split()

    def characters(self) -> int:
        """Returns how many characters stand outside the protected spans."""
        return len(self.text) - sum(end - start for start, end in self.spans) if self.spans else len(self.text)

    def between(self, i: int) -> str:
        """The white space behind token i."""
        return self.text[self.end(i) : self.start(i + 1)]

    def word_spans(self) -> Sequence[Span]:
        """The protected spans that hold words: all but numbers in figures, which words are never part of."""
        if self._word_spans is None:
            said = phrases(self.text) if self.numbers and self.number_words else []
            self._word_spans = merged([*self.spans, *said]) if said else self.spans
        return self._word_spans

    def free(self, start: int, end: int) -> bool:
        """Whether no protected span, numbers included, overlaps `text[start:end]` or holds an empty one inside."""
        if self._spans is None:
            self._spans = merged([*self.word_spans(), *(amounts(self.text) if self.numbers else ())])
            self._ends = [e for _, e in self._spans]
        i = bisect_right(self._ends, start)
        return i == len(self._spans) or self._spans[i][0] >= end

    def free_letters(self, word: str, start: int, end: int) -> bool:
        """As `free_word` for a word of letters: number words are left out before, all but the "and" inside a number."""
        spans = self.word_spans() if word in JOINTS and may_join(self.text, end) else self.spans
        if not spans:
            return True
        i = bisect_right(spans, start, key=_end)
        return i == len(spans) or spans[i][0] >= end

    def free_word(self, start: int, end: int) -> bool:
        """As `free`, for a word without digits: numbers in figures need not be looked up."""
        spans = self.word_spans()
        i = bisect_right(spans, start, key=_end)
        return i == len(spans) or spans[i][0] >= end


_COVERED = "\0"  # stands for a protected span; no white space, so that what touches the span stays one word with it


def _words_outside(text: str, spans: Sequence[Span]) -> int:
    """Returns how many words no span covers; letters or digits beside a span make a word, a lone full stop does not."""
    pieces: list[str] = []
    at = 0
    for start, end in spans:
        pieces += (text[at:start], " " * text[start].isspace(), _COVERED, " " * text[end - 1].isspace())
        at = end
    words = "".join([*pieces, text[at:]]).split()
    return sum(_COVERED not in word or any(map(str.isalnum, word)) for word in words)


def apply(text: str, changes: Sequence[PlainChange]) -> tuple[str, tuple[Edit, ...]]:
    """The text after sorted, non-overlapping changes, and the edits that undo them."""
    pieces: list[str] = []
    edits: list[tuple[int, int, str, str]] = []
    at = shift = 0
    for start, end, new in changes:
        pieces.append(text[at:start])
        pieces.append(new)
        begin, at = start + shift, end
        finish = begin + len(new)
        edits.append((begin, finish, text[start:end], new))
        shift = finish - end
    pieces.append(text[at:])
    return "".join(pieces), tuple(map(tuple.__new__, repeat(Edit), edits))  # as Edit(...), a third of its time


def undo(text: str, edits: Iterable[Edit]) -> str:
    """The original, from the final text and its edits alone.

    >>> undo("the owl sat", [Edit(4, 7, "cat", "owl")])
    'the cat sat'
    """
    pieces: list[str] = []
    at = 0
    for edit in edits:
        pieces += (text[at : edit.start], edit.old)
        at = edit.end
    return "".join([*pieces, text[at:]])


def compose(original: str, first: Sequence[Edit], middle: str, second: Sequence[Edit]) -> list[Change]:
    """Changes of `original` that do what `first` (original to middle) and then `second` (middle to final) did.

    Where spans of the two overlap or touch in the middle text, they become one.
    """
    spans, shift = [(e.start, e.end) for e in first], 0
    ahead: list[Change] = []
    for edit in second:
        start = edit.start - shift
        ahead.append(Change(start, start + len(edit.old), edit.new))
        shift += len(edit.new) - len(edit.old)
    spans += [(c.start, c.end) for c in ahead]
    changes, i, j, shift = [], 0, 0, 0  # shift: original offset minus middle offset
    for start, end in merged(spans):
        begin, old, at = start + shift, "", start
        while i < len(first) and first[i].end <= end and first[i].start >= start:
            old += middle[at : first[i].start] + first[i].old
            at = first[i].end
            shift += len(first[i].old) - len(first[i].new)
            i += 1
        old += middle[at:end]
        new, at = "", start
        while j < len(ahead) and ahead[j].end <= end and ahead[j].start >= start:
            new += middle[at : ahead[j].start] + ahead[j].new
            at = ahead[j].end
            j += 1
        new += middle[at:end]
        if old != new:
            changes.append(Change(begin, begin + len(old), new))
    return changes


def moved(spans: Sequence[Span], edits: Sequence[Edit]) -> list[Span]:
    """Where protected spans of the text before `edits` stand after them. No edit overlaps a span."""
    out, shift, i = [], 0, 0
    for start, end in spans:
        while i < len(edits) and edits[i].start - shift + len(edits[i].old) <= start:
            shift += len(edits[i].new) - len(edits[i].old)
            i += 1
        out.append((start + shift, end + shift))
    return out


def strength(original: str, text: str, edits: Sequence[Edit] = (), source: Source | None = None) -> Strength:
    """Realised strength: share of words lost by longest common subsequence, and character error rate.

    Both are shares of what stands outside the protected spans of `source`, the original taken apart; without it, of the
    whole text. Above 20,000 characters the edits, where given, are measured one by one: both are then upper bounds, and
    in all but contrived texts the same.

    >>> strength("one two three four", "one owt three four")
    Strength(words=0.25, chars=0.1111)
    """
    if original == text:
        return Strength()
    before = source.split() if source else original.split()
    if edits and len(original) > 20_000:
        lost = sum(_lost(old.split(), new.split()) for old, new in _changed_words(text, edits))
        changed = sum(_distance(edit.old, edit.new) for edit in edits)
    else:
        lost = _lost(before, text.split())
        changed = Levenshtein.distance(original, text, score_hint=31)  # a guess that spares most texts most of the work
    words, characters = (source.words, source.characters()) if source else (len(before), len(original))
    return Strength(round(lost / max(1, words), 4), round(changed / max(1, characters), 4))


def _distance(old: str, new: str, most: int = 2_000) -> int:
    """Changed characters; where there are more than `most`, all count, for telling them apart takes quadratic time."""
    changed = Levenshtein.distance(old, new, score_cutoff=most)
    return changed if changed <= most else max(len(old), len(new))


def _lost(before: Sequence[str], after: Sequence[str]) -> int:
    return len(before) - LCSseq.similarity(before, after)


def _changed_words(text: str, edits: Sequence[Edit]) -> Iterator[tuple[str, str]]:
    """The stretches of whole words that edits touch: as they were, and as they stand in the final text."""
    i = 0
    while i < len(edits):
        first, start = i, edits[i].start
        while start and not text[start - 1].isspace():
            start -= 1
        end = edits[i].end
        while True:  # to the end of the word, and on through further edits in it
            while end < len(text) and not text[end].isspace():
                end += 1
            i += 1
            if i == len(edits) or edits[i].start > end:
                break
            end = max(end, edits[i].end)
        local = [edit._replace(start=edit.start - start, end=edit.end - start) for edit in edits[first:i]]
        yield undo(text[start:end], local), text[start:end]
