"""`llmkit serve --replicas N`: several servers of one model on one machine, each with GPUs and a port of its own."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from llmkit.errors import EngineError, LlmkitError, UsageError
from llmkit.serving.listed import ServersFile
from llmkit.serving.server import PATIENCE, Server, ServerPlan, free_port

DELAYS = (1.0, 4.0, 16.0, 60.0)
"""Seconds between a server's death and its next start; one that dies once more is given up."""
STEADY = 300.0
"""Seconds of service after which earlier deaths no longer count."""


def replica_plans(plan: ServerPlan, count: int) -> list[ServerPlan]:
    """Returns the plan of each replica: ports that are free now, and an address that readers of the file can reach.

    UsageError where the replicas listen on every address and this machine's name leads to none.
    """
    if plan.host in ("0.0.0.0", "::"):
        _name_of_machine()
    family = socket.AF_INET6 if ":" in plan.host else socket.AF_INET
    with ExitStack() as held:  # all ports are held until the last one is found, so that no two are the same
        probes = [held.enter_context(socket.socket(family, socket.SOCK_STREAM)) for _ in range(count)]
        for probe in probes:
            probe.bind((plan.host, 0))
        return [replace(plan, port=int(probe.getsockname()[1])) for probe in probes]


def address(plan: ServerPlan) -> str:
    """Returns the address of a server as others reach it."""
    if plan.host in ("0.0.0.0", "::"):
        return f"http://{_name_of_machine()}:{plan.port}/v1"
    return f"{plan.url}/v1"


def _name_of_machine() -> str:
    name = socket.getfqdn()
    try:
        socket.getaddrinfo(name, None)
    except OSError as error:
        raise UsageError(
            f"the name of this machine, {name}, leads to no address, so the file of servers could not name it",
            "give the address at which others reach it with --host",
        ) from error
    return name


def devices(count: int) -> list[str | None]:
    """Returns CUDA_VISIBLE_DEVICES of each of `count` replicas, or None without GPUs: equal shares of the GPUs that
    this process sees. UsageError for more replicas than GPUs."""
    import torch

    gpu_count = torch.cuda.device_count()
    if not gpu_count:
        return [None] * count
    if count > gpu_count:
        raise UsageError(f"{count} replicas on {gpu_count} GPUs", "at most one replica for each GPU")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:gpu_count] if visible else [str(number) for number in range(gpu_count)]
    share = gpu_count // count
    return [",".join(names[start * share : (start + 1) * share]) for start in range(count)]


class Replicas:
    """Servers that are started again when they die, and the file of those that answer. Use as a context manager.

    `ready` is called with address, model names and process id of each server that answers, once for each of its starts;
    `note` with what a person may want to know.
    """

    def __init__(
        self,
        plans: Sequence[ServerPlan],
        visible_devices: Sequence[str | None],
        file: ServersFile,
        ready: Callable[[str, list[str], int], None],
        note: Callable[[str], None],
        verbose: bool = False,
    ) -> None:
        self._file, self._ready, self._note, self._verbose = file, ready, note, verbose
        self._plans = list(plans)
        self._devices = visible_devices
        self._servers: dict[int, Server] = {}  # those that run, by the number of the replica
        self._failures: dict[int, EngineError] = {}  # the last one of each replica that is not serving
        self._given_up: set[int] = set()
        self._changing = threading.Lock()
        self._ending, self._over = threading.Event(), threading.Event()
        self._fault: BaseException | None = None
        self.was_ready = False
        """True once any of them has answered."""

    def __enter__(self) -> Replicas:
        # A child ends with the thread that started it (signals.end_with_parent), so each thread stays with its replica.
        self._threads = [
            threading.Thread(target=self._watch, args=(number,), daemon=True) for number in range(len(self._plans))
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def wait(self) -> None:
        """Returns never by itself: raises EngineError when no replica is left."""
        self._over.wait()
        assert self._fault is not None
        raise self._fault

    def _stop(self) -> None:
        """Empties the file, lets running requests finish (for a limited time), and ends the servers."""
        with self._changing:
            self._ending.set()
            servers = list(self._servers.values())
        try:
            with suppress(LlmkitError):  # a full disk; the file is removed in the end
                self._file.clear()
            for server in servers:
                server.terminate()
            deadline = time.monotonic() + self._plans[0].drain + PATIENCE
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:  # a second wish to end: now
            pass
        with self._changing:
            late = list(self._servers.values())
        for server in late:
            server.kill()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _watch(self, number: int) -> None:
        """Runs one replica; whatever breaks here ends all of them."""
        try:
            self._keep(number)
        except BaseException as error:
            self._end(error)

    def _end(self, fault: BaseException) -> None:
        with self._changing:
            self._fault = self._fault or fault
            self._over.set()

    def _keep(self, number: int) -> None:
        """Starts one server again and again, until it is given up or all end."""
        deaths = 0
        while (server := self._started(number)) is not None:
            failure, seconds = self._serve(number, server)
            if self._ending.is_set():
                return
            deaths = 1 if seconds > STEADY else deaths + 1
            if self._is_hopeless(number, failure, deaths):
                return
            delay = DELAYS[deaths - 1]
            self._note(f"{address(server.plan)}: starting again in {delay:g} s, because {failure.message}")
            self._ending.wait(delay)

    def _started(self, number: int) -> Server | None:
        """Starts a server, on its port if that is still free; None where all end."""
        with self._changing:
            if self._ending.is_set():
                return None
            plan = self._plans[number] = self._on_a_free_port(self._plans[number])
            visible = self._devices[number]
            server = Server(
                plan,
                lambda line: self._note(f"{address(plan)}: {line}"),
                self._verbose,
                {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible},
            )
            self._file.started(server.pid)
            self._servers[number] = server
            return server

    def _on_a_free_port(self, plan: ServerPlan) -> ServerPlan:
        try:
            free_port(plan.host, plan.port)
        except UsageError:
            return replace(plan, port=free_port(plan.host, 0))
        return plan

    def _serve(self, number: int, server: Server) -> tuple[EngineError, float]:
        """Lists a server from its first answer to its death. Returns of what it died and how long it answered."""
        served_since = math.inf
        try:
            server.wait_until_ready()
            served_since = time.monotonic()
            self._list(number, server)
            server.wait()
        except EngineError as failure:
            return failure, max(0.0, time.monotonic() - served_since)
        finally:
            self._file.remove(server.pid)
            server.stop()
            self._file.ended(server.pid)
            with self._changing:
                del self._servers[number]

    def _list(self, number: int, server: Server) -> None:
        url, models = address(server.plan), server.models()
        with self._changing:
            self._failures.pop(number, None)
            self.was_ready = True
            if not self._ending.is_set():
                self._file.add(server.pid, url)
                self._ready(url, models, server.pid)

    def _is_hopeless(self, number: int, failure: EngineError, deaths: int) -> bool:
        """Returns whether a replica is not started again; where none is left to wait for, all end.

        If every one of them failed before any answered, the fault is the command's and not a server's.
        """
        with self._changing:
            self._failures[number] = failure
            nothing_works = not self.was_ready and len(self._failures) == len(self._plans)
            if deaths > len(DELAYS):
                self._given_up.add(number)
        if nothing_works or len(self._given_up) == len(self._plans):
            self._end(failure)
            return True
        if number in self._given_up:
            self._note(f"{address(self._plans[number])}: given up after {deaths} deaths: {failure.message}")
            return True
        return False
