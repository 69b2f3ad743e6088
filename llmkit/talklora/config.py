"""The adapter's settings: TalkLoRA (arXiv 2604.06291), and by switches its relatives in the same fused layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from peft import PeftConfig

from llmkit.talklora.presets import PRESETS
from llmkit.talklora.registration import talklora_type


@dataclass
class TalkLoraConfig(PeftConfig):
    """Settings of a TalkLoRA adapter; `preset` gives those of its relatives.

    >>> TalkLoraConfig(r=16, num_experts=4).expert_rank
    4
    >>> TalkLoraConfig(r=16, num_experts=3)
    Traceback (most recent call last):
    ...
    ValueError: r=16 is not divisible by num_experts=3: choose r from 15, 18 or num_experts from 1, 2, 4, 8, 16
    """

    r: int = field(default=16, metadata={"help": "Total rank. Each of the n experts has rank r / n."})
    num_experts: int = field(default=4, metadata={"help": "Number of experts n; it divides r."})
    alpha: float | None = field(default=None, metadata={"help": "Scale alpha / r. None: scale 1, at any rank."})
    use_rslora: bool = field(default=False, metadata={"help": "Scale alpha / sqrt(r) instead (arXiv 2312.03732)."})
    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Names of linear modules, a regular expression, or `all-linear`."}
    )
    exclude_modules: list[str] | str | None = field(default=None, metadata={"help": "Names or a regex to leave out."})
    layers_to_transform: list[int] | int | None = field(default=None, metadata={"help": "Only these layer indices."})
    layers_pattern: list[str] | str | None = field(default=None, metadata={"help": "Name of the list of layers."})
    modules_to_save: list[str] | None = field(default=None, metadata={"help": "Modules trained whole and saved."})
    router_input: Literal["latent", "input", "none"] = field(
        default="latent",
        metadata={"help": "What the router sees: the latents Ax, the layer's input x, or nothing (gates 1/n)."},
    )
    talk: Literal["on", "off", "frozen", "after-softmax"] = field(
        default="on",
        metadata={
            "help": "The matrix C between experts: trained, left out, kept at its random start, or mixing the gates "
            "after the softmax by the column-stochastic matrix softmax(C)."
        },
    )
    transform: bool = field(default=True, metadata={"help": "Each expert's own square matrix E_i."})
    share_A: bool = field(default=False, metadata={"help": "One A of rank r for all experts, each of full rank r."})
    share_B: bool = field(default=True, metadata={"help": "One set of B_i for all layers of a projection type."})
    top_k: int | None = field(default=None, metadata={"help": "Keep the k largest gates, renormalised. None: all."})
    dropout: float = field(default=0.0, metadata={"help": "Dropout on the layer's input."})
    gate_dropout: float = field(default=0.0, metadata={"help": "Dropout on the gates, as in the released code."})
    output_dropout: float = field(default=0.0, metadata={"help": "Dropout on the adapter's output."})
    spectral_bound: float | None = field(default=None, metadata={"help": "Upper bound on C's largest singular value."})
    balance_coef: float = field(
        default=0.0,
        metadata={
            "help": "Weight of every layer's load-balancing loss n sum_i f_i P_i. A training loop adds "
            "`model.base_model.balance_loss()` to its loss, as `llmkit finetune` does. 0: none."
        },
    )
    router_init_scale: float = field(default=1.0, metadata={"help": "Factor on the router's initial weights."})
    init_weights: bool = field(default=True, metadata={"help": "B starts at zero. False: random, for tests."})
    keep_folds: bool = field(
        default=True,
        metadata={
            "help": "Keep A, E, C and router of each layer as one matrix, (r + n, d), while no gradient is computed: "
            "faster, for about the adapter's own size in memory."
        },
    )
    use_kernel: bool = field(
        default=True,
        metadata={
            "help": "On a GPU with Triton, compute gates and features by one kernel instead of torch's operations."
        },
    )

    def __post_init__(self) -> None:
        cast(Any, super()).__post_init__()
        self.peft_type = talklora_type()
        for field_name in ("target_modules", "exclude_modules"):
            if isinstance(getattr(self, field_name), (list, tuple)):
                setattr(self, field_name, set(getattr(self, field_name)))
        self._check_values()
        self._check_targets()
        self._check_switches()

    def _check_values(self) -> None:
        if not _whole(self.r) or self.r < 1:
            raise ValueError(f"`r` should be a positive integer value but the value passed is {self.r}")
        if not _whole(self.num_experts) or self.num_experts < 1:
            raise ValueError(
                f"`num_experts` should be a positive integer value but the value passed is {self.num_experts}"
            )
        if self.top_k is not None and not (_whole(self.top_k) and 1 <= self.top_k <= self.num_experts):
            raise ValueError(f"top_k={self.top_k} must lie between 1 and num_experts={self.num_experts}")
        for field_name in ("dropout", "gate_dropout", "output_dropout"):
            if not (_number(getattr(self, field_name)) and 0 <= getattr(self, field_name) < 1):
                raise ValueError(f"{field_name}={getattr(self, field_name)} must be at least 0 and less than 1")
        for field_name in ("alpha", "spectral_bound"):
            value = getattr(self, field_name)
            if value is not None and not (_number(value) and value > 0):
                raise ValueError(f"{field_name}={value} must be positive, or None")
        if not (_number(self.balance_coef) and self.balance_coef >= 0):
            raise ValueError(f"balance_coef={self.balance_coef} must not be negative")
        for field_name, allowed in (("router_input", ("latent", "input", "none")), ("talk", _TALK)):
            if getattr(self, field_name) not in allowed:
                raise ValueError(f"{field_name}={getattr(self, field_name)!r}: choose one of {', '.join(allowed)}")

    def _check_targets(self) -> None:
        # PEFT's own words, which its users and its tests know.
        if isinstance(self.target_modules, str) and self.layers_to_transform is not None:
            raise ValueError("`layers_to_transform` cannot be used when `target_modules` is a str.")
        if isinstance(self.target_modules, str) and self.layers_pattern is not None:
            raise ValueError("`layers_pattern` cannot be used when `target_modules` is a str.")
        if self.layers_pattern and self.layers_to_transform is None:
            raise ValueError("When `layers_pattern` is specified, `layers_to_transform` must also be specified.")

    def _check_switches(self) -> None:
        if not self.share_A and self.r % self.num_experts:
            experts = self.num_experts
            divisors = [str(rank) for rank in range(1, self.r + 1) if self.r % rank == 0]
            below = self.r // experts * experts
            ranks = [rank for rank in (below, below + experts) if rank]
            raise ValueError(
                f"r={self.r} is not divisible by num_experts={experts}: choose r from {', '.join(map(str, ranks))} "
                f"or num_experts from {', '.join(divisors)}"
            )
        if self.talk in ("on", "frozen") and (self.router_input != "latent" or self.share_A):
            raise ValueError(
                f"talk={self.talk!r} mixes the experts' latents: it needs router_input='latent' and no share_A"
            )
        if self.router_input == "none" and (self.talk != "off" or self.top_k or self.gate_dropout or self.balance_coef):
            raise ValueError(
                "router_input='none' has constant gates: talk='off', and no top_k, gate_dropout, balance_coef"
            )

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Saves as PEFT does; the model card that PEFT wrote beside the weights also says what to import before
        loading."""
        super().save_pretrained(save_directory, **kwargs)
        # An adapter that is not called "default" has a folder of its own, below the card's.
        for card_path in (Path(save_directory) / "README.md", Path(save_directory).parent / "README.md"):
            if card_path.is_file() and "library_name: peft" in (card_text := card_path.read_text(encoding="utf-8")):
                if "import llmkit.talklora" not in card_text:
                    card_path.write_text(card_text.rstrip() + _HOW_TO_LOAD, encoding="utf-8")
                break

    @classmethod
    def preset(cls, name: str, **settings: Any) -> TalkLoraConfig:
        """Creates the settings of `talklora`, `talklora-released`, `moelora` or `hydralora`, with any field
        overridden."""
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **settings})

    # With one expert the gate is 1 whatever a router says: neither a router nor C is made, as neither could learn.

    @property
    def has_router(self) -> bool:
        return self.router_input != "none" and self.num_experts > 1

    @property
    def has_talk(self) -> bool:
        return self.talk != "off" and self.num_experts > 1

    @property
    def talks_before(self) -> bool:
        """Whether C mixes latents before the router."""
        return self.talk in ("on", "frozen") and self.has_talk

    @property
    def talks_after(self) -> bool:
        """True where C mixes the gates after the softmax."""
        return self.talk == "after-softmax" and self.has_talk

    @property
    def one_softmax(self) -> bool:
        """True where gates are one dense softmax of the router's logits, and so fit where a folded LoRA does."""
        return self.top_k is None and not self.talks_after

    @property
    def constant_gate(self) -> float | None:
        """The gate's value where it cannot depend on the input (one expert, or no router), else None."""
        return None if self.has_router else 1.0 / self.num_experts

    @property
    def expert_rank(self) -> int:
        """Rank m of one expert."""
        return self.r if self.share_A else self.r // self.num_experts

    @property
    def up_rank(self) -> int:
        """Columns of all experts' B together: n m."""
        return self.num_experts * self.expert_rank

    @property
    def scale(self) -> float:
        """The factor on sum_i g_i B_i E_i A_i x."""
        if self.alpha is None:
            return 1.0
        return self.alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    @property
    def feature_scale(self) -> float:
        """The scale of an expert's features E_i h_i: `scale`, and the gate as well where it is constant."""
        return self.scale if self.constant_gate is None else self.scale * self.constant_gate


_TALK = ("on", "off", "frozen", "after-softmax")
_HOW_TO_LOAD = """

## Load it

PEFT does not know TALKLORA by itself: without this import it stops with `KeyError: 'TALKLORA'`.

```python
import llmkit.talklora  # registers TALKLORA with PEFT
from peft import PeftModel

model = PeftModel.from_pretrained(base_model, "PATH_OF_THIS_FOLDER")
```
"""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
