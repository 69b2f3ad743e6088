"""`llmkit rop`: searches instructions, answers in two stages, and compares with other ways to put the question."""

from __future__ import annotations

from llmkit.cli import common
from llmkit.cli.measure import Baseline, Gates, gate_list, measure


def rop(
    source: common.Source = None,
    model: common.Model = None,
    task: common.Task = None,
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
    gate: Gates = None,
    baseline: Baseline = None,
    set_: common.Set = None,
    no_cache: common.NoCache = False,
    json_: common.Json = False,
) -> None:
    """Repair at prompt time (RoP, arXiv 2506.03627): correct the question, then answer under a searched instruction.

    The same command resumes an interrupted run. Ends with a table and the run folder.
    """
    loaded = common.recipe_from(
        source,
        set_,
        model=model,
        task=task,
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
        gates=gate_list(gate),
        baseline=baseline,
    )
    measure(loaded, "rop", use_cache=not no_cache, json_=json_)
