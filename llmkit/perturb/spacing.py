"""Operators that change the space and the marks between words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from random import Random
from typing import ClassVar

from llmkit.perturb.base import TextEdit, letters_of, operator, pick, sample
from llmkit.perturb.text import Change, Source


@operator("whitespace", level="character")
class Whitespace(TextEdit):
    """Joins two words or splits one, half of the time each; never next to a number (TextBugger, Li et al. 2019,
    arXiv 1812.05271).

    >>> source = Source("Tom has seven apples")
    >>> [tuple(c) for c in Whitespace().changes(source, 2, Random(8))]
    [(3, 4, ''), (15, 15, ' ')]
    """

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        word_spans = letters_of(source)
        splittable = [(start, end) for start, end in word_spans if end - start >= 2]
        joinable = [
            (end, next_start)
            for (_, end), (next_start, _) in pairwise(word_spans)
            if next_start > end
            and source.text[end:next_start].strip() == ""
            and "\n" not in source.text[end:next_start]
            and source.free(end, next_start)
        ]
        changes: list[Change] = []
        while (splittable or joinable) and len(changes) < wanted:
            if splittable and (not joinable or rng.random() < 0.5):
                start, end = splittable.pop(int(rng.random() * len(splittable)))
                split_at = self._inside(source.text[start:end], start, rng)
                if split_at is None:
                    continue
                changes.append(Change(split_at, split_at, " "))
            else:
                changes.append(Change(*joinable.pop(int(rng.random() * len(joinable))), ""))
        return sorted(changes)

    def _inside(self, word: str, start: int, rng: Random) -> int | None:
        """Draws a place inside a word, in other languages than English between grapheme clusters; None without one."""
        if self.language is None:
            return start + 1 + int(rng.random() * (len(word) - 1))
        places = list(accumulate(map(len, self.language.letters(word)[:-1]), initial=start))[1:]
        return pick(places, rng) if places else None


@operator("punctuation", level="character")
class Punctuation(TextEdit):
    """Drops, doubles or changes a mark at a word's end, or puts a comma where none belongs (HELM, arXiv 2211.09110,
    and arXiv 2508.11383 on what such marks do to models).

    >>> source = Source("Tom has apples, pears and plums.")
    >>> [tuple(c) for c in Punctuation().changes(source, 2, Random(1))]
    [(3, 3, ','), (31, 32, '')]
    """

    nothing = "no place for a mark"
    marks: ClassVar[Mapping[str, str]] = {
        "CJK": "，；：。！？", "ARABIC": "،؛:.!؟", "DEVANAGARI": ",;:।!?", "GREEK": ",;:.!·", "ARMENIAN": ",;:․",
    }  # fmt: skip

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        text = source.text
        marks = self.marks.get(self.language.script, ",;:.!?") if self.language else ",;:.!?"
        word_ends = [word_end for _, word_end in letters_of(source) if source.free(word_end, word_end + 1)]
        word_ends = [
            word_end
            for word_end in word_ends
            if word_end == len(text) or text[word_end].isspace() or text[word_end] in marks
        ]
        changes = []
        for word_end in sample(word_ends, wanted, rng):
            punctuation = text[word_end : word_end + 1]
            if punctuation and punctuation in marks:
                changes.append(
                    Change(
                        word_end,
                        word_end + 1,
                        pick(["", punctuation * 2, pick(marks.replace(punctuation, ""), rng)], rng),
                    )
                )
            else:
                changes.append(Change(word_end, word_end, marks[0]))
        return sorted(changes)
