"""Normalised sets on disk: one `datasets` folder each, found by what it was made from.

Written through `datasets`, so that `datasets.load_from_disk` opens it; read through pyarrow, which imports ten times
faster. A folder appears under its name complete or not at all; one that fails its checksum is made anew.
"""

from __future__ import annotations

import hashlib
import inspect
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
from llmkit.tasks import base, kinds
from llmkit.types import Question

_ARROW = "data-00000-of-00001.arrow"
_CHECKSUM = "checksum"
_COLUMNS = ("id", "text", "gold", "kind", "options", "split", "cluster", "meta")


def folder(task: base.Task, source: Iterable[bytes]) -> Path:
    """Returns where the set made from `source` (contents of files, or a hub identity) by the present code is kept."""
    digest = hashlib.blake2b(_code(type(task).__module__, kinds.KINDS[task.kind].__module__), digest_size=8)
    for part in source:
        digest.update(hashlib.blake2b(part).digest())
    return cache_dir() / "data" / f"{task.name}-{digest.hexdigest()}"


@cache
def _code(*modules: str) -> bytes:
    """Returns a digest of the code that turns rows into questions: this room's, and the `modules` of task and kind."""
    own = ("base", "kinds", "numbers", "splits", "text", "official", "sources", "cache")
    digest = hashlib.blake2b()
    for name in dict.fromkeys([*(f"llmkit.tasks.{module}" for module in own), *modules]):
        digest.update(Path(inspect.getfile(sys.modules[name])).read_bytes())
    return digest.digest()


def read(path: Path) -> list[Question] | None:
    """Returns the questions kept at `path`; None without any, where they are damaged, or without pyarrow."""
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
    return [
        Question(id, text, gold, kind, tuple(options), split, cluster, json.loads(meta))
        for id, text, gold, kind, options, split, cluster, meta in rows
    ]


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
