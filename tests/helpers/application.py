"""An application over HTTP that a FaultServer plays, and the http engine opened for it."""

from __future__ import annotations

import json
import re

from llmkit.engines import open_engine
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.runs import Runner
from llmkit.types import Message, Request


def opened(server, path="/chat", model=None, **keys):
    given = {
        "url": server.url.removesuffix("/v1") + path,
        "body": {"question": "{{ prompt }}"},
        "answer": "$.answer",
        "retries": 1,
        "timeout_s": 20.0,
        "max_num_seqs": 8,
        **keys,
    }
    return open_engine(
        ModelSection(path=model), EngineSection.model_validate_json(json.dumps({"kind": "http", **given}))
    )


def run(engine, requests, cache=None):
    """name -> Reply, or the error that ended its request."""

    def steps(request):
        return (yield request)

    with Runner({"answerer": engine}, cache) as runner:
        return {f.key: f.error or f.result for f in runner.run((name, steps(r)) for name, r in requests.items())}


def ask(engine, *texts, cache=None, **more):
    return run(engine, {text: Request((Message("user", text),), **more) for text in texts}, cache)


def says(error, pattern):
    assert re.search(pattern, error.message), error.message


def answering(**reply):
    return lambda handler, body: handler._send(200, {"answer": f"re: {body['question']}", **reply})


def saying(status, data, kind="application/json"):
    return lambda handler, body: handler._send_bytes(status, data, {"Content-Type": kind})


def events(*chunks, whole=True):
    return lambda handler, body: handler._send_chunks([c.encode() for c in chunks], whole=whole)
