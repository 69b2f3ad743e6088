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
    """What a run trains and evaluates on.

    `order` has the training rows of every step, in order: step s takes order[s*batch:(s+1)*batch]. `steps` is their
    number; `epoch_rows` the rows of one epoch. `cached`: whether the tokens came from the cache.
    """

    train: Tokens
    dev: Tokens
    order: list[int]
    steps: int
    epoch_rows: int
    cached: bool


def build(recipe: Recipe, model: LocalModel, encoder: Encoder) -> Data:
    """Reads, perturbs and tokenises. DataError for bad rows, UsageError for settings that contradict each other."""
    section, given = recipe.finetune, sources(recipe)
    views = Views(recipe)
    _check(recipe, views)
    groups = [load_rows(recipe, source, "train") for source in given]
    dev_groups = [load_rows(recipe, source, "dev") for source in given]
    views.check(groups)
    weights = [source.weight for source in given]
    epoch_rows = sum(int(w) * len(g) + round((w - int(w)) * len(g)) for g, w in zip(groups, weights, strict=True))
    batch = section.optim.batch_size
    steps = int(section.optim.epochs * epoch_rows) // batch
    if section.optim.max_steps:
        steps = section.optim.max_steps if steps == 0 else min(steps, section.optim.max_steps)
    if steps == 0:
        raise DataError(
            f"{epoch_rows} rows a time for {section.optim.epochs:g} epochs do not fill one batch of {batch}",
            "lower finetune.optim.batch_size, or raise finetune.optim.epochs",
        )
    key = _key(recipe, model, groups, dev_groups, weights, steps)
    train, hit = cached(f"{key}-train", lambda: encoder.encode_all(_stream(views, groups, weights, steps * batch)))
    dev, _ = cached(f"{key}-dev", lambda: encoder.encode_all(_dev_views(views, dev_groups)))
    steps = min(steps, len(train) // batch)
    if steps == 0:
        raise DataError(f"only {len(train)} rows are left for batches of {batch}", "raise finetune.data.max_length")
    order = _order(train, steps, batch, section.data.group_by_length, recipe.seed)
    return Data(train, dev, order, steps, epoch_rows, hit)


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
    """Epoch after epoch, exactly as many views as are trained on."""
    epochs = chain.from_iterable(views.epoch(groups, weights, number) for number in count())
    return (view for _, view in zip(range(wanted), epochs, strict=False))


def _dev_views(views: Views, groups: list[list[TrainingRow]]) -> Iterator[View]:
    """Dev rows as training shows them: with the same shares of noise and corrections, one view each."""
    for row in chain.from_iterable(groups):
        view = views.view(row, _DEV)
        # A second view is for training only: what is evaluated is the noisy one.
        yield View(view.row, view.second or view.prompt, view.answer, view.plain)


def _key(recipe: Recipe, model: LocalModel, *content: Any) -> str:
    """The cache key: everything that can change a token."""
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


def _file(path: str | None) -> str | None:
    if not path or path == "none":
        return None
    with open(path, "rb") as file:
        return blake2b(file.read(), digest_size=12).hexdigest()


def _tokenizer_digest(model: LocalModel) -> str:
    digest = blake2b(digest_size=12)
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja"):
        path = model.folder / name
        if path.is_file():
            digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()


def _order(tokens: Tokens, steps: int, batch: int, by_length: bool, seed: int) -> list[int]:
    """Rows of each step. By length, rows move within a window of batches: the same rows, in batches that fit."""
    rows = list(range(steps * batch))
    if not by_length:
        return rows
    lengths, order = tokens.lengths, []
    for start in range(0, len(rows), _WINDOW * batch):
        window = sorted(rows[start : start + _WINDOW * batch], key=lambda i: (lengths[i], i))
        batches = [window[i : i + batch] for i in range(0, len(window), batch)]
        Random(derive(seed, "batches", start)).shuffle(batches)
        order += chain.from_iterable(batches)
    return order
