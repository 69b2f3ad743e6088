"""Opens a proxy: which repair it serves, for which model, and whether its guarantee holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from llmkit.errors import UsageError
from llmkit.proxy.app import Proxy
from llmkit.proxy.settings import Settings
from llmkit.proxy.shadow import Log
from llmkit.proxy.upstream import Upstream
from llmkit.proxy.worker import Worker
from llmkit.repair import Repair, RepairFile, describe, document
from llmkit.repair.base import links_of
from llmkit.repair.document import AskedModel
from llmkit.repair.drift import Drift


def opened(
    settings: Settings,
    file: str | None,
    upstream: Upstream,
    workers: int = 1,
    without_guarantee: bool = False,
    log: Path = Path("shadow.jsonl"),
    texts: bool = False,
    known: Mapping[str, AskedModel] | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> Proxy:
    """Returns the application, whose workers are starting. UsageError for a repair that cannot be served so; DataError
    for a file that is none.

    `known` is what is behind each name of the upstream, where that is known for certain; else the names have to do. In
    the mode `shadow` it writes to `log`, with `texts` what users and models said, too.
    """
    if settings.mode == "pass":
        return Proxy(settings, upstream, note=note)
    if file is None:
        raise UsageError(f"the mode `{settings.mode}` needs a repair", "--repair FILE; `llmkit calibrate` writes one")
    repair_file = document.read(file)
    _refuse_scores(repair_file, file)
    names = list(known) if known else asyncio.run(_listed(upstream))
    calibrated, void = _calibrated(settings.model, repair_file, names, known)
    corrector, other_corrector = _corrector(settings.corrector, repair_file, file, names)
    void = void or other_corrector
    settings = replace(settings, corrector=corrector)
    words = describe.guarantee(repair_file, void)
    note(f"repair: {repair_file.chain}: {words}")
    is_guaranteed = bool(repair_file.guarantee) and not void and not repair_file.doubts()
    if settings.mode == "repair" and not is_guaranteed:
        if not without_guarantee:
            raise UsageError(
                f"{file} is not served in the mode `repair`: {words}",
                "calibrate it for this model (`llmkit calibrate`), look at it in the mode shadow, or say "
                "--without-guarantee",
            )
    elif settings.mode == "repair":
        # The guarantee is about one model: requests to others pass.
        settings = replace(settings, model=calibrated)
    drift = Drift.of(repair_file) if is_guaranteed else None
    opened_log = None
    if settings.mode == "shadow":
        opened_log = Log(log, repair_file, words, texts, settings.floor)
    return Proxy(settings, upstream, [Worker(repair_file) for _ in range(workers)], drift, opened_log, note)


async def _listed(upstream: Upstream) -> list[str] | None:
    # Connections belong to an event loop, and the one that serves has not begun.
    async with upstream.apart() as probing:
        return await probing.models()


def _refuse_scores(repair_file: RepairFile, file: str) -> None:
    repair = Repair(repair_file)
    asking = [*repair.asking_detectors, *(link.name for link in repair.chain.links if link.scores)]
    if asking:
        raise UsageError(
            f"{file}: `{asking[0]}` needs log-probabilities of a model, which the proxy does not ask for",
            "calibrate without it",
        )


def _corrector(
    given: str | None, repair_file: RepairFile, file: str, names: list[str] | None
) -> tuple[str | None, str | None]:
    """Returns the upstream's name of the model that corrects, None for that of each request, and the reason why the
    guarantee does not apply to it. `given` is the user's word for it.

    UsageError where it would have to be trained for it and is not named.
    """
    links = links_of(repair_file.chain)
    if not any(link.asks for link in links):
        return None, None
    if given is not None and names is not None and given not in names:
        raise UsageError(f"the upstream has no model `{given}` to correct", f"it has {_shown(names)} (--corrector)")
    calibrated = repair_file.model
    if given is not None or (calibrated and calibrated.corrector == calibrated.model):  # the model that answers
        return given, None
    own = calibrated.corrector if calibrated else None
    if own is not None and (names is None or own in names):
        return own, None
    if trained := next((link.name for link in links if link.trained), None):
        raise UsageError(
            f"{file}: `{trained}` asks a model that was trained to correct, and the upstream has none of its name",
            "--corrector with the upstream's name of it",
        )
    if own is None:
        return None, None
    return (
        None,
        f"it was calibrated with the corrector `{own}`, and the upstream has {_shown(names)} (--corrector NAME)",
    )


def _shown(names: list[str] | None) -> str:
    return ", ".join((names or [])[:5]) or "none"


def _calibrated(
    model: str | None, repair_file: RepairFile, names: list[str] | None, known: Mapping[str, AskedModel] | None
) -> tuple[str | None, str | None]:
    """Returns the upstream's name of the calibrated model, and the reason why the guarantee does not apply to it.
    `model` is the user's word for it."""
    calibrated = repair_file.model
    if repair_file.guarantee is None or calibrated is None:
        return model, None
    if known is not None:
        same = [name for name, identity in known.items() if not calibrated.differences(identity)]
        if same:
            return same[0], None
        differences = "; ".join(next(iter(known.values())).differences(calibrated))
        return None, f"it was calibrated for another model ({differences})"
    if model is None and calibrated.adapter is not None:
        return None, f"it was calibrated for an adapter of {calibrated.model}: give the upstream's name of it (--model)"
    name = model or calibrated.model
    if names is not None and name not in names:
        return None, f"it was calibrated for the model `{name}`, and the upstream has {_shown(names)} (--model NAME)"
    return name, None
