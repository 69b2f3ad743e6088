"""Noisy copies of questions that keep their answers: operators, protected spans, seeds, checks, records."""

from importlib import import_module

from llmkit.perturb.base import OPERATORS, Operator, TextEdit, WordEdit, operator
from llmkit.perturb.engine import Perturbed, Perturber
from llmkit.perturb.protection import PROTECT
from llmkit.perturb.text import Change, Source, strength, undo
from llmkit.perturb.variants import make_variants, perturbers, spread_variants

_REGISTER = (
    "chars",
    "lookalikes",
    "spacing",
    "words",
    "sentences",
    "pairs",
    "like",
    "peers",
    "model_operators",
    "paper",
)
for _module in _REGISTER:
    import_module(f"llmkit.perturb.{_module}")

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
