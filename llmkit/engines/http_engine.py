"""An application of the user's own behind an HTTP address: any JSON in, any JSON or server-sent events out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from llmkit.engines import answers
from llmkit.engines.base import EngineIdentity
from llmkit.engines.canary import PROMPTS, Canary, Sight, known, namespace
from llmkit.engines.chat import ChatStyle
from llmkit.engines.client import Client, Filtered, Unreadable
from llmkit.engines.endpoint import Endpoint, Received
from llmkit.engines.pace import Pace
from llmkit.engines.reasoning import split_reasoning
from llmkit.engines.server_engine import ServerEngine
from llmkit.errors import EngineError, UsageError
from llmkit.files import text_digest
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.secrets import scrub_reply
from llmkit.types import Message, Reply, Request, ToolCall, Usage

_OWN = ("messages", "prompt", "session", "tools")  # names in a body that are no fields of a row
_MOST_UNREADABLE = 10  # answers without one that can be read: the recipe is wrong, and every call may cost money
_log = logging.getLogger(__name__)


class HttpEngine(ServerEngine):
    """Sends `engine.body` to `engine.url`, and reads the answer by JSONPath.

    Its identity is what the recipe says. Where the reply names its model (`engine.reported_model`), or the application
    is declared deterministic, it is asked at the start, so that another model behind the address is noticed.
    """

    kind: ClassVar[str] = "http"
    is_application: ClassVar[bool] = True
    capabilities: ClassVar[frozenset[str]] = frozenset({"tools"})

    @classmethod
    def takes(cls, model: ModelSection, section: EngineSection) -> bool:
        """Returns whether the recipe gives the address of an application."""
        return bool(section.url)

    def __init__(self, model: ModelSection, engine: EngineSection) -> None:
        super().__init__(engine)
        missing = [f"engine.{name}" for name in ("url", "body", "answer") if getattr(engine, name) is None]
        if missing:
            raise UsageError(f"an application over HTTP needs {', '.join(missing)}", "see docs/endpoints.md")
        if model.adapter or model.chat_template:
            raise UsageError("an adapter or a chat template cannot be sent to an application")
        if engine.tool_calls and engine.stream:
            raise UsageError("`engine.tool_calls` reads whole replies, and events bring them in pieces")
        self._style = ChatStyle.of(model)
        self._client = HttpClient(engine, self._style, self.pace)
        self._given: dict[str, Any] = {
            "model": model.path or "not stated",
            "revision": model.revision or "",
            "address": self._client.address,
            "asked": text_digest(json.dumps(_asked(engine), sort_keys=True)),
            "system_prompt": self._style.digests[1],
        }
        if self.identity_is_local:
            self._identity = self._identify(())

    @property
    def identity_is_local(self) -> bool:
        """False where the application is asked at the start."""
        section = self._section
        return not (section.deterministic or section.reported_model or section.reported_fingerprint)

    @property
    def canary(self) -> Canary | None:
        """By what the model behind the application is recognised; None where nothing can tell."""
        return None if self.identity_is_local else super().canary

    async def start(self) -> tuple[EngineIdentity, Canary | None]:
        self.clients = [self._client]
        if self._identity is not None:
            return self._identity, None
        faults, canary = await self.recognise([self._client], known(self._given))
        if canary is None:
            raise next(iter(faults.values()))
        if self._section.deterministic and not canary.tells:
            _log.warning(
                "%s is declared deterministic, and answers the same short prompts differently", self._client.address
            )
        reported = (("model", canary.model), ("system_fingerprint", canary.fingerprint))
        return self._identify((("canary", namespace(self._given, canary)), *reported)), canary

    def _identify(self, settings: tuple[tuple[str, str], ...]) -> EngineIdentity:
        fields = " ".join(sorted(self._client.names - {*_OWN}))
        return EngineIdentity(
            kind=self.kind,
            version="1",
            model=self._given["model"],
            revision=self._given["revision"] or "not stated",
            system_prompt=self._given["system_prompt"],
            settings=(
                ("address", self._given["address"]),
                ("asked", self._given["asked"]),
                ("fields", fields),
                *settings,
            ),
        )


class HttpClient(Client):
    """The application, with the call that goes before each question."""

    def __init__(self, section: EngineSection, style: ChatStyle, pace: Pace) -> None:
        before = section.before
        shared = (section.timeout_s, section.max_num_seqs, pace)
        self._endpoint = Endpoint(section, "engine", *shared, stream=section.stream is not None)
        self._before = Endpoint(before, "engine.before", *shared) if before else None
        super().__init__(self._endpoint.address, section.timeout_s, section.max_num_seqs, pace)
        self._section = section
        self._style = style
        self._unreadable = 0
        self._retrieved = False  # whether any reply named a document
        self.names = self._endpoint.form.names
        """The names that its bodies use."""
        if self._before is None and "session" in self.names:
            raise UsageError("`engine.body` uses `session`, and no call fills it", "give engine.before")
        if self._before is not None:
            self.names |= self._before.form.names

    async def answer(self, request: Request) -> Reply:
        messages = [m.as_dict() for m in self._style.messages(request)]
        turns = [message["content"] for message in messages if message["role"] == "user"]
        values: dict[str, Any] = {
            **request.fields,
            "messages": messages,
            "prompt": turns[-1] if turns else "",
            "tools": list(request.tools),
        }
        try:
            if self._before is not None and self._section.before is not None:
                opened = await self._before.send(values)
                values["session"] = self._found(opened, self._section.before.session, "engine.before.session")[0]
            received = await self._endpoint.send(values)
            return self._reply(received, "\n".join((*turns, *request.fields.values())))
        except Filtered:
            return Reply("", finish_reason="content_filter")
        except Unreadable as error:
            self._unreadable += 1
            if not self.read and self._unreadable >= _MOST_UNREADABLE:
                self.fault = EngineError(
                    f"none of the first {self._unreadable} answers can be read: {error.message}", error.hint
                )
                self.dead = True
            raise

    async def sight(self, prompt: str) -> Sight:
        # A prompt of the canary comes from no row: it stands for every field that the body wants.
        fields = dict.fromkeys(self.names.difference(_OWN), prompt)
        return (await self.answer(Request((Message("user", prompt),), fields=fields))).text

    async def responds(self) -> bool:
        return await self._endpoint.responds()

    async def canary(self, times: int) -> Canary:
        if self._section.deterministic:
            return await super().canary(times)
        # An application need not answer the same prompt alike: only what its reply calls the model can tell.
        if not self.read:
            await self.sight(PROMPTS[0])
        return Canary([None] * len(PROMPTS), *self._reported)

    async def close(self) -> None:
        if self.read and self._section.documents and not self._retrieved:
            path = self._section.documents
            _log.warning("%s: `engine.documents` (%s) finds no document in any reply", self.address, path)
        for endpoint in filter(None, (self._endpoint, self._before)):
            await endpoint.close()

    def _reply(self, received: Received, asked: str) -> Reply:
        section = self._section
        pieces = self._found(received, section.answer or "", "engine.answer")
        text, reasoning = split_reasoning("".join(map(_text, pieces)))
        usage = section.usage
        counts = (received.last(usage.prompt), received.last(usage.completion)) if usage else ()
        self._took(received.last(section.reported_model), received.last(section.reported_fingerprint))
        documents = tuple(scrub_reply(name, asked) for name in _documents(received.find(section.documents)))
        self._retrieved = self._retrieved or bool(documents)
        calls = self._tool_calls(received, lambda written: scrub_reply(written, asked))
        return Reply(
            scrub_reply(text, asked),
            scrub_reply(reasoning, asked),
            Usage.reported(*counts),
            documents=documents,
            tool_calls=calls,
        )

    def _tool_calls(self, received: Received, clean: Callable[[str], str]) -> tuple[ToolCall, ...]:
        path = self._section.tool_calls
        try:
            return tuple(answers.named_call(call, clean) for call in _items(received.find(path)) if call is not None)
        except ValueError as error:
            raise Unreadable(
                f"{self.address}: `engine.tool_calls` ({path}) finds what is no tool call: {error}",
                "it finds objects with `name` and `arguments`, or with these in `function`, or a list of such",
            ) from None

    def _found(self, received: Received, path: str, key: str) -> list[Any]:
        found = received.find(path)
        if not found:
            raise Unreadable(
                f"{self.address}: `{key}` ({path}) finds nothing in the reply: {received.shown}",
                f"compare `{key}` with the reply; `$` is its root",
            )
        return found


def _text(value: Any) -> str:
    """Returns what a JSON value says: a text as it is but for half characters, nothing for null, else the JSON."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def _documents(found: list[Any]) -> Iterator[str]:
    """Yields the ids or texts of what a path finds, the items of a list one by one. What has none is no document."""
    yield from filter(None, map(_text, _items(found)))


def _items(found: list[Any]) -> Iterator[Any]:
    """Yields what a path finds, the items of a list one by one."""
    for value in found:
        yield from value if isinstance(value, list) else (value,)


def _asked(section: EngineSection) -> list[Any]:
    """Returns all of a recipe that decides what an application is sent and what is read of its reply."""
    names = ("method", "body", "answer", "documents", "stream", "before")
    written = section.model_dump(mode="json", include=set(names), exclude={"before": {"headers_env"}})
    # A key that came later is left out where it is not given, so that older answers keep their identity.
    later = [section.tool_calls] if section.tool_calls else []
    return [*(written[name] for name in names), *later]
