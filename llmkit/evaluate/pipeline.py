"""One run, from recipe to metrics: search instructions, ask every arm every variant, score, measure, write."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from llmkit.engines import Engine, ResponseCache, engine_kind, open_engine
from llmkit.engines.chat import ChatStyle
from llmkit.errors import Incomplete, UsageError
from llmkit.evaluate import changed, conditions, correction, gates, jobs, limits, missing, noise, provenance, report
from llmkit.evaluate.cells import STAND, is_noisy
from llmkit.evaluate.gates import GateResult
from llmkit.evaluate.generations import Generations, IfChanged, joined, judged
from llmkit.evaluate.jobs import ALL_BUT, Job
from llmkit.evaluate.journal import KnownReplies, Row, answers, outcome_row, search_row, tokens_asked
from llmkit.evaluate.metrics import CEILING, metrics
from llmkit.evaluate.samples import Sample, facts_of, outcomes, read_samples, system_prompt_of
from llmkit.evaluate.statistics import clusters_needed, minimum_detectable_effect, worth
from llmkit.perturb.spec import names
from llmkit.recipe import Loaded, Recipe, digest, to_yaml
from llmkit.recipe.schema import ModelSection
from llmkit.rop import Arm, Instructions, default_instructions, read, read_origin, search_both, to_json
from llmkit.rop.instructions import POOLED
from llmkit.runs import Progress, RunFolder, Runner, terminable
from llmkit.tasks import SCORERS, Scorer
from llmkit.types import Ask, Question, Role, Steps, Variant

Command = Literal["rop", "eval"]
Shard = tuple[int, int]
ROLES: tuple[Role, ...] = ("answerer", "optimizer", "corrector")


@dataclass(frozen=True)
class Result:
    """A finished run: where it is, what came out, and how many calls a model had to answer (0 where all was known).

    Of one shard there are no metrics: they come with `runs merge`.
    """

    folder: Path
    samples: list[Sample]
    metrics: dict[str, Any]
    instructions: list[Instructions]
    gates: list[GateResult]
    model_calls: int
    tokens: int = 0
    """Tokens used by asking: in this start and earlier ones, and, with several sets, for those before this one."""


@dataclass(frozen=True)
class Plan:
    """All that a run will do, before any model is asked."""

    recipe: Recipe
    arms: list[type[Arm]]
    scorer: Scorer
    needs: frozenset[str]
    questions: list[Question]
    variants: list[Variant]
    train: list[Question]
    dev: list[Question]
    given: list[Instructions]
    searches: bool
    similar: list[conditions.Similar]
    """Pairs of a tuning and a test question that share most of their words: reported, not refused."""
    ask: Ask = conditions.nobody
    """How a model is asked for noise."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """What the file of the given instructions says of where they come from."""
    aside: Mapping[str, int] = field(default_factory=dict)
    """The number of rows of the user's own file in each other split."""
    skipped: int = 0
    """Bad rows that were left out (`data.skip_bad_lines`)."""

    def remarks(self) -> list[str]:
        """What a user should know before anything is asked."""
        asked, templates = len(self.questions), len({q.cluster_id for q in self.questions})
        lone, alpha = templates == asked, 1 - self.recipe.eval.interval.level
        size = worth(asked, templates)
        effect = minimum_detectable_effect(size, alpha=alpha, clusters=None if lone else templates)
        named, compared = f"{size} independent questions", self._compared()
        if not lone:
            named = f"{asked} questions from {templates} templates, worth about {named},"
        what = "questions" if lone else "templates"
        told = [
            f"{named} are too few to show any gain: that takes {clusters_needed(1, alpha)} {what}"
            if effect is None
            else f"{named} show a gain of {effect:.3f} or more in four of five such runs"
        ]
        if templates < (most := clusters_needed(compared, alpha)) and compared > 1:
            told.append(f"none of {compared} comparisons can be significant after Holm: that takes {most} {what}")
        if self.aside:
            data = self.recipe.data
            others = " and ".join(f"{count} in `{split}`" for split, count in sorted(self.aside.items()))
            told.append(
                f"{data.path}: rows of its {data.split} split are asked; set aside are {others} (data.split: all asks "
                "every row)"
            )
        if self.skipped:
            told.append(f"bad rows left out: {self.skipped}")
        if self.similar:
            shown = ", ".join(f"{s.tuning} ~ {s.test} ({s.jaccard:.2f})" for s in self.similar[:3])
            told.append(f"{len(self.similar)} tuning questions share most words with a test question: {shown}")
        return told + changed.warnings({c: copies.row() for c, copies in self._ready().items()})

    def _ready(self) -> dict[str, changed.Copies]:
        """The copies of the conditions whose noise needs no model."""
        written = {c for c, p in conditions.perturbers_of(self.recipe).items() if p.most_calls}
        return changed.of_variants(v for v in self.variants if v.condition not in written)

    def _compared(self) -> int:
        """Returns how many comparisons stand in Holm's family."""
        arms = [arm.name for arm in self.arms if arm.name != CEILING]
        noisy = len({v.condition for v in self.variants if is_noisy(v.condition)})
        others = len([arm for arm in arms if arm != STAND])
        counts = {"gain": others * noisy, "drop": len(arms) * noisy, "clean_drop": others}
        return max(1, sum(counts[kind] for kind in set(self.recipe.eval.family)))

    @property
    def noise_calls(self) -> int:
        """Calls for noise that a model writes, at most; 0 where no condition asks for such."""
        each = sum(p.most_calls for p in conditions.perturbers_of(self.recipe).values())
        return each * len(self.questions) * self.recipe.eval.draws

    def written(self, ask: Ask) -> Plan:
        """With the noise that a model writes."""
        return replace(self, variants=conditions.test_variants(self.questions, self.recipe, ask), ask=ask)

    def jobs(self, found: Sequence[Instructions]) -> list[Job]:
        """Every answer wanted, under the instructions that were found."""
        shown = jobs.demos(self.recipe, self.needs, self.train, self.ask)
        return jobs.wanted(self.recipe, self.arms, self.variants, found, *shown)


def plan(recipe: Recipe, command: Command, shard: Shard | None = None) -> Plan:
    """Loads, perturbs and checks. UsageError or DataError for anything that would stop the run later.

    A shard, part i of n from 1, asks every n-th question.
    """
    arms = conditions.arms_of(recipe.rop.arms if command == "rop" else recipe.eval.arms)
    scorer = SCORERS[recipe.eval.scorer]()
    needs = conditions.needs_of(arms, recipe)
    wanted = needs & {"correction", "guidance"} and not recipe.rop.instructions
    searches = bool(wanted) and recipe.rop.search.budget > 0
    file = recipe.rop.instructions
    given, origin = (read(file), read_origin(file)) if file else ([default_instructions()], {})
    questions = conditions.test_questions(recipe)
    conditions.refuse_sampling(arms, questions, recipe)
    asked_here = questions[shard[0] - 1 :: shard[1]] if shard else questions
    variants = conditions.test_variants(asked_here, recipe, conditions.nobody)
    conditions.refuse_unchanged(variants, questions, recipe)
    asked = list(dict.fromkeys(v.condition for v in variants))
    if recipe.eval.baseline:
        read_samples(recipe.eval.baseline)
    gates.validate(recipe.eval.gates, [a.name for a in arms], asked, baseline=bool(recipe.eval.baseline))
    limits.refuse_idle(recipe.eval.gates)
    gates.refuse_hopeless(
        recipe.eval.gates, len(questions), recipe.eval.interval.level, len({q.cluster_id for q in questions})
    )
    train, dev = (
        conditions.tuning_questions(recipe, questions) if searches or needs & {"examples", "shots"} else ([], [])
    )
    tuned = provenance.tuned_on(file, origin, given) if file else []
    provenance.refuse_tuned_on(file or "", tuned, questions)
    similar = conditions.near_duplicates(train + dev + tuned, questions)
    made = Plan(recipe, arms, scorer, needs, asked_here, variants, train, dev, given, searches, similar)
    return replace(made, origin=origin, aside=questions.aside, skipped=questions.skipped)


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
    planned = plan(loaded.recipe, command, shard)
    if shard and planned.searches:
        raise UsageError(
            "shards of a run must not search instructions each for themselves",
            "search once in a small run, and give its instructions.json to every shard with --instructions",
        )
    if not quiet:
        print(*planned.remarks(), sep="\n", file=sys.stderr)
    with ExitStack() as stack:
        stack.enter_context(terminable())
        engines = _engines(loaded.recipe, stack)
        if not quiet and (remark := _batch_noise(loaded.recipe, engines)):
            print(remark, file=sys.stderr)
        system = ChatStyle.of(loaded.recipe.model).system
        dtype = _dtype(loaded.recipe, engines)
        folder = stack.enter_context(_folder(loaded, command, shard, planned, system, dtype))
        cache = stack.enter_context(ResponseCache()) if use_cache else None
        generations = Generations(folder, if_changed)
        if if_changed == "anew" and any(folder.entries()):
            generations.begin()
        if engine_kind(loaded.recipe.model, loaded.recipe.engine) == "openai":
            engines = generations.watch(engines)
            if loaded.recipe.eval.gates and (folder.path / "metrics.json").is_file():
                generations.confirm(engines)
        rows = list(folder.entries())
        known = KnownReplies(rows, cache, folder.place)
        runner = Runner(engines, known, budget=loaded.recipe.eval.max_tokens_total)
        runner.tokens = tokens + tokens_asked(folder.entries(every=True))
        if planned.noise_calls:
            with Progress("writing noise", quiet=quiet) as runner.progress:
                planned = planned.written(noise.asked(rows, runner, folder))
        found = _instructions(planned, runner, folder, quiet)
        samples = _answer(planned, planned.jobs(found), rows, runner, folder, engines, quiet)
        if shard:
            missing.refuse_all_failed(missing.failures(samples))
            return Result(folder.path, samples, {}, found, [], runner.asked, runner.tokens)
        measured, verdicts = measure(loaded.recipe, samples, folder)
        return Result(folder.path, samples, measured, found, verdicts, runner.asked, runner.tokens)


def merge(loaded: Loaded, command: Command, shards: Sequence[Path]) -> Result:
    """One run from the folders of its shards, as if it had never been cut. Incomplete where an answer is missing."""
    planned = plan(loaded.recipe, command)
    with ExitStack() as stack:
        system, dtype = system_prompt_of(shards[0]), facts_of(shards[0]).get("dtype")
        folder = stack.enter_context(_folder(loaded, command, None, planned, system, dtype))
        joined(shards, folder)
        known = {row.get("key") for row in folder.entries() if row.get("error") is None}
        for shard in shards:
            rows = list(RunFolder(shard).entries())
            noisy = [row for row in rows if row.get("kind") == "noise" and row["error"] is None]
            for row in [*noisy, *finished(rows).values()]:
                if row["key"] not in known:
                    known.add(row["key"])
                    folder.append(row)
        planned = planned.written(noise.known(folder.entries()))
        found = planned.given
        _write_instructions(found, planned, folder, None)
        wanted = planned.jobs(found)
        rows = finished(folder.entries())
        missing = [job.key for job in wanted if job.key not in rows or not answers(rows[job.key], job, None)]
        if missing:
            raise Incomplete(
                f"{len(missing)} of {len(wanted)} answers are in none of the shards, the first is {missing[0]}",
                "run the shard that lacks them again: it goes on where it stopped",
            )
        ordered = [Sample.from_row(rows[job.key]) for job in wanted]
        measured, verdicts = measure(loaded.recipe, ordered, folder)
        return Result(folder.path, ordered, measured, found, verdicts, 0)


def finished(rows: Iterable[Row]) -> dict[str, Row]:
    """The outcomes of a journal by key, without failed ones, which are asked again."""
    return outcomes(r for r in rows if r.get("error") is None)


def _instructions(planned: Plan, runner: Runner, folder: RunFolder, quiet: bool) -> list[Instructions]:
    """The instructions given, or found by a search whose every call is journalled."""
    found = planned.given
    if planned.searches:

        def ask(jobs: Iterable[tuple[str, Steps]]) -> Iterator[tuple[str, Any]]:
            for done in runner.run(jobs):
                folder.append(search_row(done.key, done.calls, done.error))
                yield done.key, None if done.error else done.result

        with Progress("searching instructions", quiet=quiet) as runner.progress:
            found = _search(planned, ask)
    # Who a server is cannot be known without calling it; the search has called it.
    local = engine_kind(planned.recipe.model, planned.recipe.engine) != "openai"
    _write_instructions(found, planned, folder, runner.engines if local or planned.searches else None)
    return found


def _write_instructions(
    found: list[Instructions], planned: Plan, folder: RunFolder, engines: Mapping[Role, Engine] | None
) -> None:
    """instructions.json: those of an earlier run keep what is known of them, beside who uses them now."""
    recipe, run = planned.recipe, folder.path.name
    if recipe.rop.instructions:
        told = provenance.of_use(planned.origin, recipe, run)
    else:
        pools = (planned.train, planned.dev) if planned.searches else ([], [])
        told = provenance.of_search(recipe, run, *pools, engines)
    folder.write_json("instructions.json", to_json(found, told))


def _answer(
    planned: Plan,
    wanted: Sequence[Job],
    rows: Sequence[Row],
    runner: Runner,
    folder: RunFolder,
    engines: Mapping[Role, Engine],
    quiet: bool,
) -> list[Sample]:
    """Asks what the journal does not hold yet, and journals each outcome as it comes."""
    # Who a server is cannot be known without calling it, and a run that is finished must not need it.
    local = None if engine_kind(planned.recipe.model, planned.recipe.engine) == "openai" else engines
    jobs_by_key = {job.key: job for job in wanted}
    known = {
        row["key"]: Sample.from_row(row)
        for row in finished(rows).values()
        if (job := jobs_by_key.get(row["key"])) and answers(row, job, local)
    }
    missing = {key: job for key, job in jobs_by_key.items() if key not in known}
    with Progress("answering", len(missing), quiet=quiet) as runner.progress:
        # What has to wait for a correction begins first, or the engine would end with a batch of these alone.
        order = sorted(missing, key=lambda key: "correction" not in missing[key].arm.needs)
        for done in runner.run((key, missing[key].steps()) for key in order):
            row = outcome_row(missing[done.key], done, planned.scorer)
            folder.append(row)
            known[done.key] = Sample.from_row(row)
    return [known[job.key] for job in wanted]


def measure(recipe: Recipe, samples: list[Sample], folder: RunFolder) -> tuple[dict[str, Any], list[GateResult]]:
    """Metrics, gates and report, written. EngineError where not one answer came."""
    failed = missing.failures(samples)
    missing.refuse_all_failed(failed)
    stored = list(read_samples(recipe.eval.baseline)) if recipe.eval.baseline else None
    facts = facts_of(folder.path)
    measured = metrics(samples, recipe.eval, recipe.seed, stored)
    correction.mark(measured, samples)
    measured["engine"] = {"kind": facts.get("engine"), "dtype": facts.get("dtype")}
    measured["failed"] = failed

    def again(filled: Sequence[Sample], baseline: Sequence[Sample] | None) -> dict[str, Any]:
        return metrics(filled, recipe.eval, recipe.seed, baseline)

    verdicts = judged(missing.decide(recipe.eval.gates, measured, samples, stored, again), folder.path)
    measured["gates"] = [v.row() for v in verdicts]
    folder.write_json("metrics.json", measured)
    report.write(folder.path, samples, measured, verdicts)
    return measured, verdicts


def _folder(
    loaded: Loaded, command: Command, shard: Shard | None, planned: Plan, system: str | None, dtype: str | None
) -> RunFolder:
    """The run's folder, named after the task and everything that can change its answers.

    `system` is the text that the engine puts before every conversation: the file it came from may change. `dtype` is
    what `engine.dtype: auto` came to on this machine.
    """
    recipe = loaded.recipe
    task = recipe.data.task or Path(recipe.data.path or "questions").stem
    name = recipe.output.name or f"{command}-{task}"
    code = digest(recipe, "model", "engine", "data", "perturb", "rop", "eval")
    if shard:
        code += f".{shard[0]}of{shard[1]}"
    folder = RunFolder.open(recipe.output.dir, name, code, recipe=loaded.text, resolved=to_yaml(recipe))
    similar = [asdict(pair) for pair in planned.similar]
    facts = {"command": command, "engine": engine_kind(recipe.model, recipe.engine), "shard": shard and list(shard)}
    facts |= {"dtype": dtype, "set_aside": dict(planned.aside)}
    folder.write_json("run.json", {**facts, "system_prompt": system, "near_duplicates": similar})
    return folder


def _engines(recipe: Recipe, stack: ExitStack) -> dict[Role, Engine]:
    """The engine of each role; roles with the same model share one."""
    opened: dict[str | None, Engine] = {}
    for model in (model_of(recipe, role) for role in ROLES):
        if model.path not in opened:
            opened[model.path] = stack.enter_context(closing(open_engine(model, recipe.engine)))
    return {role: opened[model_of(recipe, role).path] for role in ROLES}


def _dtype(recipe: Recipe, engines: Mapping[Role, Engine]) -> str | None:
    """Returns what the answering model computes in; None for a server, which does not say."""
    if engine_kind(recipe.model, recipe.engine) == "openai":
        return None
    return engines["answerer"].identity.dtype


def model_of(recipe: Recipe, role: Role) -> ModelSection:
    """The model of a role. One of its own is taken plain: revision, adapter, chat template and system prompt of the
    recipe's `model` are the answering model's."""
    own = {"optimizer": recipe.rop.optimizer, "corrector": recipe.rop.corrector}.get(role)
    return recipe.model if own in (None, recipe.model.path) else ModelSection(path=own)


def _batch_noise(recipe: Recipe, engines: Mapping[Role, Engine]) -> str | None:
    """That answers depend on what else is in a batch, where the engine's do and the run does not measure it."""
    if recipe.eval.replicate_clean or recipe.engine.batch_invariant:
        return None
    if engine_kind(recipe.model, recipe.engine) == "openai":
        what = "a server's answers may depend on what else it is asked"
    elif (dtype := _dtype(recipe, engines)) in ("bfloat16", "float16"):
        what = f"in {dtype} answers depend a little on what else is in the batch"
    else:
        return None
    return f"{what}: eval.replicate_clean=true would measure this noise floor"


def _search(planned: Plan, ask: Ask) -> list[Instructions]:
    """One search for each search seed and each set of noise kinds that the scope or the held-out scheme asks for."""
    recipe = planned.recipe
    kinds = names(recipe.perturb.conditions)
    if recipe.rop.holdout == "one-out":
        sets = {f"{ALL_BUT}{kind}": [k for k in kinds if k != kind] for kind in kinds}
    elif recipe.rop.scope == "per_type":
        sets = {kind: [kind] for kind in kinds}
    else:
        sets = {POOLED: kinds}
    found = []
    for name, chosen in sets.items():
        pools = conditions.noisy_pools(planned.train, planned.dev, chosen, recipe, planned.ask)
        for number in range(recipe.rop.search_seeds):

            def named(jobs: Iterable[tuple[str, Steps]], prefix: str = f"{name}/{number}") -> Iterator[tuple[str, Any]]:
                for key, value in ask((f"{prefix}/{key}", steps) for key, steps in jobs):
                    yield key.removeprefix(f"{prefix}/"), value

            order = {"trained_on": name, "seed": recipe.seed, "number": number}
            likelihood = recipe.eval.answer == "likelihood"
            found.append(search_both(recipe.rop, pools, named, planned.scorer, **order, likelihood=likelihood))
    return found
