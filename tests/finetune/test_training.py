"""Training itself, on a tiny model: losses, folders, what is refused."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from helpers.training import losses
from safetensors.torch import load_file

from llmkit.errors import EngineError, UsageError
from llmkit.finetune import finetune
from llmkit.finetune.trainer import paired_loss

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("train")]


def test_a_run_leaves_an_adapter_with_its_record(make):
    from peft import AutoPeftModelForCausalLM

    import llmkit.talklora  # noqa: F401

    result = finetune(make(), quiet=True)
    for name in ("recipe.resolved.yaml", "env.json", "metrics.json", "log.jsonl", "routing.json", "routing.png"):
        assert (result.folder / name).is_file(), name
    assert list((result.folder / "tensorboard").iterdir())
    assert sorted(p.name for p in result.adapter.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    card = (result.adapter / "README.md").read_text()
    assert "library_name: peft" in card
    assert "method: talklora" in card
    metrics = result.metrics
    assert metrics["steps"] == 4
    assert metrics["trainable_parameters"] > 0
    assert 0 < metrics["routing"]["entropy"] <= 1
    assert math.isfinite(metrics["dev_loss"])
    assert losses(result).keys() == {1, 2, 3, 4}
    model = AutoPeftModelForCausalLM.from_pretrained(result.adapter)
    assert model.peft_config["default"].peft_type == "TALKLORA"


def test_a_finished_run_is_not_trained_again_without_force(make):
    recipe = make(**{"finetune.optim.max_steps": 1})
    result = finetune(recipe, quiet=True)
    weights = result.adapter / "adapter_model.safetensors"
    stamp = weights.stat().st_mtime_ns
    assert finetune(recipe, quiet=True).metrics == result.metrics
    assert weights.stat().st_mtime_ns == stamp
    finetune(recipe, quiet=True, force=True)
    assert weights.stat().st_mtime_ns != stamp


def test_early_stopping_keeps_the_best(make):
    result = finetune(
        make(
            **{
                "finetune.optim.lr": 0.3,  # too high: the dev loss soon rises
                "finetune.optim.schedule": "constant",
                "finetune.optim.max_steps": 16,
                "finetune.train.eval_every": 2,
                "finetune.train.patience": 1,
            }
        ),
        quiet=True,
    )
    assert result.metrics["steps"] < 16
    assert result.metrics["dev_loss"] == pytest.approx(result.metrics["dev_loss_best"], rel=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"finetune.method": "moelora"},
        {"finetune.method": "hydralora", "finetune.optim.router_lr": 0.05},
        {"finetune.method": "dora"},
        {"finetune.method": "lily"},
        {"finetune.robust.objective": "pairs", "finetune.robust.share": 1.0},
        {"finetune.robust.objective": "consistency", "finetune.robust.share": 1.0},
        {"finetune.robust.objective": "rdrop", "finetune.dropout": 0.1},
        {"finetune.data.packing": True, "finetune.optim.batch_size": 2},
        {"finetune.optim.loss": "dft"},
        {"finetune.optim.micro_batch": 2, "finetune.train.gradient_checkpointing": True},
        {"finetune.options": {"balance_coef": 0.1, "talk": "frozen"}},
        {"finetune.train.dtype": "bfloat16", "finetune.target_modules": "all-linear"},
        {"finetune.data.completion_only": False, "model.chat_template": "none"},
    ],
    ids=str,
)
def test_every_way_of_training_trains(make, settings):
    result = finetune(make(**{"finetune.optim.max_steps": 3, **settings}), quiet=True)
    assert result.metrics["steps"] >= 1
    assert all(math.isfinite(loss) for loss in losses(result).values())
    assert any(weight.any() for weight in load_file(result.adapter / "adapter_model.safetensors").values())


def test_accumulated_micro_batches_give_the_losses_of_whole_ones(make):
    whole = finetune(make(), quiet=True)
    parts = finetune(make(**{"finetune.optim.micro_batch": 1}), quiet=True)
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-4)


@pytest.mark.parametrize(
    "settings", [{}, {"finetune.robust.objective": "pairs", "finetune.robust.share": 1.0}], ids=str
)
def test_accumulated_micro_batches_add_the_balancing_loss_once(make, settings):
    settings = {**settings, "finetune.options": {"balance_coef": 10.0}, "finetune.optim.max_steps": 1}
    whole = losses(finetune(make(**settings), quiet=True))
    parts = losses(finetune(make(**{**settings, "finetune.optim.micro_batch": 1}), quiet=True))
    assert 100 < whole[1] < 115  # ten layers with at least `balance_coef` each, and the answers' likelihood
    assert parts == pytest.approx(whole, rel=0.01)  # the mean over four rows is a little more than that of all at once


def test_the_head_is_taken_at_answers_only_and_the_loss_is_the_same(make, monkeypatch):
    from trl.trainer import utils

    class Spied:
        whole = utils._ChunkedLogProbFunction
        rows: ClassVar[list[int]] = []

        @classmethod
        def apply(cls, hidden, *rest):
            cls.rows.append(len(hidden))
            return cls.whole.apply(hidden, *rest)

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", Spied)
    found = {}
    for name in ("answers", "everywhere"):
        if name == "everywhere":
            monkeypatch.setattr(utils, "_use_triton", lambda device: False)
        Spied.rows.clear()
        found[name] = losses(finetune(make(**{"output.name": name}), quiet=True)), sum(Spied.rows)
    assert found["answers"][1] < 0.6 * found["everywhere"][1]
    assert found["answers"][0] == pytest.approx(found["everywhere"][0], rel=1e-5)


def test_two_equal_views_lose_what_one_loses(make):
    one = losses(finetune(make(), quiet=True))
    both = losses(finetune(make(**{"finetune.robust.objective": "pairs"}), quiet=True))
    assert both == pytest.approx(one, rel=1e-4)


def test_two_processes_give_the_losses_of_one(make):
    one = finetune(make(), quiet=True)
    two = finetune(
        make(
            **{
                "finetune.launch.kind": "ddp",
                "finetune.launch.num_processes": 2,
                "output.name": "two",
                "finetune.train.gradient_checkpointing": True,
            }
        ),
        quiet=True,
    )
    assert (one.metrics["processes"], two.metrics["processes"]) == (1, 2)
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    assert two.metrics["steps"] == one.metrics["steps"]


def test_paired_losses_are_those_of_their_papers():
    torch.manual_seed(0)
    p, q = (torch.log_softmax(torch.randn(5, 9, dtype=torch.float64), -1) for _ in range(2))
    y = torch.randint(0, 9, (5,))
    rows = torch.arange(5)
    nll, zero = paired_loss("pairs", 1.0, p, q, y)
    assert nll.item() == pytest.approx(-(p[rows, y] + q[rows, y]).sum().item() / 2)
    assert zero == 0
    _, divergence = paired_loss("rdrop", 2.0, p, q, y)
    kl = lambda a, b: (a.exp() * (a - b)).sum()  # noqa: E731
    assert divergence.item() == pytest.approx((kl(p, q) + kl(q, p)).item())
    m = (p.exp() + q.exp()) / 2
    likelihood, extra = paired_loss("consistency", 0.5, p, q, y)
    assert likelihood.item() == pytest.approx(-m[rows, y].log().sum().item())
    assert extra.item() == pytest.approx(-0.5 * (m * (p + q)).sum().item())


def test_no_gradient_flows_through_the_mean_that_both_views_are_drawn_to():
    logits = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    p = torch.log_softmax(logits, -1)
    q = torch.log_softmax(torch.randn(3, 7, dtype=torch.float64), -1)
    _, extra = paired_loss("consistency", 1.0, p, q, torch.zeros(3, dtype=torch.long))
    (gradient,) = torch.autograd.grad(extra, logits)
    m = (p.exp() + q.exp()).detach() / 2
    torch.testing.assert_close(gradient, (p.exp() - m).detach())  # that of a cross entropy with a fixed target


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"finetune.target_modules": ["q_prj"]}, "no module `q_prj`", "q_proj"),
        ({"finetune.method": "talkora"}, "unknown method `talkora`", "talklora"),
        ({"finetune.options": {"talkk": "on"}}, "finetune.options.talkk", "talk"),
        ({"finetune.r": 6}, "r=6 is not divisible by num_experts=4", None),
        ({"finetune.target_modules": ["embed_tokens"]}, "Embedding is not supported", None),
        ({"finetune.optim.micro_batch": 3}, "does not divide", None),
        ({"finetune.optim.schedule": "linaer"}, "linaer", None),
        ({"finetune.launch.kind": "fsdp2"}, "needs GPUs", None),
        ({"finetune.train.load_in": "4bit"}, "needs bitsandbytes", None),
        ({"data.task": None}, "nothing to train on", None),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_starts(make, settings, message, hint):
    with pytest.raises(UsageError) as caught:
        finetune(make(**settings), quiet=True)
    assert message in caught.value.message
    assert hint is None or hint in caught.value.hint


def test_memory_that_runs_out_says_what_to_change(make, monkeypatch):
    from llmkit.finetune.trainer import FinetuneTrainer

    def no_memory(*args, **kwargs):
        raise torch.OutOfMemoryError("tried to allocate 900 GiB")

    monkeypatch.setattr(FinetuneTrainer, "train", no_memory)
    with pytest.raises(EngineError) as caught:
        finetune(make(), quiet=True)
    assert "finetune.optim.micro_batch below 4" in caught.value.hint


@pytest.mark.parametrize("kind", ["ddp", "ddp-cpu", "fsdp2", "zero2", "zero3"])
def test_presets_are_valid_for_accelerate(kind):
    from accelerate.commands.config.config_args import load_config_from_file

    from llmkit.finetune.launch import LAUNCH_PRESETS

    config = load_config_from_file(str(LAUNCH_PRESETS / f"{kind}.yaml"))
    wanted = {"ddp": "MULTI_GPU", "ddp-cpu": "MULTI_CPU", "fsdp2": "FSDP"}
    assert config.distributed_type == wanted.get(kind, "DEEPSPEED")
