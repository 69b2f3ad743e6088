"""The names in a run folder: its files, and the kinds of lines in its journal.

Every reader and writer takes them from here. They are part of the format of finished runs: a name that changes makes
the folders of earlier releases unreadable.
"""

from __future__ import annotations

RECIPE = "recipe.yaml"
"""The recipe as the user gave it."""
RESOLVED_RECIPE = "recipe.resolved.yaml"
"""The recipe with every default filled in. A folder that has this file is a run."""
ENVIRONMENT = "env.json"
"""Versions and hardware."""
FACTS = "run.json"
"""How the run was carried out: command, engine, dtype, shard, system prompt."""
INSTRUCTIONS = "instructions.json"
"""The instructions that the arms used, and where they come from."""
REPAIR = "repair.json"
"""The correction that a search found, as a repair without a guarantee."""
METRICS = "metrics.json"
"""The measurements. A run that has them is finished."""
JOURNAL = "samples.jsonl"
"""One line for each piece of finished work, in the order in which it was finished."""
LABELS = "labels.jsonl"
"""One line for each judgement of a person, on a pair of answers to one row."""
JUDGED = "judged.jsonl"
"""One line for each verdict of a model, as judge, on a pair of answers to one row."""
SERVERS = "servers.json"
"""By address, the requests that each of several servers answered in the last start, and how many a second."""
SEAL = "shard.json"
"""What a finished shard of a run is: its part, its answers, and digests of what was asked and of its journal."""
LOCK = ".lock"
"""Held by the process that writes in the folder."""

OUTCOME = "outcome"
"""One arm's answer to one variant, with the calls behind it."""
VERDICT = "verdict"
"""A new score of an earlier outcome, from `llmkit eval score`."""
NOISE = "noise"
"""One noisy copy that a model wrote."""
SEARCH = "search"
"""The calls of one step of the instruction search."""
CANARY = "canary"
"""How the model behind a server answered a few fixed prompts."""
GENERATION = "generation"
"""The mark of a new beginning: the lines before it count no more."""

SCORED = ("parsed", "correct", "scores")
"""The fields of an outcome that a verdict gives anew; those of earlier releases lack `scores`."""
