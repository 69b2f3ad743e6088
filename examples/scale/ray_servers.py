"""Starts a vLLM server on each GPU of a Ray cluster and lists those that answer in FILE, for `--base-url @FILE`.

    ray job submit --no-wait --working-dir examples/scale -- python ray_servers.py MODEL /SHARED/FILE [VLLM OPTIONS]

FILE is in a folder that the head node and the machine of `llmkit eval` share. It is replaced whole, by this script
alone, and removed when it ends. The servers listen on every address and ask for no key unless VLLM_API_KEY is set.
GPUS=2 in the environment gives each server two GPUs; SERVE="..." starts it in another way than `vllm serve`.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import ray

GPUS = int(os.environ.get("GPUS", "1"))
SERVE = shlex.split(os.environ.get("SERVE", "vllm serve"))
PAUSE = 5.0  # seconds between two looks at the servers

# Linux sends a server SIGTERM when the process of its actor ends, however that one ends.
BOUND = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])"


@ray.remote(num_gpus=GPUS, max_restarts=-1)
class Server:
    """A server on the node that Ray chooses, with the GPUs that Ray sets. If the node is lost, Ray chooses another."""

    def __init__(self, command: list[str]) -> None:
        self.command, self.address = command, ""
        self.process: subprocess.Popen[bytes] | None = None

    def look(self) -> str | None:
        """Returns the server's address if it answers. Starts a server that does not run."""
        if self.process is None or self.process.poll() is not None:
            with socket.socket() as probe:
                probe.bind(("", 0))
                port = probe.getsockname()[1]
            self.address = f"http://{ray.util.get_node_ip_address()}:{port}"
            command = [*self.command, "--host", "0.0.0.0", "--port", str(port)]
            self.process = subprocess.Popen([sys.executable, "-c", BOUND, *command])
            return None
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=2):
                return f"{self.address}/v1"
        except OSError:
            return None


def those_that_answer(looks: dict[Any, Any]) -> list[str]:
    """Returns the addresses of the servers that answer. `looks` has one question to each; answered ones are removed."""
    answered, _ = ray.wait(list(looks.values()), num_returns=len(looks), timeout=PAUSE) if looks else ([], [])
    addresses = []
    for server in [server for server, look in looks.items() if look in answered]:
        try:
            addresses.append(ray.get(looks.pop(server)))
        except ray.exceptions.RayError:  # its node was lost
            continue
    return sorted(address for address in addresses if address)


def main(model: str, file: Path, options: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ray.init()
    servers: list[Any] = []
    looks: dict[Any, Any] = {}
    try:
        while True:
            while (len(servers) + 1) * GPUS <= ray.cluster_resources().get("GPU", 0):  # nodes may join
                servers.append(Server.remote([*SERVE, model, *options]))
            looks |= {server: server.look.remote() for server in servers if server not in looks}
            new = file.with_name(f"{file.name}.new")
            new.write_text("".join(f"{address}\n" for address in those_that_answer(looks)), encoding="utf-8")
            new.replace(file)
            time.sleep(PAUSE)
    finally:
        file.unlink(missing_ok=True)
        ray.shutdown()  # ends the actors, and with them the servers


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3:])
