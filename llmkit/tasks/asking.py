"""The prompt of a question, for asking and for training."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.prompts import render
from llmkit.tasks.kinds import gold_text, kind_of
from llmkit.tasks.own_prompts import OwnPrompt, as_sent
from llmkit.tasks.text import wording
from llmkit.types import Message, Question, Texts

Demos = Sequence[tuple[str, str]]


def question_messages(
    question: Question,
    texts: Texts,
    instruction: str | None = None,
    demos: Demos = (),
    answer_format: bool = True,
    prompt: OwnPrompt | None = None,
) -> tuple[Message, ...]:
    """Returns the messages that ask `texts`, the wordings of a question's parts, after worked `demos` (question,
    answer).

    The only place where a question becomes messages, for training and for asking: an adapter must be asked in the words
    it was trained on. That is with the user's own `prompt`, else as it was sent for a row without an answer, else in
    llmkit's words. Only those have an instruction by default, that of the arm `stand`.
    """
    own = prompt or as_sent(question)
    if own is not None:
        examples = "\n\n".join(f"Question: {q}\nAnswer: {a}" for q, a in demos)
        return own.messages(question, texts, instruction or "", examples)
    content = question_prompt(question, wording(texts, question.options), instruction, demos, answer_format)
    return (Message("user", content),)


def question_prompt(
    question: Question,
    text: str,
    instruction: str | None = None,
    demos: Demos = (),
    answer_format: bool = True,
) -> str:
    """Returns the prompt that asks `text`, a wording of `question`, in llmkit's words.

    Without `answer_format` nothing is said of how to answer, for a question that is answered by the likeliest option.
    """
    # What all questions share comes first, byte for byte, and the question last: servers keep the common prefix cached.
    return render(
        "answer-v1",
        instruction=render("arms/stand-v1") if instruction is None else instruction,
        format=kind_of(question).asks(question) if answer_format else "",
        demos=[{"question": q, "answer": a} for q, a in demos],
        question=text,
    )


def worked_examples(train: Sequence[Question], count: int, own: bool = False) -> list[tuple[str, str]]:
    """Returns the first `count` train questions with their worked solutions where the task has them, else their
    answers; under an `own` prompt the answers alone."""

    def answer(q: Question) -> str:
        if own:
            return gold_text(q)  # in no words of llmkit's, as training shows it
        solution = q.meta.get("solution")
        kind = kind_of(q)
        closing = kind.announced(kind.label(q.gold or ""))
        if not solution:
            return closing
        return solution if closing in solution else f"{solution}\n{closing}"

    return [(q.text, answer(q)) for q in train[:count]]
