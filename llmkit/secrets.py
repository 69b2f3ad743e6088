"""Keeps keys and passwords out of everything that is written or printed."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from urllib.parse import unquote, unquote_plus, urlsplit, urlunsplit

_SECRET_VARIABLE = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)
_PATTERNS = (  # each starts with what a text is searched for quickly: megabytes of answers go through them
    (re.compile(r"(://)[^\s/\"'<>]+(?=@)"), r"\1***"),
    (re.compile(r"(?i)([?&](?:[\w.-]*(?:key|token|secret|password|auth|sig(?:nature)?))=)[^\s&#\"'<>\\]+"), r"\1***"),
    (re.compile(r"([Bb](?<!\w.)[Ee][Aa][Rr][Ee][Rr]\s+)[\w.~+/=-]{8,}"), r"\1***"),
    (re.compile(r"\b(?:sk|pk|rk|gsk|xai)-[\w-]{16,}|\bhf_[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}"), "***"),
)
_remembered: set[str] = set()


def remember(secret: str | None) -> None:
    """Have `scrub` remove this value from now on, wherever it stands."""
    if secret and len(secret) >= 4 and secret != "EMPTY":
        _remembered.add(secret)


def scrub(text: str) -> str:
    """`text` without remembered secrets, values of environment variables named like keys, or what looks like a key.

    >>> scrub("see https://me:pass@host/v1?api_key=abc&x=1")
    'see https://***@host/v1?api_key=***&x=1'
    """
    return scrubber()(text)


def scrubber() -> Callable[[str], str]:
    """`scrub` for many texts: it looks at the environment once, now."""
    named = {v for k, v in os.environ.items() if len(v) >= 8 and _SECRET_VARIABLE.search(k)}

    def clean(text: str) -> str:
        for secret in sorted(_remembered | named, key=len, reverse=True):
            text = text.replace(secret, "***")
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    return clean


def remember_address(url: str) -> None:
    """Have `scrub` remove what an address can carry a key in: user and password, and every value of its query.

    A value of fewer than 8 characters goes together with its name only (`code=abc`), as it may be a word of any text.
    """
    rest = url.partition("://")[2]
    user, _, password = rest.rpartition("@")[0].partition(":")
    if "/" not in user:  # else the @ stands in the path
        token = password or (user if len(user) >= 8 else "")  # a short name alone may be a word of any text
        remember(token)
        remember(unquote(token))
    for pair in rest.partition("?")[2].partition("#")[0].split("&"):
        name, _, value = pair.partition("=")
        for text in (value, unquote_plus(value)):
            if len(text) >= 4 and text.strip("*"):
                remember(text if len(text) >= 8 else f"{name}={text}")


def remember_addresses(text: str) -> None:
    """`remember_address` of all addresses in a text, such as a recipe with its comments."""
    for url in re.findall(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s\"'<>]+", text):
        remember_address(url.rstrip(".,;)]}"))


def public_url(url: str) -> str:
    """The address without user, password, query and fragment, which it remembers as secrets.

    >>> public_url("https://me:pass@host:8000/v1/?key=abc")
    'https://host:8000/v1'
    """
    remember_address(url)
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


class LogFilter(logging.Filter):
    """Scrubs log records, with their tracebacks: of a logger that is known to write addresses, or of a handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = scrub(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = record.exc_text and scrub(record.exc_text)
        return True


LOG_FILTER = LogFilter()
