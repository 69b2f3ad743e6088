"""Instructions that a model writes when it is shown examples ("forward" mode of APE), and which of them are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from llmkit.perturb.numerals import numbers
from llmkit.prompts import render
from llmkit.recipe.schema import SearchSection
from llmkit.rop.instructions import Candidate, Stage
from llmkit.rop.repair import refuses
from llmkit.seeds import derive
from llmkit.steps import ask_all, ask_one
from llmkit.types import Ask, Message, Reply, Request, Sampling, Steps

COPIED = 5  # words in a row that no instruction shares with an example by chance

# A stated answer or a calculation; "end with 'The answer is' and the number" states none.
_STATES = re.compile(
    r"\banswer(?:\s+is)?\s*:?\s*[\"'(]*(?:[$€£]?-?\d|(?:yes|no|true|false)\s*[.\"']*$|[a-e]\b\s*[).]*$|[a-e]\))"
    r"|####\s*-?[$\d]|\\boxed\{|=\s*[$€£]?-?\d",
    re.IGNORECASE,
)
_BARE = re.compile(r"\W*(?:-?[\d.,:/]+%?|yes|no|true|false|[a-e])\W*", re.IGNORECASE)
_ASKS = re.compile(r"\W*(?:how|what|which|who|whose|whom|when|where|why)\b[^.!?]*\?\W*", re.IGNORECASE)


@dataclass(frozen=True)
class Example:
    """One train question as a prompt shows it, and its gold answer, which the correction's prompts do not show."""

    input: str
    output: str
    gold: str = ""


def propose(
    stage: Stage, options: SearchSection, examples: Sequence[Example], ask: Ask, seed: int, known: Iterable[str] = ()
) -> list[Candidate]:
    """The instructions that the model wrote, each once and none that is `known`, in a fixed order; those that cannot
    be instructions stand among them with the reason why they are refused."""
    asked = {f"{stage}/propose/{q:03}/{n:03}": one for (q, n), one in _asked(options, examples, seed).items()}
    replies = ask_all({name: request for name, (request, _) in asked.items()}, ask)
    seen, candidates = set(known), []
    for name, (_, drawn) in asked.items():
        reply = replies.get(name)
        text = cleaned(reply.text) if reply else ""
        if reply and text and text not in seen:
            seen.add(text)
            candidates.append(Candidate(text, "generated", refused=refusal(text, reply, options.max_tokens, drawn)))
    return candidates


def proposals(options: SearchSection, examples: Sequence[Example]) -> list[Steps]:
    """The steps that ask for instructions, for an estimate."""
    return [ask_one(request) for request, _ in _asked(options, examples, 0).values()]


def refusal(text: str, reply: Reply, max_tokens: int, examples: Sequence[Example]) -> str | None:
    """Returns why a text cannot be an instruction, or None: it is cut, copies an example that it was shown, or
    answers."""
    if reply.finish_reason == "length" or reply.usage.completion > max_tokens:
        return f"longer than rop.search.max_tokens ({max_tokens})"
    if refuses(text) or _BARE.fullmatch(text) or _STATES.search(text) or _ASKS.fullmatch(text):
        return "answers instead of instructing"
    golds = {e.gold.casefold() for e in examples if e.gold}
    if text.casefold().strip(" .") in golds:
        return "answers instead of instructing"
    shown = [t for e in examples for t in (e.input, e.output)]
    written = sorted(numbers(text))
    if copied := [number for number in written if any(number in numbers(t) for t in shown)]:
        return f"copies an example: the number {copied[0]}"
    if copied := [number for number in written if number in golds]:
        return f"answers instead of instructing: {copied[0]} is the answer to an example"
    runs = {run for t in shown for run in _runs(t)}
    if copied := [run for run in _runs(text) if run in runs]:
        return f"copies an example: {' '.join(copied[0])!r}"
    return None


def cleaned(text: str) -> str:
    """One line, without quotation marks or a leading label."""
    text = " ".join(text.split())
    for label in ("the instruction was:", "the instruction is:", "instruction:", "the instruction was"):
        if text.lower().startswith(label):
            text = text[len(label) :].strip()
    return text.strip("\"'\u201c\u201d ").strip()


def _runs(text: str) -> list[tuple[str, ...]]:
    """Every run of `COPIED` words, without case and marks."""
    words = re.findall(r"\w+", text.casefold())
    return [tuple(words[i : i + COPIED]) for i in range(len(words) - COPIED + 1)]


def _asked(
    options: SearchSection, examples: Sequence[Example], seed: int
) -> dict[tuple[int, int], tuple[Request, list[Example]]]:
    """The requests for an instruction, each with the examples that it shows, by prompt and completion."""
    asked = {}
    for q in range(options.queries if examples else 0):
        drawn = Random(derive(seed, "demos", q)).sample(examples, min(options.demos, len(examples)))
        content = render("rop/propose-v1", pairs=[{"input": e.input, "output": e.output} for e in drawn])
        for n in range(options.completions):
            sampling = Sampling(
                options.max_tokens, options.temperature, options.top_p, seed=derive(seed, "propose", q, n) % 2**31
            )
            request = Request((Message("user", content),), sampling, purpose="propose", role="optimizer", replicate=n)
            asked[q, n] = request, drawn
    return asked
