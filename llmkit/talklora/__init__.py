"""TalkLoRA (arXiv 2604.06291) as a PEFT tuner of its own: importing this package registers it.

    import llmkit.talklora
    model = get_peft_model(model, TalkLoraConfig(r=16, num_experts=4, target_modules=["q_proj", "v_proj"]))

On disk an adapter is an ordinary PEFT folder: `adapter_config.json` with `"peft_type": "TALKLORA"` and every field of
`TalkLoraConfig`, and `adapter_model.safetensors` with, for n experts of rank m and total rank r on a map d -> k:

    base_model.model.<module path>.talklora_A.weight         (r, d)     rows i*m .. (i+1)*m-1 belong to expert i
    base_model.model.<module path>.talklora_E.weight         (n, m, m)  absent with transform=False
    base_model.model.<module path>.talklora_C.weight         (n, n)     absent with talk="off", and with one expert
    base_model.model.<module path>.talklora_router.weight    (n, r)     (n, d) with router_input="input"; absent with
                                                                        router_input="none", and with one expert
    base_model.model.<module path>.talklora_B.weight         (k, n m)   under the first layer of each projection type;
                                                                        under every layer with share_B=False

`sharing.projection_type` says which layers share a B: those whose paths differ in the number of the layer only. Older
files have it as `base_model.talklora_B_<path without numbers, with underscores>_<d>x<k>.weight`, and load as well.
`export.fold_adapter` turns either into plain LoRA matrices plus n router rows, exactly.
"""

from llmkit.talklora.config import TalkLoraConfig
from llmkit.talklora.layer import TalkLoraLayer
from llmkit.talklora.model import TalkLoraModel
from llmkit.talklora.presets import PRESETS
from llmkit.talklora.registration import NAME, talklora_type

__all__ = ["PRESETS", "TalkLoraConfig", "TalkLoraLayer", "TalkLoraModel"]


def register() -> None:
    """Registers the tuner with PEFT. Safe to call again, and when the package is imported twice."""
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.utils import register_peft_method

    if talklora_type() not in PEFT_TYPE_TO_TUNER_MAPPING:
        register_peft_method(name=NAME.lower(), config_cls=TalkLoraConfig, model_cls=TalkLoraModel)


register()
