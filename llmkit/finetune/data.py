"""All rows of a training run in the order in which they are seen, and the dev rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, count
from random import Random
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, UsageError
from llmkit.finetune.inputs import noise_digest
from llmkit.finetune.rows import TrainingRow, load_rows, rows_digest, sources
from llmkit.finetune.tokens import Encoder, Tokens, cached
from llmkit.finetune.views import View, Views
from llmkit.recipe.schema import Recipe
from llmkit.seeds import derive

if TYPE_CHECKING:
    from llmkit.engines.model_paths import LocalModel

_WINDOW = 50  # batches whose rows are sorted by length together
_DEV = 10**6  # the epoch number of dev views: no training epoch draws the same noise
_CODE = 1  # of how rows become tokens; a new number makes old files stale


@dataclass
class Data:
    """The rows that a run trains and evaluates on.

    `order` has the training rows of every step, in order: step s takes order[s*batch:(s+1)*batch]. `steps` is their
    number; `epoch_rows` the rows of one epoch. `cached`: whether the tokens came from the cache.
    """

    train: Tokens
    dev: Tokens
    order: list[int]
    steps: int
    epoch_rows: int
    cached: bool


def build_data(recipe: Recipe, model: LocalModel, encoder: Encoder) -> Data:
    """Reads, perturbs and tokenises. DataError for bad rows, UsageError for settings that contradict each other."""
    section, source_sections = recipe.finetune, sources(recipe)
    views = Views(recipe)
    _check(recipe, views)
    train_groups = [load_rows(recipe, source, "train") for source in source_sections]
    dev_groups = [load_rows(recipe, source, "dev") for source in source_sections]
    views.check(train_groups)
    weights = [source.weight for source in source_sections]
    epoch_rows = sum(
        int(weight) * len(group) + round((weight - int(weight)) * len(group))
        for group, weight in zip(train_groups, weights, strict=True)
    )
    batch_size = section.optim.batch_size
    steps = int(section.optim.epochs * epoch_rows) // batch_size
    if section.optim.max_steps:
        steps = section.optim.max_steps if steps == 0 else min(steps, section.optim.max_steps)
    if steps == 0:
        raise DataError(
            f"{epoch_rows} rows per epoch x {section.optim.epochs:g} epochs is less than one batch of {batch_size}",
            "lower finetune.optim.batch_size, or raise finetune.optim.epochs",
        )
    cache_key = _key(recipe, model, train_groups, dev_groups, weights, steps)
    train_tokens, was_cached = cached(
        f"{cache_key}-train", lambda: encoder.encode_all(_stream(views, train_groups, weights, steps * batch_size))
    )
    dev_tokens, _ = cached(f"{cache_key}-dev", lambda: encoder.encode_all(_dev_views(views, dev_groups)))
    steps = min(steps, len(train_tokens) // batch_size)
    if steps == 0:
        raise DataError(
            f"only {len(train_tokens)} rows are left for batches of {batch_size}", "raise finetune.data.max_length"
        )
    order = _order(train_tokens, steps, batch_size, section.data.group_by_length, recipe.seed)
    return Data(train_tokens, dev_tokens, order, steps, epoch_rows, was_cached)


def _check(recipe: Recipe, views: Views) -> None:
    section = recipe.finetune
    if views.paired and (
        section.data.packing or section.data.too_long == "truncate" or not section.data.completion_only
    ):
        raise UsageError(
            f"finetune.robust.objective {section.robust.objective} compares two views of one answer",
            "it needs completion_only, no packing, and too_long error or drop",
        )
    if section.robust.objective == "rdrop" and section.dropout == 0:
        raise UsageError("rdrop compares two passes with different dropout", "set finetune.dropout, e.g. to 0.1")


def _stream(views: Views, groups: list[list[TrainingRow]], weights: list[float], wanted: int) -> Iterator[View]:
    """Yields views epoch after epoch, exactly as many as are trained on."""
    epochs = chain.from_iterable(views.epoch(groups, weights, number) for number in count())
    return (view for _, view in zip(range(wanted), epochs, strict=False))


def _dev_views(views: Views, groups: list[list[TrainingRow]]) -> Iterator[View]:
    """Yields dev rows as training shows them: with the same shares of noise and corrections, one view each."""
    for row in chain.from_iterable(groups):
        view = views.view(row, _DEV)
        # A second view is for training only: what is evaluated is the noisy one.
        yield View(view.row, view.second or view.prompt, view.answer, view.plain)


def _key(recipe: Recipe, model: LocalModel, *content: Any) -> str:
    """Returns the cache key: everything that can change a token."""
    groups, dev_groups, weights, steps = content
    finetune = recipe.finetune
    facts = [
        _CODE,
        recipe.seed,
        rows_digest([*groups, *dev_groups]),
        weights,
        steps * finetune.optim.batch_size,
        finetune.data.model_dump(exclude={"sources", "packing", "group_by_length"}),
        finetune.robust.model_dump(exclude={"weight"}),
        recipe.perturb.model_dump(),
        noise_digest(recipe),
        _tokenizer_digest(model),
        recipe.model.model_dump(include={"chat_template", "system_prompt"}),
        [_file(recipe.model.chat_template), _file(recipe.model.system_prompt)],
    ]
    return blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=12).hexdigest()


def _file(optional_path: str | None) -> str | None:
    if not optional_path or optional_path == "none":
        return None
    with open(optional_path, "rb") as file:
        return blake2b(file.read(), digest_size=12).hexdigest()


def _tokenizer_digest(model: LocalModel) -> str:
    digest = blake2b(digest_size=12)
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja"):
        path = model.folder / name
        if path.is_file():
            digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()


def _order(tokens: Tokens, steps: int, batch_size: int, by_length: bool, seed: int) -> list[int]:
    """Orders the rows of all steps. By length, rows move only within a window of batches, so that batches fit."""
    rows = list(range(steps * batch_size))
    if not by_length:
        return rows
    lengths = tokens.lengths
    order: list[int] = []
    for start in range(0, len(rows), _WINDOW * batch_size):
        window = sorted(
            rows[start : start + _WINDOW * batch_size], key=lambda row_index: (lengths[row_index], row_index)
        )
        batches = [window[row_index : row_index + batch_size] for row_index in range(0, len(window), batch_size)]
        Random(derive(seed, "batches", start)).shuffle(batches)
        order += chain.from_iterable(batches)
    return order
