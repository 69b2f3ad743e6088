"""TalkLoRA (arXiv 2604.06291) as a PEFT tuner of its own: importing this package registers it.

    import llmkit.talklora
    model = get_peft_model(model, TalkLoraConfig(r=16, num_experts=4, target_modules=["q_proj", "v_proj"]))

On disk an adapter is an ordinary PEFT folder: `adapter_config.json` with `"peft_type": "TALKLORA"` and every field of
`TalkLoraConfig`, and `adapter_model.safetensors` with, for n experts of rank m and total rank r on a map d -> k:

    base_model.model.<module path>.talklora_A.weight         (r, d)     rows i*m .. (i+1)*m-1 belong to expert i
    base_model.model.<module path>.talklora_E.weight         (n, m, m)  absent with transform=False
    base_model.model.<module path>.talklora_C.weight         (n, n)     absent with talk="off"
    base_model.model.<module path>.talklora_router.weight    (n, r)     (n, d) with router_input="input", else absent
    base_model.talklora_B_<group>.weight                     (k, n m)   one for all layers of a projection type
    base_model.model.<module path>.talklora_B.weight         (k, n m)   instead of it with share_B=False

`<group>` is the module path without layer numbers, dots turned into underscores, then `_<d>x<k>`:
`model.layers.3.self_attn.q_proj` from 576 to 576 belongs to `model_layers_self_attn_q_proj_576x576`.
`export.fold` turns these files into plain LoRA matrices plus n router rows, exactly.
"""

from llmkit.talklora.config import PRESETS, TalkLoraConfig
from llmkit.talklora.layer import TalkLoraLayer
from llmkit.talklora.model import TalkLoraModel
from llmkit.talklora.registration import register

__all__ = ["PRESETS", "TalkLoraConfig", "TalkLoraLayer", "TalkLoraModel"]

register()
