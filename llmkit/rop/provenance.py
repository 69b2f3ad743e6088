"""Where instructions come from: what their file says of the search, and the questions they must not be tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit import __version__
from llmkit.engines import Engine
from llmkit.errors import DataError, UsageError
from llmkit.recipe import Recipe
from llmkit.rop.instructions import Instructions
from llmkit.tasks import normalise
from llmkit.types import Question, Role


def of_search(
    recipe: Recipe, run: str, train: Sequence[Question], dev: Sequence[Question], engines: Mapping[Role, Engine] | None
) -> dict[str, Any]:
    """Returns all that is needed to make the same instructions again, and the texts of the questions they were tuned
    on.

    `engines` gives the identities of the models; None where knowing them would mean to call a server for nothing.
    """
    rop, model = recipe.rop, recipe.model.path
    kept = {"scope", "holdout", "search_seeds", "correction_max_tokens", "max_tokens", "search"}
    return {
        "llmkit": __version__,
        "run": run,
        "model": model,
        "optimizer": rop.optimizer or model,
        "corrector": rop.corrector or model,
        "engines": None if engines is None else {role: e.identity.as_dict() for role, e in engines.items()},
        "task": recipe.data.task or recipe.data.path,
        "seed": recipe.seed,
        "settings": {
            "model": recipe.model.model_dump(mode="json"),
            "data": recipe.data.model_dump(mode="json"),
            "perturb": recipe.perturb.model_dump(mode="json"),
            "rop": rop.model_dump(mode="json", include=kept),
            "eval": recipe.eval.model_dump(mode="json", include={"answer", "scorer"}),
        },
        "tuned_on": {"train": {q.id: q.text for q in train}, "dev": {q.id: q.text for q in dev}},
    }


def of_use(origin: Mapping[str, Any], recipe: Recipe, run: str) -> dict[str, Any]:
    """Returns what a file of instructions said of itself, unchanged, and which run put them to which model."""
    before = origin.get("used_by")
    use = {"run": run, "model": recipe.model.path, "file": recipe.rop.instructions, "llmkit": __version__}
    return {**origin, "used_by": [*(before if isinstance(before, list) else []), use]}


def tuned_on(path: str, origin: Mapping[str, Any], given: Sequence[Instructions]) -> list[Question]:
    """Returns the clean questions that a file of instructions was tuned on; none for a hand-made one.

    A file of before these stood in it still has the clean text of what its correction was scored on.
    """
    pools = origin.get("tuned_on")
    if pools is None:
        scored = [(name, row["output"]) for i in given for name, row in i.correction.items.items()]
    else:
        try:
            scored = [(name, text) for pool in pools.values() for name, text in pool.items()]
        except AttributeError:
            raise UsageError(
                f"{path}: `tuned_on` does not say which questions were used",
                'it is {"train": {id: text}, "dev": {id: text}}, as llmkit rop writes it',
            ) from None
    return [Question(str(name), str(text), "", "text") for name, text in dict(scored).items()]


def refuse_tuned_on(path: str, tuned: Sequence[Question], test: Sequence[Question]) -> None:
    """Raises DataError where a run would test instructions on questions that they were tuned on (`tasks.normalise`)."""
    tested = {normalise(q.text): q.id for q in test}
    shared = [(q.id, tested[key]) for q in tuned if (key := normalise(q.text)) in tested]
    if shared:
        names = ", ".join(f"{a} = {b}" for a, b in shared[:5])
        more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
        raise DataError(
            f"{path}: its instructions were tuned on {len(shared)} of the questions to be tested: {names}{more}",
            "a result on them would be worthless; test on another split, or search anew without --instructions",
        )
