"""Two processes with DistributedDataParallel: shared B, checkpointing, equal gradients."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from helpers import models
from helpers.processes import in_processes
from peft import get_peft_model

from llmkit.talklora import TalkLoraConfig

TARGETS = ["q_proj", "up_proj"]


def build() -> torch.nn.Module:
    torch.manual_seed(6)
    config = TalkLoraConfig(r=8, num_experts=4, target_modules=TARGETS, init_weights=False)
    model = get_peft_model(models.llama(), config).train()
    model.enable_input_require_grads()
    model.base_model.model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def rows() -> torch.Tensor:
    return torch.arange(1, 29).view(4, 7)


def work(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model = torch.nn.parallel.DistributedDataParallel(build())
    ids = rows()[2 * rank : 2 * rank + 2]
    model(input_ids=ids, labels=ids).loss.backward()
    if rank == 0:
        torch.save({n: p.grad for n, p in model.module.named_parameters() if p.requires_grad}, f"{folder}/grads.pt")
    dist.barrier()  # rank 0 holds the store: while the other still reduces, it must not be gone
    dist.destroy_process_group()


def test_t12_two_processes_give_the_gradients_of_one(tmp_path, free_port):
    assert in_processes(work, *((rank, free_port, str(tmp_path)) for rank in range(2))) == [0, 0]
    model, ids = build(), rows()
    model(input_ids=ids, labels=ids).loss.backward()
    gradients = torch.load(tmp_path / "grads.pt", weights_only=True)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)
