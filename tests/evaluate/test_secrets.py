"""A key reaches the server and nothing else, in whatever header, address or recipe it came."""

from __future__ import annotations

import logging

import pytest
from fault_server import FaultServer

from llmkit.cli.app import run
from llmkit.secrets import LOG_FILTER, remember

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
eval: {{gates: [{{metric: stand.drop, max: 0.99}}], interval: {{draws: 200}}}}
"""


ADDRESSES = [
    "http://user:passw0rd-x@{host}?api-key=query-secret-1",
    "http://{host}?code=query-secret-1&v=1",
    "http://{host}",
]


def run_alone(args):
    """Runs a command where no log has a handler but those of llmkit, as outside of tests."""
    root = logging.getLogger()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(root, "handlers", [])
        code = run(args)
    root.setLevel(logging.WARNING)
    return code


@pytest.mark.parametrize("debug", [[], ["--debug"]])
@pytest.mark.parametrize("address", ADDRESSES)
def test_no_key_is_in_a_run_folder_or_on_the_screen(address, debug, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOUSE_PASS", SECRETS["header"])
    with FaultServer(lambda text, attempt: "echo" if "?" in text and len(text) % 2 else None) as server:
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
    assert run(["--debug", "eval", *(flag.format(written) for flag in flags)]) == 2
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
