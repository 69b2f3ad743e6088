"""`llmkit serve`: an OpenAI-compatible server with adapters in it."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from llmkit.cli.common import Json, note, settings
from llmkit.terminal import json_text

Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", metavar="NAME=DIR", help="A LoRA or TalkLoRA adapter, asked for by NAME. May be repeated."
    ),
]
Model = Annotated[str, typer.Option("--model", metavar="MODEL", help="A hub name, a local folder, or smollm2-135m.")]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")]
Port = Annotated[int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 takes any that is free.")]
Options = Annotated[list[str] | None, typer.Argument(metavar="[-- VLLM OPTIONS]", help="Any option of vLLM's server.")]


def serve(
    model: Model,
    adapter: Adapters = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    options: Options = None,
    as_json: Json = False,
) -> None:
    """Serve a model and its adapters, LoRA and TalkLoRA, through vLLM. Runs until Ctrl-C or SIGTERM."""
    from llmkit.serving.server import make_plan, running

    plan = make_plan(model, adapter or [], host, port, options or [])
    if plan.is_open:
        note(
            f"warning: anyone who can reach {plan.host} port {plan.port} can use this server, because it asks for no "
            "key: set VLLM_API_KEY, or listen on 127.0.0.1"
        )
    note(f"starting vLLM with {', '.join(plan.names)}")
    with running(plan, show=note, verbose=settings.debug) as server:
        url, models = f"{plan.url}/v1", server.models()
        ready = {"url": url, "models": models, "pid": server.pid}
        print(json_text(ready) if as_json else f"ready: {url} serves {', '.join(models)}", flush=True)
        with suppress(KeyboardInterrupt):  # the ordinary way to end a server
            server.wait()
        note("stopping: running requests may finish")
