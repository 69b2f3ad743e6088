"""The models of a run: who plays each role, and the engines that run them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing

from llmkit.engines import Engine, engine_class, open_engine
from llmkit.engines.model_paths import BUNDLED, is_adapter, shipped_adapters
from llmkit.engines.openai_engine import OpenAIEngine
from llmkit.recipe import Recipe
from llmkit.recipe.schema import ModelSection
from llmkit.types import Role

ROLES: tuple[Role, ...] = ("answerer", "optimizer", "corrector")


def engines_of(recipe: Recipe, stack: ExitStack) -> dict[Role, Engine]:
    """Returns the engine of each role; roles with the same model share one."""
    # A second copy of a model might not fit beside the first, and could not share its batches.
    opened: dict[tuple[str | None, str | None], Engine] = {}
    for model in (model_of(recipe, role) for role in ROLES):
        if (model.path, model.adapter) not in opened:
            opened[model.path, model.adapter] = stack.enter_context(closing(open_engine(model, recipe.engine)))
    models = {role: model_of(recipe, role) for role in ROLES}
    return {role: opened[model.path, model.adapter] for role, model in models.items()}


def are_local(engines: Mapping[Role, Engine]) -> bool:
    """Returns whether the identity of every engine is known without a request."""
    return all(engine.identity_is_local for engine in engines.values())


def dtype_of(engine: Engine) -> str | None:
    """Returns what an engine computes in; None for a server, which does not say."""
    return engine.identity.dtype if engine.identity_is_local else None


def model_of(recipe: Recipe, role: Role) -> ModelSection:
    """Returns the model that plays a role. A separate optimizer or corrector is loaded without the answerer's revision,
    adapter, chat template or system prompt.

    An adapter is put on the answering model's weights, and one that comes with llmkit on the bundled model. A server
    knows it by its name.
    """
    own = {"optimizer": recipe.rop.optimizer, "corrector": recipe.rop.corrector}.get(role)
    if own is None or own == recipe.model.path:
        return recipe.model
    if engine_class(ModelSection(), recipe.engine) is OpenAIEngine or not is_adapter(own):
        return ModelSection(path=own)
    if own in shipped_adapters():
        return ModelSection(path=BUNDLED, adapter=own)
    return ModelSection(path=recipe.model.path, revision=recipe.model.revision, adapter=own)


def batch_noise(recipe: Recipe, engine: Engine) -> str | None:
    """Returns a remark that answers depend on what else is in a batch, where the engine's do and the run does not
    measure it."""
    if recipe.eval.replicate_clean or recipe.engine.batch_invariant:
        return None
    if not engine.identity_is_local:
        what = "a server's answers may depend on what else it is asked"
    elif (dtype := dtype_of(engine)) in ("bfloat16", "float16"):
        what = f"in {dtype} answers depend a little on what else is in the batch"
    else:
        return None
    return f"{what}: eval.replicate_clean=true would measure this noise floor"
