"""One run, from recipe to metrics: search instructions, ask every arm every variant, score, measure, write."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmkit import judging
from llmkit.engines import Engine, ResponseCache, engine_class, may_cache
from llmkit.engines.chat import ChatStyle
from llmkit.errors import UsageError
from llmkit.evaluate import instructions, noise
from llmkit.evaluate.conclusion import conclude, stops
from llmkit.evaluate.jobs import Job
from llmkit.evaluate.journal import JournalRow, answers, outcome_row
from llmkit.evaluate.plan import Command, Plan, Shard, plan
from llmkit.evaluate.pools import unlabelled
from llmkit.measure import looks, missing
from llmkit.measure.results import GateResult, Metrics
from llmkit.measure.texts import Keeper
from llmkit.parsing import JsonObject
from llmkit.recipe import Loaded, code_in_files, digest, refuse, to_yaml
from llmkit.rop import Instructions, gated
from llmkit.runs import Progress, Run, RunFolder, Runner, names, seals, terminable
from llmkit.runs.generations import Generations, IfChanged
from llmkit.runs.journal import outcomes
from llmkit.runs.replies import KnownReplies, tokens_asked
from llmkit.runs.roles import are_local, batch_noise, dtype_of, engines_of
from llmkit.runs.samples import Sample
from llmkit.tasks import Scorer
from llmkit.types import Role


@dataclass(frozen=True)
class Result:
    """A finished run: where it is, what came out, and how many calls a model had to answer (0 where all was known).

    Of one shard there are no metrics: they come with `runs merge`.
    """

    folder: Path
    samples: list[Sample]
    metrics: Metrics | None
    instructions: list[Instructions]
    gates: list[GateResult]
    model_calls: int
    tokens: int = 0
    """Tokens used by asking: in this start and earlier ones, and, with several sets, for those before this one."""


def run(
    loaded: Loaded,
    command: Command,
    *,
    use_cache: bool = True,
    quiet: bool = False,
    shard: Shard | None = None,
    tokens: int = 0,
    if_changed: IfChanged = "stop",
) -> Result:
    """Runs, or resumes, what the recipe asks for. Incomplete where it had to stop early; all finished is kept.

    `tokens` were used for other sets under the same budget. `if_changed` says what happens where a server's model is
    another one than before; `anew` begins anew in any case. A finished run with gates does so by itself.
    """
    if faults := code_in_files(loaded):
        raise refuse(faults)
    planned = plan(loaded.recipe, command, shard)
    if shard and planned.searches:
        raise UsageError(
            "shards of a run must not search instructions each for themselves",
            "search once in a small run, and give its instructions.json to every shard with --instructions",
        )
    # Said before any model is opened: who sees that the questions are too few can still stop at no cost.
    if not quiet:
        print(*planned.remarks(), sep="\n", file=sys.stderr)
    with ExitStack() as stack:
        stack.enter_context(terminable())
        engines = engines_of(loaded.recipe, stack)
        repeated = unlabelled(planned.questions)  # such rows are asked twice, which measures the engine's own noise
        if not quiet and not repeated and (remark := batch_noise(loaded.recipe, engines["answerer"])):
            print(remark, file=sys.stderr)
        repair = gated.standing(loaded.recipe, engines["answerer"])
        if repair and not quiet:
            print(f"repair {repair}", file=sys.stderr)
        facts = facts_of(planned, repair) | {"dtype": dtype_of(engines["answerer"])}
        folder = stack.enter_context(open_folder(loaded, command, shard, facts))
        cached = use_cache and may_cache(loaded.recipe.engine)
        cache = stack.enter_context(ResponseCache()) if cached else None
        generations = Generations(folder, if_changed)
        # An empty journal holds nothing that could count no more.
        if if_changed == "anew" and any(folder.entries()):
            generations.begin()
        # Another local model has another identity, and so other cache keys. A server's may change behind its name.
        if not are_local(engines):
            engines = generations.watch(engines)
            # A finished run asks nothing, so nothing else would notice that its gates judge a model that is gone.
            if loaded.recipe.eval.gates and Run(folder.path).state == "finished":
                generations.confirm(engines)
        keeper = Keeper(loaded.recipe.output.texts)
        # The journal is read only now, because `generations` may have begun anew, and never held: it may be long.
        keeper.refuse_kept(folder.entries())
        known = KnownReplies(folder.entries(), cache, folder.place, keeps=keeper.full)
        runner = Runner(engines, known, budget=loaded.recipe.eval.max_tokens_total)
        # Earlier generations were paid for, too.
        runner.tokens = tokens + tokens_asked(folder.entries(every=True)) + judging.tokens_in(folder.path)
        # Before the instructions, because the search is tuned on noise of the same kinds.
        if planned.noise_calls:
            with Progress("writing noise", quiet=quiet) as runner.progress:
                planned = planned.written(noise.asked(folder.entries(), runner, folder))
        found = instructions.settle(planned, runner, folder, quiet)
        jobs, asked = planned.jobs(found), dict[str, Sample]()
        # One look, at all questions, unless the recipe wants more (`eval.looks`).
        for look in looks.schedule(planned.questions, loaded.recipe.eval, loaded.recipe.seed):
            new_jobs = [job for job in jobs if job.variant.question.cluster_id in look.clusters]
            new = answer(planned.scorer, new_jobs, runner, folder, engines, keeper, quiet)
            asked |= zip((job.key for job in new_jobs), new, strict=True)
            answered = [asked[job.key] for job in jobs if job.key in asked]
            samples, runner.tokens = judging.judged(
                loaded.recipe, answered, folder.path,
                use_cache=use_cache, cache=cache, quiet=quiet, tokens=runner.tokens,
            )  # fmt: skip
            if look.last or stops(loaded.recipe, samples, folder, look.looked, quiet):
                break
        if len(served := runner.served()) > 1:
            shares = {
                address: {"requests": s.requests, "per_second": round(s.rate, 2)} for address, s in served.items()
            }
            folder.write_json(names.SERVERS, shares)
        # A part of the questions would be read as the whole: a shard gets no metrics and no verdicts.
        if shard:
            failed = missing.failures(samples)
            missing.refuse_all_failed(failed)
            if not failed:
                keys = [sample.key for sample in samples]
                asks = seals.Asks(command, digest(loaded.recipe), planned.asked, len(planned.questions))
                seals.write(folder, shard, asks, keys)
            return Result(folder.path, samples, None, found, [], runner.asked, runner.tokens)
        del planned, jobs, new_jobs  # their variants take as much room as the answers
        measured = conclude(loaded.recipe, samples, folder, look.looked)
        gates = list(measured.gates)
        return Result(folder.path, samples, measured, found, gates, runner.asked, runner.tokens)


def finished(rows: Iterable[JournalRow]) -> dict[str, JournalRow]:
    """Returns the outcomes of a journal by key, without failed ones, which are asked again."""
    return outcomes(r for r in rows if r.get("error") is None)


def answer(
    scorer: Scorer,
    wanted: Sequence[Job],
    runner: Runner,
    folder: RunFolder,
    engines: Mapping[Role, Engine],
    keeper: Keeper,
    quiet: bool,
) -> list[Sample]:
    """Asks what the journal does not hold yet, and journals each outcome as it comes."""
    # A server's identity is known only after a request, and a run that is finished must not need its server.
    local = engines if are_local(engines) else None
    jobs_by_key = {job.key: job for job in wanted}
    known = {
        row["key"]: _kept(row)
        for row in Run(folder.path).outcomes(failed=False)
        if (job := jobs_by_key.get(row["key"])) and answers(row, job, local, keeper)
    }
    missing = {key: job for key, job in jobs_by_key.items() if key not in known}
    with Progress("answering", len(missing), quiet=quiet, served=runner.served) as runner.progress:
        # What has to wait for a correction begins first, or the engine would end with a batch of these alone.
        order = sorted(missing, key=lambda key: "correction" not in missing[key].arm.needs)
        for done in runner.run((key, missing[key].steps()) for key in order):
            key = str(done.key)
            row = keeper.kept(outcome_row(missing.pop(key), done, scorer))
            folder.append(row)
            known[key] = _kept(row)
    # In the order of the jobs, so that no result depends on the order in which replies came.
    return [known[job.key] for job in wanted]


def _kept(row: JournalRow) -> Sample:
    """Returns an answer as it stays in memory: logs without labels are long, and only their replies are looked at."""
    sample = Sample.from_row(row)
    return sample.lean() if sample.outcome.gold is None else sample


def facts_of(planned: Plan, repair: str | None) -> JsonObject:
    """Returns the content of run.json that a plan knows. `repair` is what is guaranteed of the repair here.

    The system prompt is the text that the engine puts before every conversation: the file it came from may change.
    """
    return {
        "set_aside": dict(planned.aside),
        "system_prompt": ChatStyle.of(planned.recipe.model).system,
        "near_duplicates": [asdict(pair) for pair in planned.similar],
        **({"repair": repair} if repair else {}),
    }


def open_folder(loaded: Loaded, command: Command, shard: Shard | None, facts: Mapping[str, Any]) -> RunFolder:
    """Opens the run's folder, named after the task and everything that can change its answers.

    `facts` are the content of run.json; `dtype` in it is what `engine.dtype: auto` came to on this machine.
    """
    recipe = loaded.recipe
    task = recipe.data.task or Path(recipe.data.path or "questions").stem
    name = recipe.output.name or f"{command}-{task}"
    # Sections that change no answer (finetune, output) are left out, so that a change in them resumes this run.
    code = digest(recipe, "model", "engine", "data", "prompts", "perturb", "rop", "eval")
    if shard:
        code += f".{shard[0]}of{shard[1]}"
    folder = RunFolder.open(recipe.output.dir, name, code, recipe=loaded.text, resolved=to_yaml(recipe))
    (folder.path / names.SEAL).unlink(missing_ok=True)  # the shard is unfinished until it has come to its end again
    engine = engine_class(recipe.model, recipe.engine).kind
    folder.write_json(names.FACTS, {"command": command, "engine": engine, "shard": shard and list(shard), **facts})
    return folder
