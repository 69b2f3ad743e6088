"""Flags and digests of many rows in little room: base64 of a bit, or of a few bytes, for each row."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence


def pack_flags(flags: Sequence[bool]) -> str:
    """Returns one bit for each flag, the first one lowest in the first byte.

    >>> pack_flags([True, False, True])
    'BQ=='
    """
    size = (len(flags) + 7) // 8
    return _encoded(sum(1 << i for i, flag in enumerate(flags) if flag).to_bytes(size, "little"))


def flags_in(text: str, count: int, name: str) -> list[bool]:
    """Returns the flags that `pack_flags` packed. ValueError, with the name, for anything that is not `count` flags.

    >>> flags_in("BQ==", 3, "right")
    [True, False, True]
    """
    number = int.from_bytes(_decoded(text, (count + 7) // 8, name), "little")
    if number >> count:
        raise ValueError(f"{name} has flags beyond row {count}")
    digits = bin(number)[2:].zfill(count)
    return [digit == "1" for digit in reversed(digits)] if count else []


def pack_digests(digests: Iterable[bytes]) -> str:
    """Returns digests of one size, one after the other."""
    return _encoded(b"".join(digests))


def digests_in(text: str, size: int, count: int, name: str) -> list[bytes]:
    """Returns the digests that `pack_digests` packed. ValueError, with the name, where they are not `count` of `size`
    bytes."""
    data = _decoded(text, size * count, name)
    return [data[at : at + size] for at in range(0, len(data), size)]


def short_digest(text: str, size: int) -> bytes:
    """Returns the first bytes of SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:size]


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str, size: int, name: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{name} is not base64") from None
    if len(data) != size:
        raise ValueError(f"{name} has {len(data)} bytes where {size} belong")
    return data
