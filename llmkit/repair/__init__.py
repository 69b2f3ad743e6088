"""Repairs of a text before a model reads it: correctors, the gate before them, and the file that keeps both."""

from llmkit.repair import adapter, fold, model, spell, vote  # noqa: F401  (they register themselves)
from llmkit.repair.base import (
    CORRECTORS,
    Corrected,
    Corrector,
    CorrectorContext,
    Proposal,
    chain_of,
    corrector,
)
from llmkit.repair.detectors import DETECTORS, Detector, detector
from llmkit.repair.document import RepairFile
from llmkit.repair.gate import Gate, Scale
from llmkit.repair.repair import Repair, Repaired

__all__ = [
    "CORRECTORS",
    "DETECTORS",
    "Corrected",
    "Corrector",
    "CorrectorContext",
    "Detector",
    "Gate",
    "Proposal",
    "Repair",
    "RepairFile",
    "Repaired",
    "Scale",
    "chain_of",
    "corrector",
    "detector",
]
