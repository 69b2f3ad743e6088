"""Everything a user can cause, as one tree of exceptions.

LlmkitError                 1
├── UsageError              2   a flag, a path, a name
│   └── RecipeError         2   file:line, all faults at once
├── DataError               2   a row, a file, a set that is not available
├── EngineError             1   a model or server that fails
├── GateFailed              3
├── Incomplete              4   what finished is saved
└── GateUndecided           5
"""

from __future__ import annotations


class LlmkitError(Exception):
    """Root of everything a user can cause. The CLI prints `error:` and `hint:` and exits with `exit_code`."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[LlmkitError], tuple[str, str | None]]:
        return type(self), (self.message, self.hint)


class UsageError(LlmkitError):
    """A flag, a path or a name that cannot be used."""

    exit_code = 2


class RecipeError(UsageError):
    """One or more faults in a recipe, each with its file and line."""


class DataError(LlmkitError):
    """A row, a file or a question set that cannot be read or is not available."""

    exit_code = 2


class EngineError(LlmkitError):
    """A model or server that fails."""


class GateFailed(LlmkitError):
    """A measured value is on the wrong side of its gate."""

    exit_code = 3


class Incomplete(LlmkitError):
    """The work stopped early; what finished is saved and the same command resumes it."""

    exit_code = 4


class GateUndecided(LlmkitError):
    """A gate's value is null, or its interval leaves the question open."""

    exit_code = 5
