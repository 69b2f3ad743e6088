"""The plan of a calibration: rows, chains, detectors and noise, checked before any model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmkit.calibrate import rows
from llmkit.calibrate.harm import Definition, judgements_of
from llmkit.calibrate.rows import Part
from llmkit.conditions import POOLED
from llmkit.engines import is_application
from llmkit.errors import UsageError
from llmkit.evaluate import pools
from llmkit.evaluate.jobs import Job
from llmkit.measure import learn_then_test as ltt
from llmkit.perturb import spread_variants
from llmkit.perturb.english import is_english
from llmkit.perturb.languages import ENGLISH
from llmkit.recipe import Recipe
from llmkit.repair import CORRECTORS, DETECTORS
from llmkit.repair.base import CHAIN_MARK, chain_of
from llmkit.rop import (
    ArmContext,
    Instructions,
    arm_of,
    default_instructions,
    provenance,
    read_instructions,
    read_origin,
)
from llmkit.rop.around import refuse_prompts
from llmkit.rop.instructions import NO_CORRECTION
from llmkit.tasks import OwnPrompt, Questions, Scorer, load, normalise, own_prompts, scorer_of
from llmkit.types import Question, Variant

FAMILY = tuple(4.0 - step / 4 for step in range(13))
"""The thresholds that are tested, from strict to loose, in powers of ten: the loosest fires on one clean text in ten
for each detector. Fixed before any row is seen."""

CHOICE_ROWS = 200
"""Rows at most that a chain is chosen by, and as many that its gain is reported on."""

STAND = "stand"


@dataclass(frozen=True)
class Claim:
    """The claim that a calibration is to show, and its rows.

    `chains` are the candidates and `detectors` the gate's, by default those of `candidates` and all that ask no model.
    `clean` is a file of rows that the user vouches for; `labels` are further files of labels.
    """

    harm: float
    confidence: float = 0.95
    chains: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    clean: str | None = None
    labels: tuple[Path, ...] = ()

    def definition(self, *, judged: bool) -> Definition:
        """Returns the definition of harm; `judged` where answers or labels say what got worse. Of rows that are clean
        only, nothing is claimed for others."""
        if self.clean:
            return "worse_of_clean" if judged else "changed"
        return "worse" if judged else "changed_of_all"


@dataclass(frozen=True)
class Plan:
    """The plan of a calibration: rows, chains, detectors and prompts. `shots` are (noisy, clean) pairs of tuning rows
    that a correction shows, and `tuned` counts rows left out because the instruction was tuned on them."""

    recipe: Recipe
    claim: Claim
    definition: Definition
    parts: Mapping[Part, list[Question]]
    traffic: Sequence[Question]
    chains: tuple[str, ...]
    detectors: tuple[str, ...]
    instructions: Instructions
    provenance: Mapping[str, object]
    prompt: OwnPrompt | None
    scorer: Scorer
    lang: str
    shots: tuple[tuple[str, str], ...]
    tuned: int

    def job(self, arm: str, variant: Variant) -> Job:
        """Returns the job that puts a variant as it is (`STAND`) or through a chain."""
        recipe = self.recipe
        context = ArmContext(
            recipe.rop,
            self.instructions,
            shots=self.shots,
            likelihood=recipe.eval.answer == "likelihood",
            seed=recipe.seed,
            lang=self.lang,
            prompt=self.prompt,
        )
        return Job(arm_of(arm)(context), variant, self.instructions)

    def noisy(self, part: Part, purpose: str) -> list[Variant]:
        """Returns a noisy copy of each of at most `CHOICE_ROWS` rows, under one of the recipe's conditions in turn."""
        example_texts = {clean for _, clean in self.shots}
        rest = [row for row in self.parts[part] if row.text not in example_texts]
        sampled_rows = rows.sample(rest, CHOICE_ROWS, self.recipe.seed, purpose)
        return spread_variants(sampled_rows, self.recipe.perturb, self.recipe.seed, data_dir=self.recipe.data.data_dir)

    @property
    def unseen(self) -> list[Question]:
        """The rows to report on whose text no other part has."""
        return rows.distinct(self.parts["report"], earlier=[*self.parts["tuning"], *self.parts["calibration"]])

    @property
    def correction(self) -> str:
        """The correction instruction; "" where there is none."""
        best = self.instructions.correction.best
        return "" if best == NO_CORRECTION else best

    def remarks(self) -> list[str]:
        """Returns the remarks to print before anything is asked: the numbers of rows, and the harm that they can
        show."""
        claim, counts = self.claim, {part: len(some) for part, some in self.parts.items()}
        count, level = counts["calibration"], f"{claim.confidence:.0%}"
        needed, most = (
            ltt.rows_needed(claim.harm, claim.confidence),
            ltt.most_harms(count, claim.harm, claim.confidence),
        )
        lines = [
            f"{sum(counts.values()):,} rows, one of each cluster: {counts['tuning']:,} to choose and tune, "
            f"{count:,} to calibrate, {counts['report']:,} to report on",
            f"a limit of {claim.harm:g} at {level} needs {needed:,} rows without a harm; {count:,} may have {most}",
            "; ".join(self._chances()),
        ]
        every = [row for part in self.parts.values() for row in part]
        if copies := len(every) - len(rows.distinct(every)):
            lines.append(f"{copies:,} rows have the text of another: the limit has to hold for distinct texts as well")
        if self.tuned:
            lines.append(f"left out, because the instruction was tuned on them: {self.tuned:,} rows")
        return lines

    def _chances(self) -> list[str]:
        claim, count = self.claim, len(self.parts["calibration"])
        words = []
        for harm in (claim.harm / 5, claim.harm * 2 / 5):
            enough = ltt.rows_for_power(claim.harm, harm, claim.confidence)
            chance = ltt.power(count, claim.harm, harm, claim.confidence)
            words.append(f"at a true harm of {harm:g} their chance to show it is {chance:.2f} (.8 takes {enough:,})")
        return words


def candidates(instructions: Instructions, searched: bool) -> tuple[str, ...]:
    """Returns the chains that are compared by default, the cheapest first: with a model only where an instruction was
    found for it."""
    chains = ("fold", "fold+spell")
    return (*chains, "fold+spell+model") if searched and instructions.correction.best != NO_CORRECTION else chains


def asks(chain: str) -> bool:
    """Returns whether a corrector of a chain asks a model."""
    return any(CORRECTORS[name].asks for name in chain.split(CHAIN_MARK))


def plan(recipe: Recipe, claim: Claim) -> Plan:
    """Loads, splits and checks. UsageError or DataError for anything that would stop the calibration later."""
    _check_numbers(claim)
    _check_recipe(recipe)
    file = recipe.rop.instructions
    instruction_sets, origin = (read_instructions(file), read_origin(file)) if file else ([default_instructions()], {})
    instructions = next(
        (candidate for candidate in instruction_sets if candidate.trained_on == POOLED), instruction_sets[0]
    )
    chains = claim.chains or candidates(instructions, searched=file is not None)
    detectors = claim.detectors or tuple(name for name in DETECTORS if not DETECTORS[name].asks)
    for_english = [name for chain in chains for name in chain.split(CHAIN_MARK) if CORRECTORS[name].english]
    for_english += [name for name in detectors if DETECTORS[name].english]
    for chain in chains:
        chain_of(chain)
    arms = [arm_of(chain) for chain in chains]
    for name in detectors:
        DETECTORS[name]
    _check_model(recipe, chains, instructions)
    judgements_of(claim.labels)
    log = _load(recipe) if recipe.data.path else Questions()
    vouched = _load(recipe, claim.clean) if claim.clean else log
    tuned_on = {normalise(q.text) for q in provenance.tuned_on(file, origin, instruction_sets)} if file else set()
    used = [row for row in vouched if normalise(row.text) not in tuned_on]
    parts = rows.split(used, recipe.seed)
    _check_rows(parts, claim)
    prompts = own_prompts(recipe)
    refuse_prompts(prompts, used, arms, recipe)
    lang = recipe.perturb.lang or (ENGLISH.code if is_english((row.text for row in used), for_english) else "")
    if lang != ENGLISH.code and not claim.detectors:
        detectors = tuple(name for name in detectors if not DETECTORS[name].english)
    # Of the log itself, what fitted the scales is no traffic to compare with.
    unseen = [*parts["calibration"], *parts["report"]]
    answered = any(row.gold is not None for row in used)
    planned = Plan(
        # Gates of the run that is calibrated are about other conditions.
        recipe.model_copy(update={"eval": recipe.eval.model_copy(update={"gates": (), "baseline": None})}),
        claim,
        claim.definition(judged=answered),
        parts,
        rows.one_per_cluster(log, recipe.seed) if claim.clean else unseen,
        chains,
        detectors,
        instructions,
        origin,
        prompts[0] if prompts else None,
        scorer_of(recipe),
        lang,
        (),
        len(vouched) - len(used),
    )
    return _with_shots(planned)


def _with_shots(plan: Plan) -> Plan:
    """Takes the examples of a correction from tuning rows, which are then not measured."""
    count = plan.recipe.rop.correction_shots if any(map(asks, plan.chains)) else 0
    if not count:
        return plan
    copies = plan.noisy("tuning", "shots")
    examples = [copy for copy in copies if copy.edits][:count]
    return replace(plan, shots=tuple((copy.text, copy.question.text) for copy in examples))


def _load(recipe: Recipe, path: str | None = None) -> Questions:
    data = recipe.data if path is None else recipe.data.model_copy(update={"path": path})
    questions = load(data, seed=recipe.seed, noisy=recipe.perturb.fields)
    if any(question.divided for question in questions):
        raise UsageError(
            f"{data.path}: a row has several texts, and a repair is calibrated on one",
            "name one field that holds a text: --field NAME, without perturb.fields",
        )
    return questions


def _check_numbers(claim: Claim) -> None:
    for name, value in (("--harm", claim.harm), ("--confidence", claim.confidence)):
        if not 0 < value < 1:
            raise UsageError(f"{name} {value:g} is no share between 0 and 1", "for example --harm 0.005")


def _check_recipe(recipe: Recipe) -> None:
    if recipe.output.texts != "full":
        raise UsageError(
            f"output.texts: {recipe.output.texts} keeps no text, and a calibration compares answers again",
            "calibrate with output.texts: full; delete the run folder afterwards",
        )
    if recipe.perturb.target != "question":
        raise UsageError(f"a repair changes questions, not perturb.target: {recipe.perturb.target}")
    if len(recipe.prompts) > 1:
        raise UsageError("a repair is calibrated under one prompt, and these are several", "name one with --prompt")
    for condition, perturber in pools.perturbers_of(recipe).items():
        if perturber.most_calls:
            raise UsageError(f"`{condition}` asks a model for noise", "take conditions that need none: --conditions ec")


def _check_model(recipe: Recipe, chains: Sequence[str], instructions: Instructions) -> None:
    for chain in filter(asks, chains):
        if recipe.rop.corrector is None and is_application(recipe.engine):
            raise UsageError(
                f"`{chain}` asks a model to correct, and this recipe has an application only",
                "name the model with --corrector, or leave the chain out",
            )
        if instructions.correction.best == NO_CORRECTION:
            raise UsageError(
                f"`{chain}` asks a model to correct, and the search found that no correction is best",
                "leave the chain out, or give other instructions with --instructions",
            )


def _check_rows(parts: Mapping[Part, Sequence[Question]], claim: Claim) -> None:
    """Raises UsageError where the rows could not show the limit without a single harm."""
    needed = ltt.rows_needed(claim.harm, claim.confidence)
    count = len(rows.distinct(parts["calibration"], earlier=parts["tuning"]))
    if count >= needed and rows.distinct(parts["report"], earlier=[*parts["tuning"], *parts["calibration"]]):
        return
    least = ltt.upper(0, count, claim.confidence)
    all_rows = sum(map(len, parts.values()))
    texts = "" if count == len(parts["calibration"]) else " and text"
    raise UsageError(
        f"{all_rows:,} rows, one of each cluster{texts}, leave {count:,} to calibrate: too few to show a harm below "
        f"{claim.harm:g} at {claim.confidence:.0%}, which takes {needed:,} without a single harm",
        f"give about {round(needed / rows.SHARES['calibration']):,} rows or more; "
        f"these can show a harm of {least:.2g} at best (--harm)",
    )
