"""The lines of samples.jsonl: one for each outcome with its calls inside, one for each call of the search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from llmkit.engines import Engine, cache_key, decode_reply, encode_reply
from llmkit.errors import EngineError
from llmkit.evaluate.jobs import Job, outcome_from
from llmkit.files import text_digest
from llmkit.measure.texts import Keeper
from llmkit.runs import Finished, names
from llmkit.steps import drive
from llmkit.tasks import Scorer
from llmkit.types import Call, Outcome, Reply, Request, Role

JournalRow = dict[str, Any]
Engines = Mapping[Role, Engine]

_OUTCOME = tuple(f.name for f in fields(Outcome))


def outcome_row(job: Job, done: Finished, scorer: Scorer) -> JournalRow:
    """Returns one scored answer: what was asked, what was said, and what it was worth. Enough to score it again."""
    variant, outcome = job.variant, outcome_from(job, done, scorer)
    return {
        "kind": names.OUTCOME,
        "key": job.key,
        **{name: getattr(outcome, name) for name in _OUTCOME},
        "usage": asdict(outcome.usage),
        "question": variant.question.text,
        "question_kind": variant.question.kind,
        "options": list(variant.question.options),
        **({"labels": list(labels)} if (labels := variant.question.labels) else {}),
        "text": variant.text,
        "edits": [e._asdict() for e in variant.edits],
        "strength": asdict(variant.strength),
        "rejected": variant.rejected,
        # Of several calls, as votes are, only the arm knows which one is the answer.
        "said": done.result.reply.said if done.result else None,
        "arm_parsed": done.result.parsed if done.result else None,
        "calls": [call_row(c) for c in done.calls],
    }


def search_row(name: str, calls: Iterable[Call], error: EngineError | None) -> JournalRow:
    """Returns the calls that one step of an instruction search made."""
    return {"kind": names.SEARCH, "key": name, "error": error and error.message, "calls": [call_row(c) for c in calls]}


def call_row(call: Call) -> JournalRow:
    """Returns one request with its reply, under the key that finds it again."""
    request = call.request
    return {
        "id": call.key,
        "purpose": request.purpose,
        "messages": _messages(request),
        "continuation": request.continuation,
        **_beside(request),
        "reply": encode_reply(call.reply),
        "cached": call.cached,
        "seconds": round(call.seconds, 4),
    }


def answers(row: Mapping[str, Any], job: Job, engines: Engines | None, keeper: Keeper) -> bool:
    """Returns whether a journalled outcome is still valid for `job`: same text, same requests, and, where `engines` are
    given, same model. Noise, instructions, prompts and weights may have changed since it was written.

    Where texts are not kept, by their digests, and of several requests by the first one.
    """
    if ("hidden" in row) == keeper.full or row["text"] != keeper.digest(job.variant.text):
        return False
    calls = iter(row["calls"])

    def journalled(request: Request) -> Reply:
        call = next(calls, None)
        if call is None or not _asks(call, request, engines, keeper):
            raise _Differs
        if not keeper.full:
            raise _Agrees
        return decode_reply(call["reply"])

    try:
        drive(job.steps(), journalled)
    except _Differs:
        return False
    except _Agrees:
        return True
    return next(calls, None) is None


class _Differs(Exception):
    """Raised inside a replay where a job asks something else than was journalled."""


class _Agrees(Exception):
    """Raised inside a replay that cannot go on, because the replies are not kept."""


def _asks(call: Mapping[str, Any], request: Request, engines: Engines | None, keeper: Keeper) -> bool:
    # The key covers model, sampling and messages. Where the identity would cost a request, the messages have to do.
    if engines is not None:
        return bool(call["id"] == cache_key(engines[request.role].identity, request))
    if not keeper.full:
        return bool(call["asked"] == keeper.asked(_messages(request), request.continuation))
    same = call["continuation"] == request.continuation and call["messages"] == _messages(request)
    # Only the fields that the engine read are journalled, and in older journals there are none.
    read = all(text_digest(request.fields.get(name, "")) == value for name, value in call.get("fields", {}).items())
    return bool(same and read and call.get("tools", []) == list(request.tools))


def _messages(request: Request) -> list[dict[str, Any]]:
    return [message.as_dict() for message in request.messages]


def _beside(request: Request) -> JournalRow:
    """Returns what a request has beside its messages, where it has any: tools, and a digest of each field read."""
    fields = {name: text_digest(value) for name, value in request.fields.items()}
    beside = {"tools": list(map(dict, request.tools)), "fields": fields}
    return {name: value for name, value in beside.items() if value}
