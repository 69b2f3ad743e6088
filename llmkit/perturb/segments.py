"""Words of languages that put no spaces between them: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from functools import cache

from llmkit.extras import installed
from llmkit.perturb.graphemes import clusters, marks
from llmkit.perturb.numerals import is_numeral
from llmkit.perturb.wordbook import package_file

_MODELS = {"zh": "zh-hans.json", "ja": "ja_word.json", "th": "th.json"}
_BLOCKS = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNMARKED = re.compile(r"\S+")


def words(text: str, code: str) -> Iterator[tuple[int, str]]:
    """Yields the words of a text with their offsets: runs of letters as the segmenter parts them, numbers, other words
    as they are spaced, and single signs.

    >>> [word for _, word in words("小明有二百四十个苹果", "zh")]
    ['小明', '有', '二百四十', '个', '苹果']
    """
    split_run, piece = segmenter(code), _piece()
    for spaced in _UNMARKED.finditer(text):
        for match in piece.finditer(text, *spaced.span()):
            if match.lastgroup != "run":
                yield match.start(), match.group()
                continue
            offset = match.start()
            for segment in split_run(match.group()):
                for part in _without_numerals(segment):
                    yield offset, part
                    offset += len(part)


@cache
def segmenter(code: str) -> Callable[[str], list[str]]:
    """Returns the function that parts a run of letters into words: a model that `budoux` carries. Without one, which is
    said once, a Chinese or Japanese character is a word, and in other languages a run without a space is."""
    if code in _MODELS and installed("budoux"):
        from budoux import Parser

        model = json.loads(package_file("budoux", "models", _MODELS[code]).read_text(encoding="utf-8"))
        parse: Callable[[str], list[str]] = Parser(model).parse
        return parse
    by_character = code in ("zh", "ja")
    what = "each character" if by_character else "each run without a space"
    hint = 'pip install "llmkit-robust[lang]"' if code in _MODELS else "no package that llmkit knows parts it"
    logging.getLogger(__name__).warning("%s: %s counts as a word, without a segmenter: %s", code, what, hint)
    return clusters if by_character else lambda run: [run]


def _without_numerals(segment: str) -> list[str]:
    """Parts a segment where a numeral begins or ends."""
    if not any(map(is_numeral, segment)):
        return [segment]
    parts: list[str] = []
    was_numeral = None
    for character in segment:
        if is_numeral(character) is was_numeral:
            parts[-1] += character
        else:
            parts.append(character)
        was_numeral = is_numeral(character)
    return parts


@cache
def _piece() -> re.Pattern[str]:
    letter = rf"(?:(?!\d)[{_BLOCKS}])"
    return re.compile(
        rf"(?P<run>{letter}[{marks()}]*(?:{letter}[{marks()}]*)*)|\d+(?:[.,:/]\d+)*|(?:[^\W\d]|[{marks()}])+|\S"
    )
