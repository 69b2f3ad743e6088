"""Files of the user's own prompts: what is read, what is refused with its line, and what counts for a run's name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmkit.errors import RecipeError
from llmkit.recipe import digest, load, names_from_elsewhere, read_prompt, to_yaml
from llmkit.recipe.prompts import MOST_CHARS

SUPPORT = """# a comment
messages:
  - role: system
    content: You sort tickets.
  - "{{ messages }}"
  - role: user
    content: |
      One line,
      and {{ body }}.
tools: [{type: function, function: {name: refund}}]
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """file(text, name) -> the path of a prompt, in the working folder."""
    monkeypatch.chdir(tmp_path)

    def write(text=SUPPORT, name="support.yaml"):
        Path(name).write_text(text, encoding="utf-8")
        return name

    return write


def only(path):
    (section,) = load(None, {"prompts": [path]}).recipe.prompts
    return section


def test_a_file_is_read_into_the_recipe_and_its_name_is_the_files(file):
    section = only(file())
    assert (section.name, section.file, section.text) == ("support", "support.yaml", SUPPORT)
    read = read_prompt(section)
    assert [(turn.role, turn.template is None) for turn in read.turns] == [
        ("system", False), ("user", True), ("user", False),
    ]  # fmt: skip
    assert read.turns[2].line_of(2) == 9
    assert read.tools == ({"type": "function", "function": {"name": "refund"}},)


def test_json_and_a_list_alone_are_read_too(file):
    section = only(file('[{"role": "user", "content": "{{ body }}"}]', "a.json"))
    assert [turn.role for turn in read_prompt(section).turns] == ["user"]


def test_a_recipe_written_out_needs_no_file_any_more(file, tmp_path):
    recipe = load(None, {"prompts": [{"name": "mine", "file": file()}]}).recipe
    (tmp_path / "resolved.yaml").write_text(to_yaml(recipe))
    Path("support.yaml").unlink()
    assert load(tmp_path / "resolved.yaml").recipe == recipe


def test_the_text_names_the_run_and_its_path_does_not(file):
    without = digest(load(None, {}).recipe)
    mine = digest(load(None, {"prompts": [file()]}).recipe)
    os.mkdir("elsewhere")
    assert digest(load(None, {"prompts": [file(name="elsewhere/support.yaml")]}).recipe) == mine != without
    assert digest(load(None, {"prompts": [file(SUPPORT + "\n")]}).recipe) != mine
    assert digest(load(None, {"prompts": []}).recipe) == without


FAULTY = [
    ("- {rle: user, content: x}", "support.yaml:1: has no `role`"),
    ("- {role: user, content: x}\n- {role: robot, content: x}", "support.yaml:2: the role 'robot' is not known"),
    ("- role: user\n  content: [1]", "support.yaml:2: `content` should be a text"),
    ("- role: user", "support.yaml:1: has no `content`"),
    ("- {role: user, content: x, name: y}", "support.yaml:1: unknown key `name`"),
    ("mesages: []", "support.yaml:1: unknown key `mesages`"),
    ("- just text", "should be a map with `role` and `content`"),
    ("- {role: system, content: x}", "nobody asks"),
    ("", "no messages"),
    ("[]", "no messages"),
    ("messages: [{role: user, content: x}]\ntools: 7", "support.yaml:2: `tools` should be a list of maps"),
    ("- role: user\n  content: |\n    fine\n    {% if x %}", "support.yaml:4: Unexpected end of template"),
    ("- role: user\n  content: |\n    fine\n    {% set x = 1 %}", "support.yaml:4: `set` is not allowed"),
    ("- role: user\n  content: >\n    folded\n    {{ 2 ** 2 }}", "support.yaml:2: `pow` is not allowed"),
    ("- role: !!python/object:os.system user\n  content: x", "support.yaml:1: 0.role: the tag"),
    ("- {role: user, content: 'x'", "support.yaml:"),
    ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
    ), "the aliases unfold into too many values"),
    ("[" * 5000 + "]" * 5000, "nested too deeply"),
    ("x" * (MOST_CHARS + 1), f"at most {MOST_CHARS:,} characters"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), FAULTY)
def test_a_faulty_file_is_refused_with_its_line(file, text, said):
    with pytest.raises(RecipeError) as caught:
        load(None, {"prompts": [file(text)]})
    assert said in caught.value.message


def test_all_faults_of_all_files_are_told_at_once(file):
    paths = [file("- {role: user, contnt: x}", "a.yaml"), file("- {role: usr, content: x}", "b.yaml"), "c.yaml"]
    with pytest.raises(RecipeError) as caught:
        load(None, {"prompts": paths})
    for name in ("a.yaml:1", "b.yaml:1", "there is no file c.yaml"):
        assert name in caught.value.message


def test_a_file_that_is_none_is_refused_at_once(file):
    os.mkfifo("pipe.yaml")
    for path in ("pipe.yaml", ".", "/dev/zero"):
        with pytest.raises(RecipeError, match="there is no file"):
            load(None, {"prompts": [{"name": "mine", "file": path}]})
    Path("latin.yaml").write_bytes(b"- role: user\n  content: caf\xe9")
    with pytest.raises(RecipeError, match=r"latin.yaml:2: is not UTF-8"):
        load(None, {"prompts": ["latin.yaml"]})
    file(name="suport.yaml")
    with pytest.raises(RecipeError, match=r"did you mean `suport.yaml`"):
        load(None, {"prompts": ["support.yaml"]})


def test_two_prompts_need_two_names(file):
    os.mkdir("old")
    with pytest.raises(RecipeError, match="two prompts are called `support`"):
        load(None, {"prompts": [file(), file(name="old/support.yaml")]})
    named = [{"name": "new", "file": file()}, {"name": "old", "file": "old/support.yaml"}]
    assert [section.name for section in load(None, {"prompts": named}).recipe.prompts] == ["new", "old"]
    with pytest.raises(RecipeError, match="one word"):
        load(None, {"prompts": [{"name": "a/b", "file": file()}]})
    with pytest.raises(RecipeError, match="names no `file`"):
        load(None, {"prompts": [{"name": "a"}]})


@pytest.mark.parametrize("written", ["prompts: [/etc/passwd]", "prompts: [{name: a, file: /etc/passwd}]"])
def test_a_recipe_from_elsewhere_that_names_a_prompt_file_is_asked_about(tmp_path, written):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (there / "prompt.yaml").write_text(SUPPORT)
    (there / "r.yaml").write_text(written.replace("/etc/passwd", str(there / "prompt.yaml")))
    named = names_from_elsewhere(load(there / "r.yaml"), here)
    assert named == {str(there / "r.yaml"): [f"the file {there / 'prompt.yaml'}"]}
