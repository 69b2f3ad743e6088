"""Arms: ways to put a question to a model. Each is a generator that asks and is answered; the runner does the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from llmkit.errors import UsageError
from llmkit.prompts import render
from llmkit.recipe.schema import RopSection
from llmkit.registry import Registry
from llmkit.repair.replies import read_correction
from llmkit.rop.instructions import NO_CORRECTION, Instructions
from llmkit.seeds import derive
from llmkit.tasks import OwnPrompt, extract, kind_of, question_messages, wording
from llmkit.tasks.own_prompts import fields_of, tools_of
from llmkit.tasks.text import LABELS, without_options
from llmkit.types import Answer, Message, Question, Reply, Request, Role, Sampling, Steps, Texts, Usage, Variant

_NAMED = re.compile(r"\b(?:answer|solution|ending|option) ?([1-9])\b", re.IGNORECASE)  # an option's name in a reply

ARMS: Registry[type[Arm]] = Registry("arm", "llmkit.arms")


@dataclass(frozen=True)
class ArmContext:
    """The material that every arm of one run may use: never the gold answer of the question being asked.

    `examples` are worked (question, answer) pairs and `shots` (noisy, clean) pairs, all from the train pool.
    `noise` changes a text as the variant's condition asks, for noise that falls on an instruction or on examples.
    `lang` is the language of the questions, "auto" to identify each, or "" for a set in another language than English
    that nobody named, which a dictionary of English would spoil.
    `prompt` is the user's own; None where rows are sent as they are, or put in llmkit's words.
    """

    section: RopSection
    instructions: Instructions
    examples: Sequence[tuple[str, str]] = ()
    shots: Sequence[tuple[str, str]] = ()
    likelihood: bool = False
    seed: int = 0
    target: str = "question"
    noise: Callable[[str, Variant], str] | None = None
    lang: str = "en"
    prompt: OwnPrompt | None = None


class Arm:
    """Base of all arms. A subclass says how it asks; `needs` names what must be searched or drawn for it first, and
    `generates` that it cannot answer by likelihood, `english` that it repairs English words only, `own_words` why it
    cannot ask with a prompt of the user's own."""

    name: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    generates: ClassVar[bool] = False
    english: ClassVar[bool] = False
    own_words: ClassVar[str] = ""
    resource: ClassVar[str] = ""  # a published table that it repairs from; noise may come from the same

    def __init__(self, context: ArmContext) -> None:
        self.context = context
        self.section = context.section

    def ask(self, variant: Variant) -> Steps:
        """Yields a request, or a list of independent ones, and is sent the reply or replies. Returns an Answer."""
        raise TypeError(f"{type(self).__name__} does not say how it asks")

    def request(
        self,
        content: str | tuple[Message, ...],
        *,
        max_tokens: int,
        purpose: str,
        role: Role = "answerer",
        **more: Any,
    ) -> Request:
        """Returns the request that puts these messages, or one text as the user's message."""
        messages = (Message("user", content),) if isinstance(content, str) else content
        sampling = Sampling(max_tokens=max_tokens, **{k: more.pop(k) for k in ("temperature", "seed") if k in more})
        return Request(messages, sampling, purpose=purpose, role=role, **more)

    def put(
        self,
        text: str | Texts,
        variant: Variant,
        instruction: str | None = None,
        demos: Sequence[tuple[str, str]] = (),
    ) -> tuple[Message, ...]:
        """Returns the messages that put one wording of a question, with the noise on the instruction or the demos."""
        if self.context.noise and self.context.target == "instruction":
            instruction = self.context.noise(render("arms/stand-v1") if instruction is None else instruction, variant)
        if self.context.noise and self.context.target == "fewshot":
            demos = [(self.context.noise(q, variant), a) for q, a in demos]
        asks_for_words = not self.by_likelihood(variant)
        texts = self.texts_of(text, variant)
        return question_messages(variant.question, texts, instruction, demos, asks_for_words, self.context.prompt)

    def texts_of(self, text: str | Texts, variant: Variant) -> Texts:
        """Returns the wordings of a variant's parts. UsageError for one text in the place of several."""
        if not isinstance(text, str):
            return text
        if not variant.question.divided or text == variant.text:
            return variant.texts if text == variant.text else (text,)
        raise UsageError(
            f"arm `{self.name}` changes the text of a row as a whole, and noise falls on {len(variant.texts)} of them",
            "leave the arm out, or name one field in perturb.fields",
        )

    def by_likelihood(self, variant: Variant) -> bool:
        """Returns whether this question is answered by the likeliest answer: its kind has to know all possible ones."""
        return self.context.likelihood and bool(kind_of(variant.question).continuations(variant.question))

    def answer(
        self,
        text: str | Texts,
        variant: Variant,
        instruction: str | None = None,
        demos: Sequence[tuple[str, str]] = (),
    ) -> Steps:
        """Answers by generating, or for `likelihood` by the answer whose text the model finds likeliest.

        `text` is one wording of the question, or the wordings of its parts. Returns an Answer, whose `parsed` is set
        where no reply has to be read.
        """
        if not self.by_likelihood(variant):
            prompt = self.put(text, variant, instruction, demos)
            longest, temperature = self.section.max_tokens, self.section.temperature
            more = self.beside(text, variant)
            return Answer(
                (yield self.request(prompt, max_tokens=longest, purpose="answer", temperature=temperature, **more))
            )
        # Small models tell the likelier text better where the options are not listed before it.
        bare = tuple(without_options(one) for one in self.texts_of(text, variant))
        prompt = self.put(bare, variant, instruction, demos)
        kind = kind_of(variant.question)
        answers, texts = zip(*kind.continuations(variant.question), strict=True)
        replies = yield [self.request(prompt, max_tokens=1, purpose="score", continuation=t) for t in texts]
        # Mean over characters, so that a long option is not punished for its length.
        scores = [sum(r.logprobs) / len(t) for r, t in zip(replies, texts, strict=True)]
        best = answers[max(range(len(scores)), key=scores.__getitem__)]
        usage = sum((r.usage for r in replies), Usage())
        # The reply is written as a model would say it, so that a reader of replies comes to the same answer.
        reply = Reply(f"The answer is {kind.label(best)}", usage=usage, logprobs=tuple(scores))
        return Answer(reply, parsed=best)

    def beside(self, text: str | Texts, variant: Variant) -> dict[str, Any]:
        """Returns what goes with the messages of an answer: the tools of prompt and row, and the row's fields."""
        question, texts = variant.question, self.texts_of(text, variant)
        return {"tools": tools_of(question, self.context.prompt), "fields": fields_of(question, texts)}

    def correct(self, variant: Variant, role: Role = "corrector", instruction: str | None = None) -> Steps:
        """Runs the first stage of RoP: returns the corrected texts of the question's parts, each as asked if its
        correction is unusable, and the first reason for that.

        Nothing is asked where the search found that no correction is the best one.
        """
        if instruction is None:
            instruction = self.context.instructions.correction.best
        if instruction == NO_CORRECTION:
            return variant.texts, None
        wrong = [text for text in variant.texts if text.strip()]
        requests = [self._correction(text, variant, role, instruction) for text in wrong]
        replies = (yield requests) if len(requests) > 1 else [(yield requests[0])]
        repaired = {text: read_correction(reply, text) for text, reply in zip(wrong, replies, strict=True)}
        fallback = next((reason for _, reason in repaired.values() if reason), None)
        return tuple(repaired[text][0] if text.strip() else text for text in variant.texts), fallback

    def _correction(self, text: str, variant: Variant, role: Role, instruction: str) -> Request:
        content = render(
            "rop/correct-v1",
            instruction=instruction,
            shots=[{"noisy": n, "clean": c} for n, c in self.context.shots[: self.section.correction_shots]],
            # Options that the answer's prompt leaves out need no correction either.
            question=without_options(text) if self.by_likelihood(variant) else text,
        )
        return self.request(content, max_tokens=self.section.correction_max_tokens, purpose="correct", role=role)

    def repaired(self, texts: Texts, variant: Variant, instruction: str | None = None) -> Steps:
        """Answers texts that were repaired, and notes them."""
        answer = yield from self.answer(texts, variant, instruction)
        return replace(answer, corrected_text=wording(texts, variant.question.options))


def llm_adapters_prompt(question: Question, text: str) -> str:
    """Returns the prompt of LLM-Adapters: the set's own wording of the question, with `text` instead of the clean
    one."""
    words = question.meta.get("instruction", "")
    clean = without_options(question.text).strip()
    if words and text == question.text:
        text = words
    elif clean in words:
        text = words.replace(clean, without_options(text).strip(), 1)
    return render("finetune/llm-adapters-v1", instruction=text, input="")


def arm(name: str) -> Callable[[type[Arm]], type[Arm]]:
    """Registers an arm under the name that users call it by."""
    return ARMS.named(name)


@arm("stand")
class Stand(Arm):
    """Asks the question as it is."""

    def ask(self, variant: Variant) -> Steps:
        return (yield from self.answer(variant.texts, variant))


@arm("llm_adapters")
class LlmAdapters(Arm):
    """Asks as LLM-Adapters train and test (arXiv 2304.01933): the set's own wording, no chat, "answer2" for (B).

    For adapters trained on such rows; a set without that wording is asked in the same frame. Wants
    `model.chat_template: none`, as in training.
    """

    own_words = "it puts a question as LLM-Adapters do"

    def ask(self, variant: Variant) -> Steps:
        prompt = llm_adapters_prompt(variant.question, variant.text)
        reply = yield self.request(prompt, max_tokens=self.section.max_tokens, purpose="answer")
        kind = kind_of(variant.question)
        named = _NAMED.search(reply.text) if kind.has_options else None
        if named is None:
            return Answer(reply)
        label = LABELS[int(named[1]) - 1]
        known = int(named[1]) <= len(variant.question.options)
        return Answer(replace(reply, text=f"The answer is {kind.label(label)}"), parsed=label if known else None)


@arm("zero_shot_cot")
class ZeroShotCot(Arm):
    """Asks for steps first (Kojima et al. 2022, arXiv 2205.11916)."""

    def ask(self, variant: Variant) -> Steps:
        return (yield from self.answer(variant.texts, variant, render("arms/zero-shot-cot-v1")))


@arm("few_shot_cot")
class FewShotCot(Arm):
    """Shows worked examples from the train split first (Wei et al. 2022, arXiv 2201.11903)."""

    needs = frozenset({"examples"})

    def ask(self, variant: Variant) -> Steps:
        demos = self.context.examples[: self.section.few_shot]
        return (yield from self.answer(variant.texts, variant, demos=demos))


@arm("guide_only")
class GuideOnly(Arm):
    """The searched guidance instruction alone: the paper's APE baseline (arXiv 2506.03627, Table 4, "GO")."""

    needs = frozenset({"guidance"})

    def ask(self, variant: Variant) -> Steps:
        return (yield from self.guided(variant.texts, variant))

    def guided(self, texts: Texts, variant: Variant) -> Steps:
        demos = self.context.examples[: self.section.guidance_shots]
        return (yield from self.answer(texts, variant, self.context.instructions.guidance.best, demos))


@arm("correct_only")
class CorrectOnly(Arm):
    """Corrects the question, then asks it plainly: the first stage of RoP alone (arXiv 2506.03627, Table 4, "CO")."""

    needs = frozenset({"correction"})

    def ask(self, variant: Variant) -> Steps:
        corrected, fallback = yield from self.correct(variant)
        return replace((yield from self.repaired(corrected, variant)), fallback=fallback)


@arm("rop")
class Rop(GuideOnly):
    """Corrects the question, then answers it under the guidance instruction (arXiv 2506.03627, 3.5)."""

    needs = frozenset({"correction", "guidance"})
    corrector: ClassVar[Role] = "corrector"

    def ask(self, variant: Variant) -> Steps:
        corrected, fallback = yield from self.correct(variant, self.corrector)
        answer = yield from self.guided(corrected, variant)
        text = wording(corrected, variant.question.options)
        return replace(answer, corrected_text=text, fallback=fallback)


@arm("rop_selfcorrect")
class RopSelfCorrect(Rop):
    """RoP in which the answering model corrects by itself, also where a stronger corrector is configured."""

    corrector = "answerer"


@arm("rop_one_call")
class RopOneCall(Arm):
    """Corrects and answers under guidance in one prompt: RoP at the price of one call."""

    needs = frozenset({"correction", "guidance"})
    own_words = "its replies begin with the corrected question, whatever form of answer the prompt asks for"

    def ask(self, variant: Variant) -> Steps:
        instruction = render("arms/one-call-v1", instruction=self.context.instructions.guidance.best)
        return (yield from self.answer(variant.texts, variant, instruction))


@arm("self_consistency")
class SelfConsistency(Arm):
    """The majority of several sampled answers (Wang et al. 2023, arXiv 2203.11171): calls without RoP's method.

    Three by default, the least that can outvote one: RoP makes two calls, but two votes that differ leave the first to
    win, which is one sampled answer and no vote. The call more is to the advantage of this control.
    """

    generates = True

    def ask(self, variant: Variant) -> Steps:
        prompt = self.put(variant.texts, variant, render("arms/zero-shot-cot-v1"))
        replies = yield [
            self.request(
                prompt,
                max_tokens=self.section.max_tokens,
                purpose="answer",
                temperature=0.7,
                seed=derive(self.context.seed, "vote", i) % 2**31,
                replicate=i,
                **self.beside(variant.texts, variant),
            )
            for i in range(self.section.votes)
        ]
        votes = [extract(r.text, variant.question) for r in replies]
        counts = Counter(v for v in votes if v is not None)
        # Ties go to the vote that came first, so that the result does not depend on the order of replies.
        winner = votes.index(counts.most_common(1)[0][0]) if counts else 0
        return Answer(replies[winner])


@arm("atf")
class AnalyseThenFilter(Arm):
    """Names irrelevant information, writes the question without it, then asks (ATF, arXiv 2408.10615)."""

    def ask(self, variant: Variant) -> Steps:
        texts, fallbacks = [], []
        for asked in variant.texts:
            text, fallback = (yield from self._filtered(asked)) if asked.strip() else (asked, None)
            texts.append(text)
            fallbacks.append(fallback)
        answer = yield from self.repaired(tuple(texts), variant)
        return replace(answer, fallback=next(filter(None, fallbacks), None))

    def _filtered(self, text: str) -> Steps:
        longest = self.section.correction_max_tokens
        content = render("arms/atf-analyse-v1", question=text)
        analysis = yield self.request(content, max_tokens=longest, purpose="analyse", role="corrector")
        content = render("arms/atf-filter-v1", question=text, analysis=analysis.text)
        filtered = yield self.request(content, max_tokens=longest, purpose="filter", role="corrector")
        return read_correction(filtered, text)


@arm("oracle")
class Oracle(Arm):
    """Asks the clean question whatever the noise: the ceiling of every correction."""

    def ask(self, variant: Variant) -> Steps:
        return (yield from self.repaired(variant.question.texts, variant))
