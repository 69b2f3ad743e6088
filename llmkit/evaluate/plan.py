"""The plan of a run: all that will be asked, known and checked before any model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from llmkit import judging
from llmkit.conditions import Condition
from llmkit.engines import engine_class
from llmkit.engines.chat import ChatStyle
from llmkit.evaluate import jobs, pools
from llmkit.evaluate.jobs import Job
from llmkit.measure import by_prompt, changed, gates, limits, looks, planned, stored
from llmkit.measure.cells import CEILING, STAND
from llmkit.measure.results import Copies
from llmkit.recipe import Recipe
from llmkit.recipe.schema import ModelSection
from llmkit.rop import Arm, Instructions, arms_of, default_instructions, provenance, read_instructions, read_origin
from llmkit.rop.around import refuse_prompts
from llmkit.rop.repairs import refuse_untrained
from llmkit.runs import seals
from llmkit.tasks import OwnPrompt, Scorer, leaks, own_prompts, score_names, scorer_of
from llmkit.types import Ask, Question, Variant

Command = Literal["rop", "eval"]
Shard = tuple[int, int]


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
    prompts: list[OwnPrompt]
    """The user's own prompts. The first is the one that others are compared with."""
    similar: list[leaks.Similar]
    """Pairs of a tuning and a test question that share most of their words: reported, not refused."""
    ask: Ask = pools.nobody
    """How a model is asked for noise."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """What the file of the given instructions says of where they come from."""
    aside: Mapping[str, int] = field(default_factory=dict)
    """The number of rows of the user's own file in each other split."""
    skipped: int = 0
    """Bad rows that were left out (`data.skip_bad_lines`)."""
    asked: str = ""
    """A digest of all questions of the run, also those of other shards, and of the prompts and texts around them."""

    def remarks(self) -> list[str]:
        """Returns what a user should know before anything is asked."""
        told = self.shows()
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
        return told + changed.warnings(self._ready())

    def shows(self) -> list[str]:
        """Returns what so many questions or rows can show, in words."""
        asked, templates = len(self.questions), len({q.cluster_id for q in self.questions})
        level = self.recipe.eval.interval.level
        if pools.unlabelled(self.questions):
            return [planned.of_rows(asked, templates, level)]
        return planned.of_questions(asked, templates, level, self._compared())

    def _ready(self) -> dict[str, Copies]:
        """Returns the copies of the conditions whose noise needs no model."""
        written = {c for c, p in pools.perturbers_of(self.recipe).items() if p.most_calls}
        return changed.of_variants(v for v in self.variants if v.condition not in written)

    def _compared(self) -> int:
        """Returns how many comparisons stand in Holm's family."""
        arms = [arm.name for arm in self.arms if arm.name != CEILING]
        noisy = len({v.condition for v in self.variants if Condition.parse(v.condition).noisy})
        others = len([arm for arm in arms if arm != STAND])
        counts = {"gain": others * noisy, "drop": len(arms) * noisy, "clean_drop": others}
        return max(1, sum(counts[kind] for kind in set(self.recipe.eval.family)))

    @property
    def noise_calls(self) -> int:
        """Calls for noise that a model writes, at most; 0 where no condition asks for such."""
        each = sum(p.most_calls for p in pools.perturbers_of(self.recipe).values())
        return each * len(self.questions) * self.recipe.eval.draws

    def written(self, ask: Ask) -> Plan:
        """Returns the plan with the noise that a model writes."""
        return replace(self, variants=pools.test_variants(self.questions, self.recipe, ask), ask=ask)

    def jobs(self, found: Sequence[Instructions]) -> list[Job]:
        """Returns every answer wanted, under the instructions that were found."""
        shown = jobs.demos(self.recipe, self.needs, self.train, self.ask)
        return jobs.wanted(self.recipe, self.arms, self.variants, found, *shown, prompts=self.prompts)


def instructions_given(recipe: Recipe) -> tuple[list[Instructions], Mapping[str, Any]]:
    """Returns the instructions that a recipe names, and what their file says of where they come from; else the default
    ones."""
    file = recipe.rop.instructions
    return (read_instructions(file), read_origin(file)) if file else ([default_instructions()], {})


def tunes(recipe: Recipe, command: Command) -> bool:
    """Returns whether a run tunes on, or shows examples from, a part of the questions that it then does not measure."""
    arms = arms_of(recipe, command)
    needs = pools.needs_of(arms, recipe)
    return _searches(recipe, needs) or bool(needs & {"examples", "shots"})


def _searches(recipe: Recipe, needs: frozenset[str]) -> bool:
    wanted = needs & {"correction", "guidance"} and not recipe.rop.instructions
    return bool(wanted) and recipe.rop.search.budget > 0


def plan(recipe: Recipe, command: Command, shard: Shard | None = None) -> Plan:
    """Loads, perturbs and checks. UsageError or DataError for anything that would stop the run later.

    A shard, part i of n from 1, asks every n-th question.
    """
    arms = arms_of(recipe, command)
    scorer = scorer_of(recipe)
    engine_class(ModelSection(), recipe.engine)  # only its name is looked up: an adapter may have to be downloaded
    needs = pools.needs_of(arms, recipe)
    searches = _searches(recipe, needs)
    file, (given, origin) = recipe.rop.instructions, instructions_given(recipe)
    pools.refuse_hidden(recipe, searches)
    refuse_untrained(arms, recipe)
    questions = pools.test_questions(recipe)
    pools.refuse_sampling(arms, questions, recipe)
    pools.refuse_unlabelled(questions, arms, searches)
    judging.refuse(recipe, unlabelled=pools.unlabelled(questions))
    prompts = own_prompts(recipe)
    refuse_prompts(prompts, questions, arms, recipe)
    asked_here = questions[shard[0] - 1 :: shard[1]] if shard else questions
    variants = pools.test_variants(asked_here, recipe, pools.nobody)
    pools.refuse_unchanged(variants, questions, recipe)
    asked = list(dict.fromkeys(v.condition for v in variants))
    # What would fail at the end, after every call is paid for, is tried now: the baseline's journal and the gates.
    stored.check(recipe)
    looks.refuse(recipe.eval, shard)
    unlabelled = pools.unlabelled(questions)
    judged = by_prompt.validate(
        recipe, [arm.name for arm in arms], asked, unlabelled=unlabelled, scores=score_names(scorer, questions)
    )
    limits.refuse_idle(judged)
    level = looks.final_level(questions, recipe.eval, recipe.seed)
    gates.refuse_hopeless(judged, len(questions), level, len({q.cluster_id for q in questions}))
    train, dev = pools.tuning_questions(recipe, questions) if searches or needs & {"examples", "shots"} else ([], [])
    # Against all questions, not only those of this shard: a leak anywhere spoils the run that the shards make up.
    tuned = provenance.tuned_on(file, origin, given) if file else []
    provenance.refuse_tuned_on(file or "", tuned, questions)
    similar = leaks.near_duplicates(train + dev + tuned, questions)
    around = [given, prompts, train, ChatStyle.of(recipe.model).system]
    asked_of_all = seals.digest_of([*around, *questions]) if shard else ""
    made = Plan(recipe, arms, scorer, needs, asked_here, variants, train, dev, given, searches, prompts, similar)
    return replace(made, origin=origin, aside=questions.aside, skipped=questions.skipped, asked=asked_of_all)
