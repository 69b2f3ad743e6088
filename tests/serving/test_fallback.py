import pytest
import torch
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from llmkit.errors import DataError
from llmkit.serving.adapter import AdapterWeights, linears
from llmkit.serving.fallback import build_in, renamed
from llmkit.talklora import TalkLoraConfig


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """Its linear layers are Conv1D, with transposed weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gpt2") / "base"
    config = GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=2, n_positions=64, eos_token_id=1, bos_token_id=1)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return str(folder)


TALK = TalkLoraConfig(r=8, num_experts=4, alpha=4, target_modules=["c_attn", "c_fc"], task_type="CAUSAL_LM")
MIXED = TalkLoraConfig(
    r=8, num_experts=4, talk="after-softmax", top_k=3, target_modules=["c_attn", "c_fc"], task_type="CAUSAL_LM"
)
PLAIN = LoraConfig(
    r=4,
    lora_alpha=16,
    rank_pattern={"c_fc": 2},
    alpha_pattern={"c_fc": 3},
    target_modules=["c_attn", "c_fc"],
    fan_in_fan_out=True,
    task_type="CAUSAL_LM",
)


@pytest.mark.parametrize("config", [TALK, MIXED, PLAIN], ids=["talklora", "other gates", "lora with patterns"])
def test_the_built_in_adapter_gives_what_peft_gives(gpt2, make_adapter, tmp_path, config):
    folder = make_adapter(gpt2, config, tmp_path / "adapter")
    ids = torch.arange(20)[None]
    expected = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(gpt2), str(folder)).eval()(ids).logits
    base = AutoModelForCausalLM.from_pretrained(gpt2).eval()
    plain = base(ids).logits
    adapter = AdapterWeights.read(folder)
    adapter.check(linears(base.config))
    assert build_in(base.transformer, adapter) == {
        f"h.{i}.{name}" for i in (0, 1) for name in ("attn.c_attn", "mlp.c_fc")
    }
    torch.testing.assert_close(base(ids).logits, expected)
    assert (base(ids).logits - plain).abs().max() > 0.01


def test_what_is_outside_the_base_model_is_refused(gpt2, make_adapter, tmp_path):
    config = LoraConfig(r=4, target_modules=["lm_head"], task_type="CAUSAL_LM")
    adapter = AdapterWeights.read(make_adapter(gpt2, config, tmp_path / "adapter"))
    with pytest.raises(DataError, match="lm_head, which is not inside GPT2Model"):
        build_in(AutoModelForCausalLM.from_pretrained(gpt2).transformer, adapter)


def test_weights_of_adapted_modules_move_under_their_base():
    names = ["transformer.h.0.attn.c_attn.weight", "h.0.attn.c_attn.bias", "transformer.h.0.ln_1.weight"]
    moved = [name for name, _ in renamed(((name, None) for name in names), {"h.0.attn.c_attn"}, "transformer")]
    assert moved == ["transformer.h.0.attn.c_attn.base.weight", "h.0.attn.c_attn.base.bias", names[2]]
