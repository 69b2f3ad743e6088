"""Starts a vLLM server on each GPU of a Ray cluster and lists those that answer, for `llmkit eval --base-url @FILE`.

    python ray_servers.py FILE COMMAND [ARGUMENT ...]
    python ray_servers.py servers.txt vllm serve my-model --max-model-len 4096

Each server is started as `COMMAND ... --host 0.0.0.0 --port PORT`, and again when it dies. FILE is in a folder that the
machine of `llmkit eval` sees, too. It is replaced whole, and removed when this program ends. `--gpus 2` gives each
server two GPUs, `--gpus 0 --servers N` starts N without any.
"""

import argparse
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import ray

EVERY = 5.0  # seconds between two looks at the servers


def end_with_parent() -> None:
    """Has Linux end a server with the process that watches it, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@ray.remote(max_restarts=-1)
class Server:
    """A server and the process on its node that watches it."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self._start()

    def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]
        self.url = f"http://{ray.util.get_node_ip_address()}:{port}"
        command = [*self.command, "--host", "0.0.0.0", "--port", str(port)]
        self.process = subprocess.Popen(command, preexec_fn=end_with_parent)

    def address(self) -> str | None:
        """Returns the address of the server if it answers, and starts it again if it is dead."""
        if self.process.poll() is not None:
            self._start()
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                return f"{self.url}/v1"
        except OSError:
            return None

    def stop(self) -> None:
        """Lets the server finish what is running, for a minute."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def addresses(servers: list) -> list[str]:
    """Returns the addresses of the servers that answer. Ray starts the server of a lost node on another one."""
    asked = [server.address.remote() for server in servers]
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=EVERY)
    found = []
    for answer in answered:
        with contextlib.suppress(ray.exceptions.RayActorError):
            found.append(ray.get(answer))
    return sorted(filter(None, found))


def write(file: Path, urls: list[str]) -> None:
    new = file.with_name(f"{file.name}.new")
    new.write_text("".join(f"{url}\n" for url in urls))
    os.replace(new, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=1, help="GPUs of each server")
    parser.add_argument("--servers", type=int, help="how many; by default as many as the cluster has GPUs for")
    parser.add_argument("file", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ray.init()  # joins the cluster of RAY_ADDRESS, or this machine's, or begins one
    count = given.servers or int(ray.cluster_resources().get("GPU", 0)) // max(1, given.gpus)
    if not (count and given.command):
        parser.error("no GPU in the cluster: give --gpus 0 --servers N" if given.command else "a command is missing")
    servers = [Server.options(num_gpus=given.gpus, num_cpus=1).remote(given.command) for _ in range(count)]
    try:
        while True:
            write(given.file, addresses(servers))
            time.sleep(EVERY)
    except KeyboardInterrupt:
        pass
    finally:
        given.file.unlink(missing_ok=True)
        ray.wait([server.stop.remote() for server in servers], num_returns=count, timeout=90)


if __name__ == "__main__":
    main()
