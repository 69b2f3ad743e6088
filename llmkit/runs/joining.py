"""The journals of sealed shards, joined line by line: a run of a million answers never has to be in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmkit.errors import DataError
from llmkit.runs import names
from llmkit.runs.folder import RunFolder
from llmkit.runs.generations import joined
from llmkit.runs.journal import Counted
from llmkit.runs.seals import Seal

_BATCH = 1 << 20  # bytes that are written at once


def join(shards: Sequence[Path], seals: Sequence[Seal], folder: RunFolder) -> None:
    """Adds the answers of all shards, the noise that a model wrote for them, and the models that answered, to the
    journal of the whole run.

    Nothing is added before every journal was found to be what its seal states. DataError where one is not.
    """
    journals = [_checked(shard, seal) for shard, seal in zip(shards, seals, strict=True)]
    keys: set[bytes] = set()
    for shard, journal in zip(shards, journals, strict=True):
        if not keys.isdisjoint(journal.outcomes):
            raise DataError(f"{shard} answers what another shard has answered as well", "run both again")
        keys |= journal.outcomes.keys()
    there = _there(folder, keys)
    joined(shards, folder)
    lines = (line for journal in journals for line in journal.kept() if not there or _digest(line) not in there)
    for batch in _batches(lines):
        folder.append_lines(batch)


def _there(folder: RunFolder, keys: set[bytes]) -> set[bytes]:
    """Returns a digest of each line that the whole run has already, as from a merge that did not come to its end."""
    before = Counted(folder.path / names.JOURNAL, failed=False)
    if before.outcomes.keys() <= keys:
        return set(map(_digest, before.kept()))
    folder.begin_generation()  # it answered other rows: what it has is kept, and counts no more
    return set()


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=8).digest()


def _checked(shard: Path, seal: Seal) -> Counted:
    """Returns the lines of a shard's journal that count. DataError where they are not those that were sealed."""
    journal = shard / names.JOURNAL
    again = "copy the shard again if it was copied; else run it again: it asks only what is missing"
    if not journal.is_file():
        raise DataError(f"{journal} is missing", again)
    if (size := journal.stat().st_size) != seal.bytes:
        raise DataError(
            f"{journal} has {size:,} bytes, and {seal.bytes:,} when it was finished: was a disk full, or a copy cut?",
            again,
        )
    with open(journal, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != seal.sha256:
            raise DataError(f"{journal} was changed since its shard was finished", again)
    counted = Counted(journal, failed=False)
    for key in seal.stale:
        counted.outcomes.pop(key.encode("utf-8", "surrogatepass"), None)
    if (answers := len(counted.outcomes)) != seal.outcomes:
        raise DataError(f"{journal} has {answers:,} answers, and {names.SEAL} says {seal.outcomes:,}", again)
    return counted


def _batches(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yields lines joined to blocks of a size that is worth a write."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if size >= _BATCH:
            yield b"".join(batch)
            batch, size = [], 0
    yield b"".join(batch)
