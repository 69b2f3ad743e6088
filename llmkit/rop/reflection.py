"""The search by reflection: both instructions are evolved together by GEPA (arXiv 2507.19457).

A model reads the effects of a pair of instructions on a few train questions and rewrites both. Pairs that do better
there are scored on dev questions, and those that are best on some of them are rewritten next. In the end one written
pair meets the best hand-written one, as in every search (contest.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from random import Random
from typing import Any, cast

from llmkit.extras import need
from llmkit.prompts import render
from llmkit.recipe.schema import SearchSection
from llmkit.rop.candidates import cleaned, refusal
from llmkit.rop.contest import Contest, Decision
from llmkit.rop.instructions import (
    NO_CORRECTION,
    REFLECTION,
    Candidate,
    InstructionPair,
    Instructions,
    Search,
    Stage,
    default_instructions,
    hand_written,
)
from llmkit.rop.strategies import last, mean_score
from llmkit.rop.trajectory import WORST, PairTrial, Trajectory, sequences
from llmkit.seeds import derive
from llmkit.steps import ask_all, ask_one
from llmkit.tasks import gold_text
from llmkit.types import Ask, Message, Request, Sampling, Steps, Variant

MINIBATCH = 3
"""Train questions that one reflection sees, as in the paper."""

PATIENCE = 5
"""Reflections in a row without a new pair, after which a search gives up: each costs a minibatch of scores."""

_COST = 1.5  # of the budget for one score: three sequences, of twice the budget, which two searches would have
_STAGES: tuple[Stage, Stage] = ("correction", "guidance")
_STEPS = {"correction": "correction", "guidance": "answer"}  # a stage, in the words of the prompt


def refuse_missing(options: SearchSection) -> None:
    """Raises UsageError where a search needs a package that is not installed."""
    if options.method == "gepa" and options.budget:
        need("gepa", extra="gepa", what="rop.search.method: gepa", instead="or search with rop.search.method: ape")


def search_pairs(
    options: SearchSection,
    train: Sequence[Variant],
    dev: Sequence[Variant],
    trial: PairTrial,
    ask: Ask,
    trained_on: str,
    seed: int,
    number: int,
) -> Instructions:
    """Runs one search for a pair of instructions: chooses among the hand-written ones, evolves the best of them, and
    compares the best of its descendants with the best hand-written pair."""
    if options.budget == 0 or not dev:
        return replace(default_instructions(), trained_on=trained_on, seed=number)
    refuse_missing(options)
    tried = _Tried(trial, ask, {_name(variant): variant for variant in dev})
    for pair in _by_hand():
        tried.number_of(pair)
    hand = range(len(tried.pairs))

    def rounds(early_items: list[str], budget: int, random: Random) -> tuple[int, int | None]:
        by_hand_items = early_items[: max(1, budget // 3 // len(hand))]
        tried.measure([(pair, item) for pair in hand for item in by_hand_items][:budget])
        correcting = [pair for pair in hand if tried.pairs[pair].correction != NO_CORRECTION]
        parent = max(correcting, key=lambda pair: mean_score(tried.candidates[pair]))
        _evolve(tried, options, parent, train, early_items, budget, derive(seed, REFLECTION))
        written = [pair for pair in range(len(hand), len(tried.pairs)) if tried.candidates[pair].scores]
        return tried.scores, last(tried.candidates, written, tested=True) if written else None

    clusters = {name: variant.question.cluster_id for name, variant in tried.dev.items()}
    contest = Contest(tried.candidates, hand, clusters, tried.measure, rounds if train else None, seed)
    decision = contest.decide(_scores(options), _COST)
    correction, guidance = (_search(tried, stage, decision, options, seed) for stage in _STAGES)
    return Instructions(correction, guidance, trained_on, number)


def expected_pairs(
    options: SearchSection, train: Sequence[Variant], dev: Sequence[Variant], trial: PairTrial
) -> list[tuple[list[tuple[Steps, str]], int]]:
    """Lists what `search_pairs` asks at most, for an estimate: examples of each kind of step, each with a possible
    reply, and the number of such steps."""
    pair = _by_hand()[0]
    trials = [(trial(pair, variant), variant.text) for variant in dev]
    courses = [Trajectory(v, v.question.texts, v.texts, None, "", False, None, False, 0.0) for v in train[:MINIBATCH]]
    requests = _reflections(options, pair, courses, 0)
    reflections = [(ask_one(request), "") for request in requests.values()]
    scores = _scores(options)
    return [(trials, scores), (reflections, scores // MINIBATCH * len(reflections) if train else 0)]


def _scores(options: SearchSection) -> int:
    """Returns how often a pair may be scored on a question."""
    return int(options.budget / _COST)


def _by_hand() -> list[InstructionPair]:
    """Returns every pair of hand-written instructions, best known first, and each guidance without a correction."""
    corrections = [*hand_written("correction"), NO_CORRECTION]
    return [InstructionPair(*texts) for texts in product(corrections, hand_written("guidance"))]


def _name(variant: Variant) -> str:
    return f"{variant.question.id}:{variant.condition}"


@dataclass
class _Tried:
    """The pairs of one search, by number, and their scores on dev questions.

    `scores` counts how often a pair was scored on a question, `spent` the sequences that this took. `refused` are texts
    that no pair has, with the reasons.
    """

    trial: PairTrial
    ask: Ask
    dev: Mapping[str, Variant]
    pairs: list[InstructionPair] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    refused: dict[Stage, dict[str, str]] = field(default_factory=lambda: {stage: {} for stage in _STAGES})
    scores: int = 0
    spent: int = 0
    batches: int = 0

    def number_of(self, pair: InstructionPair) -> int:
        """Returns the number of a pair, a new one where it has none yet."""
        if pair not in self.pairs:
            self.pairs.append(pair)
            self.candidates.append(Candidate(pair.correction, "pair"))
        return self.pairs.index(pair)

    def measure(self, wanted: list[tuple[int, str]]) -> None:
        """Scores pairs on dev questions, each once."""
        missing = [(number, item) for number, item in wanted if item not in self.candidates[number].scores]
        courses = self.run([(number, self.dev[item]) for number, item in missing])
        for (number, item), course in zip(missing, courses, strict=True):
            # A failed call gets the worst score, because an item left out could make a pair look better.
            self.candidates[number].scores[item] = WORST if course is None else course.score

    def run(self, wanted: Sequence[tuple[int, Variant]]) -> list[Trajectory | None]:
        """Puts questions under pairs, all at once; returns the course of each, None where a call failed."""
        named = {f"pair/{self.batches:04}/{place:04}": one for place, one in enumerate(wanted)}
        self.batches += 1
        self.scores += len(wanted)
        self.spent += sum(sequences(self.pairs[number]) for number, _ in wanted)
        courses = dict(
            self.ask((name, self.trial(self.pairs[number], variant)) for name, (number, variant) in named.items())
        )
        return [courses.get(name) for name in named]


@dataclass
class _Adapter:
    """The three methods by which GEPA asks for scores, for their causes and for new texts. Its data are numbers: train
    questions from 0 on, dev questions after them.

    GEPA goes on where a reflection fails, and would ask again what a spent budget refused. So the first failure is kept
    in `failure`, ends the search, and is raised by it.
    """

    tried: _Tried
    options: SearchSection
    train: Sequence[Variant]
    items: Sequence[str]
    seed: int
    reflections: int = 0
    idle: int = 0
    failure: Exception | None = None

    def evaluate(self, batch: list[int], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        """Returns the scores of a pair on questions, and on train questions their courses."""
        from gepa.core.adapter import EvaluationBatch

        number = self.tried.number_of(InstructionPair(**candidate))
        nothing = [None] * len(batch)
        if batch[0] >= len(self.train):
            items = [self.items[place - len(self.train)] for place in batch]
            self.tried.measure([(number, item) for item in items])
            return EvaluationBatch(nothing, [self.tried.candidates[number].scores[item] for item in items])
        courses = self.tried.run([(number, self.train[place]) for place in batch])
        return EvaluationBatch(nothing, [WORST if course is None else course.score for course in courses], courses)

    def make_reflective_dataset(
        self, candidate: dict[str, str], evaluated: Any, components: list[str]
    ) -> dict[str, list[dict[str, Trajectory]]]:
        """Returns the courses of the questions: the same for both instructions, because each depends on the other."""
        courses = [{"course": course} for course in evaluated.trajectories if course is not None]
        return dict.fromkeys(components, courses)

    def propose_new_texts(
        self,
        candidate: dict[str, str],
        dataset: Mapping[str, Sequence[Mapping[str, Trajectory]]],
        components: list[str],
    ) -> dict[str, str]:
        """Asks for a better text of each instruction. Returns those that can be instructions; none if they make a pair
        that was tried before."""
        with self._failing():
            courses = [record["course"] for record in dataset["correction"]]
            self.reflections += 1
            requests = _reflections(
                self.options, InstructionPair(**candidate), courses, derive(self.seed, self.reflections)
            )
            names = {f"pair/reflect/{self.reflections:04}/{stage}": stage for stage in requests}
            replies = ask_all({name: requests[stage] for name, stage in names.items()}, self.tried.ask)
            examples = [course.example() for course in courses]
            texts: dict[str, str] = {}
            for name, stage in names.items():
                reply = replies.get(name)
                text = cleaned(reply.text) if reply else ""
                if not reply or not text:
                    continue
                if reason := refusal(text, reply, self.options.max_tokens, examples):
                    self.tried.refused[stage].setdefault(text, reason)
                else:
                    texts[stage] = text
            is_new = InstructionPair(**{**candidate, **texts}) not in self.tried.pairs
            self.idle = 0 if is_new else self.idle + 1
            return texts if is_new else {}

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Keeps the first exception of the block, and lets no block begin after it."""
        if self.failure:
            raise self.failure
        try:
            yield
        except Exception as error:
            self.failure = error
            raise


class _Silent:
    """A log that keeps nothing: GEPA's own prints to stdout."""

    def log(self, message: str) -> None:
        pass


def _evolve(
    tried: _Tried,
    options: SearchSection,
    parent: int,
    train: Sequence[Variant],
    early_items: Sequence[str],
    budget: int,
    seed: int,
) -> None:
    """Lets GEPA rewrite a pair and its descendants, until another attempt could take more than `budget` scores."""
    from gepa.api import optimize

    items = early_items[: max(MINIBATCH, budget // 8)]
    adapter = _Adapter(tried, options, train, items, seed)

    def spent(gepa_state: object) -> bool:
        """A pair and its child are each tried on a minibatch, and a better child on all dev questions here."""
        if adapter.failure or adapter.idle >= PATIENCE:
            return True
        return tried.scores + 2 * MINIBATCH + len(items) > budget

    if tried.scores + 2 * (MINIBATCH + len(items)) > budget:
        return
    optimize(
        tried.pairs[parent]._asdict(),
        trainset=list(range(len(train))),
        valset=list(range(len(train), len(train) + len(items))),
        adapter=cast(Any, adapter),
        module_selector="all",  # both are rewritten at once: what helps only together is never found one by one
        reflection_minibatch_size=MINIBATCH,
        perfect_score=(1 + options.noisy_share) / 2,
        stop_callbacks=spent,
        logger=_Silent(),
        run_dir=None,  # its state is a pickle; the journal resumes a search
        cache_evaluation=False,
        track_best_outputs=False,
        seed=seed,
    )
    if adapter.failure:
        raise adapter.failure


def _reflections(
    options: SearchSection, pair: InstructionPair, courses: Sequence[Trajectory], seed: int
) -> dict[Stage, Request]:
    """Returns the requests for a better text of each instruction of a pair; none without a course to learn from."""
    cases = [course.shown() for course in courses]
    requests: dict[Stage, Request] = {}
    for stage in _STAGES if cases else ():
        content = render(
            "rop/reflect-v1",
            **pair._asdict(),
            cases=cases,
            step=_STEPS[stage],
            words=options.max_tokens * 2 // 3,
        )
        sampling = Sampling(
            options.max_tokens, options.temperature, options.top_p, seed=derive(seed, "reflect", stage) % 2**31
        )
        requests[stage] = Request((Message("user", content),), sampling, purpose="propose", role="optimizer")
    return requests


def _search(tried: _Tried, stage: Stage, decision: Decision, options: SearchSection, seed: int) -> Search:
    """Returns one half of the search. The winner comes first, because its text may be in other pairs, too."""
    corrects = stage == "correction"
    other: Stage = "guidance" if corrects else "correction"
    used_items = [item for item in tried.dev if any(item in candidate.scores for candidate in tried.candidates)]

    def half(number: int, of: Stage = stage) -> str:
        return str(getattr(tried.pairs[number], of))

    def candidate(number: int) -> Candidate:
        text, scores = half(number), tried.candidates[number].scores
        origin = "no correction" if not text else "hand-written" if text in hand_written(stage) else "generated"
        in_order = {item: scores[item] for item in used_items if item in scores}
        return Candidate(text, origin, in_order, partner=half(number, other))

    def shown(variant: Variant) -> dict[str, str]:
        question = variant.question
        return {"input": variant.text, "output": question.text if corrects else gold_text(question)}

    refused = (Candidate(text, "generated", refused=reason) for text, reason in tried.refused[stage].items())
    numbers = sorted(range(len(tried.pairs)), key=lambda number: number != decision.winner)
    return Search(
        stage,
        half(decision.winner),
        (*map(candidate, numbers), *refused),
        REFLECTION,
        "execution",
        _scores(options) * (2 if corrects else 1),
        tried.spent - tried.scores if corrects else tried.scores,
        seed,
        {item: shown(tried.dev[item]) for item in used_items},
        replace(
            decision.verdict,
            challenger=None if decision.challenger is None else half(decision.challenger),
            incumbent=half(decision.incumbent),
        ),
    )
