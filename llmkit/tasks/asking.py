"""The prompt of a question, for asking and for training."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.prompts import render
from llmkit.tasks.kinds import kind_of
from llmkit.types import Question


def question_prompt(
    question: Question,
    text: str,
    instruction: str | None = None,
    demos: Sequence[tuple[str, str]] = (),
    answer_format: bool = True,
) -> str:
    """Returns the prompt that asks `text`, a wording of `question`, after worked `demos` (question, answer).

    The only place where a question becomes a prompt, for training and for asking: an adapter must be asked in the words
    it was trained on. `instruction` is by default that of the arm `stand`. Without `answer_format` nothing is said of
    how to answer, for a question that is answered by the likeliest option.
    """
    # What all questions share comes first, byte for byte, and the question last: servers keep the common prefix cached.
    return render(
        "answer-v1",
        instruction=render("arms/stand-v1") if instruction is None else instruction,
        format=kind_of(question).format_request() if answer_format else "",
        demos=[{"question": q, "answer": a} for q, a in demos],
        question=text,
    )
