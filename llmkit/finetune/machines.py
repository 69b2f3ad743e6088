"""Several machines that train together: they meet at machine 0 before any of them starts its processes.

Machine 0 listens on the port that torch takes later, and sends each that comes the name of a file beside the run
folder. Each answers by its rank, what it is about to train, and whether it sees that file. Machine 0 compares, and
tells all of them what to go on from, or why nothing starts. Every message is one line of JSON.

These are plain sockets, because torch's TCPStore writes stack traces where a machine is late, and Ctrl-C waits for it.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from llmkit.errors import EngineError, Incomplete, LlmkitError, UsageError
from llmkit.parsing import JsonObject, parse_json

_AGAIN = 0.5  # seconds between two attempts to reach machine 0
_ONE_LINE = 10.0  # seconds that a machine has for a line that it owes
_OTHERS = 10.0  # seconds in which machines that are not there yet may come to hear why nothing starts
_LONGEST = 1 << 20  # bytes of a line

Statement = dict[str, str | None]
"""The training that a machine is about to begin, by the name that an error message gives each part."""


@dataclass(frozen=True)
class Machines:
    """One of `count` machines, and where machine 0 is. `patience`: seconds that they wait for each other."""

    count: int
    rank: int
    address: str
    port: int = 29_500
    patience: float = 600.0
    quiet: bool = False

    @classmethod
    def of(cls, count: int | None, rank: int | None, main_process: str | None, quiet: bool) -> Machines | None:
        """Reads the three flags; None without any. UsageError where they do not fit together."""
        given = {"--num-machines": count, "--machine-rank": rank, "--main-process": main_process}
        missing = [name for name, value in given.items() if value is None]
        if len(missing) == len(given):
            return None
        if count is None or rank is None or main_process is None:
            raise UsageError(
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
                "several machines need --num-machines, --machine-rank and --main-process; one needs none of them",
            )
        if count < 2:
            raise UsageError(f"--num-machines {count} is not several machines", "one machine needs none of the flags")
        if not 0 <= rank < count:
            raise UsageError(
                f"--machine-rank {rank} is not one of {count} machines", f"they are numbered from 0 to {count - 1}"
            )
        address, colon, port = main_process.partition(":")
        if not address or (colon and not (port.isdecimal() and 0 < int(port) < 65_536)):
            raise UsageError(
                f"--main-process {main_process} is not an address", "it is HOST or HOST:PORT of the machine with rank 0"
            )
        return cls(count, rank, address, int(port) if colon else cls.port, quiet=quiet)

    @property
    def place(self) -> str:
        return f"{self.address}:{self.port}"

    def note(self, text: str) -> None:
        if not self.quiet:
            print(f"train: {text}", file=sys.stderr, flush=True)


@dataclass(eq=False)
class _Member:
    """A machine that came to the meeting: how it is reached, and what it said."""

    connection: socket.socket
    rank: int
    count: int
    host: str
    sees_the_runs: bool
    statement: Statement
    error: str | None

    @property
    def name(self) -> str:
        return f"machine {self.rank} ({self.host})"


class Meeting:
    """The meeting as machine 0 holds it: `gather` the others, then `tell` them once."""

    def __init__(self, machines: Machines, server: socket.socket, sign: IO[bytes]) -> None:
        self.machines, self.told = machines, False
        self._server, self._sign = server, sign
        self._members: list[_Member] = []

    def gather(self, statement: Statement) -> None:
        """Waits for all other machines. UsageError as soon as one does not fit, Incomplete if one never comes."""
        machines = self.machines
        machines.note(f"machine 0 of {machines.count}, waiting for the others at {machines.place}")
        for newcomer in self._arrivals(machines.patience):
            machines.note(f"{newcomer.name} is there")
            if fault := self._misfit(newcomer, statement):
                raise fault
        if missing := self._missing():
            raise Incomplete(
                f"machine {' and '.join(map(str, missing))} of {machines.count} did not come to {machines.place} "
                f"within {machines.patience:.0f} seconds",
                "is llmkit started there with this address, and is the port open? Then start all machines again",
            )

    def tell(self, message: JsonObject) -> None:
        """Sends all that came their last line. The port is free when this returns, as each has hung up."""
        self.told = True
        for member in self._members:
            with contextlib.suppress(OSError):
                _send(member.connection, message)
        for member in self._members:
            with member.connection, contextlib.suppress(OSError):
                member.connection.settimeout(_ONE_LINE)
                member.connection.recv(1)
        self._server.close()
        self._sign.close()

    def refuse(self, error: LlmkitError) -> None:
        """Tells all why nothing starts, also those that come a little later."""
        for _ in self._arrivals(_OTHERS):
            pass
        self.tell({"error": error.message, "hint": error.hint, "exit_code": error.exit_code})

    def close(self) -> None:
        for member in self._members:
            member.connection.close()

    def _missing(self) -> list[int]:
        return sorted({*range(1, self.machines.count)} - {member.rank for member in self._members})

    def _arrivals(self, seconds: float) -> Iterator[_Member]:
        """Yields each machine that comes, until all are there or the time is over."""
        deadline = time.monotonic() + seconds
        while self._missing() and time.monotonic() < deadline:
            watched = [self._server, *(member.connection for member in self._members)]
            readable, _, _ = select.select(watched, [], [], 0.5)
            for member in [member for member in self._members if member.connection in readable]:
                self.machines.note(f"{member.name} left")  # because it owes no line, it hung up
                member.connection.close()
                self._members.remove(member)
            if self._server in readable and (newcomer := self._welcome()):
                self._members.append(newcomer)
                yield newcomer

    def _welcome(self) -> _Member | None:
        """Hears one that connected. None if it is no llmkit: ports are tried by all sorts of programs."""
        connection, _ = self._server.accept()
        try:
            _send(connection, {"file": Path(self._sign.name).name})
            return _Member(connection, **parse_json(_line(connection, _ONE_LINE)))
        except (OSError, ValueError, TypeError):
            connection.close()
            return None

    def _misfit(self, newcomer: _Member, statement: Statement) -> UsageError | None:
        """Returns the reason why a machine cannot train with those that are there."""
        count, own_name = self.machines.count, f"machine 0 ({socket.gethostname()})"
        if newcomer.error is not None:
            return UsageError(f"{newcomer.name} cannot train: {newcomer.error}", "then start all machines again")
        if newcomer.count != count:
            return UsageError(
                f"{newcomer.name} was started with --num-machines {newcomer.count}, {own_name} with {count}",
                "give all machines the same number",
            )
        for other in self._members:
            if other is not newcomer and other.rank == newcomer.rank:
                return UsageError(
                    f"two machines have --machine-rank {other.rank}: {other.host} and {newcomer.host}",
                    f"give each its own, from 0 to {count - 1}",
                )
        differing = [
            f"{name} ({newcomer.statement.get(name)}, not {value})"
            for name, value in statement.items()
            if newcomer.statement.get(name) != value
        ]
        if differing:
            return UsageError(
                f"{newcomer.name} differs from {own_name} in {' and '.join(differing)}",
                "start the same llmkit with the same recipe and the same rows on all machines",
            )
        if not newcomer.sees_the_runs:
            return UsageError(
                f"{newcomer.name} does not see the run folders of {own_name}",
                "checkpoints are read there by all machines: with --dir, give a folder that they share",
            )
        return None


@contextlib.contextmanager
def host(machines: Machines, runs: Path) -> Iterator[Meeting]:
    """Opens the meeting, as machine 0. An LlmkitError in the block is told to the others, unless they have started.

    `runs` is the folder of run folders, which all have to see. UsageError if the port or the address is not usable.
    """
    with _server(machines) as server, _sign(runs) as sign:
        meeting = Meeting(machines, server, sign)
        try:
            yield meeting
        except LlmkitError as error:
            if not meeting.told:
                meeting.refuse(error)
            raise
        finally:
            meeting.close()


def join(machines: Machines, runs: Path, statement: Statement) -> JsonObject:
    """Says what this machine is about to train, and returns what machine 0 tells.

    Raises the error that machine 0 tells; Incomplete if that is never there, EngineError if it ends.
    """
    machines.note(f"machine {machines.rank} of {machines.count}, waiting for machine 0 at {machines.place}")
    with _connected(machines, machines.patience) as connection:
        _greet(connection, machines, runs, statement, None)
        try:
            # Machine 0 may wait as long for the others, and then has its own work to do.
            message = parse_json(_line(connection, 2 * machines.patience))
        except (OSError, ValueError):
            raise _ended(machines) from None
    if "error" in message:
        kinds = {kind.exit_code: kind for kind in (UsageError, Incomplete)}
        raise kinds.get(message["exit_code"], EngineError)(message["error"], message["hint"])
    return dict(message)


def decline(machines: Machines, runs: Path, error: LlmkitError) -> None:
    """Says why this machine cannot train, if machine 0 is there, so that nobody waits for it."""
    with contextlib.suppress(LlmkitError), _connected(machines, _OTHERS) as connection:
        _greet(connection, machines, runs, {}, error.message)


def _connected(machines: Machines, seconds: float) -> socket.socket:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection((machines.address, machines.port), _ONE_LINE)
        except OSError as error:
            if time.monotonic() > deadline:
                raise Incomplete(
                    f"machine 0 did not come to {machines.place} within {seconds:.0f} seconds: {error}",
                    "is it started, is --main-process its address, and is the port open? Then start all machines again",
                ) from None
            time.sleep(_AGAIN)


def _greet(connection: socket.socket, machines: Machines, runs: Path, statement: Statement, error: str | None) -> None:
    greeting = {"rank": machines.rank, "count": machines.count, "host": socket.gethostname()}
    try:
        sign = Path(parse_json(_line(connection, _ONE_LINE))["file"]).name
        greeting |= {"sees_the_runs": (runs / sign).is_file(), "statement": statement, "error": error}
        _send(connection, greeting)
    except (OSError, ValueError, KeyError, TypeError):
        raise _ended(machines) from None


def _ended(machines: Machines) -> EngineError:
    return EngineError(
        f"what answered at {machines.place} is not there any more, or is not machine 0 of this training",
        "see how machine 0 ended, then start all machines again",
    )


def _server(machines: Machines) -> socket.socket:
    """Listens on the port, and finds that `address` leads here, as torch has to find later."""
    try:
        server = socket.create_server(("", machines.port))
    except OSError as error:
        raise UsageError(
            f"machine 0 cannot listen on port {machines.port}: {error.strerror}",
            "another training, or a second machine 0, may hold it: give all machines --main-process HOST:PORT",
        ) from error
    try:
        socket.create_connection((machines.address, machines.port), _ONE_LINE).close()
    except OSError as error:
        server.close()
        raise UsageError(
            f"machine 0 does not reach itself at {machines.place}: {error}",
            "--main-process is the address of the machine with --machine-rank 0",
        ) from error
    return server


def _sign(runs: Path) -> IO[bytes]:
    """Makes a file for the length of the meeting: who sees it sees the folder of machine 0."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        return cast("IO[bytes]", tempfile.NamedTemporaryFile(dir=runs, prefix=".meeting-"))
    except OSError as error:
        raise UsageError(f"cannot write in {runs}: {error.strerror}", "choose another folder with --dir") from error


def _send(connection: socket.socket, message: JsonObject) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _line(connection: socket.socket, seconds: float) -> str:
    """Reads one line. TimeoutError after `seconds`, ConnectionError if the other side hangs up before its end."""
    deadline, received = time.monotonic() + seconds, b""
    while not received.endswith(b"\n"):
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        part = connection.recv(65_536)
        received += part
        if not part or len(received) > _LONGEST:
            raise ConnectionError("no whole line")
    return received.decode()
