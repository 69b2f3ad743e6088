"""Any OpenAI-compatible server, or several that share the load."""

from __future__ import annotations

import logging
import os
from typing import Any, ClassVar

from llmkit.engines.base import EngineIdentity
from llmkit.engines.canary import Canary, known, namespace
from llmkit.engines.chat import ChatStyle
from llmkit.engines.server_client import ServerClient
from llmkit.engines.server_engine import ServerEngine
from llmkit.engines.server_list import ServerList, is_address
from llmkit.engines.server_watch import Watch
from llmkit.errors import UsageError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.secrets import LOG_FILTER, remember, remember_address

_DEFAULT_URL = "https://api.openai.com/v1"
_log = logging.getLogger(__name__)


class OpenAIEngine(ServerEngine):
    """Sends requests to servers, at most `max_num_seqs` at once to each. Those of a file may join and leave.

    Knowing its identity takes a few short calls: the servers are checked and their canaries compared.
    """

    kind: ClassVar[str] = "openai"
    identity_is_local: ClassVar[bool] = False

    @classmethod
    def takes(cls, model: ModelSection, section: EngineSection) -> bool:
        """Returns whether the recipe gives the address of a server."""
        return bool(section.base_url)

    def __init__(self, model: ModelSection, engine: EngineSection) -> None:
        if model.adapter:
            raise UsageError("an adapter cannot be sent to a server", "load it there, and give its name with --model")
        self._list = ServerList.of(engine.base_url)
        self._urls = tuple(self._list.read()) if self._list else engine.base_url or (_DEFAULT_URL,)
        if not self._urls:
            raise UsageError("the file of --base-url lists no server", "each of its lines is an address")
        for url in self._urls:
            remember_address(url)
            if not is_address(url):
                raise UsageError(
                    "a base URL must begin with http:// or https://, name a host, and have no port but a number",
                    "for example http://127.0.0.1:8000/v1",
                )
        for name in ("httpx", "httpx2"):  # which of them the client uses; it notes whole addresses, query included
            logging.getLogger(name).addFilter(LOG_FILTER)
        self._key = os.environ.get(engine.api_key_env) or "EMPTY"
        remember(self._key)
        if self._key == "EMPTY" and not engine.base_url:
            raise UsageError("no server is given and no key is set", f"give --base-url, or set {engine.api_key_env}")
        super().__init__(engine)
        self._model = model
        self._style = ChatStyle.of(model)

    @property
    def capabilities(self) -> frozenset[str]:
        """`likelihood` where every server has vLLM's /tokenize and echoes log-probabilities; `tools` where it gets
        messages and not a prompt that is made here."""
        self.open()
        scores = all(s.tokenizes for s in self.clients if isinstance(s, ServerClient) and not s.dead)
        taken = (("likelihood", scores), ("tools", not self._style.makes_prompt))
        return frozenset(name for name, can in taken if can)

    def _client(self, url: str) -> ServerClient:
        section = self._section
        return ServerClient(
            url, self._key, self._model.path, self._style, section.timeout_s, section.max_num_seqs, self.pace
        )

    async def start(self) -> tuple[EngineIdentity, Canary]:
        servers = [self._client(url) for url in self._urls]
        self.clients = servers
        faults = await self.each(servers, ServerClient.start)
        canary = None
        if well := [s for s in servers if not s.dead]:
            first = well[0]
            shared = self._section.replicas or self._list is not None
            where = "replicas" if shared else " ".join(sorted({s.address for s in servers}))
            named: dict[str, Any] = {"model": first.model, "revision": self._model.revision or "", "address": where}
            named |= dict(zip(("chat_template", "system_prompt"), self._style.digests, strict=True))
            more, canary = await self.recognise(well, known(named))
            faults |= more
        if canary is None:  # no server is left
            raise next(iter(faults.values()))
        for fault in faults.values():
            _log.warning("%s; going on without it", fault.message)
        if not canary.tells:
            _log.warning(
                "%s answers the same short prompts differently from time to time, so that another model in its place "
                "would not be noticed: state which one it is with --revision",
                first.address,
            )
        reported = () if canary.tells else (("model", canary.model), ("system_fingerprint", canary.fingerprint))
        identity = EngineIdentity(
            kind=self.kind,
            version="1",
            model=first.model,
            revision=self._model.revision or "not stated",
            chat_template=self._style.digests[0],
            system_prompt=self._style.digests[1],
            settings=(("address", where), ("canary", namespace(named, canary)), *reported),
        )
        if self._list is not None:
            self.watch = Watch(self, self._list, dict(zip(self._urls, servers, strict=True)), self._client, canary)
        return identity, canary
