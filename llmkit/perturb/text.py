"""A text taken apart: its words, the spans that noise must not touch, and edits that can be undone."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from typing import NamedTuple

from rapidfuzz.distance import LCSseq, Levenshtein

from llmkit.perturb.protection import Span, merged
from llmkit.types import Edit, Strength


class Change(NamedTuple):
    """Put `new` where `text[start:end]` stands in the source."""

    start: int
    end: int
    new: str


NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_AMOUNT = re.compile(r"[$€£¥₹]?\s?[-+]?\d+(?:[.,:/]\d+)*(?:\s?/\s?\d+|\s?%)?")
_WORD = re.compile(r"\S+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def _end(span: Span) -> int:
    return span[1]


class Source:
    """A text and its words, as `str.split` parts it: `tokens`, of which number i begins at `offsets[i] + i * gap`.

    Empty tokens stand for further spaces in a row. `spans` are protected; `numbers` says whether words that hold a
    digit are, too.
    """

    __slots__ = ("_ends", "_spans", "gap", "numbers", "offsets", "spans", "text", "tokens", "words")

    def __init__(self, text: str, spans: Sequence[Span] = (), numbers: bool = True) -> None:
        self.text = text
        self.spans = spans
        self.numbers = numbers
        if text.isprintable():  # then all white space is plain spaces, and the fast way is exact
            self.tokens = tokens = text.split(" ")
            self.offsets = list(accumulate(map(len, tokens), initial=0))
            self.gap = 1
            self.words = len(tokens) - tokens.count("")
        else:
            found = list(_WORD.finditer(text))
            self.tokens = [match.group() for match in found]
            self.offsets = [match.start() for match in found]
            self.gap = 0
            self.words = len(found)
        self._spans: Sequence[Span] | None = None
        self._ends: list[int] = []

    def start(self, i: int) -> int:
        """Where token i begins."""
        return self.offsets[i] + i * self.gap

    def end(self, i: int) -> int:
        """Where token i ends."""
        return self.offsets[i] + i * self.gap + len(self.tokens[i])

    def split(self) -> list[str]:
        """The words, as `str.split` gives them."""
        return self.tokens if self.words == len(self.tokens) else self.text.split()

    def between(self, i: int) -> str:
        """The white space behind token i."""
        return self.text[self.end(i) : self.start(i + 1)]

    def free(self, start: int, end: int) -> bool:
        """Whether no protected span, numbers included, overlaps `text[start:end]` or holds an empty one inside."""
        if self._spans is None:
            amounts = [m.span() for m in _AMOUNT.finditer(self.text)] if self.numbers else []
            self._spans = merged([*self.spans, *amounts])
            self._ends = [e for _, e in self._spans]
        i = bisect_right(self._ends, start)
        return i == len(self._spans) or self._spans[i][0] >= end

    def free_word(self, start: int, end: int) -> bool:
        """As `free`, for a word without digits: numbers need not be looked up."""
        i = bisect_right(self.spans, start, key=_end)
        return i == len(self.spans) or self.spans[i][0] >= end


def apply(text: str, changes: Sequence[Change]) -> tuple[str, tuple[Edit, ...]]:
    """The text after sorted, non-overlapping changes, and the edits that undo them."""
    pieces, edits, at, shift = [], [], 0, 0
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
    pieces, at = [], 0
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


def strength(original: str, text: str, edits: Sequence[Edit] = (), words: Sequence[str] | None = None) -> Strength:
    """Realised strength: share of words lost by longest common subsequence, and character error rate.

    Above 20,000 characters the edits, where given, are measured one by one: both are then upper bounds, and in all but
    contrived texts the same. `words` are the original's, where they are at hand.

    >>> strength("one two three four", "one owt three four")
    Strength(words=0.25, chars=0.1111)
    """
    if original == text:
        return Strength()
    before = original.split() if words is None else words
    if edits and len(original) > 20_000:
        lost = sum(_lost(old.split(), new.split()) for old, new in _changed_words(text, edits))
        changed = sum(_distance(edit.old, edit.new) for edit in edits)
    else:
        lost = _lost(before, text.split())
        changed = Levenshtein.distance(original, text, score_hint=31)  # a guess that spares most texts most of the work
    return Strength(round(lost / max(1, len(before)), 4), round(changed / max(1, len(original)), 4))


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


def numbers(text: str) -> Counter[str]:
    """The numbers of a text as written, thousands separators aside, with how often each occurs.

    >>> sorted(numbers("1,250 pens at 7.5 each, 3/4 of them by 10:30").elements())
    ['10:30', '1250', '3/4', '7.5']
    """
    return Counter(NUMBER.findall(_THOUSANDS.sub("", text)))


def only_letters(edits: Sequence[Edit]) -> bool:
    """Whether letters took the place of letters everywhere. Then the numbers of a text are what they were."""
    _, _, olds, news = zip(*edits, strict=True)
    return all(olds) and all(news) and "".join(olds + news).isalpha()
