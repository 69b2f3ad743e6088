"""A text taken apart: its words, the spans that noise must not touch, and edits that can be undone."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from rapidfuzz.distance import LCSseq, Levenshtein

from llmkit.perturb.numerals import JOINTS, amounts, may_join, phrases
from llmkit.perturb.protection import Span, merged
from llmkit.types import Edit, Strength

if TYPE_CHECKING:
    from llmkit.perturb.languages import Language


class Change(NamedTuple):
    """A replacement of `text[start:end]` in the source by `new`."""

    start: int
    end: int
    new: str


class EditRecord(TypedDict):
    """An `Edit` as a JSON object, in a `PerturbationRecord`."""

    start: int
    end: int
    old: str
    new: str


PlainChange = tuple[int, int, str]
"""A `Change`, or the same as a plain tuple, which costs the innermost loop less."""

_WORD = re.compile(r"\S+")


def _end(span: Span) -> int:
    return span[1]


class Source:
    """A text and its words, as `str.split` parts it: `tokens`, of which number i begins at `offsets[i] + i * gap`.

    Empty tokens represent further spaces in a row. `spans` are protected; `numbers` says whether words that hold a
    digit are, too, and `number_words` whether "three" is. `words` counts those outside `spans`: it is what every rate
    and every strength refers to, so that long answer options do not bring more noise into a short question.
    `language` is None for English; of one that puts no spaces between words, tokens are what a segmenter finds.
    """

    __slots__ = (
        "_all_words", "_ends", "_spans", "_word_spans", "gap", "language", "number_words", "numbers", "offsets",
        "spans", "text", "tokens", "unspaced", "words",
    )  # fmt: skip

    def __init__(
        self,
        text: str,
        spans: Sequence[Span] = (),
        numbers: bool = True,
        number_words: bool = True,
        language: Language | None = None,
    ) -> None:
        self.text = text
        self.spans = spans
        self.numbers = numbers
        self.number_words = number_words
        self.language = language
        self.unspaced = language is not None and language.unspaced
        if self.unspaced:
            self._segment()
        elif text.isprintable():  # then all white space is plain spaces, and the fast way is exact
            self.tokens = tokens = text.split(" ")
            self.offsets = list(accumulate(map(len, tokens), initial=0))
            self.gap = 1
            self._all_words = len(tokens) - tokens.count("")
        else:
            matches = list(_WORD.finditer(text))
            self.tokens = [match.group() for match in matches]
            self.offsets = [match.start() for match in matches]
            self.gap = 0
            self._all_words = len(matches)
        if not self.unspaced:
            self.words = _words_outside(text, spans) if spans else self._all_words
        self._spans: Sequence[Span] | None = None
        self._word_spans: Sequence[Span] | None = None
        self._ends: list[int] = []

    def _segment(self) -> None:
        """Fills in the tokens of a text without spaces, and counts those with a letter or digit outside spans."""
        from llmkit.perturb.segments import words  # with tables that English text needs none of

        found = list(words(self.text, self.language.code if self.language else ""))
        self.offsets, self.tokens = [start for start, _ in found], [token for _, token in found]
        self.gap, self._all_words = 0, len(found)
        ends = [end for _, end in self.spans]
        self.words = 0
        for start, token in found:
            index = bisect_right(ends, start)
            covered = index < len(ends) and self.spans[index][0] < start + len(token)
            self.words += not covered and any(map(str.isalnum, token))

    def start(self, token_index: int) -> int:
        """Returns the offset at which token i begins."""
        return self.offsets[token_index] + token_index * self.gap

    def end(self, token_index: int) -> int:
        """Returns the offset at which token i ends."""
        return self.offsets[token_index] + token_index * self.gap + len(self.tokens[token_index])

    def split(self) -> list[str]:
        """Returns the words, as `str.split` gives them."""
        return self.tokens if self._all_words == len(self.tokens) else self.text.split()

    def characters(self) -> int:
        """Counts the characters outside the protected spans."""
        return len(self.text) - sum(end - start for start, end in self.spans) if self.spans else len(self.text)

    def between(self, token_index: int) -> str:
        """Returns the white space after token i."""
        return self.text[self.end(token_index) : self.start(token_index + 1)]

    def word_spans(self) -> Sequence[Span]:
        """Returns the protected spans that hold words: all but numbers in figures, which words are never part of."""
        if self._word_spans is None:
            number_phrases = phrases(self.text) if self.numbers and self.number_words else []
            self._word_spans = merged([*self.spans, *number_phrases]) if number_phrases else self.spans
        return self._word_spans

    def free(self, start: int, end: int) -> bool:
        """Returns whether no protected span, numbers included, overlaps `text[start:end]` or holds an empty one
        inside."""
        if self._spans is None:
            self._spans = merged([*self.word_spans(), *(amounts(self.text) if self.numbers else ())])
            self._ends = [span_end for _, span_end in self._spans]
        span_index = bisect_right(self._ends, start)
        return span_index == len(self._spans) or self._spans[span_index][0] >= end

    def free_letters(self, word: str, start: int, end: int) -> bool:
        """Does what `free_word` does for a word of letters. Number words are left out before, except the "and" inside a
        number."""
        protected_spans = self.word_spans() if word in JOINTS and may_join(self.text, end) else self.spans
        if not protected_spans:
            return True
        span_index = bisect_right(protected_spans, start, key=_end)
        return span_index == len(protected_spans) or protected_spans[span_index][0] >= end

    def free_word(self, start: int, end: int) -> bool:
        """Does what `free` does for a word without digits, because numbers in figures then need no lookup."""
        protected_spans = self.word_spans()
        span_index = bisect_right(protected_spans, start, key=_end)
        return span_index == len(protected_spans) or protected_spans[span_index][0] >= end


_COVERED = "\0"  # replaces a protected span; no white space, so that text that touches the span stays one word with it


def _words_outside(text: str, spans: Sequence[Span]) -> int:
    """Counts the words that no span covers; letters or digits beside a span make a word, a lone full stop does not."""
    pieces: list[str] = []
    offset = 0
    for start, end in spans:
        pieces += (text[offset:start], " " * text[start].isspace(), _COVERED, " " * text[end - 1].isspace())
        offset = end
    words = "".join([*pieces, text[offset:]]).split()
    return sum(_COVERED not in word or any(map(str.isalnum, word)) for word in words)


def apply(text: str, changes: Sequence[PlainChange]) -> tuple[str, tuple[Edit, ...]]:
    """Applies sorted, non-overlapping changes. Returns the text and the edits that undo them."""
    pieces: list[str] = []
    edits: list[tuple[int, int, str, str]] = []
    offset = shift = 0
    for start, end, new_part in changes:
        pieces.append(text[offset:start])
        pieces.append(new_part)
        new_start, offset = start + shift, end
        new_end = new_start + len(new_part)
        edits.append((new_start, new_end, text[start:end], new_part))
        shift = new_end - end
    pieces.append(text[offset:])
    return "".join(pieces), tuple(map(tuple.__new__, repeat(Edit), edits))  # as Edit(...), a third of its time


def undo(text: str, edits: Iterable[Edit]) -> str:
    """Restores the original from the final text and its edits alone.

    >>> undo("the owl sat", [Edit(4, 7, "cat", "owl")])
    'the cat sat'
    """
    pieces: list[str] = []
    offset = 0
    for edit in edits:
        pieces += (text[offset : edit.start], edit.old)
        offset = edit.end
    return "".join([*pieces, text[offset:]])


def compose(original: str, first_edits: Sequence[Edit], middle_text: str, second_edits: Sequence[Edit]) -> list[Change]:
    """Merges two steps: changes of `original` that do what `first_edits` (original to middle) and then
    `second_edits` (middle to final) did.

    Where spans of the two overlap or touch in the middle text, they become one.
    """
    spans, shift = [(earlier.start, earlier.end) for earlier in first_edits], 0
    middle_changes: list[Change] = []
    for edit in second_edits:
        start = edit.start - shift
        middle_changes.append(Change(start, start + len(edit.old), edit.new))
        shift += len(edit.new) - len(edit.old)
    spans += [(change.start, change.end) for change in middle_changes]
    changes, first_index, second_index, shift = [], 0, 0, 0  # shift: original offset minus middle offset
    for start, end in merged(spans):
        original_start, old_part, offset = start + shift, "", start
        while (
            first_index < len(first_edits)
            and first_edits[first_index].end <= end
            and first_edits[first_index].start >= start
        ):
            old_part += middle_text[offset : first_edits[first_index].start] + first_edits[first_index].old
            offset = first_edits[first_index].end
            shift += len(first_edits[first_index].old) - len(first_edits[first_index].new)
            first_index += 1
        old_part += middle_text[offset:end]
        new_part, offset = "", start
        while (
            second_index < len(middle_changes)
            and middle_changes[second_index].end <= end
            and middle_changes[second_index].start >= start
        ):
            new_part += middle_text[offset : middle_changes[second_index].start] + middle_changes[second_index].new
            offset = middle_changes[second_index].end
            second_index += 1
        new_part += middle_text[offset:end]
        if old_part != new_part:
            changes.append(Change(original_start, original_start + len(old_part), new_part))
    return changes


def moved(spans: Sequence[Span], edits: Sequence[Edit]) -> list[Span]:
    """Moves protected spans of the text before `edits` to their places after them. No edit overlaps a span."""
    moved_spans, shift, edit_index = [], 0, 0
    for start, end in spans:
        while edit_index < len(edits) and edits[edit_index].start - shift + len(edits[edit_index].old) <= start:
            shift += len(edits[edit_index].new) - len(edits[edit_index].old)
            edit_index += 1
        moved_spans.append((start + shift, end + shift))
    return moved_spans


def strength(original: str, text: str, edits: Sequence[Edit] = (), source: Source | None = None) -> Strength:
    """Measures the realised strength: share of words lost by longest common subsequence, and character error rate.

    Both are shares of the text outside the protected spans of `source`, the parsed original; without it, of the
    whole text. Where words are not spaced, lost ones are counted edit by edit. Above 20,000 characters the edits,
    where given, are measured one by one: both are then upper bounds, and in all but contrived texts the same.

    >>> strength("one two three four", "one owt three four")
    Strength(words=0.25, chars=0.1111)
    """
    if original == text:
        return Strength()
    original_words = source.split() if source else original.split()
    if source and source.unspaced:
        lost_words = _words_lost(source, edits)
        changed_chars = sum(_distance(edit.old, edit.new) for edit in edits)
    elif edits and len(original) > 20_000:
        lost_words = sum(
            _lost(old_part.split(), new_part.split()) for old_part, new_part in _changed_words(text, edits)
        )
        changed_chars = sum(_distance(edit.old, edit.new) for edit in edits)
    else:
        lost_words = _lost(original_words, text.split())
        # The hint spares most texts most of the work.
        changed_chars = Levenshtein.distance(original, text, score_hint=31)
    word_count, char_count = (source.words, source.characters()) if source else (len(original_words), len(original))
    return Strength(round(lost_words / max(1, word_count), 4), round(changed_chars / max(1, char_count), 4))


def _words_lost(source: Source, edits: Sequence[Edit]) -> int:
    """Counts the words of a text without spaces that edits lost: those cut into, and those covered whole that the new
    part does not have in the same order."""
    lost: set[int] = set()
    shift = 0
    for edit in edits:
        start = edit.start - shift
        end = start + len(edit.old)
        shift += len(edit.new) - len(edit.old)
        index, place = max(0, bisect_right(source.offsets, start) - 1), 0
        while index < len(source.tokens) and source.offsets[index] < max(end, start + 1):
            token, token_start = source.tokens[index], source.offsets[index]
            if token_start + len(token) > start and (end > start or token_start < start):
                is_whole = start <= token_start and token_start + len(token) <= end
                found = edit.new.find(token, place) if is_whole else -1
                place = max(place, found + len(token))
                if found < 0:
                    lost.add(index)
            index += 1
    return len(lost)


def _distance(old_part: str, new_part: str, most: int = 2_000) -> int:
    """Counts changed characters. Above `most` it counts all, because an exact count takes quadratic time."""
    changed_chars = Levenshtein.distance(old_part, new_part, score_cutoff=most)
    return changed_chars if changed_chars <= most else max(len(old_part), len(new_part))


def _lost(words_before: Sequence[str], words_after: Sequence[str]) -> int:
    return len(words_before) - LCSseq.similarity(words_before, words_after)


def _changed_words(text: str, edits: Sequence[Edit]) -> Iterator[tuple[str, str]]:
    """Yields the stretches of whole words that edits touch: as they were, and as they are in the final text."""
    edit_index = 0
    while edit_index < len(edits):
        first_index, start = edit_index, edits[edit_index].start
        while start and not text[start - 1].isspace():
            start -= 1
        end = edits[edit_index].end
        while True:  # to the end of the word, and on through further edits in it
            while end < len(text) and not text[end].isspace():
                end += 1
            edit_index += 1
            if edit_index == len(edits) or edits[edit_index].start > end:
                break
            end = max(end, edits[edit_index].end)
        local_edits = [
            edit._replace(start=edit.start - start, end=edit.end - start) for edit in edits[first_index:edit_index]
        ]
        yield undo(text[start:end], local_edits), text[start:end]
