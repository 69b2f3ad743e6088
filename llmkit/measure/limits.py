"""Gates that cannot fail, because their limit lies where no value can be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmkit.errors import RecipeError
from llmkit.measure import gates
from llmkit.measure.gate_metrics import Measured
from llmkit.recipe.schema import Gate

# The least and the greatest value that a metric can have. Ratios have an end only where their numerator is bounded by
# what it is divided by.
RANGES: dict[str, tuple[float, float]] = {
    "accuracy": (0.0, 1.0),
    "drop": (-1.0, 1.0),
    "relative_drop": (-math.inf, 1.0),
    "gain": (-1.0, 1.0),
    "recovery": (-math.inf, math.inf),
    "clean_drop": (-1.0, 1.0),
    "right_to_wrong": (0.0, 1.0),
    "wrong_to_right": (0.0, 1.0),
    "over_correction": (0.0, 1.0),
    "accuracy_change": (-1.0, 1.0),
    "drop_change": (-2.0, 2.0),
    "changed": (0.0, 1.0),
    "lost_at_most": (0.0, 1.0),
    "restored": (0.0, 1.0),
    "broken": (0.0, 1.0),
    "net": (-1.0, 1.0),
    "touched": (0.0, 1.0),
    "judged_drop": (-1.0, 1.0),
    "judged_gain": (-1.0, 1.0),
}


def refuse_idle(declared: Sequence[Gate]) -> None:
    """Raises RecipeError for gates that hold whatever is measured: a limit of 5 is perhaps meant as 5 per cent."""
    faults = []
    for gate in declared:
        low, high = RANGES[Measured.named(gate.metric.rpartition(".")[2]).base]
        if (gate.min is not None and gate.min <= low) or (gate.max is not None and gate.max >= high):
            end = f"at least {low:g}" if gate.min is not None else f"at most {high:g}"
            faults.append(f"gate `{gates.describe(gate, gate.condition)}` cannot fail: the value is always {end}")
    if faults:
        raise RecipeError("\n".join(faults), "limits are fractions: write 0.05 for 5 per cent")
