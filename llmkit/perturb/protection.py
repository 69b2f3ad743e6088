"""The parts of a text that noise never touches: options, code, formulas, addresses, placeholders, the user's patterns.

Every search here takes time that is linear in the text: a question may hold 100 kB without a space, or nothing but
opening brackets. So opening and closing marks are paired in one pass, and no pattern can begin twice in one run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from llmkit.errors import UsageError
from llmkit.registry import unknown

Span = tuple[int, int]

_HEADER = re.compile(r"(?:Answer Choices|Answer Options|Choices|Options)\s*:")
# (A), A), [A], A., A:, the same with small letters, figures or small Roman numerals; at a line's head or inside a line.
_LABEL = re.compile(
    r"(?:^(?P<line>[ \t]*(?:[-*•][ \t]+)?)|(?<=[\s,;|:?!.]))(?:\*\*)?"
    r"(?P<open>[(\[]?)(?P<label>i{1,3}|iv|vi{0,3}|ix|[A-Za-z]|\d{1,2})(?P<close>[)\]]|[.:](?=\s|\*\*))",
    re.MULTILINE,
)
_FIRST_LABEL = re.compile(r"[)\].:](?<=[Aa1i\x80-\U0010ffff].)(?<![A-Za-z]..)")  # without one there are no options
_ROMAN = {name: i for i, name in enumerate(["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"], 1)}
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_LAST_QUESTION = re.compile(r"(?<=[.!?])\s++(?=[^.!?]*\?\s*\Z)")


def option_blocks(text: str) -> Iterator[Span]:
    """Finds answer options as one block, from the first label to the end of the last option.

    Labels count only in order (A and B, 1 and 2), so that a lone "A." or "(1)" protects nothing.
    """
    if ":" in text and ("hoices" in text or "ptions" in text) and (header := _HEADER.search(text)):
        yield header.start(), len(text)
    if not _FIRST_LABEL.search(text):
        return
    paragraph = _Paragraph()
    runs_by_style: dict[tuple[str, str, str], list[re.Match[str]]] = {}
    for match in _LABEL.finditer(text):
        for kind, ordinal in _ordinals(match["label"]):
            style = (kind, match["open"], match["close"])
            run = runs_by_style.get(style, [])
            if run and ordinal == len(run) + 1 and _neighbours(text, run[-1], match):
                run.append(match)
            elif ordinal in (1, len(run) + 1):
                yield from _block(text, kind, runs_by_style.pop(style, []), paragraph)
                if ordinal == 1:
                    runs_by_style[style] = [match]
    for style, run in runs_by_style.items():
        yield from _block(text, style[0], run, paragraph)


def begin_options(text: str, offset: int) -> bool:
    """Returns whether a label or a heading of options begins at this offset."""
    return bool(_HEADER.match(text, offset) or _LABEL.match(text, offset))


def _ordinals(label: str) -> Iterator[tuple[str, int]]:
    """Yields what a label may be, and its place in the order: "i" is the first Roman numeral or the ninth letter."""
    if label.isdigit():
        yield "figure", int(label)
        return
    if label in _ROMAN:
        yield "roman", _ROMAN[label]
    if len(label) == 1:
        yield ("upper" if label.isupper() else "lower"), ord(label.lower()) - ord("a") + 1


def _neighbours(text: str, before: re.Match[str], after: re.Match[str]) -> bool:
    """Returns whether no paragraph lies between two options; blank lines right before a label at a line's head are
    layout."""
    text_between = text[before.end() : after.start()]
    return not _BLANK_LINE.search(text_between if after["line"] is None else text_between.rstrip())


class _Paragraph:
    """The end of the paragraph read last, and the start of its last sentence if that one asks."""

    end = -1
    question = -1


def _block(text: str, label_kind: str, labels: Sequence[re.Match[str]], paragraph: _Paragraph) -> Iterator[Span]:
    # "A. B. Jones" is a name and "1. 2. 3." are often steps: without brackets more is needed to call them options.
    bracketed = bool(labels) and labels[0]["close"] in ")]"
    if len(labels) < (2 if bracketed or all(label["line"] is not None for label in labels) else 3):
        return
    first_label, last_label = labels[0], labels[-1]
    block_start = first_label.start() if first_label["line"] is None else first_label.end("line")
    if label_kind == "figure" and not bracketed and text.find("?", 0, block_start) < 0:
        return
    if last_label["line"] is not None:
        line_end = text.find("\n", last_label.end())
        yield block_start, line_end if line_end >= 0 else len(text)
        return
    if last_label.end() > paragraph.end:
        blank_line = _BLANK_LINE.search(text, last_label.end())
        paragraph.end = blank_line.start() if blank_line else len(text)
        question = _LAST_QUESTION.search(text, last_label.end(), paragraph.end)
        paragraph.question = question.start() if question else paragraph.end
    yield block_start, paragraph.question if last_label.end() <= paragraph.question else paragraph.end


_CODE = re.compile(
    r"```.*?(?:```|\Z)|^[ \t]*~~~.*?(?:^[ \t]*~~~|\Z)|``[^`\n]++(?:`[^`\n]++)*+``|`[^`\n]+`", re.DOTALL | re.MULTILINE
)


def code(text: str) -> Iterator[Span]:
    """Finds fenced and quoted code, and lines indented by four spaces or a tab after a blank line, a colon or a
    question."""
    if "`" in text or "~" in text:
        yield from _found(_CODE, text)
    if "\n" in text and ("\n    " in text or "\n\t" in text):
        yield from _indented(text)


def _indented(text: str) -> Iterator[Span]:
    lines = text.splitlines(keepends=True)
    if all(line.isspace() or line[0].isspace() for line in lines):
        return  # the whole text is set in: that is layout
    line_start, line_before, block_start, block_end = 0, "", None, 0
    for line in lines:
        if line.startswith(("    ", "\t")) and not line.isspace():
            if (
                block_start is None
                and line_start
                and (line_before.isspace() or line_before.rstrip().endswith((":", "?")))
            ):
                block_start = line_start
            block_end = line_start + len(line.rstrip())
        elif not line.isspace():
            if block_start is not None:
                yield block_start, block_end
            block_start = None
        line_before, line_start = line, line_start + len(line)
    if block_start is not None:
        yield block_start, block_end


_TEX = re.compile(
    r"\\[()\[\]]|\\(?P<edge>begin|end)\{(?P<name>[^{}]*)\}"
    r"|\\(?P<side>left|right)(?![A-Za-z])\s*(?:\\[A-Za-z]+|\\?[^\sA-Za-z\\])?|\\[A-Za-z]+\*?|[{}]"
)
_TEX_OPTION = re.compile(r"\[[^\[\]\n]{0,80}\]")
_SCRIPT = re.compile(r"[_^](?:[A-Za-z0-9]|\\[A-Za-z]+)")
_MATH_SIGN = re.compile(r"[\\^_{}=+*<>/-]")
# What must not come before a sign is looked for behind it: only a pattern that begins with a sign finds it quickly.
_DOLLAR = re.compile(r"\$(?<!\\.)")
_DOUBLE_DOLLAR = re.compile(r"\$(?<!\\.)\$")
_SIGN_OR_LETTER = re.compile(r"[A-Za-z]|.*[\\^_{}=+*<>/-]")


def formulas(text: str) -> Iterator[Span]:
    r"""Finds LaTeX: $...$, $$...$$, \(...\), \[...\], \left...\right, environments, commands with all their
    arguments."""
    if text.count("$") > 1:
        yield from _dollars(text)
    if "\\" not in text:
        return
    closing_braces: dict[int, int] = {}  # where the brace that was opened at this offset is closed
    open_braces: list[int] = []
    open_brackets: dict[str, int] = {}
    open_environments: list[tuple[str, int]] = []
    open_names: Counter[str] = Counter()
    open_lefts: list[int] = []
    commands: list[Span] = []
    for match in _TEX.finditer(text):
        token = match.group()
        if token == "{":
            open_braces.append(match.start())
        elif token == "}":
            if open_braces:
                closing_braces[open_braces.pop()] = match.start()
        elif token in (r"\(", r"\["):
            open_brackets.setdefault(token, match.start())
        elif token in (r"\)", r"\]"):
            start = open_brackets.pop(r"\(" if token == r"\)" else r"\[", None)
            if start is not None:
                yield start, match.end()
        elif match["side"] == "left":
            open_lefts.append(match.start())
            commands.append(match.span())
        elif match["side"]:
            yield (open_lefts.pop() if open_lefts else match.start()), match.end()
        elif match["edge"] == "begin":
            open_environments.append((match["name"], match.start()))
            open_names[match["name"]] += 1
            commands.append(match.span())
        elif match["edge"]:
            start = match.start()
            while open_names[match["name"]] and open_environments:
                name, start = open_environments.pop()
                open_names[name] -= 1
                if name == match["name"]:
                    break
            yield start, match.end()
        else:
            commands.append(match.span())
    for start, end in commands:
        yield start, _arguments(text, end, closing_braces)


def _arguments(text: str, command_end: int, closing: dict[int, int]) -> int:
    """Finds the end of the arguments and scripts of a command that itself ends at `command_end`."""
    while command_end < len(text):
        opening = command_end + (text[command_end] in "_^")
        if text[opening : opening + 1] == "{" and opening in closing:
            command_end = closing[opening] + 1
        elif match := _TEX_OPTION.match(text, command_end) or _SCRIPT.match(text, command_end):
            command_end = match.end()
        else:
            break
    return command_end


def _dollars(text: str) -> Iterator[Span]:
    double_signs = [match.start() for match in _DOUBLE_DOLLAR.finditer(text)]
    display_spans = list(zip(double_signs[::2], double_signs[1::2], strict=False))
    yield from ((opening, closing + 2) for opening, closing in display_spans)
    spans_ahead = iter([*display_spans, (len(text), len(text))])
    start, end = next(spans_ahead)
    single_signs = []
    for match in _DOLLAR.finditer(text):
        while match.start() > end + 1:
            start, end = next(spans_ahead)
        if match.start() < start:
            single_signs.append(match.start())
    i = 0
    while i + 1 < len(single_signs):
        if _is_formula(text, single_signs[i], single_signs[i + 1]):
            yield single_signs[i], single_signs[i + 1] + 1
            i += 1
        i += 1


def _is_formula(text: str, opening: int, closing: int) -> bool:
    """Returns whether two dollar signs enclose a formula, instead of each preceding a price."""
    content = text[opening + 1 : closing]
    if not content.strip() or "\n" in content or content[0].isspace() != content[-1].isspace():
        return False
    if content[0].isspace():
        return bool(_MATH_SIGN.search(content)) and not text[closing + 1 : closing + 5].lstrip()[:1].isdigit()
    return bool(_SIGN_OR_LETTER.match(content)) and not text[closing + 1 : closing + 2].isdigit()


_ENDING = r"\.(?:[a-z][a-z0-9]{1,9}|[A-Z][A-Z0-9]{1,9}|(?<=\w\w\.)[chrR])(?![\w-])"
_ADDRESS = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*+://\S+|(?<!\w)www\.\S+"
    r"|(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+"
)
# Domains and file names without anything that announces them, and paths; ASCII, because not all scripts space words.
_NAME = re.compile(
    rf"(?<![\w.@/\\-])\w[\w/\\-]*+(?:\.[\w/\\-]++)*{_ENDING}(?::\d+)?(?:/(?:\S*[\w/])?)?"
    r"|(?<![\w/\\:.~])(?:~|\.{1,2}|[A-Za-z]:)?[/\\][\w.+/\\-]*\w",
    re.ASCII,
)


_ENDING_BEGINS = re.compile(r"\.[A-Za-z]")  # without one of these two there can be none
_PATH_BEGINS = re.compile(r"[/\\](?<!\w.)", re.ASCII)


def addresses(text: str) -> Iterator[Span]:
    """Finds URLs, e-mail addresses, bare domains, file names, paths."""
    if "://" in text or "www." in text or "@" in text:
        yield from _found(_ADDRESS, text)
    if _ENDING_BEGINS.search(text) or (("/" in text or "\\" in text) and _PATH_BEGINS.search(text)):
        yield from _found(_NAME, text)


_PLACEHOLDER = re.compile(
    r"\{[^{}\n]*\}|<[A-Za-z_/!][^<>\n]*>|\[[^\W\d][\w .'-]{0,40}\]|%\([^()\s]*\)[a-z]|%[sdif]\b"
    r"|:(?<![\w:].)[A-Za-z0-9_+-]+:(?![\w:])"
)


def placeholders(text: str) -> Iterator[Span]:
    """Finds template variables and tags, [names in brackets], and emoji by :name:."""
    for opening, closing in (("{{", "}}"), ("{%", "%}")) if "{" in text else ():
        opening_at = text.find(opening)
        while opening_at >= 0 and (closing_at := text.find(closing, opening_at)) >= 0:
            yield opening_at, closing_at + 2
            opening_at = text.find(opening, closing_at + 2)
    if "{" in text or "<" in text or "[" in text or "%" in text or ":" in text:
        yield from _found(_PLACEHOLDER, text)


def _found(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    return (match.span() for match in pattern.finditer(text))


_KINDS: dict[str, Callable[[str], Iterator[Span]]] = {
    "options": option_blocks,
    "code": code,
    "latex": formulas,
    "urls": addresses,
    "placeholders": placeholders,
}
PROTECT = ("numbers", *_KINDS)
RELEASE = ("number_words", *PROTECT)
"""The kinds that can be released: "number_words" leaves the figures protected, "numbers" neither."""


class Protection:
    """Spans that must survive byte for byte: kinds from `PROTECT`, and regular expressions of the user's own, except
    for those that `release` names.

    >>> Protection(["numbers", "latex"]).spans("Solve $x^2$ for $5.")
    [(6, 11)]
    """

    def __init__(self, names: Iterable[str] = PROTECT, release: Iterable[str] = ()) -> None:
        self.names, self.release = tuple(names), tuple(release)
        for name in self.release:
            if name not in RELEASE:
                raise unknown("kind of protected text", name, RELEASE)
        kept_names = [name for name in self.names if name not in self.release]
        self.numbers = "numbers" in kept_names
        self.number_words = self.numbers and "number_words" not in self.release
        self._kinds = [_KINDS[kept_name] for kept_name in kept_names if kept_name in _KINDS]
        self._own = [_user_pattern(kept_name) for kept_name in kept_names if kept_name not in PROTECT]
        self._options = "options" in kept_names

    def spans(self, text: str, options: Sequence[str] = ()) -> list[Span]:
        """Returns the protected spans of `text`, sorted and merged, without numbers: words with digits are never
        eligible."""
        protected_spans = [span for find_spans in self._kinds for span in find_spans(text)]
        protected_spans += [match.span() for pattern in self._own for match in pattern.finditer(text) if match.group()]
        if self._options:
            for option in filter(str.strip, options):
                protected_spans += [match.span() for match in re.finditer(rf"(?<!\w){re.escape(option)}(?!\w)", text)]
        return merged(protected_spans) if protected_spans else protected_spans


def _user_pattern(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        known_kinds = ", ".join(PROTECT)
        raise UsageError(
            f"`{pattern}` is not a regular expression: {error}", f"protect takes {known_kinds}, or a regex"
        ) from None


def merged(spans: Iterable[Span]) -> list[Span]:
    """Sorts spans; those that overlap or touch become one."""
    merged_spans: list[Span] = []
    for start, end in sorted(spans):
        if merged_spans and start <= merged_spans[-1][1]:
            merged_spans[-1] = (merged_spans[-1][0], max(end, merged_spans[-1][1]))
        else:
            merged_spans.append((start, end))
    return merged_spans
