"""One B for all layers of a projection type: which modules share, and where B is in an adapter's file.

In a model all shared B belong to the tuner, below `talklora_B`, because they belong to no layer more than to another
(and so to the root where FSDP splits a model by layers). In a file each is stored once, under the first layer that uses
it, so that whatever renames a layer's keys (`key_mapping` of PEFT) renames B's alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import takewhile

from torch import Tensor

_LAYER_LIST = re.compile(r"(layers?|blocks?|h)$")  # as models call the list of their layers: transformer_blocks too
ROOT = "base_model.model."
B_SUFFIX = ".talklora_B.weight"
_OLD_KEY = re.compile(r"\btalklora_B_(\w+)\.weight$")


def projection_type(path: str) -> str:
    """Returns a module's path without the number of its layer: modules of one type and size share B.

    A number counts as a layer's where it follows a name that ends in `layer(s)`, `block(s)` or is `h`, and is followed
    by a name itself. Other numbers keep modules apart: members of a Sequential, experts of a mixture.

    >>> projection_type("model.layers.3.self_attn.q_proj")
    'model.layers.self_attn.q_proj'
    >>> projection_type("model.layers.3.mlp.experts.7.up_proj")
    'model.layers.mlp.experts.7.up_proj'
    >>> projection_type("head.2")
    'head.2'
    """
    words = path.split(".")
    last_index = len(words) - 1
    kept_words = [
        word
        for i, word in enumerate(words)
        if not (word.isdigit() and 0 < i < last_index and _LAYER_LIST.search(words[i - 1]))
    ]
    return ".".join(kept_words)


def share_group(path: str, in_features: int, out_features: int) -> str:
    """Returns the name of a shared B in the model: the projection type and its sizes, without dots. Different for every
    type.

    >>> share_group("model.layers.3.self_attn.q_proj", 576, 576)
    'model-layers-self_attn-q_proj_576x576'
    """
    escaped_type = projection_type(path).replace("~", "~0").replace("-", "~1").replace(".", "-")
    return f"{escaped_type}_{in_features}x{out_features}"


def find_shared(state_dict: Mapping[str, Tensor], path: str, in_features: int) -> Tensor:
    """Finds the shared B of a module, by its path in the base model, in the tensors of an adapter's file."""
    own_type = projection_type(path)
    matching_keys = [
        tensor_key
        for tensor_key in state_dict
        if tensor_key.endswith(B_SUFFIX)
        and projection_type(layer_path := tensor_key.removeprefix(ROOT).removesuffix(B_SUFFIX)) == own_type
        and state_dict[f"{ROOT}{layer_path}.talklora_A.weight"].shape[1] == in_features
    ]
    if not matching_keys:
        old_stem = _old_group(path, in_features, 0)[:-1]  # up to "<d>x"
        matching_keys = [
            tensor_key
            for tensor_key in state_dict
            if (old_match := _OLD_KEY.search(tensor_key)) and re.fullmatch(re.escape(old_stem) + r"\d+", old_match[1])
        ]
    if len(matching_keys) != 1:
        raise ValueError(
            f"{'several' if matching_keys else 'no'} shared B for {path}"
            + (f": {', '.join(matching_keys)}" if matching_keys else "")
        )
    return state_dict[matching_keys[0]]


# ---- files from before B's key held the path of a layer: base_model.talklora_B_<group>.weight


def _old_group(path: str, in_features: int, out_features: int) -> str:
    """Returns the name that a group had: without any number, with underscores for dots."""
    words = [word for word in path.split(".") if not word.isdigit()]
    return re.sub(r"\W", "_", "_".join(words)) + f"_{in_features}x{out_features}"


def is_old(key: str) -> bool:
    return _OLD_KEY.search(key) is not None


def old_key(keys: Iterable[str], path: str, in_features: int, out_features: int) -> str | None:
    """Finds the key among `keys` that holds B of the module at `path`. None for a file in the current format.

    `key_mapping` renames layers and not these keys. Then it is the one of the same sizes whose last words are the same
    for longest. ValueError if several are.
    """
    wanted_group = _old_group(path, in_features, out_features)
    group_of_key = {tensor_key: match[1] for tensor_key in keys if (match := _OLD_KEY.search(tensor_key))}
    if wanted_group in group_of_key.values() or not group_of_key:
        return next((tensor_key for tensor_key, group_name in group_of_key.items() if group_name == wanted_group), None)
    words_in_common = {
        tensor_key: _words_in_common(group_name, wanted_group) for tensor_key, group_name in group_of_key.items()
    }
    least_words = len(_old_group(path.split(".")[-1], in_features, out_features).split("_"))
    best_keys = [
        tensor_key
        for tensor_key, words in words_in_common.items()
        if words == max(words_in_common.values()) >= least_words
    ]
    if len(best_keys) != 1:
        raise ValueError(
            f"the file does not say which B belongs to {path}: load it into the model that it was saved from, save it "
            "again, and load that"
        )
    return best_keys[0]


def _words_in_common(one: str, other: str) -> int:
    """Counts the words that two groups have in common, from their ends."""
    pairs = zip(reversed(one.split("_")), reversed(other.split("_")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
