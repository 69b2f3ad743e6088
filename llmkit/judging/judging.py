"""One judge at work on one run: who it is, what it has said, and what it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from llmkit.engines import ResponseCache, may_cache, open_engine
from llmkit.errors import EngineError
from llmkit.files import text_digest
from llmkit.recipe import Recipe, digest
from llmkit.recipe.schema import EvalSection, JudgeSection
from llmkit.runs import Runner, names
from llmkit.runs.labels import append, now, records
from llmkit.runs.verdicts import Judged, Judgement, Verdicts, of_orders, tokens_used
from llmkit.tasks.judge import Judge, verdict_of
from llmkit.types import Call


@dataclass(frozen=True)
class Comparison:
    """Two answers to a text, and the digests of all three by which judged.jsonl knows them."""

    text: str
    first: str
    second: str
    digests: tuple[str, str, str]


@dataclass(frozen=True)
class Asked:
    """The result of asking: the number of pairs that were `asked` and have a line, the replies that were no verdict,
    and the calls that failed, so that their pairs stay open."""

    asked: int
    unreadable: Sequence[str]
    errors: Sequence[EngineError]


def comparing(section: JudgeSection) -> Judge:
    """Returns the scorer that asks by a rubric. DataError where the rubric cannot be read."""
    made = Judge()
    made.settle(section)
    return made


def settings(section: JudgeSection) -> str:
    """Returns a digest of all that a recipe says of a judge: model, engine, rubric, prompt, length of its verdicts."""
    asked = comparing(section).request("", "", "")
    said = digest(Recipe(eval=EvalSection(judge=section)), "eval")
    return text_digest(f"{said}\n{asked.messages}\n{asked.sampling}")


class Judging:
    """A model with a rubric, for the pairs of one run. `file` is its judged.jsonl."""

    def __init__(self, section: JudgeSection, file: Path, runner: Runner) -> None:
        self.file, self.runner = file, runner
        self.comparing = comparing(section)
        self._settings = settings(section)

    @property
    def name(self) -> str:
        """Digests of the recipe's section and of the model that answers."""
        return f"{self._settings}.{text_digest(str(self.runner.engine('answerer').identity))}"

    def known(self) -> Verdicts:
        """Returns the verdicts that this judge has given, or would not give, so far."""
        return Verdicts(lines(self.file), self.name)

    def ask(self, comparisons: Sequence[Comparison]) -> Asked:
        """Asks about pairs in both orders. Each verdict is in the file before the next one is taken.

        Raises Incomplete where the engine dies or the budget is spent; what was judged is saved.
        """
        model, judge = self.runner.engine("answerer").identity.model, self.name
        unreadable: list[str] = []
        errors: list[EngineError] = []
        asked = 0
        append(self.file, self._taken_up(judge))
        compare = self.comparing.compare
        jobs = ((number, compare(one.text, one.first, one.second)) for number, one in enumerate(comparisons))
        for done in self.runner.run(jobs):
            if done.error:
                errors.append(done.error)
                continue
            in_order, swapped = done.result
            unreadable += [call.reply.text for call in done.calls if verdict_of(call.reply) is None]
            line = Judged(
                *comparisons[int(str(done.key))].digests,
                verdict=of_orders(in_order, swapped),
                in_order=in_order or "none",
                swapped=swapped or "none",
                judge=judge,
                model=model,
                tokens=str(sum(_tokens(call) for call in done.calls)),
                when=now(),
            )
            append(self.file, [line])
            asked += 1
        return Asked(asked, unreadable, errors)

    def _taken_up(self, judge: str) -> list[Judged]:
        """Returns the line to add where another judge was asked since: the last of this one, again. The judge of the
        last line counts, and this one may have nothing left to be asked."""
        said = lines(self.file)
        mine = [line for line in said if line.judge == judge]
        asked_since = bool(said) and said[-1].judge != judge
        return [replace(line, tokens="0") for line in mine[-1:] if asked_since]


def tokens_in(folder: Path) -> int:
    """Returns how many tokens judges used on a run so far, in every start."""
    return tokens_used(lines(folder / names.JUDGED))


def lines(file: Path) -> list[Judged]:
    """Returns the lines of a judged.jsonl, none where there is no file. DataError for a damaged one."""
    return records(file, Judged, get_args(Judgement))


@contextmanager
def judge(
    section: JudgeSection,
    file: Path,
    *,
    budget: int | None = None,
    tokens: int = 0,
    use_cache: bool = True,
    cache: ResponseCache | None = None,
) -> Iterator[Judging]:
    """Opens the engine of a judge. `tokens` were used before under the same budget. `cache` is the one that this
    process has open: to close a second one would drop what it claims of the first.

    Raises UsageError for a model or an engine that does not exist, DataError for a rubric that cannot be read.
    """
    comparing(section)  # a bad rubric is found before an engine is opened
    with ExitStack() as stack:
        engine = stack.enter_context(closing(open_engine(section.model, section.engine)))
        if not (use_cache and may_cache(section.engine)):
            cache = None
        elif cache is None:
            cache = stack.enter_context(ResponseCache())
        runner = Runner({"answerer": engine}, cache, budget=budget)
        runner.tokens = tokens
        yield Judging(section, file, runner)


def _tokens(call: Call) -> int:
    return 0 if call.cached else call.reply.usage.prompt + call.reply.usage.completion
