"""The optional parts of an installation (`pip install "llmkit-robust[EXTRA]"`), and the error where one is missing."""

from __future__ import annotations

import importlib.util

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


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
