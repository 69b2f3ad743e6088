"""The model that answered a run. It is recognised again at every start, so that no run mixes two models unnoticed.

The journal holds it: a row of kind `canary` is how a server's model answered a few fixed prompts, with `kept` where the
user went on although it had changed. A row of kind `generation` begins anew (`RunFolder.begin_generation`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from llmkit.engines import Engine, EngineIdentity, Key, Served
from llmkit.engines.canary import Canary
from llmkit.errors import DataError, EngineError, LlmkitError
from llmkit.parsing import JsonObject
from llmkit.runs import names
from llmkit.runs.folder import RunFolder
from llmkit.runs.run import Run
from llmkit.types import Reply, Request, Role

IfChanged = Literal["stop", "anew", "keep"]
"""The ways to go on where another model answers than before: stop, begin anew, or go on with both."""

_log = logging.getLogger(__name__)


class Watched:
    """A server's engine whose model is compared with the run's before anything is asked of it."""

    def __init__(self, engine: Engine, check: Callable[[Engine], None]) -> None:
        self._engine = engine
        self._check: Callable[[Engine], None] | None = check

    @property
    def identity_is_local(self) -> bool:
        return self._engine.identity_is_local

    @property
    def identity(self) -> EngineIdentity:
        if self._check is not None:
            self._check(self._engine)
            self._check = None
        return self._engine.identity

    @property
    def capabilities(self) -> frozenset[str]:
        return self._engine.capabilities

    @property
    def canary(self) -> Canary | None:
        return self._engine.canary

    @property
    def served(self) -> dict[str, Served]:
        return getattr(self._engine, "served", {})

    def submit(self, key: Key, request: Request) -> None:
        self._engine.submit(key, request)

    def drain(self) -> Iterator[tuple[Key, Reply | EngineError]]:
        return self._engine.drain()

    def close(self) -> None:
        self._engine.close()


class Generations:
    """The models of one run, and what happens where one has changed."""

    def __init__(self, folder: RunFolder, if_changed: IfChanged = "stop") -> None:
        self.folder = folder
        self.if_changed = if_changed
        self.seen = _seen(folder.path)
        self._now: dict[Role, Canary] = {}  # those of this start

    def watch(self, engines: Mapping[Role, Engine]) -> dict[Role, Engine]:
        """Returns the engines, each compared with the run's model of its first role at its first use."""
        watched: dict[int, Engine] = {}
        for role, engine in engines.items():
            watched.setdefault(id(engine), Watched(engine, partial(self._check, role)))
        return {role: watched[id(engine)] for role, engine in engines.items()}

    def begin(self) -> None:
        """Begins anew: what was answered before stays in the journal and counts no more."""
        self.folder.begin_generation()
        (self.folder.path / names.METRICS).unlink(missing_ok=True)  # the run is unfinished again
        self.seen = {}
        # Servers are asked who they are once in a start, so what this start knows opens the new generation.
        for role, canary in self._now.items():
            self._record(role, canary)

    def confirm(self, engines: Mapping[Role, Engine]) -> None:
        """Asks a finished run's servers who they are before its gates are judged; begins anew where one has changed.

        A run in which calls failed is not finished: going on would mix two models, so it stops as any unfinished one.
        """
        if self.if_changed == "stop" and not any(row["error"] for row in Run(self.folder.path).outcomes()):
            self.if_changed = "anew"
        try:
            # A role that this run never asked has nothing to be compared with: opening its server would be for nothing.
            for role in [role for role in engines if role == "answerer" or role in self.seen]:
                _ = engines[role].identity
        except LlmkitError as error:
            message = f"the gates need to know that this run's model is still the same: {error.message}"
            score = f"`llmkit eval score {self.folder.path}` judges the answers that are there"
            raise type(error)(message, f"{error.hint}; {score}" if error.hint else score) from error

    def _check(self, role: Role, engine: Engine) -> None:
        canary, before = engine.canary, self.seen.get(role, [])
        if canary is None:
            return
        self._now[role] = canary
        if not before:
            if any(Run(self.folder.path).entries(names.OUTCOME)):
                _log.warning("this run does not know yet by what to recognise its model: it takes the one of now")
            self._record(role, canary)
        elif any(known.agrees(canary) for known, _ in before):
            return
        elif not self._answered():  # what failed is asked again in any case
            self.begin()
        elif self.if_changed == "keep":
            self._record(role, canary, kept=True)
        elif self.if_changed == "anew":
            _log.warning("another model answers as `%s` now: this run asks everything again", engine.identity.model)
            self.begin()
        else:
            raise EngineError(
                f"another model answers as `{engine.identity.model}` than the one that answered this run so far",
                "--anew asks everything again, and the old answers stay in the journal; --keep goes on with both "
                "models, and leaves the run's gates undecided",
            )

    def _answered(self) -> bool:
        return any(row["kind"] != names.CANARY and row["error"] is None for row in self.folder.entries())

    def _record(self, role: Role, canary: Canary, kept: bool = False) -> None:
        self.folder.append(_row(role, canary, kept))
        self.seen.setdefault(role, []).append((canary, kept))


def mixed(folder: Path) -> bool:
    """Returns whether the user went on with this run although another model answered."""
    return any(kept for seen in _seen(folder).values() for _, kept in seen)


def joined(shards: Sequence[Path], folder: RunFolder) -> None:
    """Takes over the models of a run's shards. Raises DataError where they are not the same."""
    whole = _seen(folder.path)
    for shard in shards:
        for role, seen in _seen(shard).items():
            known = whole.setdefault(role, [])
            for canary, kept in seen:
                # A model that `--keep` let into one shard marks the whole run as mixed.
                if any(k.agrees(canary) and (was or not kept) for k, was in known):
                    continue
                if known and not kept:
                    raise DataError(
                        f"another model answered {shard} than the shards before it",
                        "run that shard again with --anew, or the others, so that one model answers all",
                    )
                known.append((canary, kept))
                folder.append(_row(role, canary, kept))


def _row(role: str, canary: Canary, kept: bool) -> JsonObject:
    return {"kind": names.CANARY, "key": role, "error": None, "kept": kept, **canary.as_dict()}


def _seen(folder: Path) -> dict[str, list[tuple[Canary, bool]]]:
    """Returns role -> its canaries in this generation, each with whether the user kept on in spite of it."""
    seen: dict[str, list[tuple[Canary, bool]]] = {}
    # One pass over a journal that may be long: few of its lines are of these kinds.
    for row in Run(folder).entries(names.CANARY, names.GENERATION, every=True):
        if row["kind"] == names.GENERATION:
            seen.clear()
            continue
        canary = Canary(row["seen"], row["model"], row["fingerprint"])
        seen.setdefault(row["key"], []).append((canary, bool(row["kept"])))
    return seen
