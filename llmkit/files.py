"""Small file tools: atomic writes, locks between processes, content digests."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from llmkit.errors import Incomplete
from llmkit.parsing import parse_json
from llmkit.resources import cache_dir

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: BaseException) -> bool:
    """Returns whether an error means that a disk, a quota or a file is full; libraries in Rust say so in words only."""
    return (isinstance(error, OSError) and error.errno in _FULL) or os.strerror(errno.ENOSPC) in str(error)


@contextlib.contextmanager
def on_disk(place: Path) -> Iterator[None]:
    """Turns a full disk, where something is written into `place`, into Incomplete."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise Incomplete(
                f"no space left for {place}", "free some space; the same command goes on from what is saved"
            ) from error
        raise


def write_atomic(path: Path, content: str | bytes | Iterable[bytes], private: bool = False) -> None:
    """Writes a whole file as `atomic` does. Content that comes in parts is never held as a whole."""
    whole = content.encode() if isinstance(content, str) else content
    with atomic(path, private) as file:
        file.writelines([whole] if isinstance(whole, bytes) else whole)


@contextlib.contextmanager
def atomic(path: Path, private: bool = False) -> Iterator[BinaryIO]:
    """Opens a file that is written under a temporary name, flushed to disk, and renamed when the block ends: readers
    see the old file or the new one. After an error nothing is left of it.

    With `private` the file is for its owner alone (mode 0600). Incomplete where the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with on_disk(path.parent):
            with open(temporary, "wb", opener=_for_owner if private else None) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def lock(path: Path, wait: bool = True) -> Iterator[None]:
    """Holds `path` as a lock between processes. BlockingIOError if another holds it and `wait` is false;
    Incomplete where the disk is full.

    The system drops the lock with its process, so a killed one leaves nothing to clean up, and child processes do not
    inherit it. The file names the holder's process id.
    """
    import fcntl

    with contextlib.ExitStack() as held:
        with on_disk(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(open(path, "ab+", buffering=0))
            # A record lock, not a flock (which filelock takes): a forked worker would hold a flock for as long as it
            # outlives a killed parent, and locks of the two kinds do not see each other.
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError as error:
                raise BlockingIOError(error.errno, f"{path} is held by another process") from error
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
        yield


def text_digest(text: str) -> str:
    """Returns 16 hex characters of SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def content_digest(files: Iterable[Path]) -> str:
    """Returns one digest of the names and contents of `files`. Contents are read once per size and modification
    time."""
    memo_path = cache_dir() / "digests.json"
    try:
        memo = parse_json(memo_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        memo = {}
    known = len(memo)
    whole = hashlib.sha256()
    for path in sorted(files, key=lambda p: p.name):
        stat = path.stat()
        stamp = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"
        if stamp not in memo:
            with open(path, "rb") as file:
                memo[stamp] = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.name}\0{memo[stamp]}\n".encode())
    if len(memo) > known:
        with on_disk(memo_path.parent):
            memo_path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(memo_path, json.dumps(memo, indent=0))
    return whole.hexdigest()[:16]
