"""`llmkit rop`: searches instructions, answers in two stages, and compares with other ways to put the question."""

from __future__ import annotations

from llmkit.cli import common
from llmkit.cli.measure import Baseline, DryRun, Gates, Profile, Shard, gate_list, measure, profile_overrides


def rop(
    source: common.Source = None,
    model: common.Model = None,
    task: common.Task = None,
    path: common.Path = None,
    data_dir: common.DataDir = None,
    limit: common.Limit = None,
    split: common.Split = None,
    conditions: common.Conditions = None,
    rate: common.Rate = None,
    arms: common.Arms = None,
    budget: common.Budget = None,
    instructions: common.Instructions = None,
    optimizer: common.Optimizer = None,
    corrector: common.Corrector = None,
    engine: common.EngineKind = None,
    dtype: common.Dtype = None,
    base_url: common.BaseUrl = None,
    model_id: common.ModelId = None,
    adapter: common.Adapter = None,
    seed: common.Seed = None,
    out: common.Out = None,
    name: common.Name = None,
    draws: common.Draws = None,
    target: common.Target = None,
    scope: common.Scope = None,
    holdout: common.Holdout = None,
    search_seeds: common.SearchSeeds = None,
    max_tokens_total: common.MaxTokens = None,
    gate: Gates = None,
    baseline: Baseline = None,
    set_: common.Set = None,
    profile: Profile = None,
    shard: Shard = None,
    dry_run: DryRun = False,
    no_cache: common.NoCache = False,
    json_: common.Json = False,
) -> None:
    """Repair at prompt time (RoP, arXiv 2506.03627): correct the question, then answer under a searched instruction.

    The same command resumes an interrupted run. Ends with a table and the run folder.
    """
    flags = common.overrides(
        profile_overrides(profile) + (set_ or []),
        model=model,
        task=task,
        path=path,
        data_dir=data_dir,
        limit=limit,
        split=split,
        conditions=conditions,
        rate=rate,
        arms=arms,
        budget=budget,
        instructions=instructions,
        optimizer=optimizer,
        corrector=corrector,
        engine=engine,
        dtype=dtype,
        base_url=base_url,
        model_id=model_id,
        adapter=adapter,
        seed=seed,
        out=out,
        name=name,
        draws=draws,
        target=target,
        scope=scope,
        holdout=holdout,
        search_seeds=search_seeds,
        max_tokens_total=max_tokens_total,
        gates=gate_list(gate),
        baseline=baseline,
    )
    measure(source, flags, "rop", use_cache=not no_cache, json_=json_, shard=shard, dry_run=dry_run)
