"""A digest of code: what a result that is kept in the repository was measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def of_code(covered: Iterable[str]) -> str:
    """Returns a digest of files and folders of Python below the repository, without comments and blank lines."""
    made = hashlib.sha256()
    for name in covered:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            made.update(file.relative_to(ROOT).as_posix().encode())
            for line in file.read_text(encoding="utf-8").splitlines():
                if line.strip() and not line.strip().startswith("#"):
                    made.update(line.rstrip().encode() + b"\n")
    return made.hexdigest()[:12]
