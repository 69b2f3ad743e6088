"""Calibrates a repair: chooses a chain, bounds its harm by Learn then Test, and writes it with its guarantee."""

from llmkit.calibrate.document import as_json, lines, repair_file
from llmkit.calibrate.estimate import Estimate, estimate
from llmkit.calibrate.plan import Claim, Plan, plan
from llmkit.calibrate.run import Calibration, calibrate

__all__ = [
    "Calibration",
    "Claim",
    "Estimate",
    "Plan",
    "as_json",
    "calibrate",
    "estimate",
    "lines",
    "plan",
    "repair_file",
]
