"""What a training reads beside its recipe: rows, model, templates, noise. None may change under a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from llmkit.errors import UsageError
from llmkit.finetune.rows import load_rows, rows_digest, sources
from llmkit.parsing import parse_json
from llmkit.recipe.schema import Recipe

FILE = "inputs.json"
_NOISE = "the code of the noise"


def inputs(recipe: Recipe) -> dict[str, str | None]:
    """A digest of each of them, under the words that an error has for it. Raises what reading them raises."""
    from llmkit.engines.chat import ChatStyle
    from llmkit.engines.model_paths import locate

    model = locate(recipe.model.path, recipe.model.revision)
    template, system_prompt = ChatStyle.of(recipe.model).digests
    given = sources(recipe)
    return {
        "the training data": rows_digest(load_rows(recipe, source, "train") for source in given),
        "the dev data": rows_digest(load_rows(recipe, source, "dev") for source in given),
        "the base model": model.revision,
        "the chat template": template,
        "the system prompt": system_prompt,
        _NOISE: noise_digest(recipe),
    }


def unchanged(path: Path, found: dict[str, str | None], *, going_on: bool) -> None:
    """UsageError where the training in the run folder `path` read something else than what is `found` now.

    Another code of the noise matters only for `going_on`: what is finished stays what it is. A folder without the
    record is older than the record, and is taken as it is.
    """
    try:
        stored = parse_json((path / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return
    names = [name for name in found if going_on or name != _NOISE]
    changed = [name for name in names if name in stored and stored[name] != found[name]]
    if changed:
        raise UsageError(
            f"{' and '.join(changed)} changed since the training in {path}",
            "--force trains anew and overwrites it; another --name keeps both",
        )


def noise_digest(recipe: Recipe) -> str | None:
    """24 hex digits of all that decides what noise does to a text, beside the recipe; None for a recipe without noise.

    That is the code of `llmkit.perturb` with its word lists, the modules of other packages' operators, and the files
    that `file:` and `natural:` name.
    """
    robust, data = recipe.finetune.robust, recipe.finetune.data
    specs = [*(robust.operators if robust.share else ()), *(data.correction.operators if data.corrects else ())]
    if not specs:
        return None
    digest = blake2b(digest_size=12)
    for path in sorted({*_code(specs), *_named(specs)}):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _code(specs: list[str]) -> Iterator[Path]:
    import sys

    from llmkit import perturb
    from llmkit.perturb.spec import parse

    room = Path(perturb.__file__).parent
    yield from (path for path in room.rglob("*") if path.is_file() and path.suffix != ".pyc")
    modules = {type(op).__module__ for spec in specs for chain in parse(spec).chains for op in chain}
    files = (getattr(sys.modules[name], "__file__", None) for name in modules if not name.startswith(perturb.__name__))
    yield from (Path(file) for file in files if file)  # a notebook's operator has none


def _named(specs: list[str]) -> Iterator[Path]:
    for spec in specs:
        parts = spec[4:-1].split(",") if spec.startswith("mix(") else [spec]
        for part in parts:
            name, _, path = part.strip().partition(":")
            if name in ("file", "natural"):
                paths = (Path(p).expanduser() for p in (path, path.rpartition(":")[0]) if p)  # the latter: a weight
                yield from (p for p in paths if p.is_file())
