"""A key reaches the server and nothing else, in whatever header, address or recipe it came."""

from __future__ import annotations

import pytest
from fault_server import FaultServer

from llmkit.cli.app import run

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
eval: {{gates: [{{metric: stand.accuracy, min: 0}}], interval: {{draws: 200}}}}
"""


@pytest.mark.parametrize("address", ["http://user:passw0rd-x@{host}?api-key=query-secret-1", "http://{host}"])
def test_no_key_is_in_a_run_folder_or_on_the_screen(address, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOUSE_PASS", SECRETS["header"])
    with FaultServer(lambda text, attempt: "echo" if "?" in text and len(text) % 2 else None) as server:
        url = address.format(host=server.url.removeprefix("http://"))
        (tmp_path / "mine.yaml").write_text(RECIPE.format(recipe=SECRETS["recipe"], url=url))
        code = run(["eval", "mine.yaml"])
        sent = str(server.headers) + str(server.paths)
    assert code in (0, 4), capfd.readouterr().err
    assert SECRETS["header"] in sent or SECRETS["query"] in sent
    files = [p for p in (*(tmp_path / "runs").rglob("*"), *(tmp_path / "cache").rglob("*")) if p.is_file()]
    journal = next(p for p in files if p.name == "samples.jsonl").read_text()
    assert "cannot read" in journal  # what the server sent back came as far as this
    assert {"report.html", "outcomes.csv", "junit.xml", "recipe.yaml"} <= {p.name for p in files}
    shown = capfd.readouterr()
    everything = {str(p): p.read_bytes() for p in files} | {"screen": (shown.out + shown.err).encode()}
    for name, content in everything.items():
        assert not [secret for secret in SECRETS.values() if secret.encode() in content], name
