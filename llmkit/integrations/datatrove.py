"""Noise as a step of a datatrove pipeline, for its local, Slurm and Ray executors.

The one integration that imports its package at once, because its class is one of the package's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llmkit.extras import need
from llmkit.integrations.copies import PERTURBATION, Copies
from llmkit.parsing import JsonObject

need("datatrove", extra="datatrove", what="llmkit.integrations.datatrove")

from datatrove.pipeline.base import PipelineStep  # noqa: E402 - only now it is known to be there

_dumps = json.JSONEncoder(ensure_ascii=False).encode


class Perturb(PipelineStep):  # type: ignore[misc]
    """Makes a noisy copy of each document's text, and keeps the record of its edits in the metadata, as JSON text.

    Text, because datatrove's writers copy each document value by value, and Parquet has one type for all rows.
    The copy is that of `llmkit perturb --op NOISE` for a row with the document's id: the same in any cut into tasks.
    `noise` is one noise with its rate, `options` and `answer` name metadata that guards the answer.
    """

    name = "llmkit perturb"
    type = "Noise"

    def __init__(self, noise: str, seed: int = 7, options: str = "options", answer: str = "answer") -> None:
        super().__init__()
        self.copies, self.options, self.answer = Copies(noise, seed), options, answer

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        """Yields the documents with noise, in their order."""
        for document in data:
            with self.track_time():
                options, answer = document.metadata.get(self.options), document.metadata.get(self.answer)
                document.text, record = self.copies.of(
                    document.text,
                    str(document.id),
                    tuple(map(str, options)) if isinstance(options, Sequence) and not isinstance(options, str) else (),
                    answer if isinstance(answer, str) else None,
                )
                document.metadata[PERTURBATION] = _dumps(record)
            self.stat_update("rejected" if "rejected" in record else "noisy")
            yield document


def row_of(writer: Any, document: Any) -> JsonObject:
    """Serves datatrove's writers, `JsonlWriter("out", adapter=row_of)`: the row of a document without media.

    Their own adapter copies every value, which takes a good part of the time of noise itself.
    """
    beside = document.metadata if writer.expand_metadata else {"metadata": document.metadata}
    return {"text": document.text, "id": document.id, **beside}
