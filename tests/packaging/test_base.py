"""The base installation: small, without torch, and enough for perturb, eval and rop over HTTP, and reports."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from helpers.fault_server import FaultServer
from helpers.installing import ROOT, Environment, attempt, build_wheel, required, run

from llmkit.perturb import OPERATORS

pytestmark = pytest.mark.xdist_group("base")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "vllm",
    "peft",
    "trl",
    "accelerate",
    "pyarrow",
    "scipy",
    "huggingface_hub",
)
ON_TORCH = ("llmkit.engines.row_sampling", "llmkit.finetune.", "llmkit.serving.", "llmkit.talklora")
LARGEST = 350_000_000  # bytes


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Environment:
    """A fresh environment with the wheel and what it requires without any extra; packages are links to those here."""
    folder = tmp_path_factory.mktemp("base")
    environment = Environment(folder)
    for distribution in required(PROJECT["dependencies"]).values():
        environment.link(distribution)
    environment.install(build_wheel(tmp_path_factory.mktemp("wheel")), cwd=folder)
    return environment


@pytest.fixture
def llmkit(base, tmp_path):
    """llmkit(arguments) in an empty folder, with a cache of its own."""

    def go(*arguments: object, input: str | None = None):
        cache = str(tmp_path / "cache")
        return attempt(base.bin / "llmkit", *arguments, cwd=tmp_path, input=input, LLMKIT_CACHE=cache)

    return go


@pytest.fixture
def server():
    with FaultServer() as server:
        yield server


def test_it_is_small_and_whole_and_has_nothing_heavy(base, tmp_path):
    assert base.size() < LARGEST
    assert "No broken requirements" in run(*base.pip, "check", cwd=tmp_path)
    code = f"from importlib.util import find_spec; print([name for name in {HEAVY} if find_spec(name)])"
    assert run(base.python, "-c", code, cwd=tmp_path) == "[]\n"
    assert "No module named 'torch'" in attempt(base.python, "-c", "import torch", cwd=tmp_path).stderr


def test_only_modules_about_weights_cannot_be_imported(base, tmp_path):
    code = """
import importlib, pathlib, llmkit
root = pathlib.Path(llmkit.__file__).parent
for path in sorted(root.rglob("*.py")):
    name = ".".join(("llmkit", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
    try:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(name, error.name)
"""
    failed = [line.split() for line in run(base.python, "-c", code, cwd=tmp_path).splitlines()]
    assert failed
    assert {package for _, package in failed} <= {"torch", "peft", "transformers"}
    assert [name for name, _ in failed if not name.startswith(ON_TORCH)] == []


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["env"], ["cache", "info"], ["data", "ls"], ["recipe", "check", "demo"]]
)
def test_commands_about_llmkit_itself_work(llmkit, arguments):
    done = llmkit(*arguments)
    assert done.returncode == 0, done.stderr


def test_every_operator_without_a_model_or_a_file_makes_noise(llmkit):
    arguments = {"chars": "chars:4", "nlpaug": "nlpaug:keyboard", "nlpaug-verbatim": "nlpaug-verbatim:keyboard"}
    operators = [
        arguments.get(name, name) for name in OPERATORS if name not in ("adversarial", "file", "llm", "natural")
    ]
    question = "Because they didn't eat, 3 hungry sisters buy 12 apples, and the oldest pays $5. How many are left?"
    row = json.dumps({"question": question})
    done = llmkit("perturb", "-", "--op", ",".join(operators), "--rate", "0.5", input=row)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(operators)
    assert [row["perturbation"]["operator"] for row in rows if row["question"] == question] == []


def test_a_server_is_measured_and_repaired_and_its_runs_are_compared(llmkit, server, tmp_path):
    common = ("--model", "tiny", "--base-url", server.url, "--task", "arithmetic", "--limit", "8")
    common += ("--conditions", "ec", "--json")
    measured = llmkit("eval", *common)
    assert measured.returncode == 0, measured.stderr
    repaired = llmkit("rop", *common, "--budget", "40", "--arms", "stand,spell_fix,correct_only,rop")
    assert repaired.returncode == 0, repaired.stderr
    folders = [json.loads(done.stdout)["run"] for done in (measured, repaired)]
    for folder in folders:
        assert {"report.html", "outcomes.csv", "metrics.json"} <= {p.name for p in (tmp_path / folder).iterdir()}
    for arguments in (["ls"], ["show", folders[0]], ["compare", *folders]):
        done = llmkit("runs", *arguments)
        assert done.returncode == 0, done.stderr
        assert Path(folders[0]).name in done.stdout


def test_the_readmes_example_of_a_missing_extra_is_what_is_printed(llmkit):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command, error, hint = re.search(r"\$ llmkit (.*)\n(error: .*)\n(hint: .*pip install.*)\n", readme).groups()
    assert llmkit(*command.split()).stderr.endswith(f"{error}\n{hint}\n")


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        ("eval --model smollm2-135m --task arithmetic", "torch, transformers", "hf"),
        ("eval --model smollm2-135m --task arithmetic --adapter demo-loop", "peft", "hf"),
        ("rop --model owner/name --task arithmetic", "torch", "hf"),
        ("eval --model smollm2-135m --task arithmetic --engine vllm", "vllm", "vllm"),
        ("eval --model tiny --base-url http://127.0.0.1:9/v1 --task gsm8k", "datasets", "hf"),
        ("data show svamp", "datasets", "hf"),
        ("perturb hub:owner/name", "datasets", "hf"),
        ("perturb questions.parquet", "pyarrow", "parquet"),
        ("eval --model tiny --base-url http://127.0.0.1:9/v1 --path questions.parquet", "pyarrow", "parquet"),
        ("perturb questions.jsonl --op nlpaug:ContextualWordEmbs", "torch and transformers", "hf"),
        ("perturb questions.jsonl --op llm:ec --model smollm2-135m", "torch", "hf"),
        ("finetune talklora-small", "trl", "train"),
        ("finetune talklora-small --dry-run", "trl", "train"),
        ("serve --model smollm2-135m", "vllm", "vllm"),
    ],
)
def test_a_missing_extra_is_one_error_that_names_it(llmkit, tmp_path, arguments, missing, extra):
    assert extra in PROJECT["optional-dependencies"]
    (tmp_path / "questions.parquet").write_bytes(b"PAR1")
    (tmp_path / "questions.jsonl").write_text('{"question": "How many?"}\n')
    done = llmkit(*arguments.split())
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    error, hint = [line for line in done.stderr.splitlines() if line.startswith(("error:", "hint:"))]
    assert missing in error
    assert "not installed" in error
    assert f'pip install "{PROJECT["name"]}[{extra}]"' in hint
    assert "Traceback" not in done.stderr
