"""An adapter folder as PEFT writes it: what is in it, whether it fits a base model, and its folded form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.engines.adapter_config import CONFIG, WEIGHTS, peft_type
from llmkit.errors import DataError, EngineError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from llmkit.talklora.export import FoldedLayer

PICKLES = ("adapter_model.bin", "adapter_model.pt")
_NOT_WHOLE = "it was not saved or copied completely: save or copy it again"

_KEY = {
    # PEFT saves the base's own embedding and head beside a LoRA on them; vLLM passes over these copies.
    "LORA": re.compile(
        r"base_model\.model\.((?P<module>.+)\.lora_(embedding_)?[AB](\.weight)?"
        r"|(.+\.)?(embed_tokens|lm_head)\.base_layer\.weight)"
    ),
    "TALKLORA": re.compile(r"base_model\.(model\.(?P<module>.+)\.talklora_[A-Za-z]+|talklora_B_\w+)\.weight"),
}


def fingerprint(folder: str | Path) -> str:
    """Returns 12 hex digits of an adapter's configuration and weights, or "" unless both exist."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        try:
            with open(Path(folder) / name, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError:
            return ""
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class AdapterWeights:
    """A LoRA or TalkLoRA adapter with its weights, by the names of its file."""

    path: Path
    type: str
    settings: Any  # PEFT's configuration object
    weights: Mapping[str, Tensor]

    @classmethod
    def read(cls, folder: str | Path) -> AdapterWeights:
        """Raises DataError if the folder is not an adapter that vLLM can load; never opens a pickle."""
        path = Path(folder)
        adapter_type = _type(path)
        if not (path / WEIGHTS).is_file():
            pickle_name = next((name for name in PICKLES if (path / name).is_file()), None)
            if pickle_name:
                raise DataError(
                    f"{path / pickle_name} is a pickle, which can run code when it is opened: refused",
                    f"load and save it with PEFT on a machine you trust, which writes {WEIGHTS}",
                )
            raise DataError(f"no weights in {path}: {WEIGHTS} is missing", _NOT_WHOLE)
        from peft import PeftConfig
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        import llmkit.talklora  # noqa: F401  (registers TALKLORA with PEFT)

        try:
            settings, weights = PeftConfig.from_pretrained(str(path)), load_file(path / WEIGHTS)
        except (SafetensorError, TypeError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}", _NOT_WHOLE) from error
        return cls(path, adapter_type, settings, weights)

    @cached_property
    def folded_layers(self) -> dict[str, FoldedLayer]:
        """Module path -> the exact form of a TalkLoRA layer for inference (llmkit.talklora.export)."""
        from llmkit.talklora.export import fold_adapter

        try:
            return fold_adapter(self.settings, self.weights, any_gates=True)
        except ValueError as error:
            raise DataError(f"{self.path / WEIGHTS}: {error}", _NOT_WHOLE) from error

    @property
    def layout(self) -> tuple[int, int]:
        """Latents that meet B, and gates: (r, n). Plain LoRA has no gates."""
        if self.type == "TALKLORA":
            return self.settings.up_rank, self.settings.num_experts
        return max([self.settings.r, *self.settings.rank_pattern.values()]), 0

    @property
    def rank(self) -> int:
        """The part of vLLM's `max_lora_rank` that the adapter takes: r + n."""
        return sum(self.layout)

    @property
    def fits_slots(self) -> bool:
        """Whether vLLM's LoRA slots can hold it: their gate is one softmax. Others are built into the model."""
        return self.type == "LORA" or self.settings.one_softmax

    def mixer(self, module: str) -> Tensor | None:
        """Returns C (n, n) of a module whose gates talk after the softmax, else None."""
        if self.type == "LORA" or not self.settings.talks_after:
            return None
        return self.weights[f"base_model.model.{module}.talklora_C.weight"]

    @cached_property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Module path -> its inputs and outputs, as the adapter sees them."""
        if self.type == "TALKLORA":
            return {
                module: (folded.lora_A.shape[1], folded.lora_B.shape[0])
                for module, folded in self.folded_layers.items()
            }
        sizes = {}
        for module in self._modules():
            stem = f"base_model.model.{module}.lora_"
            if f"{stem}embedding_A" in self.weights or ".experts" in module:  # vLLM lays these out in its own way
                continue
            try:
                sizes[module] = (self.weights[f"{stem}A.weight"].shape[1], self.weights[f"{stem}B.weight"].shape[0])
            except KeyError as error:
                raise DataError(
                    f"{self.path / WEIGHTS}: {error.args[0]} is missing",
                    _NOT_WHOLE,
                ) from None
        return sizes

    def check(
        self, linears: Mapping[str, tuple[int, int] | None], rename: Callable[[str], str] = lambda name: name
    ) -> None:
        """Raises DataError unless the weights are complete, no more, and fit a model with these linear modules.

        `linears` gives their inputs and outputs, None if unknown; `rename` turns the adapter's names into theirs.
        """
        stray_keys = [key for key in self.weights if not _KEY[self.type].fullmatch(key)]
        if stray_keys:
            raise DataError(
                f"{self.path / WEIGHTS} has weights that are not part of a {self.type} adapter: {_some(stray_keys)}",
                "vLLM does not serve modules_to_save and biases; the transformers engine does",
            )
        stated_base = self.settings.base_model_name_or_path
        made_for = f"adapter {self.path} was made for another base" + (f" ({stated_base})" if stated_base else "")
        sizes = {rename(module): model_size for module, model_size in self.sizes.items()}
        unknown_modules = [module for module in sizes if module not in linears]
        if unknown_modules:
            raise DataError(
                f"{made_for}: this model has no {_some(unknown_modules)}", "serve it with its own base model"
            )
        for name, (inputs, outputs) in sizes.items():
            model_size = linears[name]
            if model_size is not None and model_size != (inputs, outputs):
                raise DataError(
                    f"{made_for}: {name} has {inputs} inputs and {outputs} outputs in the adapter, "
                    f"{model_size[0]} inputs and {model_size[1]} outputs in this model",
                    "serve it with its own base model",
                )
        present_modules = {rename(module) for module in self._modules()}
        absent_modules = [module for module in linears if module not in present_modules and self._targets(module)]
        if absent_modules:
            raise DataError(
                f"{self.path / WEIGHTS} lacks the weights for {_some(absent_modules)}",
                _NOT_WHOLE,
            )

    def check_slot(self, limit: int, needed: int) -> None:
        """Raises LlmkitError unless a slot of rank `limit` can hold it; `needed` is the rank to start vLLM with."""
        if not self.fits_slots:
            raise UsageError(
                f"{self.path} has top_k or talk='after-softmax': gates that vLLM's LoRA slots cannot hold",
                "start the engine or server with this adapter alone: it is then built into the model",
            )
        adapter_rank, experts = self.layout
        if self.rank > limit:
            raise EngineError(
                f"adapter {self.path} takes rank {adapter_rank + experts} (r {adapter_rank} and {experts} experts), "
                f"this vLLM holds {limit}",
                f"start it with --max-lora-rank {needed}",
            )

    def matrices(self) -> dict[str, tuple[Tensor, Tensor, float]]:
        """Returns by module path A (r + n, d), B (k, r + n) and the scale of its output; n = 0 for plain LoRA."""
        if self.type == "TALKLORA":
            return {
                module: (folded.lora_A, folded.lora_B, folded.scale) for module, folded in self.folded_layers.items()
            }
        key_format = "base_model.model.{}.lora_{}.weight"
        return {
            module: (
                self.weights[key_format.format(module, "A")],
                self.weights[key_format.format(module, "B")],
                self._lora_scale(module),
            )
            for module in self.sizes
        }

    def tensors(self) -> dict[str, Tensor]:
        """Returns the folded weights under the names that a plain LoRA has in its file."""
        return {
            f"base_model.model.{module}.lora_{side}.weight": weight
            for module, folded in self.folded_layers.items()
            for side, weight in (("A", folded.lora_A), ("B", folded.lora_B))
        }

    @property
    def scale(self) -> float:
        """The factor on a TalkLoRA adapter's output."""
        return float(self.settings.scale)

    def _lora_scale(self, module: str) -> float:
        from peft.utils.other import get_pattern_key

        settings = self.settings
        module_rank = settings.rank_pattern.get(get_pattern_key(settings.rank_pattern, module), settings.r)
        alpha = settings.alpha_pattern.get(get_pattern_key(settings.alpha_pattern, module), settings.lora_alpha)
        return float(alpha / (module_rank**0.5 if settings.use_rslora else module_rank))

    def _modules(self) -> list[str]:
        matches = (_KEY[self.type].fullmatch(key) for key in self.weights)
        return list(dict.fromkeys(match["module"] for match in matches if match and match["module"]))

    def _targets(self, module: str) -> bool:
        from peft.tuners.tuners_utils import check_target_module_exists

        target_modules = self.settings.target_modules
        return target_modules not in (None, "all-linear") and bool(check_target_module_exists(self.settings, module))


def _type(path: Path) -> str:
    if not (path / CONFIG).is_file():
        raise DataError(
            f"no adapter in {path}: {CONFIG} is missing", "give a folder that PEFT or llmkit finetune wrote"
        )
    adapter_type = peft_type(path)
    if adapter_type is None:
        raise DataError(f"{path / CONFIG} is not a PEFT configuration", "it is JSON with the key peft_type")
    if adapter_type not in _KEY:
        from peft import PeftType

        if adapter_type not in PeftType.__members__:
            raise DataError(
                f"{path} is an adapter of a type that PEFT does not know: {adapter_type}", "a newer PEFT may know it"
            )
        raise DataError(
            f"{path} is an adapter of type {adapter_type}: vLLM serves LORA and, through llmkit, TALKLORA",
            "the transformers engine runs any PEFT adapter; merged into its base it is a model that vLLM serves",
        )
    return adapter_type


def linears(config: Any) -> dict[str, tuple[int, int]]:
    """Lists every linear module that a transformers configuration describes: path -> (inputs, outputs). Makes no
    weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.pytorch_utils import Conv1D

    with torch.device("meta"):
        model: torch.nn.Module
        try:
            model = AutoModelForCausalLM.from_config(config)
        except ValueError:
            model = AutoModelForImageTextToText.from_config(config)
    sizes = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            sizes[name] = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            sizes[name] = (module.nx, module.nf)
    return sizes


def _some(names: list[str], limit: int = 3) -> str:
    others = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {others} more" if others > 0 else "")
