"""Instructions that a model writes when it is shown examples ("forward" mode of APE), and which of them are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from llmkit.perturb.numerals import numbers
from llmkit.prompts import render
from llmkit.recipe.schema import SearchSection
from llmkit.repair.replies import refuses
from llmkit.rop.instructions import Candidate, Stage
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
    """Asks for instructions. Returns those that the model wrote, each once and none that is `known`, in a fixed order;
    those that cannot be instructions are among them with the reason why they are refused."""
    request_by_name = {
        f"{stage}/propose/{prompt_number:03}/{completion_number:03}": request_and_examples
        for (prompt_number, completion_number), request_and_examples in _asked(options, examples, seed).items()
    }
    replies = ask_all({name: request for name, (request, _) in request_by_name.items()}, ask)
    # Texts already known are left out, because the budget would score the same instruction twice.
    seen_texts, candidates = set(known), []
    for name, (_, examples_shown) in request_by_name.items():
        reply = replies.get(name)
        if reply is None:  # that call failed
            continue
        text = cleaned(reply.text)
        if text and text not in seen_texts:
            seen_texts.add(text)
            candidates.append(
                Candidate(text, "generated", refused=refusal(text, reply, options.max_tokens, examples_shown))
            )
    return candidates


def proposals(options: SearchSection, examples: Sequence[Example]) -> list[Steps]:
    """Returns the steps that ask for instructions, for an estimate."""
    return [ask_one(request) for request, _ in _asked(options, examples, 0).values()]


def refusal(text: str, reply: Reply, max_tokens: int, examples: Sequence[Example]) -> str | None:
    """Returns why a text cannot be an instruction, or None: it is cut, copies an example that it was shown, or
    answers."""
    if reply.finish_reason == "length" or reply.usage.completion > max_tokens:
        return f"longer than rop.search.max_tokens ({max_tokens})"
    if refuses(text) or _BARE.fullmatch(text) or _STATES.search(text) or _ASKS.fullmatch(text):
        return "answers instead of instructing"
    gold_answers = {example.gold.casefold() for example in examples if example.gold}
    if text.casefold().strip(" .") in gold_answers:
        return "answers instead of instructing"
    texts_shown = [example_text for example in examples for example_text in (example.input, example.output)]
    numbers_written = sorted(numbers(text))
    if copied_numbers := [
        number for number in numbers_written if any(number in numbers(example_text) for example_text in texts_shown)
    ]:
        return f"copies an example: the number {copied_numbers[0]}"
    if copied_numbers := [number for number in numbers_written if number in gold_answers]:
        return f"answers instead of instructing: {copied_numbers[0]} is the answer to an example"
    runs_shown = {run for example_text in texts_shown for run in _runs(example_text)}
    if copied_runs := [run for run in _runs(text) if run in runs_shown]:
        return f"copies an example: {' '.join(copied_runs[0])!r}"
    return None


def cleaned(text: str) -> str:
    """Makes one line of a text, without quotation marks or a leading label."""
    text = " ".join(text.split())
    for label in ("the instruction was:", "the instruction is:", "instruction:", "the instruction was"):
        if text.lower().startswith(label):
            text = text[len(label) :].strip()
    return text.strip("\"'\u201c\u201d ").strip()


def _runs(text: str) -> list[tuple[str, ...]]:
    """Returns every run of `COPIED` words, without case and marks."""
    words = re.findall(r"\w+", text.casefold())
    return [tuple(words[start : start + COPIED]) for start in range(len(words) - COPIED + 1)]


def _asked(
    options: SearchSection, examples: Sequence[Example], seed: int
) -> dict[tuple[int, int], tuple[Request, list[Example]]]:
    """Builds the requests for an instruction, each with the examples that it shows, by prompt and completion."""
    requests = {}
    for prompt_number in range(options.queries if examples else 0):
        examples_shown = Random(derive(seed, "demos", prompt_number)).sample(
            examples, min(options.demos, len(examples))
        )
        content = render(
            "rop/propose-v1", pairs=[{"input": example.input, "output": example.output} for example in examples_shown]
        )
        for completion_number in range(options.completions):
            sampling = Sampling(
                options.max_tokens,
                options.temperature,
                options.top_p,
                seed=derive(seed, "propose", prompt_number, completion_number) % 2**31,
            )
            request = Request(
                (Message("user", content),), sampling, purpose="propose", role="optimizer", replicate=completion_number
            )
            requests[prompt_number, completion_number] = request, examples_shown
    return requests
