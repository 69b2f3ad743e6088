"""The user's own prompts beside the arms and the rows that they are to go with."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.errors import DataError, UsageError
from llmkit.recipe import Recipe
from llmkit.rop.arms import Arm
from llmkit.tasks import OwnPrompt, as_sent
from llmkit.types import Question


def refuse_prompts(
    prompts: Sequence[OwnPrompt], questions: Sequence[Question], arms: Sequence[type[Arm]], recipe: Recipe
) -> None:
    """Raises UsageError or DataError where the user's own prompts do not go with the rows, the arms or the noise. Every
    row is put into every prompt, so that no run stops at one in the middle."""
    own = [*prompts] or [sent for sent in [as_sent(questions[0])] if sent]
    if not own:
        return
    if recipe.perturb.target != "question":
        raise UsageError(
            f"perturb.target: {recipe.perturb.target} needs llmkit's own words around a question",
            "rows that are sent as they are, or under a prompt of your own, take noise on their fields only",
        )
    for arm in arms:
        if arm.own_words:
            raise UsageError(
                f"arm `{arm.name}` cannot put rows as they are, or under a prompt of your own: {arm.own_words}",
                f"leave `{arm.name}` out",
            )
    for prompt in own:
        prompt.refuse_without_place(questions[0], recipe.data.answer if recipe.data.path else None)
        failed: list[DataError] = []
        for question in questions:
            try:
                prompt.messages(question, question.texts)
            except DataError as error:
                failed.append(error)
        if failed:
            others = f" (and {len(failed) - 1} of {len(questions)} rows more)" if failed[1:] else ""
            raise DataError(f"{failed[0].message}{others}", failed[0].hint)
