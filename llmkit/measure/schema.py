"""The JSON schemas of metrics.json and baseline.json. These commands write them again:

python -m llmkit.measure.schema > docs/metrics.schema.json
python -m llmkit.measure.schema baseline > docs/baseline.schema.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import BaseModel

from llmkit.measure.baseline import BaselineFile
from llmkit.measure.results import Metrics


def schema(model: type[BaseModel] = Metrics) -> dict[str, Any]:
    """Returns the JSON schema of what this llmkit writes. A metrics.json of a later one may have further keys."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}


def text(model: type[BaseModel] = Metrics) -> str:
    """Returns the content of the schema's file in docs."""
    return json.dumps(schema(model), indent=2) + "\n"


if __name__ == "__main__":
    print(text(BaselineFile if sys.argv[1:] == ["baseline"] else Metrics), end="")
