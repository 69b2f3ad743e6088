"""The adapter's settings: TalkLoRA (arXiv 2604.06291), and by switches its relatives in the same fused layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from peft import PeftConfig

from llmkit.talklora.registration import peft_type

PRESETS: dict[str, dict[str, Any]] = {
    # The paper's equations (4) to (7).
    "talklora": {},
    # The released code: one dropout in three places, and alpha never used (scale 1).
    "talklora-released": {"dropout": 0.05, "gate_dropout": 0.05, "output_dropout": 0.05, "alpha": None},
    # The paper's equations (2) and (3): a dense softmax over experts of rank r/n, routed by the layer's input.
    "moelora": {"router_input": "input", "talk": "off", "transform": False, "share_B": False},
    # HydraLoRA (arXiv 2404.19245): one A of rank r, n heads B_i of full rank r, routed by the layer's input.
    "hydralora": {"router_input": "input", "talk": "off", "transform": False, "share_B": False, "share_A": True},
}


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
    alpha: float | None = field(default=16.0, metadata={"help": "Scale alpha / r. None: scale 1."})
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

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type()
        for name in ("target_modules", "exclude_modules"):
            if isinstance(getattr(self, name), (list, tuple)):
                setattr(self, name, set(getattr(self, name)))
        self._check()

    def _check(self) -> None:
        if self.r < 1 or self.num_experts < 1:
            raise ValueError(f"r={self.r} and num_experts={self.num_experts} must be positive")
        if not self.share_A and self.r % self.num_experts:
            n = self.num_experts
            ranks = [k for k in (self.r // n * n, (self.r // n + 1) * n) if k]
            raise ValueError(
                f"r={self.r} is not divisible by num_experts={n}: choose r from {', '.join(map(str, ranks))} "
                f"or num_experts from {', '.join(str(k) for k in range(1, self.r + 1) if self.r % k == 0)}"
            )
        for name, allowed in (("router_input", ("latent", "input", "none")), ("talk", _TALK)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(allowed)}")
        if self.talks_before and (self.router_input != "latent" or self.share_A):
            raise ValueError(
                f"talk={self.talk!r} mixes the experts' latents: it needs router_input='latent' and no share_A"
            )
        if self.router_input == "none" and (self.talk != "off" or self.top_k or self.gate_dropout or self.balance_coef):
            raise ValueError(
                "router_input='none' has constant gates: talk='off', and no top_k, gate_dropout, balance_coef"
            )
        if self.top_k is not None and not 1 <= self.top_k <= self.num_experts:
            raise ValueError(f"top_k={self.top_k} must lie between 1 and num_experts={self.num_experts}")
        if self.spectral_bound is not None and self.spectral_bound <= 0:
            raise ValueError(f"spectral_bound={self.spectral_bound} must be positive")
        if isinstance(self.target_modules, str) and self.layers_to_transform is not None:
            raise ValueError("layers_to_transform cannot be used with a regular expression in target_modules")
        if self.layers_pattern and self.layers_to_transform is None:
            raise ValueError("layers_pattern says where layers_to_transform counts: give that too")

    @classmethod
    def preset(cls, name: str, **settings: Any) -> TalkLoraConfig:
        """`talklora`, `talklora-released`, `moelora` or `hydralora`, with any field set otherwise."""
        if name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **settings})

    @property
    def talks_before(self) -> bool:
        """Whether C mixes latents before the router."""
        return self.talk in ("on", "frozen")

    @property
    def has_talk(self) -> bool:
        return self.talk != "off"

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
        if self.alpha is None:
            return 1.0
        return self.alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    @property
    def one_softmax(self) -> bool:
        """Whether gates are one dense softmax of the router's logits, and so fit where a folded LoRA does."""
        return self.top_k is None and self.talk != "after-softmax"

    @property
    def constant_gate(self) -> float | None:
        """The gate's value where it cannot depend on the input (one expert, or no router), else None."""
        if self.router_input == "none" or (self.num_experts == 1 and not self.gate_dropout):
            return 1.0 / self.num_experts
        return None


_TALK = ("on", "off", "frozen", "after-softmax")
