"""`llmkit serve`: an OpenAI-compatible server with adapters in it."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli import proxy
from llmkit.cli.common import Json, note, settings
from llmkit.errors import EngineError, UsageError
from llmkit.terminal import json_text

if TYPE_CHECKING:
    from llmkit.proxy import Running
    from llmkit.repair.document import AskedModel
    from llmkit.serving.server import Server, ServerPlan

_PORT = 8000

Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", metavar="NAME=DIR", help="A LoRA or TalkLoRA adapter, asked for by NAME. May be repeated."
    ),
]
Model = Annotated[str, typer.Option("--model", metavar="MODEL", help="A hub name, a local folder, or smollm2-135m.")]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="PORT", min=0, max=65535, help="8000 by default; 0 takes any free one.", show_default=False
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        "--replicas",
        metavar="N",
        min=1,
        max=256,
        help="Start N servers, each with its share of the GPUs and a port of its own.",
    ),
]
ServersPath = Annotated[
    Path | None,
    typer.Option("--servers", metavar="FILE", help="Where --replicas lists those that answer, for --base-url @FILE."),
]
Options = Annotated[list[str] | None, typer.Argument(metavar="[-- VLLM OPTIONS]", help="Any option of vLLM's server.")]


def serve(
    model: Model,
    adapter: Adapters = None,
    host: Host = "127.0.0.1",
    port: Port = None,
    replicas: Count = None,
    servers: ServersPath = None,
    repair: proxy.File = None,
    mode: proxy.ModeName = "shadow",
    without_guarantee: proxy.Without = False,
    corrector: proxy.Corrector = None,
    log: proxy.LogFile = Path("shadow.jsonl"),
    texts: proxy.Texts = False,
    options: Options = None,
    as_json: Json = False,
) -> None:
    """Serve a model and its adapters, LoRA and TalkLoRA, through vLLM. Runs until Ctrl-C or SIGTERM.

    With --repair the proxy of `llmkit proxy` listens in front of the server. With --replicas and --servers several
    servers run, and are started again when they die.
    """
    from llmkit.serving.server import make_plan, running

    if repair is None and mode != "shadow":
        raise UsageError(f"the mode `{mode}` needs a repair", "--repair FILE; `llmkit calibrate` writes one")
    _check_replicas(replicas, servers, port, repair)
    port = _PORT if port is None and replicas is None else port or 0
    plan = make_plan(model, adapter or [], host, port, options or [])
    if repair is not None:
        plan = _behind(plan)
    if plan.is_open:
        place = f"{host} port {port}" if replicas is None else host
        note(
            f"warning: anyone who can reach {place} can use this server, because it asks for no "
            "key: set VLLM_API_KEY, or listen on 127.0.0.1"
        )
    if replicas is not None and servers is not None:
        _serve_replicas(plan, replicas, servers, as_json)
        return
    front = None
    if repair is not None:
        front = _front(plan, model, repair, host, port, mode, without_guarantee, corrector, log, texts, as_json)
    note(f"starting vLLM with {', '.join(plan.names)}")
    with running(plan, show=note, verbose=settings.debug) as server:
        if front is not None:
            _serve_both(front, server)
            return
        _say_ready({"url": f"{plan.url}/v1", "models": server.models(), "pid": server.pid}, as_json)
        with suppress(KeyboardInterrupt):  # the ordinary way to end a server
            server.wait()
        note("stopping: running requests may finish")


def _check_replicas(replicas: int | None, servers: Path | None, port: int | None, repair: str | None) -> None:
    """Raises UsageError for flags that do not go together."""
    if (replicas is None) != (servers is None):
        raise UsageError("--replicas and --servers go together", "e.g. --replicas 4 --servers servers.txt")
    if replicas is not None and port:
        raise UsageError(f"{replicas} servers cannot share port {port}", "each takes a free one; FILE lists them")
    if replicas is not None and repair is not None:
        raise UsageError(
            "a repair goes in front of one server",
            "leave --replicas, or run `llmkit proxy` in front of a load balancer",
        )


def _serve_replicas(plan: ServerPlan, count: int, path: Path, as_json: bool) -> None:
    from llmkit.serving.listed import ServersFile
    from llmkit.serving.replicas import Replicas, devices, replica_plans
    from llmkit.serving.server import PATIENCE

    def ready(url: str, models: list[str], pid: int) -> None:
        _say_ready({"url": url, "models": models, "pid": pid}, as_json)

    visible_devices = devices(count)
    plans = replica_plans(plan, count)
    with ServersFile(path, plan.drain + PATIENCE) as file:
        note(f"starting {count} vLLM servers with {', '.join(plan.names)}")
        with Replicas(plans, visible_devices, file, ready, note, settings.debug) as replicas:
            try:
                replicas.wait()
            except KeyboardInterrupt:  # the ordinary way to end servers
                if not replicas.was_ready:
                    raise
            note("stopping: running requests may finish")


def _say_ready(ready: dict[str, Any], as_json: bool) -> None:
    models = ", ".join(ready["models"])
    print(json_text(ready) if as_json else f"ready: {ready['url']} serves {models}", flush=True)


def _behind(plan: ServerPlan) -> ServerPlan:
    """Returns the plan of a server that only a proxy at the plan's address reaches."""
    from llmkit.serving.server import free_port

    return replace(plan, front=plan.host, host="127.0.0.1", port=free_port("127.0.0.1", 0))


def _front(
    plan: ServerPlan,
    model: str,
    repair: str,
    host: str,
    port: int,
    mode: str,
    without_guarantee: bool,
    corrector: str | None,
    log: Path,
    texts: bool,
    as_json: bool,
) -> Running:
    """Returns the proxy before the server, which listens once that is ready."""
    from llmkit.proxy import Running, opened
    from llmkit.proxy.settings import Settings, mode_named
    from llmkit.proxy.upstream import Upstream

    def ready(running: Running) -> None:
        _say_ready({"url": f"{running.url}/v1", "models": plan.names, "mode": mode}, as_json)

    application = opened(
        Settings(mode_named(mode), corrector=corrector),
        repair,
        Upstream(plan.url),
        without_guarantee=without_guarantee,
        log=log,
        texts=texts,
        known=_known(plan, model),
        note=note,
    )
    return Running(application, host, port, plan.drain, ready)


def _known(plan: ServerPlan, model: str) -> dict[str, AskedModel]:
    """Returns what is behind each name that the server answers to."""
    from llmkit.engines.model_paths import locate, locate_adapter
    from llmkit.repair.document import AskedModel

    located = locate(model)
    base = AskedModel(model=located.name, revision=located.revision)
    adapters = {name: locate_adapter(folder) for name, folder in plan.adapters}
    return {plan.name: base} | {
        name: base.model_copy(update={"adapter": adapter.digest}) for name, adapter in adapters.items() if adapter
    }


def _serve_both(front: Running, server: Server) -> None:
    """Serves through the proxy until it ends, or the server behind it dies."""
    deaths: list[EngineError] = []

    def watch() -> None:
        try:
            server.wait()
        except EngineError as error:
            deaths.append(error)
            front.stop()

    threading.Thread(target=watch, daemon=True).start()
    front.run()
    if deaths:
        raise deaths[0]
    note("stopping: every request had its answer")
