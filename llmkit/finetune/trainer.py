"""TRL's trainer with what it lacks: an order of our own, losses on two views, a learning rate for routers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import Trainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

from llmkit.talklora import TalkLoraConfig, TalkLoraLayer, TalkLoraModel
from llmkit.talklora.telemetry import RoutingReport, Telemetry

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Sampler
    from transformers import PreTrainedTokenizerBase

Batch = dict[str, Tensor]  # by the name of the model's argument
_ROUTERS = ("talklora_router", "talklora_C")


def _score_answers_only() -> None:
    """Makes TRL's loss apply the LM head to learnt tokens only, on a CPU too.

    Without Triton TRL applies it to every token and drops the rest, because changing shapes would cost a GPU time. On a
    CPU they cost nothing, and the head is a fifth of SmolLM2-135M. llmkit touches TRL's internals here only.
    """
    from trl.trainer import utils

    trl_utils: Any = utils  # because TRL does not export what is replaced here
    has_triton = getattr(trl_utils, "_use_triton", None)
    if has_triton is not None:
        trl_utils._use_triton = lambda device: device.type == "cpu" or has_triton(device)


_score_answers_only()


def _balances(tuner: TalkLoraModel) -> bool:
    """Returns whether an adapter of the tuner adds a load-balancing loss."""
    return any(isinstance(config, TalkLoraConfig) and config.balance_coef for config in tuner.peft_config.values())


class PairCollator:
    """Pads rows, and their second views beside them as `view_*`."""

    def __init__(self, one: DataCollatorForLanguageModeling) -> None:
        self.one = one

    def __call__(self, rows: list[dict[str, list[int]]]) -> Batch:
        batch = self.one([{key: row[key] for key in ("input_ids", "labels")} for row in rows])
        if "view_input_ids" in rows[0]:
            seconds = [{"input_ids": row["view_input_ids"], "labels": row["view_labels"]} for row in rows]
            batch |= {f"view_{key}": value for key, value in self.one(seconds).items()}
        return dict(batch)


class FinetuneTrainer(SFTTrainer):
    """SFTTrainer over rows that are already tokenised and in order."""

    objective: str
    objective_weight: float
    router_lr: float | None

    def __init__(
        self,
        *args: Any,
        objective: str = "augment",
        weight: float = 1.0,
        router_lr: float | None = None,
        watch_routing: bool = False,
        **kwargs: Any,
    ) -> None:
        self.objective, self.objective_weight, self.router_lr = objective, weight, router_lr
        self.routing_telemetry: Telemetry | None = None
        super().__init__(*args, **kwargs)
        tuners = [module for module in self._net.modules() if isinstance(module, TalkLoraModel)]
        self._balanced = [tuner for tuner in tuners if _balances(tuner)]
        if watch_routing and any(isinstance(module, TalkLoraLayer) for module in self._net.modules()):
            self.routing_telemetry = Telemetry(self._net)

    @property
    def _net(self) -> nn.Module:
        """The model in training, which `Trainer` types as one that may be missing."""
        return cast("nn.Module", self.model)

    @property
    def routing(self) -> RoutingReport | None:
        """Routing statistics of the last evaluation."""
        return self.routing_telemetry.report() if self.routing_telemetry else None

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        if self.routing_telemetry is None:
            return super().evaluate(*args, **kwargs)
        self.routing_telemetry.reset()
        with self.routing_telemetry:  # in evaluation only: training steps pay nothing
            metrics = super().evaluate(*args, **kwargs)
        self.log(self.routing_telemetry.scalars())
        return metrics

    def _pads(self) -> list[tuple[str, int]]:
        """Returns the padding value of each tensor."""
        tokenizer = cast("PreTrainedTokenizerBase", self.processing_class)
        return [("input_ids", tokenizer.pad_token_id), ("attention_mask", 0), ("labels", -100)]

    def _send_telemetry(self) -> None:
        """Does nothing. TRL would report to its hub which trainer is used; llmkit sends no telemetry."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return SequentialSampler(cast(Any, self.train_dataset) if train_dataset is None else train_dataset)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Applies weight decay to the experts' matrices only, and a separate learning rate to routers and talking
        matrices."""
        if self.optimizer is None:
            model = model if model is not None else self.model
            trained_parameters = [
                (name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad
            ]
            routers = [parameter for name, parameter in trained_parameters if any(part in name for part in _ROUTERS)]
            others = [parameter for name, parameter in trained_parameters if not any(part in name for part in _ROUTERS)]
            optimizer_class, settings = Trainer.get_optimizer_cls_and_kwargs(self.args, model)
            groups = [{"params": others, "weight_decay": self.args.weight_decay}]
            if routers:
                groups.append({"params": routers, "weight_decay": 0.0, "lr": self.router_lr or settings["lr"]})
            self.optimizer = optimizer_class(groups, **settings)
        return self.optimizer

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = self._loss_of_rows(model, inputs, return_outputs, num_items_in_batch)
        for tuner in self._balanced if self._net.training else ():
            # A mean over this pass: where the loss is a sum over all passes of a step, Trainer does not divide it.
            passes = self.current_gradient_accumulation_steps if num_items_in_batch is not None else 1
            loss = loss + tuner.balance_loss().to(loss.device) / passes
        return loss

    def _loss_of_rows(self, model: Any, inputs: Batch, return_outputs: bool, num_items_in_batch: Any) -> Any:
        if "view_input_ids" not in inputs:
            return cast(Any, super()).compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # One pass over both views: padded to one width, stacked along the batch.
        ids, mask, labels = (_stack(inputs[key], inputs[f"view_{key}"], fill) for key, fill in self._pads())
        row_count = len(inputs["input_ids"])
        # (K,): where any row has an answer token
        answer_places = (labels[:, 1:] != -100).any(dim=0).nonzero().squeeze(-1)
        # (2 B, K, V)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=answer_places).logits
        targets = labels[:, 1:][:, answer_places]
        first, answer_tokens = _answers(logits[:row_count], targets[:row_count])
        second, _ = _answers(logits[row_count:], targets[row_count:])
        likelihood_term, paired_term = paired_loss(self.objective, self.objective_weight, first, second, answer_tokens)
        token_count = torch.as_tensor(len(answer_tokens) if num_items_in_batch is None else num_items_in_batch).clamp(
            min=1
        )
        loss = (likelihood_term + paired_term) / token_count.to(likelihood_term.device)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        self._metrics["train"][self.objective].append((paired_term / max(len(answer_tokens), 1)).item())
        self._total_train_tokens += int(self.accelerator.gather_for_metrics(mask.sum()).sum())
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return loss


def _stack(first_view: Tensor, second_view: Tensor, fill_value: int) -> Tensor:
    common_width = max(first_view.shape[1], second_view.shape[1])
    pad = torch.nn.functional.pad
    return torch.cat(
        [pad(tensor, (0, common_width - tensor.shape[1]), value=fill_value) for tensor in (first_view, second_view)]
    )


def _answers(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Returns log-probabilities (tokens, vocabulary) at the answer tokens, and the tokens; row by row, left to
    right."""
    learnt = targets != -100
    return torch.log_softmax(logits[learnt].float(), dim=-1), targets[learnt]


def paired_loss(objective: str, weight: float, first: Tensor, second: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns two sums over answer tokens: the likelihood term, and the weighted term between the views.

    `first` and `second` are log-probabilities (tokens, vocabulary) of the same tokens `y` under two views.
    pairs: mean NLL, 0. rdrop: mean NLL, w (KL(p1||p2) + KL(p2||p1)) / 2 (arXiv 2106.14448, eq. 2 and 3).
    consistency: with m = (p1 + p2) / 2, NLL(m), w (CE(sg m, p1) + CE(sg m, p2)) (arXiv 2505.17999).
    """
    if objective == "consistency":
        log_mean = torch.logaddexp(first, second) - 0.6931471805599453  # log m
        target = log_mean.detach().exp()
        cross_entropy = -(target * (first + second)).sum()
        return torch.nn.functional.nll_loss(log_mean, y, reduction="sum"), weight * cross_entropy
    nll = (
        torch.nn.functional.nll_loss(first, y, reduction="sum")
        + torch.nn.functional.nll_loss(second, y, reduction="sum")
    ) / 2
    if objective == "pairs":
        return nll, torch.zeros((), device=nll.device)
    divergence = ((first.exp() - second.exp()) * (first - second)).sum() / 2
    return nll, weight * divergence
