"""Normalised sets on disk: one `datasets` folder each, found by what it was made from.

Written through `datasets`, so that `datasets.load_from_disk` opens it; read through pyarrow, which imports ten times
faster. A folder appears under its name complete or not at all; one that fails its checksum is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from uuid import uuid4

from llmkit.extras import installed
from llmkit.resources import cache_dir
from llmkit.tasks import base, numbers, splits, text
from llmkit.types import Question

_ARROW = "data-00000-of-00001.arrow"
_CHECKSUM = "checksum"
_COLUMNS = ("id", "text", "gold", "kind", "options", "split", "cluster", "meta")


def folder(task: base.Task, source: Iterable[bytes]) -> Path:
    """Where the set made from `source` (contents of files, or a hub identity) by the present code is kept."""
    digest = hashlib.blake2b(_code(type(task).__module__), digest_size=8)
    for part in source:
        digest.update(hashlib.blake2b(part).digest())
    return cache_dir() / "data" / f"{task.name}-{digest.hexdigest()}"


@cache
def _code(module: str) -> bytes:
    """A digest of the code that makes questions of rows: this room's, and the module of the task itself."""
    names = [m.__name__ for m in (base, numbers, splits, text)] + ["llmkit.tasks.official", "llmkit.tasks.sources"]
    digest = hashlib.blake2b()
    for name in dict.fromkeys([*names, __name__, module]):
        digest.update(Path(sys.modules[name].__file__).read_bytes())
    return digest.digest()


def read(path: Path) -> list[Question] | None:
    """The questions kept at `path`, or None where there are none or they are damaged, or pyarrow is not installed."""
    if not path.is_dir() or not installed("pyarrow"):
        return None
    import pyarrow as pa

    try:
        raw = (path / _ARROW).read_bytes()
        if (path / _CHECKSUM).read_text() != _checksum(raw):
            raise ValueError("damaged")
        columns = pa.ipc.open_stream(pa.py_buffer(raw)).read_all().select(_COLUMNS).to_pydict()
    except (OSError, ValueError, KeyError):
        shutil.rmtree(path, ignore_errors=True)
        return None
    rows = zip(*(columns[name] for name in _COLUMNS), strict=True)
    return [Question(*row[:4], tuple(row[4]), *row[5:7], json.loads(row[7])) for row in rows]


def write(path: Path, questions: Sequence[Question]) -> None:
    """Keeps the questions at `path`. Does nothing without `datasets`, in a folder that cannot be written, or where
    another process was first.
    """
    if not installed("datasets"):
        return
    import datasets

    text_, texts = datasets.Value("string"), datasets.List(datasets.Value("string"))
    features = datasets.Features({name: texts if name == "options" else text_ for name in _COLUMNS})
    rows = [
        {name: getattr(q, name) for name in _COLUMNS} | {"options": list(q.options), "meta": json.dumps(dict(q.meta))}
        for q in questions
    ]
    temporary = path.with_name(f".{path.name}-{uuid4().hex}")
    silent = datasets.are_progress_bars_disabled()
    try:
        datasets.disable_progress_bars()
        datasets.Dataset.from_list(rows, features=features).save_to_disk(temporary, num_shards=1)
        (temporary / _CHECKSUM).write_text(_checksum((temporary / _ARROW).read_bytes()))
        os.rename(temporary, path)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
    finally:
        if not silent:
            datasets.enable_progress_bars()


def _checksum(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()
