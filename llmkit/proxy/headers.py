"""Header fields on their way through the proxy (RFC 9110, 7.6): what is for one connection only stays behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Headers = Sequence[tuple[bytes, bytes]]

OWN = b"x-llmkit-"
"""Fields that the proxy itself reads and writes."""

SWITCH = b"x-llmkit-repair"
"""Says what was done to a request; `off` in a request switches the repair off."""

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade".split()
)
_REWRITTEN = frozenset({b"host", b"expect"})  # of a request: the next hop has its own
_KEYS = frozenset(b"authorization api-key x-api-key openai-organization openai-project".split())


def value(headers: Headers, name: bytes) -> bytes | None:
    """Returns the first value of a field whose name is given in small letters."""
    return next((value for field, value in headers if field.lower() == name), None)


def _forwarded(headers: Headers, without: Iterable[bytes] = ()) -> list[tuple[bytes, bytes]]:
    """Returns the fields that go on: none of one connection only, nor what `Connection` names."""
    named = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    dropped = _HOP_BY_HOP | named | set(without)
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def keys(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Returns the fields by which a server knows who asks."""
    return [(name, value) for name, value in headers if name.lower() in _KEYS]


def of_answer(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Returns the fields of an answer to the client. The proxy's own say what this proxy did, and no other server."""
    return [(name, value) for name, value in _forwarded(headers) if not name.lower().startswith(OWN)]


def of_request(headers: Headers, host: bytes, length: int | None) -> list[tuple[bytes, bytes]]:
    """Returns the fields of a request to the upstream. `length` is that of another body; None keeps what is said.

    `x-llmkit-repair` goes on, because a proxy behind this one heeds it, too.
    """
    lengths = () if length is None else (b"content-length",)
    kept = _forwarded(headers, (*_REWRITTEN, *lengths))
    if length is not None:
        kept.append((b"content-length", b"%d" % length))
    elif value(headers, b"transfer-encoding") is not None:
        # A length beside it is for nobody (RFC 9112, 6.3): that is how requests are smuggled.
        kept = [(name, words) for name, words in kept if name.lower() != b"content-length"]
        kept.append((b"transfer-encoding", b"chunked"))
    return [(b"host", host), *kept]
