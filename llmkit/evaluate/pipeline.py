"""One run, from recipe to metrics: search instructions, ask every arm every variant, score, measure, write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from llmkit.engines import Engine, ResponseCache, open_engine
from llmkit.evaluate import compare, conditions, gates, report
from llmkit.evaluate.gates import GateResult
from llmkit.evaluate.journal import KnownReplies, outcome_row, search_row
from llmkit.evaluate.metrics import metrics
from llmkit.evaluate.samples import Sample, read_samples
from llmkit.recipe import Loaded, Recipe, digest, to_yaml
from llmkit.rop import Arm, ArmContext, Instructions, default_instructions, read, search_both, to_json
from llmkit.rop.instructions import POOLED
from llmkit.runs import Finished, Progress, RunFolder, Runner, terminable
from llmkit.tasks import extract, score
from llmkit.types import Answer, Outcome, Question, Request, Role, Steps, Usage, Variant

Command = Literal["rop", "eval"]


@dataclass(frozen=True)
class Result:
    """A finished run: where it is, what came out, and how many calls a model had to answer (0 where all was known)."""

    folder: Path
    samples: list[Sample]
    metrics: dict[str, Any]
    instructions: list[Instructions]
    gates: list[GateResult]
    model_calls: int


@dataclass(frozen=True)
class Job:
    """One variant put by one arm under one set of instructions."""

    arm: Arm
    variant: Variant
    instructions: Instructions

    @property
    def meta(self) -> dict[str, Any]:
        """What tells this answer apart beside arm and condition. Empty in the plain case: one pooled search."""
        if not self.arm.needs & {"correction", "guidance"}:
            return {}
        found = self.instructions
        meta: dict[str, Any] = {"search_seed": found.seed} if found.seed else {}
        if found.trained_on.startswith(ALL_BUT):
            meta["holdout"] = found.trained_on.removeprefix(ALL_BUT)
        return meta

    @property
    def key(self) -> str:
        v = self.variant
        found = (self.instructions.trained_on, str(self.instructions.seed)) if self.meta else ("", "")
        return "/".join((self.arm.name, *found, v.condition, str(v.draw), v.question.id))

    def steps(self) -> Steps:
        """The arm's requests; a replicate's are marked as such, so that no cache answers them with the first ones."""
        steps = self.arm.ask(self.variant)
        return _again(steps) if self.variant.condition == conditions.REPLICATE else steps


def _again(steps: Steps) -> Steps:
    def marked(request: Request) -> Request:
        return replace(request, replicate=request.replicate + 1_000_000)

    asked = next(steps)
    while True:
        try:
            replies = yield [marked(r) for r in asked] if isinstance(asked, list) else marked(asked)
            asked = steps.send(replies)
        except StopIteration as end:
            return end.value


ALL_BUT = "all but "


def run(loaded: Loaded, command: Command, *, use_cache: bool = True, quiet: bool = False) -> Result:
    """Runs, or resumes, what the recipe asks for. Incomplete where it had to stop early; all finished is kept."""
    recipe = loaded.recipe
    arms = conditions.arms_of(recipe.rop.arms if command == "rop" else recipe.eval.arms)
    needs = conditions.needs_of(arms, recipe)
    searches = bool(needs & {"correction", "guidance"}) and not recipe.rop.instructions
    given = read(recipe.rop.instructions) if recipe.rop.instructions else [default_instructions()]
    questions = conditions.test_questions(recipe)
    variants = conditions.test_variants(questions, recipe)
    asked = list(dict.fromkeys(v.condition for v in variants))
    gates.validate(recipe.eval.gates, [a.name for a in arms], asked, baseline=bool(recipe.eval.baseline))
    pools = conditions.tuning_questions(recipe, questions) if searches or needs & {"examples", "shots"} else ([], [])

    with ExitStack() as stack:
        engines = _engines(recipe, stack)
        folder = stack.enter_context(_folder(loaded, command))
        cache = stack.enter_context(ResponseCache()) if use_cache else None
        stack.enter_context(terminable())
        rows = list(folder.entries())
        runner = Runner(engines, KnownReplies(rows, cache), budget=recipe.eval.max_tokens_total)

        def ask(jobs: Iterable[tuple[str, Steps]]) -> Iterator[tuple[str, Any]]:
            for done in runner.run(jobs):
                folder.append(search_row(done.key, done.calls, done.error, engines))
                yield done.key, None if done.error else done.result

        with Progress("searching instructions", quiet=quiet or not searches) as runner.progress:
            found = _search(recipe, *pools, ask) if searches else given
        folder.write_json("instructions.json", to_json(found, {"model": recipe.model.path, "run": folder.path.name}))
        jobs = _jobs(recipe, arms, variants, found, *_demos(recipe, needs, pools[0]))
        known = {r["key"]: Sample.from_row(r) for r in rows if r["kind"] == "outcome" and r["error"] is None}
        wanted = {job.key: job for job in jobs if job.key not in known}
        with Progress("answering", len(wanted), quiet=quiet) as runner.progress:
            for done in runner.run((key, job.steps()) for key, job in wanted.items()):
                job = wanted[done.key]
                row = outcome_row(job.key, outcome_from(job, done), job.variant, done.calls, engines)
                folder.append(row)
                known[job.key] = Sample.from_row(row)
        samples = [known[job.key] for job in jobs]
        measured = metrics(samples, recipe.eval, recipe.seed)
        if recipe.eval.baseline:
            stored = list(read_samples(recipe.eval.baseline))
            measured["baseline"] = compare.against(samples, stored, recipe.eval.interval, recipe.seed)
        verdicts = gates.evaluate(recipe.eval.gates, measured)
        measured["gates"] = [v.row() for v in verdicts]
        folder.write_json("metrics.json", measured)
        report.write(folder.path, samples, measured, verdicts)
        return Result(folder.path, samples, measured, found, verdicts, runner.asked)


def _folder(loaded: Loaded, command: Command) -> RunFolder:
    """The run's folder, named after the task and everything that can change its answers."""
    recipe = loaded.recipe
    task = recipe.data.task or Path(recipe.data.path or "questions").stem
    name = recipe.output.name or f"{command}-{task}"
    stages = ("model", "engine", "data", "perturb", "rop", "eval")
    return RunFolder.open(
        recipe.output.dir, name, digest(recipe, *stages), recipe=loaded.text, resolved=to_yaml(recipe)
    )


def _engines(recipe: Recipe, stack: ExitStack) -> dict[Role, Engine]:
    """The engine of each role; roles with the same model share one."""
    opened: dict[str | None, Engine] = {}

    def engine(path: str | None) -> Engine:
        if path not in opened:
            own = path in (None, recipe.model.path)
            model = (
                recipe.model
                if own
                else recipe.model.model_copy(update={"path": path, "adapter": None, "revision": None})
            )
            opened[path] = stack.enter_context(closing(open_engine(model, recipe.engine)))
        return opened[path]

    main = recipe.model.path
    return {
        "answerer": engine(main),
        "optimizer": engine(recipe.rop.optimizer or main),
        "corrector": engine(recipe.rop.corrector or main),
    }


def _search(recipe: Recipe, train: list[Question], dev: list[Question], ask: Any) -> list[Instructions]:
    """One search for each search seed and each set of noise kinds that the scope or the held-out scheme asks for."""
    kinds = recipe.perturb.conditions
    if recipe.rop.holdout == "one-out":
        sets = {f"{ALL_BUT}{kind}": [k for k in kinds if k != kind] for kind in kinds}
    elif recipe.rop.scope == "per_type":
        sets = {kind: [kind] for kind in kinds}
    else:
        sets = {POOLED: list(kinds)}
    found = []
    for name, chosen in sets.items():
        pools = conditions.noisy_pools(train, dev, chosen, recipe)
        for number in range(recipe.rop.search_seeds):

            def named(jobs: Iterable[tuple[str, Steps]], prefix: str = f"{name}/{number}") -> Iterator[tuple[str, Any]]:
                for key, value in ask((f"{prefix}/{key}", steps) for key, steps in jobs):
                    yield key.removeprefix(f"{prefix}/"), value

            found.append(search_both(recipe.rop, pools, named, trained_on=name, seed=recipe.seed, number=number))
    return found


def _demos(recipe: Recipe, needs: frozenset[str], train: list[Question]) -> tuple[list, list]:
    """Worked examples and (noisy, clean) pairs from the train pool, where an arm shows them."""
    count = max(recipe.rop.few_shot, recipe.rop.guidance_shots)
    examples = conditions.worked_examples(train, count) if "examples" in needs else []
    if "shots" not in needs:
        return examples, []
    noisy = conditions.noisy_pools(train[: recipe.rop.correction_shots], [], recipe.perturb.conditions, recipe).train
    return examples, [(v.text, v.question.text) for v in noisy]


def _jobs(
    recipe: Recipe,
    arms: Sequence[type[Arm]],
    variants: Sequence[Variant],
    found: Sequence[Instructions],
    examples: Sequence[tuple[str, str]],
    shots: Sequence[tuple[str, str]],
) -> list[Job]:
    """Every answer that is wanted, in the order in which results are kept."""
    noise = conditions.noise_on(recipe) if recipe.perturb.target != "question" else None

    def made(cls: type[Arm], instructions: Instructions) -> Arm:
        likelihood = recipe.eval.answer == "likelihood"
        target = recipe.perturb.target
        return cls(ArmContext(recipe.rop, instructions, examples, shots, likelihood, recipe.seed, target, noise))

    jobs = []
    for cls in arms:
        searched = cls.needs & {"correction", "guidance"}
        sets = {id(i): made(cls, i) for i in (found if searched else found[:1])}
        for variant in variants:
            for instructions in fitting(found, variant) if searched else found[:1]:
                jobs.append(Job(sets[id(instructions)], variant, instructions))
    return jobs


def fitting(found: Sequence[Instructions], variant: Variant) -> list[Instructions]:
    """The instruction sets that this variant is put with: of its own kind of noise where there are such, else all.

    Clean questions have no kind: of sets for one kind each, they get the one whose guidance did best in its search.
    """
    kind = variant.condition.split("@")[0]
    own = [i for i in found if i.trained_on == kind]
    if own or all(i.trained_on == POOLED or i.trained_on.startswith(ALL_BUT) for i in found):
        return own or list(found)
    best = max(found, key=lambda i: max((c.mean or 0.0 for c in i.guidance.candidates), default=0.0)).trained_on
    return [i for i in found if i.trained_on == best]


def outcome_from(job: Job, done: Finished) -> Outcome:
    """Scores a finished job. What failed or could not be parsed is wrong, and says so."""
    variant, question = job.variant, job.variant.question
    answer: Answer | None = done.result
    parsed = extract(answer.reply.text, question) if answer else None
    return Outcome(
        question_id=question.id,
        cluster_id=question.cluster_id,
        condition=variant.condition,
        arm=job.arm.name,
        draw=variant.draw,
        parsed=parsed,
        correct=score(parsed, question),
        gold=question.gold,
        calls=len(done.calls),
        usage=sum((c.reply.usage for c in done.calls), Usage()),
        cut=bool(answer and answer.reply.finish_reason == "length"),
        corrected_text=answer.corrected_text if answer else None,
        fallback=answer.fallback if answer else None,
        error=done.error.message if done.error else None,
        meta=job.meta,
    )
