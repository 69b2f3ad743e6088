"""The view of a run: everything that is shown of it, in order. Terminal, page, Markdown and junit.xml only draw it.

`of_run` is the one function that builds it; what a table or a chart holds is decided in tables.py, details.py and
charts.py, how numbers are written in written.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.measure.cells import CEILING, NOISY, STAND
from llmkit.measure.results import GateResult, Metrics
from llmkit.report import charts, details, judged, prompts, retrieved, scored, steady, tables
from llmkit.report.browser import Browser, browser
from llmkit.report.elements import Block, Choice, Facts, Option, Section, Table, Tile, Verdict
from llmkit.report.moved import moved
from llmkit.report.notes import Notes, notes
from llmkit.report.written import difference, rate
from llmkit.runs.samples import Sample, named_apart
from llmkit.types import CLEAN


@dataclass(frozen=True, slots=True)
class View:
    """The view of a run: `summary` on one screen, `tiles`, `sections` and `browser` where there is room.

    `gates` is the last table of the summary too; `verdicts` are the same gates, and `shares` the shares of questions
    changed and of calls failed, for programs that read them.
    """

    facts: Facts
    notes: Notes
    tiles: tuple[Tile, ...]
    gates: Table | None
    verdicts: tuple[Verdict, ...]
    shares: tuple[tuple[str, str], ...]
    summary: tuple[Table, ...]
    sections: tuple[Section, ...]
    browser: Browser
    compared: bool = False
    """True where rows have no answers, so that replies are shown beside each other."""
    verdict: str = ""
    """What the gates come to, in one line."""
    moved: tuple[Table, ...] = ()
    """The answers that got worse and better since the stored run; without one, those that noise turned."""


def of_run(
    metrics: Metrics,
    facts: Facts | None = None,
    samples: Sequence[Sample] = (),
    stored: Sequence[Sample] | None = None,
) -> View:
    """Builds the view of a run from its metrics, with the verdicts of its gates in them, its facts and its answers.

    `stored` are the answers of the run that it was compared with, none where there was no such run. Without them, the
    view does not say what moved.
    """
    return View(
        facts or Facts(),
        notes(metrics),
        main_numbers(metrics),
        tables.gates(metrics.gates),
        tuple(Verdict(result.gate, result.metric, result.verdict, _measured(result)) for result in metrics.gates),
        _shares(metrics),
        summary(metrics),
        _sections(metrics),
        browser(named_apart(samples, metrics.prompt)),
        metrics.unlabelled is not None,
        verdict(metrics),
        () if stored is None else moved(_of_first(samples, metrics), _of_first(stored, metrics)),
    )


def verdict(metrics: Metrics) -> str:
    """Returns what a run's gates come to, in one line."""
    if not metrics.gates:
        return "No gates: nothing was asked of this run."
    counts = Counter(result.verdict for result in metrics.gates)
    words = {"failed": counts["fail"], "undecided": counts["undecided"], "passed": counts["pass"]}
    return f"Gates: {', '.join(f'{count} {word}' for word, count in words.items() if count)}."


def _of_first(samples: Sequence[Sample], metrics: Metrics) -> list[Sample]:
    """Returns the answers under the prompt that the metrics are about; all where their run had only one."""
    prompts = {sample.outcome.prompt for sample in samples}
    return [s for s in samples if len(prompts) < 2 or s.outcome.prompt == metrics.prompt]


def _measured(result: GateResult) -> str:
    """Returns what was measured for a gate, in words."""
    if result.value is None:
        return result.reason or "no value"
    words = f"{result.value:.4f} with interval [{result.low:.4f}, {result.high:.4f}]"
    return f"{words}; {result.reason}" if result.reason else words


def _shares(metrics: Metrics) -> tuple[tuple[str, str], ...]:
    changed = [(f"questions changed by {name}", f"{copies.share:.4f}") for name, copies in metrics.noise.items()]
    failed = [("answers failed", f"{metrics.failed.share:.4f}")] if metrics.failed else []
    return (*changed, *failed)


def summary(metrics: Metrics) -> tuple[Table, ...]:
    """Returns the tables of a run on one screen."""
    if metrics.unlabelled:
        return _summary_of_unlabelled(metrics)
    effects = tables.effects(metrics)
    declared = any(test.metric == "drop" for test in metrics.holm)  # losses that the recipe declares to be compared
    losses = declared or effects is None
    shown = [
        prompts.side_by_side(metrics),
        prompts.changes(metrics),
        prompts.since(metrics),
        tables.accuracy(metrics),
        effects,
        *(tables.losses_of(metrics, name) for name, arm in metrics.arms.items() if losses and arm.drop),
        *scored.tables(metrics),
        tables.ablation(metrics),
        retrieved.overlaps(metrics),
        retrieved.answers(metrics),
        tables.cost(metrics),
        tables.gates(metrics.gates),
    ]
    return tuple(table for table in shown if table)


def _summary_of_unlabelled(metrics: Metrics) -> tuple[Table, ...]:
    """Returns the tables of rows without answers; losses and gains where a person labelled what changed."""
    shown = [
        prompts.side_by_side(metrics),
        prompts.changes(metrics),
        prompts.since(metrics),
        steady.as_sent(metrics),
        steady.changes(metrics),
        steady.kinds(metrics),
        steady.repairs(metrics),
        *_from_labels(metrics),
        *judged.preferred(metrics),
        *scored.tables(metrics),
        retrieved.overlaps(metrics),
        retrieved.answers(metrics),
        tables.cost(metrics),
        tables.gates(metrics.gates),
    ]
    return tuple(table for table in shown if table)


def _from_labels(metrics: Metrics) -> list[Table | None]:
    losses = [tables.losses_of(metrics, name) for name, arm in metrics.arms.items() if arm.drop]
    return [*losses, tables.effects(metrics)] if losses else []


def main_numbers(metrics: Metrics) -> tuple[Tile, ...]:
    """Returns accuracy clean and under noise, and what the main repair changes; without a repair, what noise takes.

    Of rows without answers, what changes by itself and under noise.
    """
    if metrics.unlabelled:
        return tuple(steady.tiles(metrics))
    base, repair = main_arms(metrics)
    if base is None:
        return ()
    tiles = [
        Tile(f"Clean, {base}", rate(tables.accuracy_of(metrics, base, CLEAN))),
        Tile(f"Under noise, {base}", rate(tables.accuracy_of(metrics, base, NOISY))),
    ]
    if repair:
        arm = metrics.arms[repair]
        tiles += [
            Tile(f"Under noise, {repair}", rate(tables.accuracy_of(metrics, repair, NOISY))),
            Tile(f"Gain of {repair} under noise", difference(arm.gain.get(NOISY))),
            Tile(f"Clean accuracy lost, {repair}", difference(arm.clean_drop)),
        ]
    else:
        tiles.append(Tile("Loss to noise", difference(metrics.arms[base].drop.get(NOISY))))
    return tuple(tile for tile in tiles if tile.cell.span)


def main_arms(metrics: Metrics) -> tuple[str | None, str | None]:
    """Returns the two arms that the main numbers are about: the model without a repair, and the main repair.

    The repair is `rop`, else the last arm that an application could use; None where there is none.
    """
    base = STAND if STAND in metrics.arms else next(iter(metrics.arms), None)
    repairs = [name for name in metrics.arms if name not in (base, CEILING)]
    return base, "rop" if "rop" in metrics.arms else repairs[-1] if repairs else None


def _sections_of_unlabelled(metrics: Metrics) -> tuple[Section, ...]:
    sections = [
        _section(
            "prompts",
            "Prompts",
            "Every arm under every prompt, and the paired differences from the first prompt on the same rows. "
            f"Everything below is about {metrics.prompt}, the first.",
            prompts.side_by_side(metrics),
            prompts.changes(metrics),
        ),
        _section(
            "as-sent",
            "The rows as they are",
            "What each repair does to the texts as sent and to the answers to them, without any noise. An answer is "
            "touched where it differs from that of stand.",
            steady.as_sent(metrics),
        ),
        _section(
            "changes",
            "What changes",
            f"Share of rows whose answer says something else, with {100 * metrics.level:.0f} % intervals: of the same "
            "text asked twice, and of the text as sent and under noise. Choose a bar to read its answers.",
            steady.bars(metrics),
            steady.changes(metrics),
            steady.kinds(metrics),
            details.changes(metrics),
        ),
        _section(
            "repairs",
            "What repairs bring back",
            "Restored: stand's answer had changed, and the arm's is the one to the text as sent. Broken: stand's had "
            "not, and the arm's did.",
            steady.repairs(metrics),
            details.corrections(metrics),
        ),
        _scores(metrics),
        _retrieval(metrics),
        _section(
            "labelled",
            "What the labels say",
            "Losses and gains by a person's labels of the rows that changed.",
            *_from_labels(metrics),
        ),
        _section(
            "judged",
            "What the judge says",
            "Which of two unequal answers a model prefers by the rubric. It is no person: the notes say how far people "
            "agree with it.",
            *judged.preferred(metrics),
        ),
        _section(
            "answers",
            "The answers",
            "A constant answer changes under no noise. AC1 is agreement beyond that of guessing (Gwet 2008).",
            steady.answers(metrics),
        ),
        _section("cost", "Cost", "Prompt and generated count tokens.", tables.cost(metrics)),
    ]
    return tuple(section for section in sections if section)


def _sections(metrics: Metrics) -> tuple[Section, ...]:
    if metrics.unlabelled:
        return _sections_of_unlabelled(metrics)
    percent = f"{100 * metrics.level:.0f} %"
    guessing = "; the dotted one is guessing" if metrics.chance else ""
    where = charts.cost_condition(metrics)
    under = "noise" if where == NOISY else where
    sections = [
        _section(
            "prompts",
            "Prompts",
            "Every arm under every prompt, and the paired differences from the first prompt on the same questions. "
            f"Everything below is about {metrics.prompt}, the first.",
            prompts.side_by_side(metrics),
            prompts.changes(metrics),
        ),
        _section(
            "accuracy",
            "Accuracy",
            f"Share of right answers with {percent} intervals. The dashed line is stand on clean questions{guessing}. "
            "Choose a bar to read its answers.",
            charts.accuracy_bars(metrics) if metrics.arms else None,
            details.changes(metrics),
        ),
        _section(
            "effects",
            "What each arm wins",
            "Paired differences on the same questions. Recovery is the share of stand's loss that is won back; it is "
            "left out where there is no clear loss to recover. Clean accuracy lost is what the arm takes from clean "
            "questions.",
            _effects(metrics),
        ),
        _section(
            "losses",
            "What noise takes",
            "Clean minus noisy accuracy on the same questions, and how often single answers flip: a right one to "
            "wrong, a wrong one to right.",
            _losses(metrics),
        ),
        _scores(metrics),
        _section(
            "ablation",
            "Ablation",
            "Neither stage, each stage alone, and both: the layout of Table 4 of the RoP paper.",
            tables.ablation(metrics),
        ),
        _section(
            "strength",
            "Strength",
            "Accuracy as noise grows. The area under a curve is its mean height: accuracy averaged over the range of "
            "strengths.",
            charts.strength_curves(metrics),
            details.areas(metrics),
        ),
        _section(
            "heldout",
            "Held-out noise",
            "Does an instruction help against noise it was not tuned on?",
            *(details.held_out(metrics, name) for name in metrics.arms),
        ),
        _section(
            "correction",
            "Correction",
            "The corrected text itself, compared with the original. CER is the character error rate.",
            details.corrections(metrics),
            details.over_corrections(metrics),
        ),
        _retrieval(metrics),
        _section(
            "cost",
            "Cost",
            f"What accuracy under {under} is paid with. Prompt and generated count tokens; cached is the share of "
            "prompt tokens that the engine's prefix cache served; s/answer is the engine's time for an answer.",
            charts.accuracy_by_cost(metrics),
            tables.cost(metrics),
        ),
        _section(
            "noise",
            "Noise of the measurement",
            "Variation that is not sampling of questions: fresh noise, another search, the engine itself.",
            details.noise_floor(metrics),
            details.repeats(metrics),
        ),
    ]
    return tuple(section for section in sections if section)


def _scores(metrics: Metrics) -> Section | None:
    return _section(
        "scores", "Scores", scored.LEAD, scored.means(metrics), scored.losses(metrics), scored.gains(metrics)
    )


def _retrieval(metrics: Metrics) -> Section | None:
    tables_of_documents = retrieved.overlaps(metrics), retrieved.answers(metrics)
    return _section("retrieval", "What is retrieved", retrieved.LEAD, *tables_of_documents)


def _section(id: str, title: str, lead: str, *blocks: Block | None) -> Section | None:
    """Returns a section of the blocks that there are; None where there is none."""
    present = tuple(block for block in blocks if block)
    return Section(id, title, lead, present) if present else None


def _effects(metrics: Metrics) -> Choice | Table | None:
    """Returns what each arm wins, by condition; where nothing was perturbed, what it takes from clean questions."""
    conditions = tables.noisy_conditions(metrics)
    if not conditions:
        return tables.effects(metrics)
    shown = [(c, table) for c in conditions if (table := tables.effects(metrics, c))]
    options = tuple(Option(c, tables.named(c), table) for c, table in shown)
    return Choice("effect-condition", "Under", options) if options else None


def _losses(metrics: Metrics) -> Choice | Table | None:
    arms = [name for name, arm in metrics.arms.items() if arm.drop]
    if len(metrics.arms) == 1 and arms:
        return tables.losses_of(metrics, arms[0])
    conditions = [c for c in tables.noisy_conditions(metrics) if any(c in metrics.arms[name].drop for name in arms)]
    options = tuple(Option(c, tables.named(c), tables.losses_under(metrics, c)) for c in conditions)
    return Choice("loss-condition", "Under", options) if options else None
