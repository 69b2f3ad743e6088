"""Which process asks a question, where several share a cache: one asks, and the others wait for its answer."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

_BYTES = 1 << 40  # places in the file, which stays empty: locks may be beyond its end
_TAKEN = (errno.EACCES, errno.EAGAIN)


class Claims:
    """Claims on cache keys between processes: a lock on one byte of a file, at a place that the key gives.

    The system drops a lock with its process, so a killed one leaves nothing behind. Two keys at one place cost waiting,
    no answer. Where the file system has no locks every claim is granted, and a question may be asked twice.
    """

    def __init__(self, path: Path) -> None:
        self._file: int | None = None
        with contextlib.suppress(OSError):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self, key: str) -> bool:
        """Returns whether this process may ask: false while another one holds the claim."""
        return self._lock(key, take=True)

    def release(self, key: str) -> None:
        """Gives a claim up, once the answer is in the cache or there will be none."""
        self._lock(key, take=False)

    def _lock(self, key: str, take: bool) -> bool:
        if self._file is None:
            return True
        import fcntl

        how = fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN
        try:
            fcntl.lockf(self._file, how, 1, int(key[:16], 16) % _BYTES)
        except OSError as error:
            return error.errno not in _TAKEN
        return True

    def close(self) -> None:
        """Gives all claims up."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
