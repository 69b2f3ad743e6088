"""Runs the user's functions where they can block nothing but themselves."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from llmkit.errors import EngineError

_MOST_STUCK = 256  # threads that never came back: each holds memory until the process ends
_RESPONDS = 1.0  # seconds that an event loop has to answer: longer than any step of a coroutine that waits politely


class Late(Exception):
    """A call was not back within its time limit."""


class Threads:
    """One thread for each call, and one event loop for all calls of a coroutine function, because what such functions
    share, as an HTTP client, belongs to one loop. None of these threads keeps the process from ending."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stuck = 0
        self._lock = threading.Lock()

    async def call(self, function: Any, by_position: Sequence[Any], by_name: Mapping[str, Any], timeout: float) -> Any:
        """Returns what the function returns, or raises what it raises.

        Raises Late after `timeout` seconds; EngineError for a coroutine that blocks its event loop for so long, and
        where too many threads are stuck already.
        """
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(function.__call__):
            return await self._on_loop(lambda: function(*by_position, **by_name), timeout)
        return await self._in_thread(lambda: function(*by_position, **by_name), timeout)

    def close(self) -> None:
        """Lets the event loop end; what is stuck stays until the process ends."""
        if self._loop is not None:
            _abandon(self._loop)
            self._loop = None

    async def _in_thread(self, call: Callable[[], Any], timeout: float) -> Any:
        if self._stuck >= _MOST_STUCK:
            raise EngineError(f"{self._stuck} calls of `{self._name}` never came back: no more are made")
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # so that giving up on it leaves it able to take its result
        left = False

        def run() -> None:
            try:
                returned = call()
                # A partial or a wrapper of a coroutine function looks like a plain one.
                future.set_result(asyncio.run(_awaited(returned)) if inspect.isawaitable(returned) else returned)
            except BaseException as error:
                future.set_result(_Raised(error))
            with self._lock:
                self._stuck -= left

        threading.Thread(target=run, name=self._name, daemon=True).start()
        waiting = asyncio.wrap_future(future)
        if done := (await asyncio.wait({waiting}, timeout=timeout))[0]:
            return _result(done.pop())
        waiting.cancel()
        with self._lock:
            left = not future.done()
            self._stuck += left
        raise Late

    async def _on_loop(self, call: Callable[[], Coroutine[Any, Any, Any]], timeout: float) -> Any:
        while True:
            loop = self._loop = self._loop or _new_loop(self._name)
            tasks: list[asyncio.Task[Any] | None] = []
            waiting = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_noted(call, tasks), loop))
            if done := (await asyncio.wait({waiting}, timeout=timeout))[0]:
                return _result(done.pop())
            waiting.cancel()
            if await _responds(loop):
                raise Late
            blocking = asyncio.current_task(loop)
            if self._loop is loop:
                self._loop = None
            _abandon(loop)
            if blocking is None or blocking in tasks:
                raise EngineError(
                    f"`{self._name}` blocks its event loop for {timeout:g} s (engine.timeout_s), and every other call",
                    "await what takes long, or write a plain function: it gets a thread of its own",
                )
            # Another call blocked the loop: this one has waited for nothing that it did, and begins again.


class _Raised:
    """An exception on its way between two threads, as a value: futures give some a meaning of their own, and
    others without their traceback."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _result(done: asyncio.Future[Any]) -> Any:
    value = done.result()
    if not isinstance(value, _Raised):
        return value
    error = value.error
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        raise error
    # SystemExit and the like end what they pass through: the user's function fails, and nothing else does.
    words = ": ".join(filter(None, (type(error).__name__, str(error))))
    raise RuntimeError(words).with_traceback(error.__traceback__)


async def _noted(call: Callable[[], Coroutine[Any, Any, Any]], tasks: list[asyncio.Task[Any] | None]) -> Any:
    tasks.append(asyncio.current_task())
    try:
        return await call()
    except BaseException as error:
        return _Raised(error)


async def _awaited(value: Any) -> Any:
    return await value


async def _responds(loop: asyncio.AbstractEventLoop) -> bool:
    """Returns whether a loop in another thread still takes turns."""
    answered = threading.Event()
    loop.call_soon_threadsafe(answered.set)
    for _ in range(20):
        if answered.is_set():
            return True
        await asyncio.sleep(_RESPONDS / 20)
    return answered.is_set()


def _new_loop(name: str) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=name, daemon=True).start()
    return loop


def _abandon(loop: asyncio.AbstractEventLoop) -> None:
    """Stops a loop once it takes turns again, with time for what was cancelled to end."""
    loop.call_soon_threadsafe(loop.call_later, _RESPONDS, loop.stop)
