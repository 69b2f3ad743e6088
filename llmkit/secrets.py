"""Keeps keys and passwords out of everything that is written or printed."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Collection
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, unquote_plus, urlsplit, urlunsplit

from llmkit.resources import shipped

_SECRET_VARIABLE = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)
_SHORTEST = 8  # characters of a secret that is looked for in free text: anything shorter may be a word of any text
_WORD = re.compile(r"\w[\w.-]*")
# Each pattern starts with what a text is searched for quickly: megabytes of answers go through them.
_IN_ADDRESSES = (
    (re.compile(r"(://)[^\s/\"'<>]+(?=@)"), r"\1***"),
    (re.compile(r"(?i)([?&](?:[\w.-]*(?:key|token|secret|password|auth|sig(?:nature)?))=)[^\s&#\"'<>\\]+"), r"\1***"),
)
_KEY_SHAPED = (
    re.compile(r"\b(?:sk|pk|rk|gsk|xai)-[\w-]{16,}|\bhf_[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}"),
    "***",
)
_PATTERNS = (
    *_IN_ADDRESSES,
    # with a sign or a digit inside, which a bearer of words ("the bearer certificates") lacks
    (re.compile(r"([Bb](?<!\w.)[Ee][Aa][Rr][Ee][Rr]\s+)(?=[\w.~+/=-]*[\d._~+/=-]\w)[\w.~+/=-]{8,}"), r"\1***"),
    _KEY_SHAPED,
)
_carried: set[str] = set()
"""The keys that a header or an address of this process carries."""
_parameters: set[str] = set()
"""`name=value` of an address, where the value alone may be a word of any text."""


def remember(secret: str | None) -> None:
    """Makes `scrub` remove this value from now on: everywhere or, if it may be an ordinary word, after `Bearer` and
    `Basic` only."""
    if secret and secret != "EMPTY":
        _carried.add(secret)


def scrub(text: str) -> str:
    """Returns `text` without remembered secrets, values of environment variables named like keys, or what looks like a
    key.

    >>> scrub("see https://me:pass@host/v1?api_key=abc&x=1")
    'see https://***@host/v1?api_key=***&x=1'
    """
    return scrubber()(text)


def scrubber() -> Callable[[str], str]:
    """Returns `scrub` for many texts, which reads the environment only once."""
    variable_values = {value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name)}
    return _remover(_carried | variable_values, _carried, _PATTERNS)


def scrub_reply(text: str, asked: str) -> str:
    """Returns a server's reply without the keys that it was sent. Words of `asked`, the user's own text, stay.

    A server knows nothing of this process's environment, so its variables are no secrets here.
    """
    return _remover(_carried, _carried, (_KEY_SHAPED,))(text, asked)


def value_scrubber() -> Callable[[str], str]:
    """Returns a `scrubber` for the values of a file. A value that is a secret as a whole stays, because it is a setting
    or a name: a secret only occurs inside a sentence."""
    scrub_text = scrubber()

    def scrub_value(value: str) -> str:
        scrubbed = scrub_text(value)
        return value if scrubbed == "***" and not _KEY_SHAPED[0].search(value) else scrubbed

    return scrub_value


def scrub_values(value: Any, keep: Collection[str] = ()) -> Any:
    """Scrubs every text in JSON values, as `value_scrubber` does. Keys stay, and the values of those in `keep`."""
    scrub_text = value_scrubber()

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return scrub_text(value)
        if isinstance(value, dict):
            return {key: inner_value if key in keep else walk(inner_value) for key, inner_value in value.items()}
        if isinstance(value, list | tuple):
            return [walk(inner_value) for inner_value in value]
        return value

    return walk(value)


class _Remover(Protocol):
    """Removes secrets from a text, except those that `keep`, another text, contains too."""

    def __call__(self, text: str, keep: str = "") -> str: ...


def _remover(
    anywhere: set[str], carried_secrets: set[str], patterns: Collection[tuple[re.Pattern[str], str]]
) -> _Remover:
    """Returns the function that removes these secrets and whatever the patterns match."""
    plain_secrets = sorted(
        (secret for secret in anywhere if len(secret) >= _SHORTEST and not _is_ordinary(secret)), key=len, reverse=True
    )
    ordinary_pattern = "|".join(sorted(map(re.escape, carried_secrets - set(plain_secrets)), key=len, reverse=True))
    prefixed_patterns = (
        [(re.compile(rf"\b((?i:bearer|basic)\s+)(?:{ordinary_pattern})(?![\w-])"), r"\1***")]
        if ordinary_pattern
        else []
    )
    parameter_pattern = "|".join(sorted(map(re.escape, _parameters), key=len, reverse=True))
    prefixed_patterns += (
        [(re.compile(rf"([?&])(?:{parameter_pattern})(?![^&#\s\"'<>])"), r"\1***")] if parameter_pattern else []
    )

    def clean(text: str, keep: str = "") -> str:
        for secret in plain_secrets:
            if secret not in keep:
                text = text.replace(secret, "***")
        for pattern, replacement in (*prefixed_patterns, *patterns):
            text = pattern.sub(partial(_replaced, keep=keep, replacement=replacement), text)
        return text

    return clean


def _replaced(match: re.Match[str], keep: str, replacement: str) -> str:
    return match[0] if match[0] in keep else match.expand(replacement)


@cache
def _is_ordinary(value: str) -> bool:
    """Returns whether llmkit itself writes this word: a key of a recipe or a journal, the name of an arm, a task, a
    model."""
    return bool(_WORD.fullmatch(value)) and value in _own_words()


@cache
def _own_words() -> frozenset[str]:
    """Collects every word of llmkit's code, prompts and recipes, which contain whatever it writes by itself."""
    files = [*Path(__file__).parent.rglob("*.py")]
    files += [*shipped("prompts").rglob("*.md"), *shipped("recipes").rglob("*.yaml")]
    return frozenset(word.strip(".-") for file in files for word in _WORD.findall(file.read_text(encoding="utf-8")))


def remember_address(address: str) -> None:
    """Makes `scrub` remove the parts of an address that can carry a key: user and password, and every value of its
    query."""
    after_scheme = address.partition("://")[2]
    user, _, password = after_scheme.rpartition("@")[0].partition(":")
    if "/" not in user:  # else the @ belongs to the path
        # A short name alone may be a word of any text
        credential = password or (user if len(user) >= _SHORTEST else "")
        remember(credential)
        remember(unquote(credential))
    for pair in after_scheme.partition("?")[2].partition("#")[0].split("&"):
        _, _, value = pair.partition("=")
        for text in (value, unquote_plus(value)):
            if len(text) >= 4 and text.strip("*"):
                _parameters.add(pair)
                if len(text) >= _SHORTEST:
                    remember(text)


def remember_addresses(text: str) -> None:
    """Calls `remember_address` for all addresses in a text, such as a recipe with its comments."""
    for url in re.findall(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s\"'<>]+", text):
        remember_address(url.rstrip(".,;)]}"))


def public_url(address: str) -> str:
    """Returns the address without user, password, query and fragment, and remembers these as secrets.

    >>> public_url("https://me:pass@host:8000/v1/?key=abc")
    'https://host:8000/v1'
    """
    remember_address(address)
    parts = urlsplit(address)
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
