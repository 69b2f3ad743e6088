"""From a corrector's reply to a question that can be asked (arXiv 2506.03627, 3.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    from llmkit.types import Reply

_FENCE = re.compile(r"^\s*(?:```\w*|---+)\s*$", re.MULTILINE)
_PREAMBLE = re.compile(
    r"^\s*(?:(?:sure|certainly|of course|okay|here)\b[^\n:]{0,120}:|(?:the\s+)?(?:corrected|revised|restored|output)?"
    r"\s*(?:text|question|sentence|version|output)?\s*(?:is|reads)?\s*:)\s*",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"^\W*(?:i(?:['\u2019]?m| am) (?:sorry|unable)|sorry,|i can(?:not|['\u2019]?t)|as an ai)\b",
    re.IGNORECASE,
)


def read_correction(reply: Reply, asked: str) -> tuple[str, str | None]:
    """Returns the question to ask next, and the reason if the correction is not used: "empty", "cut" or "refused".

    A dropped options block comes back from the text that was asked, never from the clean question: that would leak.
    """
    from llmkit.tasks.text import OPTIONS_BLOCK  # its room is large, and a repair without a model needs none of it

    if reply.finish_reason == "length":
        return asked, "cut"
    if refuses(reply.text):
        return asked, "refused"
    question = _stem(OPTIONS_BLOCK.sub("", _FENCE.sub("", reply.text)))
    if not question:
        return asked, "empty"
    asked_options, corrected_options = OPTIONS_BLOCK.search(asked), OPTIONS_BLOCK.search(reply.text)
    if asked_options is None:
        return question, None
    same_labels = corrected_options and _labels(corrected_options.group(0)) == _labels(asked_options.group(0))
    options_block = corrected_options if same_labels and corrected_options else asked_options
    return f"{question}\n{options_block.group(0).strip()}", None


def no_correction(asked: str, proposed: str) -> str | None:
    """Returns the reason why a text can be no correction of the one asked, or None.

    "explained" where it has a quarter more letters than the text, "answered" where it has less than a third of them, or
    where two fifths of its own are not those of the text, in whatever order its words come. What it leaves out
    does not count: a sentence may have no place in the text.
    """
    words, new_words = asked.casefold().split(), proposed.casefold().split()
    length, new_length = sum(map(len, words)), sum(map(len, new_words))
    if new_length > length + max(20, length // 4):
        return "explained"
    most = max(4, 2 * new_length // 5) + max(0, length - new_length)
    if new_length < length // 3 or (_apart(words, new_words, most) and _apart(sorted(words), sorted(new_words), most)):
        return "answered"
    return None


def _apart(words: Sequence[str], new_words: Sequence[str], most: int) -> bool:
    """Returns whether more than `most` letters differ."""
    return Levenshtein.distance("".join(words), "".join(new_words), score_cutoff=most) > most


def refuses(text: str) -> bool:
    """Returns whether a reply opens with a refusal or an apology."""
    return _REFUSAL.match(text) is not None


def _labels(options: str) -> list[str]:
    return re.findall(r"\(([A-Z])\)", options)


def _stem(text: str) -> str:
    """Returns the corrected question without preamble, quotation marks and line breaks."""
    without_preamble = _PREAMBLE.sub("", text, count=1)
    text = " ".join((without_preamble if without_preamble.strip() else text).split())
    if len(text) > 1 and (text[0], text[-1]) in {('"', '"'), ("\u201c", "\u201d"), ("'", "'")}:
        text = text[1:-1].strip()
    return text
