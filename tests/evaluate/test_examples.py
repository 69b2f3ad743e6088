"""The bundled applications end to end: the real model with the shipped adapter, a few rows each, by the commands of the
docs."""

from __future__ import annotations

import json

import pytest

from llmkit.cli import app, common
from llmkit.tasks.examples import copy_example

APPLICATIONS = {
    "extract": (
        "orders.csv --field body --answer order --kind json --set data.json_schema=order.schema.json "
        "--prompt orders.yaml",
        ("fields", "valid"),
    ),
    "tools": ("utterances.csv --field said --answer call --kind tool --prompt assistant.yaml", ("calls", "tool_names")),
    "tickets": ("tickets-labelled.csv --field body --answer queue --kind label --prompt support.yaml", ("macro_f1",)),
}


@pytest.mark.e2e
@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_is_measured_by_its_command(name, smollm2, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    copy_example(name, tmp_path)
    command, scores = APPLICATIONS[name]
    model = ["--model", smollm2, "--adapter", name, "--engine", "transformers"]
    flags = ["--conditions", "typing", "--set", "rop.max_tokens=64", "--limit", "6", "--json"]
    code = app.run(["eval", *command.split(), *model, *flags])
    common.settings.quiet = False
    out, err = capfd.readouterr()
    assert code == 0, err
    measured = json.loads(out)
    arm = measured["arms"]["stand"]
    assert arm["conditions"]["clean"]["accuracy"]["value"] >= 0.5
    assert arm["conditions"]["clean"]["unparsed"] == 0
    assert arm["drop"]["typing"]["n"] == 6
    assert set(scores) <= set(arm["scores"])
