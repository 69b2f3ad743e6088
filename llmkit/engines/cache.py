"""The response cache: what a model said once it is not asked again. SQLite in WAL mode, values in JSON."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import sqlite3
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmkit.engines.base import EngineIdentity
from llmkit.engines.claims import Claims
from llmkit.errors import Incomplete, LlmkitError, UsageError
from llmkit.files import on_disk
from llmkit.resources import cache_dir
from llmkit.types import Reply, Request, ToolCall, Usage

_SCHEMA = 1
_NETWORK = {
    0x6969: "NFS",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB",
    0x517B: "SMB",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x00C36400: "Ceph",
    0x19830326: "BeeGFS",
    0x01021997: "9P",
    0x5346414F: "AFS",
}


def cache_key(identity: EngineIdentity, request: Request) -> str:
    """Returns the SHA-256 of all that can change the answer: identity, exact messages, sampling, continuation,
    replicate.

    What a request is for, and which role asks, are not part of it. A seed counts only where there is sampling, and of
    the row's fields only those that the engine reads.
    """
    sampling = request.sampling
    value: dict[str, Any] = {
        "identity": _identity_digest(identity),
        "messages": [[m.role, m.content, *([dict(m.more)] if m.more else [])] for m in request.messages],
        "replicate": request.replicate,
    }
    if request.continuation is not None:
        value["continuation"] = request.continuation
    else:
        greedy = sampling.temperature == 0
        value["sampling"] = [
            sampling.max_tokens,
            sampling.temperature,
            None if greedy else sampling.top_p,
            list(sampling.stop),
            None if greedy else sampling.seed,
        ]
    # Only where there are any: the keys of all other requests stay what they were in earlier releases.
    if request.tools:
        value["tools"] = list(request.tools)
    if fields := fields_read(identity, request):
        value["fields"] = fields
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def fields_read(identity: EngineIdentity, request: Request) -> dict[str, str]:
    """Returns those of the row's fields that the engine reads, and so can answer differently to."""
    fields = request.fields
    return {name: fields[name] for name in (fields if identity.fields is None else identity.fields) if name in fields}


@lru_cache(maxsize=64)
def _identity_digest(identity: EngineIdentity) -> str:
    return hashlib.sha256(json.dumps(identity.as_dict(), sort_keys=True).encode()).hexdigest()


def encode_reply(reply: Reply) -> dict[str, Any]:
    """Returns a reply as plain JSON values."""
    usage = reply.usage
    value = {
        "text": reply.text,
        "usage": [usage.prompt, usage.completion, usage.cached],
        "finish_reason": reply.finish_reason,
    }
    if reply.reasoning:
        value["reasoning"] = reply.reasoning
    if reply.logprobs is not None:
        value["logprobs"] = list(reply.logprobs)
    if reply.documents:
        value["documents"] = list(reply.documents)
    if reply.tool_calls:
        value["tool_calls"] = [asdict(call) for call in reply.tool_calls]
    return value


def decode_reply(value: dict[str, Any]) -> Reply:
    """Returns the reply that `encode_reply` was given."""
    logprobs = value.get("logprobs")
    return Reply(
        text=value["text"],
        reasoning=value.get("reasoning", ""),
        usage=Usage.reported(*value["usage"]),
        finish_reason=value["finish_reason"],
        logprobs=None if logprobs is None else tuple(logprobs),
        documents=tuple(value.get("documents", ())),
        tool_calls=tuple(ToolCall(**call) for call in value.get("tool_calls", ())),
    )


@dataclass(frozen=True)
class CacheInfo:
    """Where the cache is and how much it holds."""

    path: Path
    replies: int
    bytes: int


class ResponseCache:
    """Replies by `cache_key`. Several processes may use one at once; what was put survives a killed process.

    Its files are for their owner alone: they hold what users ask.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path) if path else cache_dir() / "responses.sqlite"
        with on_disk(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        if kind := network_file_system(self.path.parent):
            raise UsageError(
                f"the response cache {self.path} is on a network file system ({kind}), where SQLite is unsafe",
                "set LLMKIT_CACHE to a local folder, or use --no-cache",
            )
        _keep_private(self.path)
        self.claims = Claims(self.path.with_suffix(".claims"))
        """What this process asks, so that others who share the cache do not ask it as well."""
        with _explained(self.path):
            self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
            )
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _SCHEMA):
                raise UsageError(
                    f"{self.path} was written by another version of llmkit", "delete it: `llmkit cache clear`"
                )
            self._db.execute(f"PRAGMA user_version={_SCHEMA}")

    def get(self, key: str) -> Reply | None:
        """Returns the reply stored under `key`, or None."""
        with _explained(self.path):
            row = self._db.execute("SELECT value FROM replies WHERE key = ?", (key,)).fetchone()
        return decode_reply(json.loads(row[0])) if row else None

    def put(self, key: str, reply: Reply) -> None:
        """Stores a reply; the first one stored under a key stays. Committed when this returns."""
        value = json.dumps(encode_reply(reply), ensure_ascii=True, separators=(",", ":"))
        with _explained(self.path):
            self._db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?)", (key, value))

    def info(self) -> CacheInfo:
        """Returns path, number of replies, bytes on disk."""
        with _explained(self.path):
            count = self._db.execute("SELECT count(*) FROM replies").fetchone()[0]
        sizes = (Path(f"{self.path}{suffix}") for suffix in ("", "-wal"))
        return CacheInfo(self.path, count, sum(p.stat().st_size for p in sizes if p.exists()))

    def clear(self) -> int:
        """Forgets every reply; returns how many there were."""
        with _explained(self.path):
            count = self._db.execute("DELETE FROM replies").rowcount
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.execute("VACUUM")
        return count

    def close(self) -> None:
        self._db.close()
        self.claims.close()

    def __enter__(self) -> ResponseCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _keep_private(path: Path) -> None:
    """Makes the database mode 0600, also one that an older llmkit made; SQLite gives the files beside it that mode."""
    with contextlib.suppress(OSError):  # where it cannot be written, SQLite says so in a moment
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            if file.exists():
                file.chmod(0o600)


class _explained:
    """Turns SQLite's errors into ones that say what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, sqlite3.Error):
            return
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest tells kinds of I/O errors apart
        if code == sqlite3.SQLITE_FULL:
            raise Incomplete(
                f"no space left for the response cache {self.path}", "free some space and run again"
            ) from error
        if code == sqlite3.SQLITE_IOERR:  # also where a quota is spent, or the file beside it finds no space
            raise Incomplete(
                f"the response cache {self.path} cannot be read or written: {error}",
                "is its disk full, or broken? The same command goes on from what is saved; or use --no-cache",
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise LlmkitError(f"the response cache {self.path} cannot be used: {error}", "or use --no-cache") from error
        raise LlmkitError(
            f"the response cache {self.path} is damaged: {error}", "delete that file, or use --no-cache"
        ) from error


def network_file_system(folder: Path) -> str | None:
    """Returns the kind of network file system that `folder` is on, or None. Known on Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(512)
    if libc.statfs(str(folder).encode(), buffer) != 0:
        raise OSError(ctypes.get_errno(), errno.errorcode.get(ctypes.get_errno(), ""), str(folder))
    return _NETWORK.get(ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF)
