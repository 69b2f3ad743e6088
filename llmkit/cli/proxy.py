"""`llmkit proxy`: a repair in front of live traffic."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.common import Json, note
from llmkit.errors import UsageError
from llmkit.terminal import json_text

if TYPE_CHECKING:
    from llmkit.proxy.server import Running

Address = Annotated[
    str, typer.Option("--upstream", metavar="URL", help="The server behind, such as http://HOST:PORT/v1.")
]
File = Annotated[
    str | None,
    typer.Option("--repair", metavar="FILE", help="A repair.json, or the name of a shipped adapter with one."),
]
ModeName = Annotated[
    str,
    typer.Option(
        "--mode",
        metavar="pass|shadow|repair",
        help="pass: look at nothing. shadow: answer as sent, ask again what a repair would change. repair: send the "
        "repaired texts.",
    ),
]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")]
Port = Annotated[int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 takes any that is free.")]
Without = Annotated[
    bool,
    typer.Option("--without-guarantee", help="Repair also where the file's guarantee is missing or void."),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="The upstream's name of the calibrated model, if not as in FILE."),
]
Corrector = Annotated[
    str | None,
    typer.Option("--corrector", metavar="NAME", help="The upstream's name of the model that corrects."),
]
KeyEnv = Annotated[
    str | None,
    typer.Option("--api-key-env", metavar="NAME", help="The variable with the key that clients have to show."),
]
UpstreamKeyEnv = Annotated[
    str | None,
    typer.Option(
        "--upstream-key-env",
        metavar="NAME",
        help="The variable with the upstream's key, instead of the client's.",
    ),
]
BudgetMs = Annotated[float, typer.Option("--budget-ms", metavar="MS", min=0, help="Time of the repair, a request.")]
BudgetTokens = Annotated[
    int, typer.Option("--budget-tokens", metavar="N", min=0, help="Tokens that correcting models may write, a request.")
]
MostRequests = Annotated[
    int, typer.Option("--max-requests", metavar="N", min=1, help="Requests under way at once; more get a 503.")
]
MostMegabytes = Annotated[
    float, typer.Option("--max-body", metavar="MB", min=0, help="Longer bodies pass without being looked at.")
]
LogFile = Annotated[
    Path, typer.Option("--log", metavar="FILE", help="In shadow mode: the log, to be shown by `llmkit show FILE`.")
]
Texts = Annotated[bool, typer.Option("--texts", help="Keep texts and answers in the log, not only hashes and counts.")]
Floor = Annotated[
    int,
    typer.Option("--floor", metavar="N", min=0, help="In shadow mode: ask 1 in N unfired requests twice; 0 for none."),
]
Workers = Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Processes that repair.")]
Silence = Annotated[float, typer.Option("--timeout", metavar="S", min=1, help="How long the upstream may be silent.")]
Drain = Annotated[int, typer.Option("--drain", metavar="S", min=1, help="How long requests may run on after SIGTERM.")]


def proxy(
    upstream: Address,
    repair: File = None,
    mode: ModeName = "shadow",
    host: Host = "127.0.0.1",
    port: Port = 8100,
    model: Model = None,
    corrector: Corrector = None,
    without_guarantee: Without = False,
    budget_ms: BudgetMs = 1000.0,
    budget_tokens: BudgetTokens = 2048,
    max_requests: MostRequests = 512,
    max_body: MostMegabytes = 8.0,
    log: LogFile = Path("shadow.jsonl"),
    texts: Texts = False,
    floor: Floor = 100,
    workers: Workers = 1,
    api_key_env: KeyEnv = None,
    upstream_key_env: UpstreamKeyEnv = None,
    timeout: Silence = 600.0,
    drain: Drain = 30,
    as_json: Json = False,
) -> None:
    """Repair the texts of users in front of any OpenAI-compatible server. Runs until Ctrl-C or SIGTERM."""
    from llmkit.proxy.opening import opened
    from llmkit.proxy.server import Running, is_open
    from llmkit.proxy.settings import Settings, mode_named
    from llmkit.proxy.upstream import Upstream

    own_key, upstream_key = _key(api_key_env), _key(upstream_key_env)
    if is_open(host) and not own_key:
        if upstream_key:
            raise UsageError(
                f"anyone who can reach {host} port {port} could use the upstream's key",
                "name a key for clients with --api-key-env, or listen on 127.0.0.1",
            )
        note(
            f"warning: anyone who can reach {host} port {port} can use this proxy, and every path of the upstream "
            "through it: name a key with --api-key-env, or listen on 127.0.0.1"
        )
    settings = Settings(
        mode_named(mode),
        budget_ms,
        budget_tokens,
        max_requests,
        int(max_body * 1_000_000),
        model,
        corrector,
        floor,
        own_key,
    )
    behind = Upstream(upstream, upstream_key, timeout)
    _refuse_itself(behind.address, host, port)
    application = opened(settings, repair, behind, workers, without_guarantee, log, texts, note=note)
    Running(application, host, port, drain, ready=lambda running: _ready(running, upstream, mode, as_json)).run()
    note("stopped: every request under way had its answer")


def _refuse_itself(address: str, host: str, port: int) -> None:
    """Raises UsageError where every request would come back until there is no room for more."""
    from urllib.parse import urlsplit

    behind = urlsplit(address)
    if behind.port == port and behind.hostname in (host, "localhost", "127.0.0.1", "::1"):
        raise UsageError(
            f"--upstream {address} is the address of this proxy",
            "give the server's own address, or another port to listen at: --port",
        )


def _ready(running: Running, upstream: str, mode: str, as_json: bool) -> None:
    from llmkit.secrets import public_url

    url, behind = f"{running.url}/v1", public_url(upstream)
    ready: dict[str, Any] = {"url": url, "upstream": behind, "mode": mode, "pid": os.getpid()}
    print(json_text(ready) if as_json else f"ready: {url} before {behind}, mode {mode}", flush=True)


def _key(variable: str | None) -> str | None:
    """Returns the key that a variable holds. UsageError where it is not set."""
    if variable is None:
        return None
    from llmkit.secrets import remember

    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"the variable {variable} holds no key", f"export {variable}=...")
    remember(key)
    return key
