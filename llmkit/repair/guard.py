"""The guard of every correction: the parts of a text that no corrector may change."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from rapidfuzz.distance import Levenshtein

from llmkit.perturb.numerals import numbers
from llmkit.perturb.protection import PROTECT, RELEASE, Protection, Span, merged
from llmkit.perturb.text import Change, Source, apply

QUOTES = "quotes"
_QUOTED = re.compile(r'"[^"\n]{1,400}"|\u201c[^\u201c\u201d\n]{1,400}\u201d|\u00ab[^\u00ab\u00bb\n]{1,400}\u00bb')
_TOKEN = re.compile(r"\w+(?:['\u2019]\w+)*|\s+|[^\w\s]")


def quoted(text: str) -> Iterator[Span]:
    """Finds spans in double quotation marks: somebody else's words, or a name.

    >>> [text[a:b] for text in ['Spell "recieve" right'] for a, b in quoted(text)]
    ['"recieve"']
    """
    return (match.span() for match in _QUOTED.finditer(text))


def kept_changes(text: str, proposed: str, options: Sequence[str] = (), released: Collection[str] = ()) -> list[Change]:
    """Returns the changes of `text` towards `proposed` that touch nothing protected and neither lose nor add a number.

    Changes are of whole words. `released` are kinds of protected text that may change: of `RELEASE`, and "quotes".

    >>> kept_changes("He boght 3 pens", "He bought 4 pens")
    [Change(start=3, end=8, new='bought')]
    """
    protection = Protection(PROTECT, [name for name in released if name in RELEASE])
    spans = protection.spans(text, options)
    if QUOTES not in released:
        spans = merged([*spans, *quoted(text)])
    source = Source(text, spans, protection.numbers, protection.number_words)
    changes = [change for change in changes_between(text, proposed) if source.free(change.start, change.end)]
    if protection.numbers:
        words = protection.number_words
        changes = [c for c in changes if numbers(text[c.start : c.end], words) == numbers(c.new, words)]
        # Words that join or part around a figure can still make another number of it.
        if changes and numbers(apply(text, changes)[0], words) != numbers(text, words):
            return []
    return changes


def changes_between(text: str, proposed: str) -> list[Change]:
    """Returns the shortest list of changes of whole words, spaces and marks that turns `text` into `proposed`."""
    old, new = list(_TOKEN.finditer(text)), list(_TOKEN.finditer(proposed))
    changes = []
    for step in Levenshtein.opcodes([t.group() for t in old], [t.group() for t in new]):
        if step.tag == "equal":
            continue
        first, last, new_first, new_last = step.src_start, step.src_end, step.dest_start, step.dest_end
        start = old[first].start() if first < len(old) else len(text)
        end = old[last - 1].end() if last > first else start
        new_part = proposed[new[new_first].start() : new[new_last - 1].end()] if new_last > new_first else ""
        changes.append(Change(start, end, new_part))
    return _joined(changes)


def _joined(changes: Sequence[Change]) -> list[Change]:
    """Makes one change of those that touch."""
    joined: list[Change] = []
    for change in changes:
        if joined and joined[-1].end == change.start:
            joined[-1] = Change(joined[-1].start, change.end, joined[-1].new + change.new)
        else:
            joined.append(change)
    return joined
