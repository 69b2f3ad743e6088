"""The JSON schema of metrics.json: `python -m llmkit.measure.schema > docs/metrics.schema.json` writes it again."""

from __future__ import annotations

import json
from typing import Any

from llmkit.measure.results import Metrics


def schema() -> dict[str, Any]:
    """Returns the JSON schema of a metrics.json that this llmkit writes. Keys beyond it are allowed: a later one's."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Metrics.model_json_schema()}


def text() -> str:
    """Returns the content of docs/metrics.schema.json."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(text(), end="")
