"""A program for tests/serving/test_engine.py: engines in one process, one kind, model and adapter after the other.

vLLM's transformers backend changes transformers' own classes, so it is kept apart from other tests.
"""

import json
import sys

from llmkit.engines import open_engine
from llmkit.errors import LlmkitError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.types import Message, Request, Sampling

QUESTIONS = [f"How many pieces of fruit are left after {n} of them went to the market?" for n in range(6)]


def replies(kind: str, model: str, adapter: str) -> list[str]:
    section = EngineSection(kind=kind, dtype="float32", kv_cache_gib=0.1, max_model_len=256)
    engine = open_engine(ModelSection(path=model, adapter=adapter), section)
    try:
        for number, question in enumerate(QUESTIONS):
            engine.submit(number, Request((Message("user", question),), Sampling(max_tokens=12)))
        said = dict(engine.drain())
    finally:
        engine.close()
    return [said[number].text for number in range(len(QUESTIONS))]


def replies_or_error(*job: str) -> list[str] | str:
    try:
        return replies(*job)
    except LlmkitError as error:
        return f"{type(error).__name__}: {error.message}"


if __name__ == "__main__":
    print("SAID", json.dumps([replies_or_error(*job) for job in json.loads(sys.argv[1])]))
