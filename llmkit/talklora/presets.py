"""Settings of TalkLoRA and of its relatives in the same layer, by name."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # The paper's equations (4) to (7).
    "talklora": {},
    # The released code: one dropout in three places, and alpha never used (scale 1).
    "talklora-released": {"dropout": 0.05, "gate_dropout": 0.05, "output_dropout": 0.05, "alpha": None},
    # The paper's equations (2) and (3): a dense softmax over experts of rank r/n, routed by the layer's input.
    "moelora": {"router_input": "input", "talk": "off", "transform": False, "share_B": False},
    # HydraLoRA (arXiv 2404.19245): one A of rank r, n heads B_i of full rank r, routed by the layer's input.
    "hydralora": {"router_input": "input", "talk": "off", "transform": False, "share_B": False, "share_A": True},
}
