"""The settings of a proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from llmkit.errors import UsageError

Mode = Literal["pass", "shadow", "repair"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Settings:
    """The limits of a proxy and what it does with a user's texts.

    mode: pass looks at nothing; shadow answers as if it were not there, and asks again in the background what the
    repair would change; repair sends the repaired texts.
    """

    mode: Mode = "pass"
    budget_ms: float = 1000.0
    """Milliseconds that repairing may take for one request."""
    budget_tokens: int = 2048
    """Tokens that models may write to correct one request."""
    most_requests: int = 512
    """Requests that may be under way at once; more are refused with 503."""
    most_bytes: int = 8_000_000
    """The longest body that is looked at; a longer one passes as it comes."""
    model: str | None = None
    """The upstream's name of the model that the guarantee is about: requests to others pass. None: any."""
    corrector: str | None = None
    """The upstream's name of the model that corrects; None: the model of the request."""
    floor: int = 100
    """In shadow mode, one in so many requests without a repaired text is asked twice as sent; 0 for none."""
    own_key: str | None = None
    """The key that clients have to show."""


def mode_named(name: str) -> Mode:
    """Returns the mode of a name. UsageError for an unknown one."""
    for mode in MODES:
        if name == mode:
            return mode
    raise UsageError(f"there is no mode `{name}`", f"one of {', '.join(MODES)}")
