"""Ways to put a question (arms), and the search for the instructions they use (arXiv 2506.03627)."""

from llmkit.rop.arms import ARMS, Arm, ArmContext, arm
from llmkit.rop.gated import arms_of
from llmkit.rop.instructions import Instructions, default_instructions, read_instructions, read_origin, to_json
from llmkit.rop.repairs import arm_of, known_arm
from llmkit.rop.search import Pools, search_both

__all__ = [
    "ARMS",
    "Arm",
    "ArmContext",
    "Instructions",
    "Pools",
    "arm",
    "arm_of",
    "arms_of",
    "default_instructions",
    "known_arm",
    "read_instructions",
    "read_origin",
    "search_both",
    "to_json",
]
