"""`llmkit rop`: searches instructions, answers in two stages, and compares with other ways to put the question."""

from __future__ import annotations

from typing import Any

from llmkit.cli import common, flags
from llmkit.cli.measure import FLAGS, Anew, DryRun, Keep, Profile, Shard, measure, takes

TUNING = {
    "arms": flags.Arms,
    "budget": flags.Budget,
    "optimizer": flags.Optimizer,
    "corrector": flags.Corrector,
    "scope": flags.Scope,
    "holdout": flags.Holdout,
    "search_seeds": flags.SearchSeeds,
}


@takes(FLAGS | TUNING)
def rop(
    source: common.RecipeOrRows = None,
    set_: common.Set = None,
    profile: Profile = None,
    shard: Shard = None,
    anew: Anew = False,
    keep: Keep = False,
    dry_run: DryRun = False,
    no_cache: common.NoCache = False,
    json_: common.Json = False,
    **given: Any,
) -> None:
    """Repair at prompt time (RoP, arXiv 2506.03627): correct the question, then answer under a searched instruction.

    The same command resumes an interrupted run. Ends with a table and the run folder.
    """
    from llmkit.recipe import profile_overrides

    measure(
        source,
        [*(profile_overrides(profile) if profile else ()), *flags.overrides(set_, **given)],
        "rop",
        use_cache=not no_cache,
        json_=json_,
        shard=shard,
        dry_run=dry_run,
        anew=anew,
        keep=keep,
    )
