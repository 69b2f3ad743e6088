"""Inspect (inspect-ai): any of its datasets with noisy input, and two of its logs as paired statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, UsageError
from llmkit.extras import need
from llmkit.integrations.copies import PERTURBATION, Copies
from llmkit.integrations.pairs import Paired, Score, pair
from llmkit.perturb.engine import PerturbationRecord

if TYPE_CHECKING:
    from inspect_ai.dataset import Dataset, Sample


def noisy(dataset: Dataset, noise: str, seed: int = 7) -> Dataset:
    """Returns a dataset with the same samples, their input noisy: the text, or the texts of the user's messages.

    Ids, choices, targets and everything else stay; a sample without an id gets its place, from 1, as Inspect numbers
    them, so both datasets have to be whole and in one order. `metadata["perturbation"]` has the original and the edits.
    UsageError for a noise that needs a model, DataError for a dataset without samples or without text in its input.
    """
    need("inspect_ai", extra="inspect", what="llmkit.integrations.inspect")
    from inspect_ai.dataset import MemoryDataset

    samples = list(dataset)
    if not samples:
        raise DataError("the dataset has no samples", "check its source and its limit")
    copies = Copies(noise, seed)
    copies.fit(text for sample in samples for text in _texts(sample))
    made = [_copy(sample, number, copies) for number, sample in enumerate(samples, 1)]
    return MemoryDataset(made, name=dataset.name, location=dataset.location, shuffled=dataset.shuffled)


def _texts(sample: Sample) -> list[str]:
    """Returns the texts of a sample that a user wrote."""
    if isinstance(sample.input, str):
        return [sample.input]
    return [message.text for message in sample.input if message.role == "user"]


def _copy(sample: Sample, number: int, copies: Copies) -> Sample:
    """Returns a noisy copy of a sample; `number` is its place."""
    id = number if sample.id is None else sample.id
    if not any(text.strip() for text in _texts(sample)):
        raise DataError(f"sample {id} has no text of a user in its input", "leave it out of the dataset")
    targets = [sample.target] if isinstance(sample.target, str) else sample.target
    records: list[PerturbationRecord] = []

    def noisy_text(text: str) -> str:
        # With its place, because one conversation may hold the same words twice.
        place = f"{id}/{len(records)}"
        new, record = copies.of(text, place, sample.choices or (), targets[0] if targets else None)
        records.append(record)
        return new

    if isinstance(sample.input, str):
        noisy_input: Any = noisy_text(sample.input)
    else:
        noisy_input = [_message(m, noisy_text) if m.role == "user" else m for m in sample.input]
    metadata = {**(sample.metadata or {}), PERTURBATION: records}
    return sample.model_copy(update={"id": id, "input": noisy_input, "metadata": metadata})


def _message(message: Any, noisy_text: Callable[[str], str]) -> Any:
    """Returns a message with noisy text; pictures and other parts stay."""
    if isinstance(message.content, str):
        return message.model_copy(update={"content": noisy_text(message.content)})
    parts = [
        part.model_copy(update={"text": noisy_text(part.text)}) if part.type == "text" else part
        for part in message.content
    ]
    return message.model_copy(update={"content": parts})


def paired(clean: Path | str, noisy: Path | str, scorer: str | None = None, *, level: float = 0.95) -> Paired:
    """Reads two logs of Inspect, of a task on a dataset and on its `noisy` copy, and pairs their samples by id.

    `scorer` names one of several (the first otherwise). The epochs of a sample are averaged; one that ended in an error
    or without a score counts as wrong. DataError where the second log is not of a noisy copy of the first.
    """
    need("inspect_ai", extra="inspect", what="llmkit.integrations.inspect")
    from inspect_ai.log import read_eval_log

    first, second = (_samples(read_eval_log(str(log)), str(log)) for log in (clean, noisy))
    names = list(dict.fromkeys(name for side in (first, second) for one in side for name in one.scores or {}))
    chosen = scorer or next(iter(names), "")
    if chosen not in names:
        raise UsageError(f"the logs have no scorer `{chosen}`", f"they have {', '.join(names) or 'none'}")
    originals = {str(sample.id): sample.input for sample in first}
    changes: dict[str, bool] = {}
    for sample in second:
        if PERTURBATION not in sample.metadata:
            hint = "give the clean log first, then that of the dataset made by `llmkit.integrations.inspect.noisy`"
            raise DataError(f"{noisy}: sample {sample.id} has no record of noise", hint)
        if str(sample.id) in originals:
            changes[str(sample.id)] = originals[str(sample.id)] != sample.input
    share = sum(changes.values()) / max(1, len(changes))
    return pair(chosen, _scores(first, chosen), _scores(second, chosen), share, level)


def _samples(log: Any, name: str) -> list[Any]:
    if not log.samples:
        raise DataError(f"{name} holds no samples", "give the log of a finished evaluation")
    return list(log.samples)


def _scores(samples: Iterable[Any], scorer: str) -> dict[str, Score]:
    """Returns the mean score of each sample over its epochs."""
    from inspect_ai.scorer import value_to_float

    as_number = value_to_float()
    values: dict[str, list[float]] = {}
    for sample in samples:
        score = (sample.scores or {}).get(scorer)
        value = math.nan if score is None or sample.error else as_number(score.value)
        values.setdefault(str(sample.id), []).append(0.0 if math.isnan(value) else value)
    return {id: Score(sum(all_) / len(all_), id) for id, all_ in values.items()}
