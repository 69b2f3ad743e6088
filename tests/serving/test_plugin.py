import json
import sys

import pytest
from helpers.processes import run

from llmkit.serving.plugin import init_amx, names_talklora, peft_type


@pytest.fixture
def talklora_folder(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "talklora"}))
    return tmp_path


def test_a_talklora_adapter_is_found_in_a_command_line(talklora_folder, tmp_path):
    assert names_talklora(["--lora-modules", f"mine={talklora_folder}"])
    assert names_talklora([f"--lora-modules=mine={talklora_folder}"])
    assert names_talklora(["--lora-modules", json.dumps({"name": "mine", "path": str(talklora_folder)})])
    assert not names_talklora(["--model", str(talklora_folder), "--lora-modules", "mine=/nowhere", "{not json"])


def test_the_type_of_a_folder_without_a_readable_configuration_is_none(tmp_path):
    assert peft_type(tmp_path) is None
    (tmp_path / "adapter_config.json").write_text("[1]")
    assert peft_type(tmp_path) is None


def test_a_vllm_of_somebody_else_is_left_alone():
    code = """
import sys
from llmkit.serving.plugin import register
register()
print([name for name in sys.modules if name.split(".")[0] in ("vllm", "torch")])
"""
    done = run([sys.executable, "-c", code], env={"PATH": ""})
    assert done.stdout.strip() == "[]", done.stderr


def test_amx_may_be_initialised_anywhere_and_again():
    init_amx()
    init_amx()
