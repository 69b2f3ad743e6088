"""Tells what a model thought from what it said."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"<(think|thinking)>(.*?)(?:</\1>|\Z)", re.DOTALL)
_CLOSE = re.compile(r"</think(?:ing)?>")
_OPEN_AT_END = re.compile(r"<think(?:ing)?>\s*\Z")


def opens_reasoning(prompt: str) -> bool:
    """Returns whether a rendered prompt ends inside a thinking block, as some chat templates do."""
    return bool(_OPEN_AT_END.search(prompt))


def split_reasoning(text: str, opened: bool = False) -> tuple[str, str]:
    """Returns the answer and the reasoning in a reply. An unclosed block is all reasoning; `opened` means the prompt
    began it.

    >>> split_reasoning("<think>2+2</think>\\n4")
    ('4', '2+2')
    >>> split_reasoning("so 2+2 is", opened=True)
    ('', 'so 2+2 is')
    """
    thoughts = []
    first = _BLOCK.search(text)
    close = _CLOSE.search(text)
    if close and (first is None or close.start() < first.start()):
        thoughts.append(text[: close.start()])
        text = text[close.end() :]
    elif opened and first is None:
        return "", text.strip()
    found = _BLOCK.findall(text)
    if not found and not thoughts:
        return text, ""
    thoughts += [thought for _, thought in found]
    return _BLOCK.sub("", text).strip(), "\n".join(t.strip() for t in thoughts)
