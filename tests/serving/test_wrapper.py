"""llmkit's CPU wrapper by itself, against each row by hand. Imports vLLM, starts no engine."""

from types import SimpleNamespace

import pytest
import torch

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("engine")]

SLOTS, RANK, D, VOCABULARY = 2, 16, 12, 30
TOKENS = (7, 7, 0, 5, 7)  # adapter ids; 0 is no adapter, 7 stands in slot 0 and 5 in slot 1
SAMPLED = (7, 0, 5)


@pytest.fixture
def wrapper():
    from vllm.lora.layers import LoRAMapping

    from llmkit.serving.vllm_internals import _cpu_wrapper

    made = _cpu_wrapper()(32, 8, "cpu", lora_config=SimpleNamespace(max_loras=SLOTS, max_lora_rank=RANK))
    made.note_slot(0, 8, 4)
    made.note_slot(1, 6, 0)
    made.update_metadata(LoRAMapping(TOKENS, SAMPLED, is_prefill=True), [7, 5], SLOTS, VOCABULARY)
    return made


@pytest.fixture
def head():
    """Weights on the language-model head of the adapter in slot 1 only."""
    torch.manual_seed(0)
    a, b = torch.zeros(SLOTS, 1, RANK, D), torch.zeros(SLOTS, 1, VOCABULARY + 2, RANK)
    a[1, 0, :6], b[1, 0, :, :6] = torch.randn(6, D), torch.randn(VOCABULARY + 2, 6)
    return a, b


def test_logits_of_the_one_adapted_request_change_alone(wrapper, head):
    x, y = torch.randn(3, D), torch.randn(3, VOCABULARY)
    expected = y.clone()
    expected[2] += (head[1][1, 0] @ (head[0][1, 0] @ x[2]))[:VOCABULARY]
    wrapper.add_lora_logits(y, x, *head, 1.0)
    torch.testing.assert_close(y, expected)
    assert torch.equal(y[:2], expected[:2])


def test_embeddings_of_adapted_tokens_change_alone(wrapper):
    b = torch.zeros(SLOTS, 1, D, RANK)
    b[0, 0] = torch.randn(D, RANK)
    x, y = torch.randn(5, RANK), torch.zeros(5, D)
    wrapper.add_lora_embedding(y, x, b)
    rows = torch.tensor([0, 1, 4])
    expected = torch.zeros(5, D)
    expected[rows] = x[rows] @ b[0, 0].T
    torch.testing.assert_close(y, expected)


def test_a_slot_with_a_new_adapter_forgets_the_old_weights(wrapper, head):
    x = torch.randn(3, D)
    wrapper.add_lora_logits(torch.zeros(3, VOCABULARY), x, *head, 1.0)
    head[1][1] *= 2
    wrapper.note_slot(1, 6, 0)
    y = torch.zeros(3, VOCABULARY)
    wrapper.add_lora_logits(y, x, *head, 1.0)
    torch.testing.assert_close(y[2], (head[1][1, 0] @ (head[0][1, 0] @ x[2]))[:VOCABULARY])


def test_lower_precision_weights_beside_a_float32_model(wrapper, head):
    a, b = (weights.bfloat16() for weights in head)
    x, y = torch.randn(3, D), torch.zeros(3, VOCABULARY)
    wrapper.add_lora_logits(y, x, a, b, 1.0)
    expected = b[1, 0].float() @ (a[1, 0].float() @ x[2])
    torch.testing.assert_close(y[2], expected[:VOCABULARY])
