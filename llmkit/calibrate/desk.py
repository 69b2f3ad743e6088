"""Asks the models of a calibration: engines, cache, journals and budget, opened once for all of its steps."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.calibrate.plan import Plan
from llmkit.engines import ResponseCache, engine_class, may_cache
from llmkit.engines.chat import ChatStyle
from llmkit.evaluate.jobs import Job
from llmkit.evaluate.journal import search_row
from llmkit.evaluate.run import answer
from llmkit.files import text_digest
from llmkit.measure.texts import Keeper
from llmkit.recipe import Loaded, digest, to_yaml
from llmkit.repair.document import AskedModel
from llmkit.runs import Progress, Run, RunFolder, Runner, names, terminable
from llmkit.runs.generations import Generations, IfChanged
from llmkit.runs.replies import KnownReplies, tokens_asked
from llmkit.runs.roles import are_local, dtype_of, engines_of
from llmkit.runs.samples import Sample
from llmkit.types import Steps

CHOICE = "choice"
"""The folder, within that of a calibration, with the noisy copies: `llmkit label` must not ask about those."""


@dataclass
class Desk:
    """The opened engines and folders of one calibration. `folder` holds the answers to the rows on which the gate
    fires, as a run that can be labelled, and `choice` those to noisy copies."""

    plan: Plan
    folder: RunFolder
    choice: RunFolder
    runner: Runner
    quiet: bool

    def samples(self, jobs: Iterable[Job], folder: RunFolder) -> list[Sample]:
        """Returns the answers, in the order of the jobs: those in the journal of `folder`, and the rest by asking."""
        keeper = Keeper(self.plan.recipe.output.texts)
        return answer(self.plan.scorer, list(jobs), self.runner, folder, self.runner.engines, keeper, self.quiet)

    def model(self) -> AskedModel:
        """Returns the model that answered."""
        return AskedModel.of(self.runner.engine("answerer").identity)

    def scores(self, jobs: Sequence[tuple[str, Steps]], label: str) -> list[Any]:
        """Returns the scores of detectors, in the order of the jobs. Raises the EngineError of a call that failed."""
        scores: dict[object, Any] = {}
        with Progress(label, len(jobs), quiet=self.quiet) as self.runner.progress:
            for done in self.runner.run(jobs):
                if done.calls:
                    self.choice.append(search_row(str(done.key), done.calls, done.error))
                if done.error:
                    raise done.error
                scores[done.key] = done.result
        return [scores[name] for name, _ in jobs]


@contextmanager
def opened(loaded: Loaded, plan: Plan, *, use_cache: bool, quiet: bool, if_changed: IfChanged) -> Generator[Desk]:
    """Opens engines and folders, and closes them after the block."""
    recipe = plan.recipe
    with ExitStack() as stack:
        stack.enter_context(terminable())
        engines = engines_of(recipe, stack)
        name, code = _names(plan)
        folder = stack.enter_context(
            RunFolder.open(recipe.output.dir, name, code, recipe=loaded.text, resolved=to_yaml(recipe))
        )
        choice = stack.enter_context(
            RunFolder.open(folder.path, CHOICE, code, recipe=loaded.text, resolved=to_yaml(recipe))
        )
        folder.write_json(
            names.FACTS,
            {
                "command": "calibrate",
                "engine": engine_class(recipe.model, recipe.engine).kind,
                "dtype": dtype_of(engines["answerer"]),
                "system_prompt": ChatStyle.of(recipe.model).system,
            },
        )
        local = are_local(engines)
        for run_folder in (choice, folder):
            generations = Generations(run_folder, if_changed)
            if if_changed == "anew" and any(run_folder.entries()):
                generations.begin()
            if not local:
                engines = generations.watch(engines)
                # A finished calibration asks nothing, so nothing else would notice that its model is gone.
                if Run(run_folder.path).state == "finished":
                    generations.confirm(engines)
        cached = use_cache and may_cache(recipe.engine)
        cache = stack.enter_context(ResponseCache()) if cached else None
        journals = (row for run_folder in (folder, choice) for row in run_folder.entries())
        known = KnownReplies(journals, cache, folder.place)
        runner = Runner(engines, known, budget=recipe.eval.max_tokens_total)
        runner.tokens = sum(tokens_asked(run_folder.entries(every=True)) for run_folder in (folder, choice))
        yield Desk(plan, folder, choice, runner, quiet)


def _names(plan: Plan) -> tuple[str, str]:
    """Returns name and digest of the folder. The limit is left out: another one finds the same answers."""
    recipe, claim = plan.recipe, plan.claim
    rows = claim.clean or recipe.data.path or "rows"
    name = recipe.output.name or f"calibrate-{Path(rows).stem}"
    decides = "\n".join((claim.clean or "", *plan.chains, "", *plan.detectors))
    code = digest(recipe, "model", "engine", "data", "prompts", "perturb", "rop", "eval")
    return name, text_digest(f"{code}\n{decides}")[:12]
