"""The one way to a person's terminal: what a text, a reply or a file name says never gets there as a control sequence.

While a command runs, `guarded` wraps stdout and stderr, so everything that is printed, logged or raised passes through
`visible`. Only a `console`, a `bar` and `write_coloured` reach the stream behind it,
because their own colours and cursor movements are control sequences too; they make each text visible first.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

# C0 without tab and newline, DEL, C1 (some terminals take U+009B for ESC [), what reorders a line (Bidi_Control of
# Unicode), and the two separators that end a line for some programs and not for others.
_OTHERS = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_UNSAFE = re.compile(rf"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f{_OTHERS}]")
_UNSAFE_IN_JSON = re.compile(f"[{_OTHERS}]")  # a JSON encoder has escaped C0


def visible(text: str) -> str:
    r"""Escapes each character that commands a terminal or reorders a line. Tabs and newlines stay.

    >>> print(visible("\x1b]0;title\x07 \x9b2J \u202e"))
    \x1b]0;title\x07 \x9b2J \u202e
    """
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code_point = ord(match[0])
    return f"\\x{code_point:02x}" if code_point < 256 else f"\\u{code_point:04x}"


def literal(text: str) -> str:
    """Makes `text` visible and escapes what looks like Rich's markup."""
    from rich.markup import escape

    return escape(visible(text))


def json_text(value: Any, indent: int | None = None) -> str:
    r"""Writes JSON that is safe to print and reads back as the same value. Strict: no NaN.

    >>> print(json_text(["\x9b2J", "größer"]))
    ["\u009b2J", "größer"]
    """
    return escape_json(json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=str))


def escape_json(text: str) -> str:
    """Escapes in JSON text what `visible` escapes, as `\\uXXXX`, which means the same."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


@contextmanager
def guarded() -> Iterator[None]:
    """Makes all text visible that is written to sys.stdout and sys.stderr inside the block."""
    original_streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_guard, original_streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = original_streams


def write_coloured(text: str, stream: Any) -> None:
    """Writes a line that holds llmkit's own colours. Whatever else is in it has to be `visible` already."""
    print(text, file=_behind(stream), flush=True)


def console(piped_width: int = 500, *, stderr: bool = False, markup: bool = True) -> Console:
    """Creates a Rich console on stdout or stderr, `piped_width` columns wide if that is a file or a pipe."""
    from rich.console import Console
    from rich.segment import Segment

    class Visible(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                if segment.control:
                    yield segment
                else:  # a link is a control sequence (OSC 8) around an address that a text chose
                    style = segment.style.update_link(None) if segment.style and segment.style.link else segment.style
                    yield Segment(visible(segment.text), style)

    raw_stream = _behind(sys.stderr if stderr else sys.stdout)
    width = None if raw_stream.isatty() else piped_width
    return Visible(file=raw_stream, width=width, markup=markup, emoji=False, highlight=False)


def bar(*columns: ProgressColumn, refresh_per_second: int) -> Progress:
    """Starts a progress bar on stderr."""
    from rich.progress import Progress

    progress = Progress(*columns, console=console(stderr=True), refresh_per_second=refresh_per_second)
    progress.start()
    # Rich now prints above the bar what is written meanwhile, and keeps the colours and links that it finds there.
    sys.stdout, sys.stderr = _guard(sys.stdout), _guard(sys.stderr)
    return progress


class _Guarded:
    """A text stream that makes visible what is written; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self.behind = stream

    def write(self, text: str) -> int:
        self.behind.write(visible(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


def _guard(stream: Any) -> Any:
    return stream if isinstance(stream, _Guarded) else _Guarded(stream)


def _behind(stream: Any) -> Any:
    return stream.behind if isinstance(stream, _Guarded) else stream
