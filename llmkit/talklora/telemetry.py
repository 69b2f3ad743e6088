"""Routing statistics: loads, entropies and information of the gates, kept as running sums on the device.

with Telemetry(model) as telemetry:
    ...train or evaluate...
telemetry.report()["model"]["information"]
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llmkit.talklora.functions import latent_router
from llmkit.talklora.layer import TalkLoraLayer
from llmkit.talklora.model import TalkLoraModel
from llmkit.talklora.spectral import bounded

LayerReport = dict[str, Any]  # numbers by name; "load" is a list with one number for each expert
RoutingReport = dict[str, LayerReport]  # by a layer's path, and "model" for the means


class _Sums:
    """Running sums of one layer over real tokens: nothing is read back before the report."""

    def __init__(self, experts: int, device: torch.device) -> None:
        self.tokens = torch.zeros((), device=device)
        self.load = torch.zeros(experts, device=device)  # sum of gates
        self.entropy = torch.zeros((), device=device)  # sum of each token's entropy, in nats
        self.switches = torch.zeros((), device=device)  # neighbours with another top expert
        self.pairs = torch.zeros((), device=device)

    def add(self, gate: Tensor, mask: Tensor | None) -> None:
        gate = gate.detach().float()
        real_tokens = (
            torch.ones(gate.shape[:-1], device=gate.device) if mask is None else mask.to(gate.device, gate.dtype)
        )
        self.tokens += real_tokens.sum()
        self.load += (gate * real_tokens[..., None]).flatten(0, -2).sum(0)
        self.entropy += (torch.special.entr(gate).sum(-1) * real_tokens).sum()
        if gate.dim() > 2:
            top_experts, both_real = gate.argmax(-1), real_tokens[..., 1:] * real_tokens[..., :-1]
            self.switches += ((top_experts[..., 1:] != top_experts[..., :-1]) * both_real).sum()
            self.pairs += both_real.sum()


class Telemetry:
    """Watches every TalkLoRA layer of a model while it is open. Padding does not count where a mask is given."""

    def __init__(self, model: nn.Module, adapter_name: str | None = None) -> None:
        tuners = [module for module in model.modules() if isinstance(module, TalkLoraModel)]
        if not tuners:
            raise ValueError("this model has no TalkLoRA adapter")
        self.adapter = adapter_name or tuners[0].active_adapters[0]
        self._tuner = tuners[0]
        self._layers = {
            module_path: module
            for module_path, module in tuners[0].model.named_modules()
            if isinstance(module, TalkLoraLayer) and self.adapter in module.settings
        }
        self._sums: dict[TalkLoraLayer, _Sums] = {}

    def __enter__(self) -> Telemetry:
        self._tuner.watch_passes()
        for layer in self._layers.values():
            layer.observer = self._observe
        return self

    def __exit__(self, *error: object) -> None:
        for layer in self._layers.values():
            layer.observer = None
        self._tuner.unwatch_passes()

    def reset(self) -> None:
        """Forgets what was seen."""
        self._sums.clear()

    @torch.no_grad()
    def _observe(self, layer: TalkLoraLayer, gate: Tensor) -> None:
        if layer not in self._sums:
            self._sums[layer] = _Sums(gate.shape[-1], gate.device)
        self._sums[layer].add(gate, layer.current.mask_of(gate))

    def report(self) -> RoutingReport:
        """Returns numbers of each layer by its path, and their means under `model`.

        load: mean gate of each expert. entropy: mean token entropy / log n (1: uniform). load_entropy: H(load) / log
        n. effective_experts: exp H(load). max_load, cv2: largest load, squared coefficient of variation. kl: KL(load
        || uniform) in nats. information: H(load) - mean H(gate) in nats: a gate's information about its token;
        uniform gates have none, however balanced. switch_rate: neighbouring tokens with another top expert. c_norm:
        ||C||_2. sensitivity: ||W_g (C kron I) A||_2, twice the Lipschitz constant of the gates. c_offdiagonal: share
        of C's squared mass off its diagonal. overlap: mean squared cosine between experts' input subspaces."""
        layer_reports = {module_path: self._row(layer) for module_path, layer in self._layers.items()}
        number_keys = [
            number_name for number_name, value in next(iter(layer_reports.values())).items() if isinstance(value, float)
        ]
        means = {
            number_name: sum(
                layer_report[number_name] for layer_report in layer_reports.values() if number_name in layer_report
            )
            / len(layer_reports)
            for number_name in number_keys
        }
        return {**layer_reports, "model": means}

    @torch.no_grad()
    def _row(self, layer: TalkLoraLayer) -> LayerReport:
        return {**_routing(self._sums.get(layer)), **_norms(layer, self.adapter)}

    def save(self, folder: str | Path, step: int | None = None) -> None:
        """Writes `routing.json`, and `routing.png` if matplotlib is installed."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        report = self.report()
        text = json.dumps({"step": step, "adapter": self.adapter, "layers": report}, indent=1)
        (folder / "routing.json").write_text(text + "\n", encoding="utf-8")
        if any("load" in layer_report for layer_report in report.values()):
            heat_map(report, folder / "routing.png")

    def scalars(self) -> dict[str, float]:
        """Returns the model's means as `routing/<name>`, for TensorBoard or a trainer's log."""
        return {f"routing/{number_name}": value for number_name, value in self.report()["model"].items()}


def _routing(sums: _Sums | None) -> LayerReport:
    if sums is None or not sums.tokens.item():
        return {}
    mean_load, token_count = sums.load / sums.tokens, sums.tokens
    experts, load_entropy = mean_load.numel(), torch.special.entr(mean_load).sum().item()
    largest_entropy = math.log(experts) or 1.0
    mean_entropy = (sums.entropy / token_count).item()
    statistics = {
        "load": mean_load.tolist(),
        "entropy": mean_entropy / largest_entropy,
        "load_entropy": load_entropy / largest_entropy,
        "effective_experts": math.exp(load_entropy),
        "max_load": mean_load.max().item(),
        "cv2": (mean_load.var(unbiased=False) / mean_load.mean() ** 2).item(),
        "kl": math.log(experts) - load_entropy,
        "information": load_entropy - mean_entropy,
    }
    if sums.pairs.item():
        statistics["switch_rate"] = (sums.switches / sums.pairs).item()
    return statistics


def _norms(layer: TalkLoraLayer, adapter: str) -> dict[str, float]:
    config = layer.settings[adapter]
    if not all(torch.isfinite(p).all() for p in layer.talklora_A[adapter].parameters()):
        return {}  # a training that diverged has no norms, and its loss says so
    weights = {symbol: None if w is None else w.float().cpu() for symbol, w in layer.weights(adapter).items()}
    A, C, W = layer.talklora_A[adapter].weight.float().cpu(), weights["C"], weights["W"]
    statistics: dict[str, float] = {}
    if W is not None:
        logits = W if config.router_input == "input" else latent_router(config, W, C) @ A
        statistics["sensitivity"] = torch.linalg.matrix_norm(logits, 2).item()
    if C is not None and config.talks_before:
        C = bounded(C, config.spectral_bound)
        statistics["c_norm"] = torch.linalg.matrix_norm(C, 2).item()
        statistics["c_offdiagonal"] = (1 - C.diagonal().square().sum() / C.square().sum()).item()
    if config.num_experts > 1 and not config.share_A:
        bases = [torch.linalg.qr(block.T)[0] for block in A.chunk(config.num_experts)]  # (d, m) each
        expert_pairs = [(i, j) for i in range(len(bases)) for j in range(i)]
        cosines = [(bases[i].T @ bases[j]).square().sum() / bases[i].shape[1] for i, j in expert_pairs]
        statistics["overlap"] = (sum(cosines) / len(expert_pairs)).item()
    return statistics


def heat_map(report: RoutingReport, path: str | Path) -> None:
    """Draws the loads as a picture: one row for each layer, one column for each expert."""
    from matplotlib.figure import Figure

    load_rows = {
        layer_name: layer_report["load"] for layer_name, layer_report in report.items() if "load" in layer_report
    }
    figure = Figure(figsize=(6, max(2.0, 0.16 * len(load_rows))), layout="constrained")
    plot_axes = figure.subplots()
    image = plot_axes.imshow(list(load_rows.values()), aspect="auto", cmap="viridis", vmin=0)
    plot_axes.set_yticks(range(len(load_rows)), list(load_rows), fontsize=5)
    plot_axes.set_xticks(range(len(next(iter(load_rows.values())))))
    plot_axes.set_xlabel("expert")
    figure.colorbar(image, label="mean gate")
    figure.savefig(path, dpi=110)
