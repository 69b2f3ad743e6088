"""Noisy copies of questions that keep their answers: operators, protected spans, seeds, checks, records.

Names are imported at first use: what needs one part of the room, as `repair` does, loads that part only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmkit.perturb.base import OPERATORS, Operator, TextEdit, WordEdit, operator
    from llmkit.perturb.engine import Perturbed, Perturber
    from llmkit.perturb.protection import PROTECT
    from llmkit.perturb.text import Change, Source, strength, undo
    from llmkit.perturb.variants import make_variants, perturbers, spread_variants

_HOMES = {
    "base": ("OPERATORS", "Operator", "TextEdit", "WordEdit", "operator"),
    "engine": ("Perturbed", "Perturber"),
    "protection": ("PROTECT",),
    "text": ("Change", "Source", "strength", "undo"),
    "variants": ("make_variants", "perturbers", "spread_variants"),
}
_MODULES = {name: f"llmkit.perturb.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "OPERATORS",
    "PROTECT",
    "Change",
    "Operator",
    "Perturbed",
    "Perturber",
    "Source",
    "TextEdit",
    "WordEdit",
    "make_variants",
    "operator",
    "perturbers",
    "spread_variants",
    "strength",
    "undo",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
