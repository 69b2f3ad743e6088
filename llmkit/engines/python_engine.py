"""A Python function of the user's own as an engine: `--engine python:package.module:function`."""

from __future__ import annotations

from typing import ClassVar

from llmkit.engines.base import ANY_FIELD, EngineIdentity
from llmkit.engines.canary import Canary
from llmkit.engines.chat import ChatStyle
from llmkit.engines.client import Again, Client
from llmkit.engines.function import Function
from llmkit.engines.pace import Pace
from llmkit.engines.server_engine import ServerEngine
from llmkit.engines.threads import Late, Threads
from llmkit.errors import EngineError, UsageError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.types import Reply, Request


class PythonEngine(ServerEngine):
    """Calls a function for each request, at most `max_num_seqs` at once, each with its time limit."""

    kind: ClassVar[str] = "python"
    is_application: ClassVar[bool] = True
    identity_is_local: ClassVar[bool] = True
    capabilities: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def takes(cls, model: ModelSection, section: EngineSection) -> bool:
        """Returns False: a function is chosen by its name only."""
        return False

    def __init__(self, model: ModelSection, engine: EngineSection) -> None:
        super().__init__(engine)
        if model.adapter or model.chat_template:
            raise UsageError("an adapter or a chat template cannot be given to a function")
        style = ChatStyle.of(model)
        function = Function.named(engine.kind)
        self._client = FunctionClient(function, style, engine, self.pace)
        fields = ANY_FIELD if function.takes_any else " ".join(function.fields)
        self._identity = EngineIdentity(
            kind=self.kind,
            version="1",
            model=model.path or function.name,
            revision=model.revision or "not stated",
            system_prompt=style.digests[1],
            settings=(("function", function.name), ("fields", fields)),
        )

    @property
    def canary(self) -> Canary | None:
        """None: a function is recognised by what the user states."""
        return None

    async def start(self) -> tuple[EngineIdentity, Canary | None]:
        self.clients = [self._client]
        return self.identity, None


class FunctionClient(Client):
    """The function, and the threads that it runs in."""

    def __init__(self, function: Function, style: ChatStyle, section: EngineSection, pace: Pace) -> None:
        super().__init__(function.name, section.timeout_s, section.max_num_seqs, pace)
        self._function = function
        self._style = style
        self._threads = Threads(function.name)

    async def answer(self, request: Request) -> Reply:
        await self.pace.turn()
        messages = [{"role": m.role, "content": m.content} for m in self._style.messages(request)]
        by_position, by_name = self._function.arguments(messages, request.fields)
        try:
            returned = await self._threads.call(self._function.call, by_position, by_name, self.timeout)
        except Late as error:
            # No sign of too many calls at once, as it would be of a server: what blocks has itself to blame.
            raise Again(f"no answer within {self.timeout:g} s (engine.timeout_s)") from error
        except (TimeoutError, ConnectionError) as error:
            raise Again(self._function.blame(error)) from error
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"{self.address} raises {self._function.blame(error)}") from error
        reply = self._function.reply(returned)
        self._took(None, None)
        return reply

    async def responds(self) -> bool:
        return True

    async def close(self) -> None:
        self._threads.close()
