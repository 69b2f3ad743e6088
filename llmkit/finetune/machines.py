"""Several machines that train together: they meet at machine 0, compare what they are to train, and notice a loss.

Each line between them is one JSON object over TCP: `{"machine", "facts"}` of one that comes, `{"plan"}` once all are
there, `{}` as a sign of life, `{"error"}` where one failed, `{"done"}` with the results at the end.
"""

from __future__ import annotations

import json
import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from llmkit.errors import EngineError, LlmkitError, UsageError

PORT = 29500
COME = 600.0
"""Seconds within which all machines have to be there: some may have to read and check the rows first."""
BEAT = 5.0
"""Seconds between two signs of life."""
SILENCE = 60.0
"""Seconds without a sign of life after which a machine is taken to be lost."""
_GREETING = 10.0  # seconds for the first line of a connection, which may be a stranger's
_LONGEST = 1 << 20  # bytes of a line
_AGAIN = "start every machine again with the same command: it goes on from the last checkpoint"

Message = dict[str, Any]
Facts = Mapping[str, str]


def parse_address(text: str) -> tuple[str, int]:
    """Splits `HOST[:PORT]`.

    >>> parse_address("node-1:4242"), parse_address("[fe80::1]")
    (('node-1', 4242), ('fe80::1', 29500))
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port == 0 or parts.netloc != text or parts.username is not None:
        raise UsageError(f"`{text}` is not the address of the main process", "it looks like node-1:29500")
    return host, port or PORT


def is_loopback(host: str) -> bool:
    """Returns whether a host is this machine alone."""
    return host in ("localhost", "::1") or host.startswith("127.")


class Line:
    """A connection to another machine, by lines of JSON."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._rest = connection, b""
        self._writing = threading.Lock()
        self.local_host: str = connection.getsockname()[0]
        """The address of this machine at which the other one reaches it."""

    def send(self, message: Message) -> None:
        """Sends a message; a connection that is gone shows when it is read."""
        with self._writing, suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def read(self, seconds: float) -> Message | None:
        """Returns the next message, or None where the other end is gone, silent for `seconds`, or no machine."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            try:
                self._connection.settimeout(max(0.01, deadline - time.monotonic()))
                data = self._connection.recv(65536)
            except OSError:
                return None
            self._rest += data
            if not data or len(self._rest) > _LONGEST:
                return None
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            return None
        return message if isinstance(message, dict) else None

    def is_gone(self) -> bool:
        """Returns whether the other end has closed the connection."""
        readable, _, _ = select.select([self._connection], [], [], 0)
        with suppress(OSError):
            return bool(readable) and not self._connection.recv(1, socket.MSG_PEEK)
        return True

    def close(self) -> None:
        self._connection.close()


@dataclass
class Together:
    """The machines of a training, after they have agreed on a plan. `lines` are by the number of the machine."""

    number: int
    lines: dict[int, Line]
    plan: Message
    news: queue.SimpleQueue[LlmkitError] = field(default_factory=queue.SimpleQueue)
    """What happened to another machine; the first of it ends the training here."""

    def __post_init__(self) -> None:
        self._done: dict[int, Message] = {}
        self._ended = threading.Event()
        self._watches = [threading.Thread(target=self._watch, args=pair, daemon=True) for pair in self.lines.items()]
        for thread in (*self._watches, threading.Thread(target=self._beat, daemon=True)):
            thread.start()

    @property
    def local_host(self) -> str:
        """The address of this machine for the others."""
        return next(iter(self.lines.values())).local_host

    def failed(self, reason: str) -> None:
        """Tells the others that this machine ends."""
        self._tell({"error": f"machine {self.number}: {reason}"})

    def finished(self, results: Message) -> Message:
        """Tells the others that this machine is done, and waits for them. Returns the results of machine 0; EngineError
        where that is lost before it has any."""
        self._tell({"done": results})
        for thread in self._watches:
            thread.join(SILENCE if self.number == 0 else None)  # it ends with the connection, or its silence
        if self.number and 0 not in self._done:
            raise self.news.get()
        return self._done.get(0, results)

    def close(self) -> None:
        self._ended.set()
        for line in self.lines.values():
            line.close()

    def _tell(self, message: Message, but: int | None = None) -> None:
        for number, line in self.lines.items():
            if number != but:
                line.send(message)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            self._tell({})

    def _watch(self, number: int, line: Line) -> None:
        """Reads what a machine says until it is done or gone. Machine 0 passes a failure on: the others see it only."""
        while (message := line.read(SILENCE)) is not None:
            if "done" in message:
                self._done[number] = message["done"]
                return
            if "error" in message:
                break
        if self._ended.is_set():
            return
        reason = f"machine {number} is lost" if message is None else str(message["error"])
        self._tell({"error": reason}, but=number)
        self.news.put(EngineError(reason, f"its own output may say more; {_AGAIN}"))


@contextmanager
def meeting(
    number: int, count: int, address: str, facts: Facts, plan: Message, tell: Callable[[str], None] = lambda text: None
) -> Iterator[Together]:
    """Yields the machines once all `count` are there and have the same `facts`; `plan` is what machine 0 has decided.

    Raises UsageError where machines differ, two have one number, or the address cannot be used; EngineError where one
    does not come within `COME` seconds. The others are told of an error inside the block.
    """
    host, port = parse_address(address)
    tell(f"machine {number} of {count}: waiting for the others at {address}")
    if number == 0:
        with _listening(host, port) as listener:
            together = Together(0, _gather(listener, count, facts, plan), plan)
    else:
        line = _reach(host, port)
        together = Together(number, {0: line}, _join(line, number, facts, address))
    try:
        yield together
    except BaseException as error:
        together.failed(error.message if isinstance(error, LlmkitError) else "it was interrupted")
        raise
    finally:
        together.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if is_loopback(str(place[0])) and not is_loopback(host):  # as Debian has it for a machine's own name
            family, place = socket.AF_INET, ("", port)
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen()
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise UsageError(
            f"machine 0 cannot listen on {host} port {port}: {error.strerror}",
            "--main-process names an address of machine 0 and a port that is free there",
        ) from error
    return listener


def _gather(listener: socket.socket, count: int, facts: Facts, plan: Message) -> dict[int, Line]:
    """Waits for all other machines, compares their facts with ours, and gives them the plan."""
    lines: dict[int, Line] = {}
    deadline = time.monotonic() + COME
    while len(lines) < count - 1:
        listener.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            missing = sorted(set(range(1, count)) - set(lines))
            raise _refused(lines, EngineError(_absent(missing, count), "start it with the same command")) from None
        line = Line(connection)
        greeting = line.read(_GREETING)
        number = greeting.get("machine") if greeting else None
        if greeting is None or not isinstance(number, int) or not isinstance(greeting.get("facts"), dict):  # a stranger
            line.close()
            continue
        if number in lines and not lines[number].is_gone():
            _refused(
                {number: line}, UsageError(f"machine {number} is already there", "each machine has its own number")
            )
            continue
        lines[number] = line
        if difference := _difference(facts, greeting["facts"]):
            message = f"machine {number} differs from machine 0: {difference}"
            raise _refused(lines, UsageError(message, "all machines need the same recipe, data and packages"))
    for line in lines.values():
        line.send({"plan": plan})
    return lines


def _absent(missing: list[int], count: int) -> str:
    names = ", ".join(map(str, missing))
    return f"of {count} machines, {names} did not come within {COME:.0f} seconds"


def _refused(lines: dict[int, Line], error: LlmkitError) -> LlmkitError:
    for line in lines.values():
        line.send({"error": error.message, "hint": error.hint, "is_usage": isinstance(error, UsageError)})
        line.close()
    return error


def _difference(ours: Facts, theirs: Facts) -> str:
    """Names what differs, with short values: versions and counts, not digests."""
    parts = []
    for name in sorted({*ours, *theirs}):
        here, there = ours.get(name), theirs.get(name)
        if here != there:
            is_short = len(f"{here}{there}") <= 40
            parts.append(f"{name} ({there} there, {here} here)" if is_short else name)
    return ", ".join(parts)


def _reach(host: str, port: int) -> Line:
    """Connects to machine 0, which may still be reading its rows."""
    deadline = time.monotonic() + COME
    while True:
        try:
            return Line(socket.create_connection((host, port), timeout=_GREETING))
        except OSError as error:  # a name that leads to nothing yet, a port that nobody has, a machine that starts
            if time.monotonic() > deadline:
                reason = error.strerror or error
                raise EngineError(
                    f"machine 0 did not answer at {host} port {port} within {COME:.0f} seconds: {reason}",
                    "start it with the same command and --machine-rank 0; if it ended, its output says why",
                ) from error
            time.sleep(min(1.0, COME / 10))


def _join(line: Line, number: int, facts: Facts, address: str) -> Message:
    """Says who comes, and returns the plan."""
    line.send({"machine": number, "facts": dict(facts)})
    answer = line.read(COME + _GREETING)
    if answer is None:
        line.close()
        raise EngineError(f"machine 0 at {address} ended before all machines were there", "its output says why")
    if "plan" not in answer:
        line.close()
        raise (UsageError if answer.get("is_usage") else EngineError)(str(answer.get("error")), answer.get("hint"))
    plan: Message = answer["plan"]
    return plan
