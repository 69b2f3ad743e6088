"""Seeds derived from names, so that order and number of workers never change a result."""

from __future__ import annotations

import hashlib


def derive(seed: int, *parts: object) -> int:
    """Derives a 63-bit seed from a base seed and any number of printable parts; the same on every platform and process.

    >>> derive(7, "q1", "ec", 0.3) == derive(7, "q1", "ec", 0.3)
    True
    >>> derive(7, "q1", "ec") == derive(7, "q2", "ec")
    False
    """
    digest = hashlib.blake2b("\x1f".join(map(str, (seed, *parts))).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1


def text_key(text: str) -> bytes:
    """Returns 8 bytes that identify a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def text_id(key: bytes, occurrence: int = 1) -> str:
    """Returns the id of a row that has none: the key of its text, and how many rows with that text there are up to
    it."""
    return f"text:{key.hex()}#{occurrence}"
