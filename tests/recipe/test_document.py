"""Reading YAML: YAML 1.2 scalars, lines, and everything that is refused."""

from __future__ import annotations

import sys

import pytest

from llmkit.recipe.document import parse


def message(text: str) -> str:
    document = parse(text, "a.yaml")
    assert document.faults, text
    return str(document.faults[0])


def test_scalars_are_yaml_1_2():
    tree = parse("a: 1e-4\nb: no\nc: 010\nd: on\ne: 0x1F\nf: 2026-11-23\ng: ~\nh: 'x'\ni: true", "a.yaml").tree
    assert tree == {
        "a": 1e-4, "b": "no", "c": 10, "d": "on", "e": 31, "f": "2026-11-23", "g": None, "h": "x", "i": True,
    }  # fmt: skip


def test_every_value_knows_its_line():
    origins = parse("a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n", "a.yaml").origins
    lines = {path: origin.line for path, origin in origins.items()}
    assert lines["a",] == 1
    assert lines["a", "b"] == 2
    assert lines["a", "c", 0] == 4
    assert lines["a", "c", 1, "d"] == 5


def test_an_alias_is_a_copy():
    tree = parse("a: &x [1, 2]\nb: *x", "a.yaml").tree
    assert tree == {"a": [1, 2], "b": [1, 2]}
    assert tree["a"] is not tree["b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", "a.yaml:3: a: appears twice (first in line 1)"),
        ("x:\n  a: 1\n  a: 3", "a.yaml:3: x.a: appears twice (first in line 2)"),
        ("a: !!python/object:os.system x", "a.yaml:1: a: the tag `!!python/object:os.system` is not allowed"),
        ("a: !!python/object/apply:os.system [ls]", "`!!python/object/apply:os.system` is not allowed"),
        ("a: !include x", "the tag `!include` is not allowed"),
        ("a: !!binary aGk=", "the tag `!!binary` is not allowed"),
        ("a: !!set {x}", "the tag `!!set` is not allowed"),
        ("b: &b {c: 1}\na: {<<: *b}", "a.yaml:2: a: merge keys (`<<`) are not read: use `extends`"),
        ("1: a", "a.yaml:1: the key `1` should be a word"),
        ("? [a, b]\n: 1", "a.yaml:1: the key `?` should be a word"),
        ("a: .nan", "a.yaml:1: a: should be a finite number, not .nan"),
        ("a: -.inf", "should be a finite number"),
        ("a: !!int x", "a.yaml:1: a: "),
        ("a:\n\t- 1", "indent with spaces, not tabs"),
        ("a: [1, 2", "a.yaml:1: while parsing a flow sequence"),
        ("a: 'x", "a.yaml:1: while scanning a quoted scalar"),
        ("a: *nowhere", "found undefined alias"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: \x00", "a.yaml: "),
        ("a: &a [*a]", "contains itself"),
        ("a: " + "[" * 5000, "is nested too deeply"),
        ("a: x" + "x" * 1_000_000, "is not a recipe: 1,000,004 characters"),
    ],
)
def test_what_is_refused_says_where_and_what(text, expected):
    assert expected in message(text)


def test_a_thousand_keys_are_laid_over_one_another_without_looking_at_all_of_them(monkeypatch):
    """Each key once looked through the origins of all others: a file of anchors took minutes."""
    load_module = sys.modules["llmkit.recipe.load"]
    builder = load_module._Builder()
    walked = []
    paths = load_module._paths
    monkeypatch.setattr(load_module, "_paths", lambda *args: [walked.append(p) or p for p in paths(*args)])
    keys = 1000
    for _ in range(2):
        builder.add_file("".join(f"k{i}: &a{i} [x, y]\n" for i in range(keys)), None, "a.yaml")
    assert builder.tree == {f"k{i}": ["x", "y"] for i in range(keys)}
    assert set(builder.origins) == {p for i in range(keys) for p in ((f"k{i}",), (f"k{i}", 0), (f"k{i}", 1))}
    assert len(walked) <= 20 * keys


def test_aliases_cannot_unfold_into_a_huge_tree():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for i in range(1, 12):
        bomb += f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n"
    assert "unfold into too many values" in message(bomb)


def test_a_fault_does_not_hide_the_next():
    document = parse("a: 1\na: 2\nb: !x y\nc: .inf\nd: 5", "a.yaml")
    assert [f.origin.line for f in document.faults] == [2, 3, 4]
    assert document.tree["d"] == 5


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_text_is_no_fault(text):
    document = parse(text, "a.yaml")
    assert not document.tree
    assert document.faults == []
