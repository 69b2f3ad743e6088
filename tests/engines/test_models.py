"""Names of models: what is found, what identifies it, and what is said where there is none."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from helpers.processes import run

from llmkit.engines import engine_class, open_engine, resolve_model
from llmkit.engines.model_paths import LocalModel, locate, locate_adapter, shipped_adapters
from llmkit.errors import RecipeError, UsageError
from llmkit.recipe.schema import EngineSection, ModelSection


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


def model_folder(path, weights=b"weights", **config):
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"max_position_embeddings": 512, "dtype": "bfloat16", **config}))
    (path / "model.safetensors").write_bytes(weights)
    return path


def adapter_folder(path, weights=b"a", **config):
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, **config}))
    (path / "adapter_model.safetensors").write_bytes(weights)
    return path


def test_content_is_the_revision_of_a_folder(tmp_path):
    a = locate(str(model_folder(tmp_path / "a")))
    same = locate(str(model_folder(tmp_path / "b")))
    other = locate(str(model_folder(tmp_path / "c", weights=b"other")))
    assert a.revision == same.revision != other.revision
    (tmp_path / "a" / "model.safetensors").write_bytes(b"changed")
    assert locate(str(tmp_path / "a")).revision != a.revision
    (tmp_path / "b" / "README.md").write_text("no matter")
    assert locate(str(tmp_path / "b")).revision == same.revision


@pytest.mark.parametrize(
    ("name", "says", "hint"),
    [
        (None, "no model", "--model"),
        ("smolm2-135m", "there is no model", "`smollm2-135m`"),
        ("{here}/tiny-lama", "there is no model", "tiny-llama"),
        ("{here}", "no config.json", "tiny-llama"),
        ("{here}/adapter", "no config.json", "--adapter"),
        ("nobody/nothing", "cannot be reached", "local folder"),
        ("{here}/pickled", "no safetensors", "convert"),
    ],
)
def test_a_wrong_name_is_one_error_with_the_nearest_right_ones(tmp_path, name, says, hint):
    model_folder(tmp_path / "tiny-llama")
    adapter_folder(tmp_path / "adapter")
    (model_folder(tmp_path / "pickled") / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=says) as caught:
        resolve_model(name and name.format(here=tmp_path))
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["demo-loop"])
def test_a_shipped_adapter_is_found_by_name_and_names_its_base_for_everybody(name, tmp_path, monkeypatch):
    assert name in shipped_adapters()
    found = locate_adapter(name)
    assert found.for_vllm
    assert found.config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert {p.suffix for p in found.folder.iterdir()} == {".md", ".json", ".safetensors"}
    with pytest.raises(UsageError, match="no adapter folder") as caught:
        locate_adapter(name + "s")
    assert name in caught.value.hint
    monkeypatch.chdir(tmp_path)
    adapter_folder(tmp_path / name)
    assert locate_adapter(name).digest != found.digest  # a folder of the user's own comes first


def test_a_wrong_adapter_is_one_error(tmp_path):
    model_folder(tmp_path / "model")
    adapter_folder(tmp_path / "good")
    with pytest.raises(UsageError, match="no adapter folder") as caught:
        locate_adapter(str(tmp_path / "goood"))
    assert "good" in caught.value.hint
    with pytest.raises(UsageError, match=r"adapter_config\.json"):
        locate_adapter(str(tmp_path / "model"))
    (tmp_path / "good" / "adapter_model.safetensors").rename(tmp_path / "good" / "adapter_model.bin")
    (tmp_path / "good" / "adapter_model_decoy.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="safetensors"):
        locate_adapter(str(tmp_path / "good"))


@pytest.mark.parametrize(
    "damage", [{"r": None}, {"r": "eight"}, {"peft_type": "TALKLORA"}, {"peft_type": "TALKLORA", "num_experts": None}]
)
def test_an_adapter_that_does_not_say_its_rank_is_one_error(tmp_path, damage):
    adapter = locate_adapter(str(adapter_folder(tmp_path / "damaged", **damage)))
    with pytest.raises(UsageError, match=r"damaged/adapter_config\.json does not say the adapter's rank"):
        print(adapter.rank)


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_an_adapter_whose_configuration_is_no_object_is_one_error(tmp_path, text):
    folder = adapter_folder(tmp_path / "damaged")
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(UsageError, match=r"cannot read .*damaged/adapter_config\.json"):
        locate_adapter(str(folder))


@pytest.mark.parametrize("kind", ["vllm", "transformers"])
def test_the_identity_tells_models_settings_and_adapters_apart(tmp_path, kind):
    pytest.importorskip("vllm" if kind == "vllm" else "transformers")
    base = {"path": str(model_folder(tmp_path / "m"))}
    (tmp_path / "system.txt").write_text("Be brief.")
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    models = [
        base,
        {"path": str(model_folder(tmp_path / "n", weights=b"other"))},
        {**base, "adapter": str(adapter_folder(tmp_path / "a1"))},
        {**base, "adapter": str(adapter_folder(tmp_path / "a2", weights=b"b"))},
        {**base, "adapter": str(adapter_folder(tmp_path / "a3", lora_alpha=32))},
        {**base, "system_prompt": str(tmp_path / "system.txt")},
        {**base, "chat_template": str(tmp_path / "chat.jinja")},
        {**base, "chat_template": "none"},
    ]
    identities = [open_engine(ModelSection(**m), EngineSection(kind=kind)).identity for m in models]
    settings = [{"dtype": "float16"}, {"max_model_len": 64}]
    identities += [open_engine(ModelSection(**base), EngineSection(kind=kind, **s)).identity for s in settings]
    assert len(set(identities)) == len(identities)
    assert identities[0] == open_engine(ModelSection(**base), EngineSection(kind=kind)).identity


def test_auto_is_a_server_then_vllm_then_transformers(tmp_path, monkeypatch):
    model = ModelSection(path="m")
    assert engine_class(model, EngineSection(base_url=("http://127.0.0.1:1/v1",))).kind == "openai"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert engine_class(model, EngineSection()).kind == "vllm"
    dora = adapter_folder(tmp_path / "dora", use_dora=True)
    assert engine_class(ModelSection(path="m", adapter=str(dora)), EngineSection()).kind == "transformers"
    talk = adapter_folder(tmp_path / "talk", peft_type="TALKLORA", num_experts=4)
    assert engine_class(ModelSection(path="m", adapter=str(talk)), EngineSection()).kind == "vllm"
    assert locate_adapter(str(talk)).rank == 12
    shared = adapter_folder(tmp_path / "shared", peft_type="TALKLORA", num_experts=4, share_A=True)
    assert locate_adapter(str(shared)).rank == 4 * 8 + 4
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert engine_class(model, EngineSection()).kind == "transformers"
    with pytest.raises(UsageError, match="the vLLM engine needs vllm, which is not installed"):
        open_engine(model, EngineSection(kind="vllm"))


def test_a_limit_beyond_the_models_own_is_refused(tmp_path):
    path = str(model_folder(tmp_path / "m"))
    with pytest.raises(UsageError, match="max_model_len 1024"):
        open_engine(ModelSection(path=path), EngineSection(kind="transformers", max_model_len=1024))


def test_an_identity_starts_nothing_and_imports_nothing_heavy(tmp_path):
    path = model_folder(tmp_path / "m")
    script = (
        "import sys\n"
        "from llmkit.engines import open_engine, ResponseCache\n"
        "from llmkit.recipe.schema import EngineSection, ModelSection\n"
        f"print(open_engine(ModelSection(path={str(path)!r}), EngineSection()).identity)\n"
        "print([m for m in ('torch', 'vllm', 'transformers', 'datasets', 'openai', 'scipy') if m in sys.modules])"
    )
    done = run([sys.executable, "-c", script])
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_bundled_model_is_an_ordinary_folder(smollm2):
    model = locate(smollm2)
    assert model.dtype == "bfloat16"
    assert model.config["num_hidden_layers"] == 30
    assert "quantization_config" not in model.config


def test_the_digest_of_the_bundled_model_does_not_follow_the_environment(smollm2):
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # which the tokenizer would be saved with
    saved = json.loads((Path(smollm2) / "tokenizer_config.json").read_text())
    assert saved["local_files_only"] is False


def test_a_key_in_a_recipe_is_refused_and_not_repeated(tmp_path):
    from llmkit import recipe

    file = tmp_path / "mine.yaml"
    file.write_text("engine: {api_key_env: sk-abcdefghijklmnop12345}\n")
    with pytest.raises(RecipeError, match="name of an environment variable") as caught:
        recipe.load(str(file))
    assert "sk-abc" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("limit", ["x", -1, [4], 1.5])
def test_a_longest_prompt_that_is_no_number_is_named(tmp_path, limit):
    model = LocalModel(tmp_path, "m", "r", {"max_position_embeddings": limit})
    with pytest.raises(UsageError, match="as its longest prompt"):
        model.max_len(None)
