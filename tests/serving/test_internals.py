"""What llmkit touches inside vLLM, without starting an engine."""

import ast
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from llmkit.engines.vllm_engine import RANKS, allowed_rank, no_slots
from llmkit.errors import EngineError, UsageError
from llmkit.serving import touched, vllm_internals

pytestmark = [pytest.mark.tiny, pytest.mark.xdist_group("engine")]


ALL = touched.TOUCHED | touched.TOUCHED_ON_GPU
NAMES = [f"{what}.{member}" for what, members in ALL.items() for member in members.split()]
NAMES += [what for what, members in ALL.items() if not members]


def test_this_vllm_has_all_that_is_touched():
    assert touched.problem() is None
    assert touched.missing(touched.TOUCHED_ON_GPU) is None


def test_an_older_vllm_is_named(monkeypatch):
    monkeypatch.setattr("vllm.__version__", "0.31.2")
    assert touched.problem() == "vLLM 0.31.2 is older than 0.32.0, the first that can serve TalkLoRA"


@pytest.mark.parametrize("name", NAMES)
def test_a_newer_vllm_without_a_touched_place_is_named(monkeypatch, name):
    what, _, member = name.partition(":")[2].partition(".")
    module = name.partition(":")[0]
    if member:
        others = {other: None for other in ALL[f"{module}:{what}"].split() if other != member}
        monkeypatch.setattr(f"{module}.{what}", type(what, (), others))
    else:
        monkeypatch.delattr(f"{module}.{what}")
    assert touched.missing(ALL) == name.replace(":", ".")


def test_what_it_lacks_is_said_with_its_version(monkeypatch):
    monkeypatch.setattr("vllm.__version__", "0.99.0")
    monkeypatch.delattr("vllm.lora.model_manager.LoRAModelManager.activate_adapter")
    assert touched.problem() == "vLLM 0.99.0 no longer has vllm.lora.model_manager.LoRAModelManager.activate_adapter"


def test_a_vllm_that_lacks_something_starts_as_it_is_and_refuses_talklora(monkeypatch, tiny_adapters):
    from vllm.config import VllmConfig
    from vllm.lora.worker_manager import WorkerLoRAManager

    why, untouched = "vLLM 0.99.0 no longer has it", VllmConfig.compute_hash
    monkeypatch.setattr(WorkerLoRAManager, "_load_adapter", lambda self, request: "loaded")
    monkeypatch.setattr(vllm_internals, "problem", lambda: why)
    monkeypatch.setattr(vllm_internals, "_installed", False)
    vllm_internals.install()
    assert VllmConfig.compute_hash is untouched
    load = WorkerLoRAManager._load_adapter
    assert load(None, SimpleNamespace(lora_path=tiny_adapters["plain"])) == "loaded"
    with pytest.raises(EngineError, match=why):
        load(None, SimpleNamespace(lora_path=tiny_adapters["talk-a"]))


def test_a_vllm_that_lacks_something_builds_nothing_in(monkeypatch, tiny_adapters):
    monkeypatch.setattr(vllm_internals, "problem", lambda: "vLLM 0.99.0 no longer has it")
    monkeypatch.setattr(vllm_internals, "_installed", False)
    monkeypatch.setenv("LLMKIT_FALLBACK_ADAPTER", tiny_adapters["talk-a"])
    with pytest.raises(EngineError, match="no longer has it"):
        vllm_internals.install()


def test_all_that_is_imported_or_private_is_listed():
    """In the one file that touches the inside of vLLM; the server's entry is checked where it is called."""
    tree = list(ast.walk(ast.parse(Path(vllm_internals.__file__).read_text())))
    imports = {
        f"{node.module}:{name.name}"
        for node in tree
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vllm")
        for name in node.names
    }
    listed = set(ALL) | {what.partition(":")[0].replace(".kv_cache", ":kv_cache") for what in ALL}
    assert imports - listed == {
        "vllm.platforms:current_platform",  # public
        "vllm.entrypoints.launchers.api_server.entry:main",
    }
    private = {node.attr for node in tree if isinstance(node, ast.Attribute) and node.attr.startswith("_")}
    assert len(private) > 10
    assert private - {"__code__", "__init__"} <= {name.rpartition(".")[2].rpartition(":")[2] for name in NAMES}


def test_nothing_private_of_vllm_is_touched_elsewhere():
    for path in Path(vllm_internals.__file__).parents[1].rglob("*.py"):
        if path.name in ("vllm_internals.py", "touched.py"):
            continue
        assert not re.search(r"\bvllm[\w.]*[. ](import )?_[a-z]|ModelRegistry\._", path.read_text()), path


def test_the_ranks_are_vllms():
    from vllm.config.lora import MaxLoRARanks

    assert get_args(MaxLoRARanks) == RANKS
    assert [allowed_rank(rank) for rank in (0, 1, 2, 16, 17, 512)] == [1, 1, 8, 16, 32, 512]
    with pytest.raises(UsageError, match="up to rank 512, not 513"):
        allowed_rank(513)


def test_a_vllm_whose_registry_changed_is_a_clear_error(monkeypatch):
    monkeypatch.delattr("vllm.model_executor.models.interfaces.supports_lora")
    with pytest.raises(EngineError, match="does not say whether LlamaForCausalLM takes LoRA: ImportError"):
        no_slots(True, ["LlamaForCausalLM"])


@pytest.mark.parametrize(
    ("fits", "architecture", "why"),
    [
        (True, "LlamaForCausalLM", None),
        (True, "NobodyKnowsIt", None),
        (True, "GPTNeoXForCausalLM", None),  # through vLLM's transformers backend
        (True, "StableLmForCausalLM", "StableLmForCausalLM"),
        (False, "LlamaForCausalLM", "gates with top_k or talk='after-softmax'"),
    ],
)
def test_why_there_is_no_slot(fits, architecture, why):
    assert no_slots(fits, [architecture]) == why


def test_a_vllm_with_its_server_elsewhere_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm.entrypoints.launchers.api_server.entry", None)
    with pytest.raises(EngineError, match=r"vLLM's server was not found: .*api_server"):
        vllm_internals.run_server()


def test_compiled_graphs_of_an_adapter_are_its_own(monkeypatch, tiny_adapters):
    """Else the graph of the base model, found on disk, would be run in place of the adapter's."""
    from vllm.config import VllmConfig

    config = VllmConfig()
    theirs = config.compute_hash()
    vllm_internals.install()
    keys = [config.compute_hash()]
    for name in ("talk-a", "talk-b"):
        monkeypatch.setenv("LLMKIT_FALLBACK_ADAPTER", tiny_adapters[name])
        keys.append(config.compute_hash())
    assert len({*keys}) == 3
    assert {len(key) for key in keys} == {len(theirs)}
