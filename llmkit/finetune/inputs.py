"""The inputs of a training beside its recipe: rows, model, templates, noise. None may change under a run folder."""

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
    """Returns a digest of each input, by the name that an error message gives it. Raises what reading them raises."""
    from llmkit.engines.chat import ChatStyle
    from llmkit.engines.model_paths import locate

    model = locate(recipe.model.path, recipe.model.revision)
    template, system_prompt = ChatStyle.of(recipe.model).digests
    source_sections = sources(recipe)
    return {
        "the training data": rows_digest(load_rows(recipe, source, "train") for source in source_sections),
        "the dev data": rows_digest(load_rows(recipe, source, "dev") for source in source_sections),
        "the base model": model.revision,
        "the chat template": template,
        "the system prompt": system_prompt,
        _NOISE: noise_digest(recipe),
    }


def unchanged(run_path: Path, current_inputs: dict[str, str | None], *, going_on: bool) -> None:
    """Raises UsageError if the training in the run folder `run_path` read other inputs than the current ones,
    `current_inputs`.

    Another code of the noise matters only for `going_on`: what is finished stays what it is. A folder without the
    record is older than the record, and is taken as it is.
    """
    try:
        stored_inputs = parse_json((run_path / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return
    compared_names = [name for name in current_inputs if going_on or name != _NOISE]
    changed_names = [
        name for name in compared_names if name in stored_inputs and stored_inputs[name] != current_inputs[name]
    ]
    if changed_names:
        raise UsageError(
            f"{' and '.join(changed_names)} changed since the training in {run_path}",
            "--force trains again and overwrites it; another --name keeps both",
        )


def noise_digest(recipe: Recipe) -> str | None:
    """Returns 24 hex digits of everything beside the recipe that decides the noise, or None for a recipe without noise.

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
    from llmkit.perturb.spec import parse_spec

    perturb_folder = Path(perturb.__file__).parent
    yield from (path for path in perturb_folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    modules = {type(operator).__module__ for spec in specs for chain in parse_spec(spec).chains for operator in chain}
    files = (getattr(sys.modules[name], "__file__", None) for name in modules if not name.startswith(perturb.__name__))
    yield from (Path(file) for file in files if file)  # a notebook's operator has none


def _named(specs: list[str]) -> Iterator[Path]:
    for spec in specs:
        part_specs = spec[4:-1].split(",") if spec.startswith("mix(") else [spec]
        for part_spec in part_specs:
            name, _, path = part_spec.strip().partition(":")
            if name in ("file", "natural"):
                # The second reading leaves out a weight: `file:PATH:0.7`.
                paths = (Path(file_path).expanduser() for file_path in (path, path.rpartition(":")[0]) if file_path)
                yield from (file_path for file_path in paths if file_path.is_file())
