"""The docs show commands that exist, and what they really print (benchmarks/docs.py)."""

from __future__ import annotations

import pytest
from helpers import benchmarks

docs = benchmarks.load("docs")
BLOCKS = {f"{block.page}:{block.line}": block for page in docs.PAGES for block in docs.blocks(page)}
SESSIONS = [name for name, block in BLOCKS.items() if block.is_run]


def test_every_command_flag_and_key_exists():
    wrong = {
        f"{name} {command}": faults
        for name, block in BLOCKS.items()
        for command in block.commands()
        for words in docs.words_of(command)
        if (faults := docs.faults(words))
    }
    assert wrong == {}


def test_every_command_within_the_text_exists():
    """A command may be named without what it needs: `llmkit serve`."""
    calls = [(page.name, words) for page in docs.PAGES for line in docs.mentions(page) for words in docs.words_of(line)]
    wrong = [(page, words, fault) for page, words in calls for fault in docs.faults(words)]
    assert len(calls) > 100
    assert [fault for fault in wrong if not fault[2].startswith("Missing ")] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_shows_what_its_commands_print(name):
    printed = docs.run(BLOCKS[name])
    assert docs.agrees(BLOCKS[name], printed), f"run: python benchmarks/docs.py\n{printed}"


def test_what_is_not_run_says_when_it_was_and_why():
    assert {block.note for block in BLOCKS.values() if block.is_session and not block.is_run} != {""}
    assert len(SESSIONS) >= 20
    notes = [block.note for block in BLOCKS.values() if block.is_session and block.note]
    assert [note for note in notes if not docs.NOT_RUN.fullmatch(note) and not docs.is_way_to_run(note)] == []


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("eval demo --limit 3", None),
        ("eval run demo --limit 3", None),
        ("--quiet rop demo --debug", None),
        ("serve --model a -- --a-flag-of-vllm", None),
        ("rop demo --limt 3", "No such option: --limt"),
        ("runs shwo", "No such command 'shwo'"),
        ("rop --set data.limt=3", "recipes have no key data.limt"),
    ],
)
def test_a_flag_that_does_not_exist_is_found(words, fault):
    found = docs.faults(words.split())
    assert found == [] if fault is None else fault in found[0]


def test_the_shells_words_are_left_out():
    line = "zcat a.gz | KEY=1 llmkit perturb - --op 'ec,uic' > out.jsonl  # a remark"
    assert docs.words_of(line) == [["perturb", "-", "--op", "ec,uic"]]
    assert docs.words_of("llmkit serve --model B [--adapter N=D ...]") == [
        ["serve", "--model", "B", "--adapter", "N=D"]
    ]


def test_an_ellipsis_stands_for_anything_and_nothing_else_does():
    block = docs.Block("page", 1, "", "$ llmkit x\none ... three\n...\nlast\n")
    assert docs.agrees(block, "$ llmkit x\none two three\nmore\nand more\nlast\n")
    assert not docs.agrees(block, "$ llmkit x\none two three\nmore\nanother\n")
    labels = docs.Block("page", 1, "labels", "$ llmkit x\nsize 3\n")
    assert docs.agrees(labels, "$ llmkit x\nsize 4\n")
    assert not docs.agrees(labels, "$ llmkit x\nwidth 3\n")
