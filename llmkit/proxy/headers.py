"""Header fields on their way through the proxy (RFC 9110, 7.6): what is for one connection only stays behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Headers = Sequence[tuple[bytes, bytes]]

OWN = b"x-llmkit-"
"""Fields that the proxy itself reads and writes."""

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade".split()
)
_REWRITTEN = frozenset({b"host", b"expect"})  # of a request: the next hop has its own


def value(headers: Headers, name: bytes) -> bytes | None:
    """Returns the first value of a field whose name is given in small letters."""
    return next((value for field, value in headers if field.lower() == name), None)


def forwarded(headers: Headers, without: Iterable[bytes] = ()) -> list[tuple[bytes, bytes]]:
    """Returns the fields that go on: none of one connection only, nor what `Connection` names, nor the proxy's own."""
    named = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    dropped = _HOP_BY_HOP | named | set(without)
    return [
        (name, value) for name, value in headers if name.lower() not in dropped and not name.lower().startswith(OWN)
    ]


def of_request(headers: Headers, host: bytes, length: int | None) -> list[tuple[bytes, bytes]]:
    """Returns the fields of a request to the upstream. `length` is that of another body; None keeps what is said."""
    lengths = () if length is None else (b"content-length",)
    kept = forwarded(headers, (*_REWRITTEN, *lengths))
    if length is not None:
        kept.append((b"content-length", b"%d" % length))
    elif value(headers, b"transfer-encoding") is not None:
        # A length beside it is for nobody (RFC 9112, 6.3): that is how requests are smuggled.
        kept = [(name, words) for name, words in kept if name.lower() != b"content-length"]
        kept.append((b"transfer-encoding", b"chunked"))
    return [(b"host", host), *kept]
