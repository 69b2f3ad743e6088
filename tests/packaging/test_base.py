"""The base installation: small, without torch, and enough for perturb, eval and rop over HTTP, and reports."""

from __future__ import annotations

import csv
import json
import re
import shlex
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
FOR_PYTEST = "llmkit.ci.pytest_plugin"  # which only pytest imports
ON_TORCH = ("llmkit.engines.row_sampling", "llmkit.finetune.", "llmkit.serving.", "llmkit.talklora")
FOR_OTHER_LANGUAGES = ("wrong_layout", "no_diacritics", "jamo", "vowel_sign", "pinyin", "hanzi")
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
        if not name.endswith(("__main__", "integrations.datatrove")):  # its own test holds what that one says
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(name, error.name)
"""
    failed = [line.split() for line in run(base.python, "-c", code, cwd=tmp_path).splitlines()]
    assert failed
    assert [FOR_PYTEST, "pytest"] in failed, "the base installation has no pytest"
    failed.remove([FOR_PYTEST, "pytest"])
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
    arguments["like"] = "like:learner"
    other = ("adversarial", "file", "llm", "natural", *FOR_OTHER_LANGUAGES)
    own = [name for name in OPERATORS if OPERATORS[name].__module__.startswith("llmkit.")]  # other tests install some
    operators = [arguments.get(name, name) for name in own if name not in other]
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


WORDS = {
    "billing": ("charge", "invoice", "bill", "paid", "amount", "voucher"),
    "delivery": ("parcel", "courier", "tracking", "driver", "shipment", "carrier"),
    "returns": ("return", "refund", "exchange", "swap", "give back", "send back"),
    "account": ("password", "profile", "account", "login"),
    "technical": ("app", "site", "page"),
    "defect": ("broken", "missing", "crack", "scratch"),
}


def clerk(text: str, attempt: int):
    """Has a server answer a ticket with the first queue of which it holds a word: noise changes some answers then."""
    queue = next((queue for queue, words in WORDS.items() if any(word in text for word in words)), "product")

    def reply(handler, body):
        answer = handler._answer(body, text)
        answer["choices"][0] |= {"message": {"role": "assistant", "content": queue}, "finish_reason": "stop"}
        handler._send(200, answer)

    return reply


def story() -> list[list[str]]:
    """Returns the commands of docs/application.md that need no model of their own, without `llmkit`."""
    page = (ROOT / "docs" / "application.md").read_text(encoding="utf-8")
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^\$ llmkit (.*)$", page, re.MULTILINE)]
    return [words for words in commands if words[0] not in ("serve", "finetune")]


def test_the_story_of_an_application_runs_with_nothing_but_a_server(llmkit, tmp_path):
    with FaultServer(clerk, model="support-v3") as server:
        for words in story():
            if "--import" in words:
                fill_in(tmp_path / words[words.index("--import") + 1], tmp_path)
            done = llmkit(*(server.url if word.startswith("http://") else word for word in words))
            assert done.returncode == 0, f"{words}: {done.stderr}"
    assert {words[0] for words in story()} == {"data", "eval", "label"}
    (run,) = (tmp_path / "runs").glob("support-*")
    assert (run / "labels.jsonl").read_text().count("\n") > 0


def fill_in(path: Path, folder: Path) -> None:
    """Fills in the verdicts by the queues of tickets-labelled.csv, as docs/application.md does."""
    with (folder / "tickets-labelled.csv").open(encoding="utf-8", newline="") as file:
        queues = {row["body"]: row["queue"] for row in csv.DictReader(file)}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        right = [name for name in ("first", "second") if row[name].strip() == queues[row["text"]]]
        row["verdict"] = right[0] if right else "neither"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


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
        ("rop --model m --base-url http://127.0.0.1:9 --task arithmetic --set rop.search.method=gepa", "gepa", "gepa"),
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
