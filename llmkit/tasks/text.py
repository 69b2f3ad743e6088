"""Texts as this room writes and compares them: the block of options, and when two texts are the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from string import ascii_uppercase as LABELS

__all__ = ["LABELS", "OPTIONS_BLOCK", "normalise", "render_options", "without_options", "wording"]

OPTIONS_BLOCK = re.compile(r"\s*Answer Choices:.*", re.DOTALL)

_NUMBER = re.compile(r"(\d+(?:[.,/:\-]\d+)*)")
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")


class _Dropped(dict[int, int | None]):
    """A `str.translate` table, filled as it is asked: no punctuation, space, control character or currency sign."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        kept = None if category[0] in "PZC" or category in ("Sc", "Sk", "So") else code
        self[code] = kept
        return kept


_DROPPED = _Dropped()


def normalise(text: str) -> str:
    """Returns what makes two texts the same question: letters, numbers and operators; no case, punctuation or space.

    >>> normalise("Tom has $1,200.50.  How much is left?") == normalise("tom has 1200.50 how much is left")
    True
    >>> normalise("1.5 or 15") == normalise("15 or 1.5")
    False
    """
    parts = _NUMBER.split(unicodedata.normalize("NFKC", text).casefold())
    parts[::2] = [part.translate(_DROPPED) for part in parts[::2]]
    parts[1::2] = [_THOUSANDS.sub("", part) for part in parts[1::2]]
    return "".join(parts)


def render_options(options: Sequence[str]) -> str:
    """Returns the block that ends the text of a choice question.

    >>> render_options(["bank", "mall"])
    '\\nAnswer Choices: (A) bank (B) mall'
    """
    labelled = zip(LABELS, options, strict=False)
    return "\nAnswer Choices: " + " ".join(f"({label}) {option}" for label, option in labelled)


def without_options(text: str) -> str:
    """Removes the block of options from a question."""
    return OPTIONS_BLOCK.sub("", text)


def wording(texts: Sequence[str], options: Sequence[str] = ()) -> str:
    """Returns the wordings of a question's parts as its one text, which ends with its options.

    >>> wording(["A question", "without a mark"])
    'A question\\n\\nwithout a mark'
    """
    text = "\n\n".join(text for text in texts if text.strip())
    block = render_options(options) if len(texts) > 1 and options else ""
    return text if text.endswith(block) else text + block
