"""Measures a model from a recipe: plans, asks, journals, concludes; resumes, merges shards, and scores again."""

from llmkit.evaluate.estimate import Estimate, estimate
from llmkit.evaluate.plan import Command, Plan, Shard, plan, tunes
from llmkit.evaluate.rescore import Rescored, rescore
from llmkit.evaluate.run import Result, run
from llmkit.evaluate.sets import enforce, estimate_each, run_each
from llmkit.evaluate.shards import merge, merge_folders

__all__ = [
    "Command",
    "Estimate",
    "Plan",
    "Rescored",
    "Result",
    "Shard",
    "enforce",
    "estimate",
    "estimate_each",
    "merge",
    "merge_folders",
    "plan",
    "rescore",
    "run",
    "run_each",
    "tunes",
]
