"""A key reaches the server and nothing else, in whatever header, address or recipe it came."""

from __future__ import annotations

import json
import logging
from zlib import crc32

import pytest
from helpers.fault_server import FaultServer
from ruamel.yaml import YAML

from llmkit import secrets
from llmkit.cli.app import run as shell
from llmkit.engines.canary import PROMPTS
from llmkit.evaluate.run import finished
from llmkit.recipe import load, without_secrets
from llmkit.runs import Run, RunFolder
from llmkit.secrets import LOG_FILTER, remember, remember_address, scrub, scrub_reply, scrub_values

SECRETS = {
    "header": "plain-words-as-a-key",
    "password": "passw0rd-x",
    "query": "query-secret-1",
    "recipe": "sk-abcdefghijklmnop1234",
}
RECIPE = """\
version: 1  # my key is {recipe}
model: {{path: tiny}}
engine: {{kind: openai, base_url: ["{url}"], api_key_env: HOUSE_PASS, retries: 0}}
data: {{task: arithmetic, limit: 4, size: 60}}
perturb: {{conditions: [ec]}}
eval: {{gates: [{{metric: stand.drop, max: 0.99, bound: point}}], interval: {{draws: 200}}}}
"""


ADDRESSES = [
    "http://user:passw0rd-x@{host}?api-key=query-secret-1",
    "http://{host}?code=query-secret-1&v=1",
    "http://{host}",
]


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(secrets, "_carried", set())
    monkeypatch.setattr(secrets, "_parameters", set())


def run_alone(args):
    """Runs a command where no log has a handler but those of llmkit, as outside of tests."""
    root = logging.getLogger()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(root, "handlers", [])
        code = shell(args)
    root.setLevel(logging.WARNING)
    return code


@pytest.mark.parametrize("debug", [[], ["--debug"]])
@pytest.mark.parametrize("address", ADDRESSES)
def test_no_key_is_in_a_run_folder_or_on_the_screen(address, debug, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOUSE_PASS", SECRETS["header"])

    def fault(text, attempt):
        return "echo" if text not in PROMPTS and crc32(text.encode()) % 2 else None

    with FaultServer(fault) as server:
        url = address.format(host=server.url.removeprefix("http://"))
        (tmp_path / "mine.yaml").write_text(RECIPE.format(recipe=SECRETS["recipe"], url=url))
        code = run_alone([*debug, "eval", "mine.yaml"])
        sent = str(server.headers) + str(server.paths)
    assert code in (0, 4), capfd.readouterr().err
    assert SECRETS["header"] in sent or SECRETS["query"] in sent
    files = [p for p in (*(tmp_path / "runs").rglob("*"), *(tmp_path / "cache").rglob("*")) if p.is_file()]
    journal = next(p for p in files if p.name == "samples.jsonl").read_text()
    assert "cannot read" in journal  # what the server sent back came as far as this
    assert {"report.html", "outcomes.csv", "junit.xml", "recipe.yaml"} <= {p.name for p in files}
    shown = capfd.readouterr()
    assert ("HTTP Request: POST http://" in shown.err) == bool(debug)
    everything = {str(p): p.read_bytes() for p in files} | {"screen": (shown.out + shown.err).encode()}
    for name, content in everything.items():
        assert not [secret for secret in SECRETS.values() if secret.encode() in content], name


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("http://user:passw0rd-x@host/v1", "http://***@host/v1"),
        ("http://user:pass/w0rd-x@host/v1", "http://***@host/v1"),
        ("https://a-host-with-a-name-so-long-that-its-address-is-cut/v1?code=query-secret-1", "is-cut/v1?code=***"),
        ("https://host/v1?code=abcd", "https://host/v1?***"),
    ],
)
@pytest.mark.parametrize("flags", [["--set", "engine.base_url={}"], ["mine.yaml"]])
def test_no_key_is_in_what_is_said_about_a_recipe(written, said, flags, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(f"engine: {{base_url: '{written}'}}\n")  # which should be a list
    assert shell(["--debug", "eval", *(flag.format(written) for flag in flags)]) == 2
    shown = capfd.readouterr().err
    assert "engine.base_url: should be a list" in shown
    assert not [part for part in ("passw0rd", "w0rd-x", "query-secret", "code=abcd") if part in shown]
    if "--set" in flags:
        assert said in shown


def test_a_log_is_scrubbed_with_its_traceback(caplog):
    remember("a-key-of-no-form")
    caplog.handler.addFilter(LOG_FILTER)
    try:
        raise ValueError("refused a-key-of-no-form")
    except ValueError:
        logging.getLogger("some.library").exception("asked with %s", "a-key-of-no-form")
    assert "asked with ***" in caplog.text
    assert "refused ***" in caplog.text


ORDINARY = [
    "none",
    "test",
    "text",
    "null",
    "true",
    "question",
    "question_id",
    "arithmetic",
    "outcome",
    "1000",
    "answer",
]


def files_of(folder):
    """Every file of a run that does not tell the time, and its journal without the times in it."""
    files = {p.name: p.read_text(encoding="utf-8") for p in folder.glob("*.*") if p.suffix in (".json", ".yaml")}
    del files["env.json"]
    metrics = json.loads(files["metrics.json"])
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    for call in (call for row in rows for call in row["calls"]):
        del call["seconds"], call["cached"]
    return files | {"metrics.json": metrics | {"timing": None}, "samples.jsonl": sorted(rows, key=lambda r: r["key"])}


def test_keys_that_are_ordinary_words_change_no_file(run, monkeypatch, tmp_path):
    plain = files_of(run(command="eval", use_cache=False)[0].folder)
    for word in ORDINARY:
        remember(word)
    remember_address("http://bob:1000@host/v1?sort=question_id&mode=test")
    monkeypatch.setenv("SORT_KEY", "question_id")
    monkeypatch.setenv("GROUP_TOKEN", "customer-number")  # a word of the user's own data
    monkeypatch.setenv("MODEL_KEY", "scripted")
    (tmp_path / "runs").rename(tmp_path / "before")
    again = run(command="eval", use_cache=False)[0]
    assert files_of(again.folder) == plain
    assert len(finished(RunFolder(again.folder).entries())) == len(again.samples)


def test_a_secret_of_the_users_own_words_leaves_questions_and_settings_as_they_are(run, monkeypatch, tmp_path):
    file = tmp_path / "mine.jsonl"
    texts = [f"A customer-number has {i} digits. Mail sk-abcdefghijklmnop{i} to bearer certificates?" for i in range(4)]
    rows = [{"customer-number": f"c{i}", "question": text, "answer": 4} for i, text in enumerate(texts)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("GROUP_TOKEN", "customer-number")
    remember("customer-number")
    mine = {"data__task": None, "data__path": str(file), "data__id": "customer-number", "perturb__conditions": []}
    mine |= {"data__split": "all", "command": "eval", "use_cache": False}
    result, _ = run(lambda request: "The customer-number is 4.", **mine)
    assert sorted(s.text for s in Run(result.folder).samples()) == texts
    assert all(s.said("answer") == "The customer-number is 4." for s in result.samples)
    for name in ("recipe.yaml", "recipe.resolved.yaml"):
        assert load(result.folder / name).recipe.data.id == "customer-number"
    again, engine = run(lambda request: "The customer-number is 4.", **mine)
    assert engine.asked == []
    assert texts[0] in (again.folder / "outcomes.csv").read_text()


def test_a_short_key_is_removed_where_a_header_or_an_address_carried_it():
    remember("none")
    remember_address("http://bob:1000@host/v1?code=abcd")
    assert scrub("none of 1000: Authorization: Bearer none, none") == "none of 1000: Authorization: Bearer ***, none"
    assert scrub("at http://bob:1000@host/v1?code=abcd&x=1, code=abcd") == "at http://***@host/v1?***&x=1, code=abcd"
    assert scrub_reply("Bearer none", asked="Bearer none") == "Bearer none"


def test_only_values_are_scrubbed_and_never_what_is_a_secret_as_a_whole():
    remember("a-secret-value")
    given = {
        "a-secret-value": ["a-secret-value", "has a-secret-value in it"],
        "kept": {"x": "my a-secret-value"},
        "n": 1,
    }
    expected = {"a-secret-value": ["a-secret-value", "has *** in it"], "kept": {"x": "my a-secret-value"}, "n": 1}
    assert scrub_values(given, {"kept"}) == expected


def test_a_recipe_without_its_secrets_is_still_a_recipe():
    remember("a-secret-value")
    text = """\
a-secret-value: a-secret-value  # a-secret-value
plain: a-secret-value/and more
quoted: "a-secret-value is 'it'"
list: [a-secret-value, 'http://me:pass@host/a-secret-value', -1]
block: |
  has a-secret-value
"""
    clean = without_secrets(text)
    assert "# ***" in clean
    assert YAML(typ="safe", pure=True).load(clean) == {
        "a-secret-value": "a-secret-value",
        "plain": "***/and more",
        "quoted": "*** is 'it'",
        "list": ["a-secret-value", "http://***@host/***", -1],
        "block": "has ***\n",
    }


@pytest.mark.parametrize("flag", [[], ["--origins"], ["--json"]])
def test_a_recipe_is_shown_without_the_password_of_an_address(flag, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("engine: {base_url: ['http://me:1000@host/v1?code=abcd']}\n")
    assert run_alone(["recipe", "show", str(tmp_path / "mine.yaml"), *flag]) == 0
    shown = capsys.readouterr().out
    assert "http://***@host/v1?***" in shown
    assert "1000@" not in shown
