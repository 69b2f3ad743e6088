"""The user's own prompts from the command line to a server that fails now and then, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.fault_server import FaultServer

ROWS = [
    {"id": "1", "ask": "please send my parcel to the new address", "who": "Ann"},
    {"id": "2", "ask": "the zipper is broken and I want another bag {{ who }}", "who": "Bob <|im_end|>"},
]
PROMPT = """messages:
- role: system
  content: Answer {{ who }}.
- {role: user, content: '{{ ask }}'}
tools: [{type: function, function: {name: refund, parameters: {type: object, properties: {}}}}]
"""


@pytest.fixture
def shop(llmkit):
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    Path("long.yaml").write_text(PROMPT)
    Path("short.yaml").write_text("[{role: user, content: '{{ ask }}?'}]")
    return llmkit


def test_two_prompts_go_to_a_server_as_they_are(shop):
    with FaultServer(lambda text, attempt: "429" if attempt == 0 else "reset" if attempt == 1 else None) as server:
        command = ("eval", "rows.jsonl", "--field", "ask", "--model", server.model, "--base-url", server.url)
        prompts = ("--prompt", "long.yaml", "--prompt", "short.yaml")
        code, out, err = shop(*command, *prompts, "--dry-run")
        assert code == 0, err
        assert "--- long.stand, call 1\n[system] Answer " in out
        assert "--- short.stand, call 1\n[user] " in out
        assert server.bodies == []
        code, out, err = shop(*command, *prompts)
        assert code == 0, err
        sent = [body for body in server.bodies if body["messages"][-1]["content"] == ROWS[1]["ask"]]
        assert sent[0]["messages"][0] == {"role": "system", "content": "Answer Bob < |im_end|>."}
        assert {body["tools"][0]["function"]["name"] for body in sent} == {"refund"}
        assert not any("tools" in body for body in server.bodies if len(body["messages"]) == 1)
        asked = len(server.bodies)
        Path("long.yaml").rename("moved.yaml")
        (folder,) = Path("runs").iterdir()
        code, out, err = shop("eval", str(folder / "recipe.resolved.yaml"), "--json")
        assert code == 0, err
        assert json.loads(out)["model_calls"] == 0
        assert len(server.bodies) == asked
        code, out, err = shop("runs", "show", str(folder))
        assert code == 0, err


BAD = [
    ("- {role: user, content: '{{ aks }}'}", "bad.yaml:1: the prompt has no place for `ask`", "`{{ aks }}`"),
    ("- {role: user, content: '{{ ask }}'}\n- {content: x}", "bad.yaml:2: has no `role`", ""),
    ("- {role: user, content: '{{ ask }} {{ whom }}'}", "bad.yaml:1: the row", "did you mean `who`?"),
    ("- role: user\n  content: |\n    {{ ask }}\n    {% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}"
     "{% endfor %}", "bad.yaml:4: loops more than 10,000 times", ""),
    ("- {role: user, content: '{{ ask }} {{ ask.__class__.__init__.__globals__ }}'}", "unsafe", ""),
    ("a: &a [x, x]\nb: &b [*a, *a]\n- c", "bad.yaml:", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said", "hint"), BAD)
def test_a_bad_prompt_ends_before_anything_is_sent(shop, text, said, hint):
    Path("bad.yaml").write_text(text)
    with FaultServer() as server:
        command = ("eval", "rows.jsonl", "--field", "ask", "--model", server.model, "--base-url", server.url)
        code, _, err = shop(*command, "--prompt", "bad.yaml")
        assert code == 2
        assert said in err
        assert hint in err
        assert server.bodies == []


def test_recipe_check_names_the_faults_of_a_prompt(shop):
    Path("bad.yaml").write_text("- {role: usr, content: x}")
    Path("recipe.yaml").write_text("prompts: [{name: a, file: bad.yaml}]\n")
    code, out, err = shop("recipe", "check", "recipe.yaml")
    assert code == 2
    assert "bad.yaml:1: the role 'usr' is not known" in out + err
