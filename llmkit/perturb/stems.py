"""The boundary between a question and its answer options, in a clean text and in a noisy rewriting of it."""

from __future__ import annotations

import re

from rapidfuzz import fuzz

_ALIKE = 60  # per cent: a line with typing errors is above it, another sentence is far below

_OPTIONS = re.compile(
    r"\s*(?:"
    r"\b(?:Answer\s+)?(?:Choices|Options)\s*:.*"
    r"|(?<!\w)\(A\)\s.*?\(B\)\s.*"
    r"|^[ \t]*\(?A[).:][ \t].*?^[ \t]*\(?B[).:][ \t].*"
    r")\Z",
    re.DOTALL | re.MULTILINE,
)
# The same block where noise has fallen on it: "Asnwer Chioces: (А) oevn (Β) shlef", with labels of any script.
_NOISY_OPTIONS = re.compile(r"\s*(?:(?<!\S)\S+\s+)?\S*[:﹕：]\s*\(\s*\S{1,2}\s*\)\s.*\Z", re.DOTALL)
_LAST_LINE = re.compile(r"(.*\S)[ \t]*\n\s*(\S[^\n]*?)\s*\Z", re.DOTALL)


def stem(text: str) -> str:
    """Returns the question without the options after it and the space before them.

    >>> stem("Where is milk kept?\\nAnswer Choices: (A) oven (B) shelf")
    'Where is milk kept?'
    """
    return _without(_OPTIONS, text)


def noisy_stem(text: str) -> str:
    """Does what `stem` does for a text whose options are noisy, too.

    >>> noisy_stem("Wehre is mlik kept? Asnwer Chioces: (А) oevn (Β) shlef")
    'Wehre is mlik kept?'
    """
    return min(stem(text), _without(_NOISY_OPTIONS, text), key=len)


def without_last_line(text: str) -> tuple[str, str] | None:
    """Splits off the last line: the text above it, and the line. None if there is only one line.

    >>> without_last_line("In the end Ann has the \\nWhich choice is true ?")
    ('In the end Ann has the', 'Which choice is true ?')
    """
    match = _LAST_LINE.fullmatch(text)
    return (match[1], match[2]) if match else None


def without_noisy_line(text: str, line: str) -> str:
    """Removes a last line that noise made of `line`: about as long, or spelt much like it.

    >>> without_noisy_line("At teh end Ann has teh \\nWihch chioce is ture?", "Which choice is true ?")
    'At teh end Ann has teh'
    """
    line_words = line.split()
    if (text_and_line := without_last_line(text)) and len(text_and_line[1].split()) <= len(line_words) + 2:
        return text_and_line[0]
    for count in (len(line_words), len(line_words) - 1):  # on one line with the rest; "true?" may have become one word
        text_before, text_end = _end(text, count)
        if text_before and fuzz.ratio(text_end, line) >= _ALIKE:
            return text_before
    return text


def _end(text: str, word_count: int) -> tuple[str, str]:
    """Splits off the last `word_count` words. Returns the text before them, and them."""
    word_starts = [match.start() for match in re.finditer(r"\S+", text)]
    end_start = word_starts[-word_count] if 0 < word_count <= len(word_starts) else 0
    return text[:end_start].rstrip(), text[end_start:]


def _without(block_pattern: re.Pattern[str], text: str) -> str:
    block_match = block_pattern.search(text)
    return text[: block_match.start()] if block_match else text
