"""What every engine is: a thing that is given requests and hands back replies as they finish."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from llmkit.engines.canary import Canary
from llmkit.errors import EngineError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.types import Reply, Request

Key = Hashable
ANY_FIELD = "*"


@dataclass(frozen=True)
class EngineIdentity:
    """Everything that can change an answer and does not stand in the request. Part of every cache key.

    `model` and `revision` name the weights: a hub commit, a digest of a local folder, or what a server's operator
    states. `adapter`, `chat_template` and `system_prompt` are content digests. `settings` holds what only one kind of
    engine has, such as a server's address and canary.
    """

    kind: str
    version: str
    model: str
    revision: str
    adapter: str | None = None
    dtype: str | None = None
    max_model_len: int | None = None
    chat_template: str | None = None
    system_prompt: str | None = None
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def fields(self) -> tuple[str, ...] | None:
        """The names of the row's fields that the engine reads: none for a model, None where it may read any."""
        names = dict(self.settings).get("fields", "")
        return None if names == ANY_FIELD else tuple(names.split())

    def as_dict(self) -> dict[str, Any]:
        """Returns the identity as plain JSON values."""
        return {**asdict(self), "settings": dict(self.settings)}


class Served(NamedTuple):
    """The work of one server."""

    requests: int
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / max(self.seconds, 1e-9)


class Engine(Protocol):
    """Generates text. Replies come back as they finish, in any order.

    A request that cannot be answered comes back from `drain` as an EngineError in place of its reply. An engine that
    cannot go on raises the EngineError from `submit` or `drain`, or from `identity` if it has to ask a server.
    """

    @property
    def identity_is_local(self) -> bool:
        """True where `identity` is known without a request. False for a server, which has to be asked who it is."""

    @property
    def identity(self) -> EngineIdentity: ...

    @property
    def capabilities(self) -> frozenset[str]:
        """The abilities of this engine beyond generating: `likelihood` answers requests with a `continuation`, `tools`
        passes a request's tools on."""

    @property
    def canary(self) -> Canary | None:
        """By what a server's model is recognised; None where the identity alone tells which model it is."""

    def submit(self, key: Key, request: Request) -> None:
        """Takes a request. The first one starts the model."""

    def drain(self) -> Iterator[tuple[Key, Reply | EngineError]]:
        """Yields what finishes until nothing is pending. More may be submitted between two yields."""

    def close(self) -> None:
        """Drops what is pending and frees the model. A closed engine may be closed again."""


class EngineClass(Protocol):
    """An entry of `ENGINES`: a class of engines, which a recipe's sections open."""

    @property
    def kind(self) -> str:
        """The name that users choose it by, and the first part of its engines' identity."""

    def takes(self, model: ModelSection, section: EngineSection) -> bool:
        """Returns whether `auto` chooses this kind for a model; the kinds are asked in the order of `ENGINES`."""

    def __call__(self, model: ModelSection, section: EngineSection, /) -> Engine: ...
