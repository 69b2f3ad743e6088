"""The optional parts of an installation (`pip install "llmkit-robust[EXTRA]"`): whether they are there, and their
import."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
from collections.abc import Iterator

from llmkit.errors import UsageError


def installed(package: str) -> bool:
    """Returns whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def need(*packages: str, extra: str, what: str, instead: str = "") -> None:
    """Raises UsageError, with the extra that brings them, unless all `packages` can be imported. Imports none of them.

    `what` is the part of llmkit that asks, the subject of the message; `instead` is another way out, for the hint.
    """
    missing = [package for package in packages if not installed(package)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        hint = f'pip install "llmkit-robust[{extra}]"' + (f"; {instead}" if instead else "")
        raise UsageError(f"{what} needs {_listed(missing)}, which {are} not installed", hint)


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Disables garbage collection inside the block and freezes the objects created there (`gc.freeze`).

    Importing what trains or serves a model creates millions of objects that stay. To search them again and again is a
    third of the time that it takes.
    """
    gc.collect()  # or the garbage of now would be frozen as well
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
