"""Whatever a text, a reply, a file name or a server says, no terminal obeys it."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from contextlib import contextmanager

import pytest
from helpers.attack.sandbox import COMMANDS, commands_in
from helpers.fault_server import FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit import terminal
from llmkit.cli import app, common
from llmkit.errors import DataError
from llmkit.recipe import load, to_yaml
from llmkit.terminal import guarded, json_text, visible

HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;b3duZWQ=\x1b\\",
    "link": "\x1b]8;;http://owned\x07here\x1b]8;;\x07",
    "clear": "\x1b[2J\x1b[H",
    "hidden": "\x1b[8m",
    "C1": "\x9b2J\x9d0;owned\x9c\x85",
    "DEL": "\x7f\x08\x08",
    "overwritten": "error: all is well\rok",
    "bidi": "\u202eright to left\u202c \u2066isolated\u2069 \u200f\u061c",
    "separators": "\u2028\u2029\x0b\x0c\x1c",
    "charset": "\x0e\x1b(0",
}
ALL = "".join(HOSTILE.values())
texts = st.text(
    st.sampled_from(sorted(COMMANDS | set("ab \r\n\t[]\\/:é漢"))) | st.characters(exclude_categories=["Cs"])
)


def foreign(text: str) -> set[str]:
    """The characters of `text` that a terminal would obey, without the colours that llmkit uses."""
    for style in ("\x1b[1;31m", "\x1b[1;34m", "\x1b[9;31m", "\x1b[32m", "\x1b[0m", "\x1b[1m", "\x1b[2m"):
        text = text.replace(style, "")
    return commands_in(text)


class Screen(io.StringIO):
    """Returns what a terminal would get."""

    def isatty(self) -> bool:
        return True


@contextmanager
def screen():
    """Both streams as one terminal that shows colours."""
    shown = Screen()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NO_COLOR", raising=False)
        patch.setenv("TERM", "xterm-256color")
        patch.setattr(sys, "stdout", shown)
        patch.setattr(sys, "stderr", shown)
        yield shown


@given(texts)
@settings(deadline=None)
def test_a_visible_text_commands_nothing_and_hides_nothing(text):
    shown = visible(text)
    assert not commands_in(shown)
    assert visible(shown) == shown
    plain = "".join(c for c in text if visible(c) == c or c == "\r")
    assert len(shown) >= len(text) >= len(plain)
    if plain == text and "\r" not in text:
        assert shown == text


@given(st.recursive(texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)))
@settings(deadline=None)
def test_json_says_the_same_and_commands_nothing(value):
    written = json_text(value, indent=2)
    assert json.loads(written) == value
    assert not commands_in(written)
    assert visible(written) == written


@given(texts.filter(lambda text: "\0" not in text))
@settings(max_examples=25, deadline=None)
def test_a_recipe_shown_is_the_recipe_and_commands_nothing(text):
    recipe = load(None, {"model.system_prompt": text or None}).recipe
    written = to_yaml(recipe)
    assert visible(written) == written
    assert load_text(written) == recipe


def load_text(written):
    from llmkit.recipe.document import parse

    return load(None, {"model.system_prompt": parse(written, "x.yaml").tree["model"]["system_prompt"]}).recipe


@given(texts)
@settings(max_examples=50, deadline=None)
def test_a_table_on_a_terminal_commands_nothing(text):
    with screen() as shown:
        common.print_table(["name", "size"], [[text, 1]], right=("size",))
    assert not foreign(shown.getvalue())


@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_that_is_printed_said_logged_or_raised_reaches_a_terminal(what):
    text = HOSTILE[what]
    with screen() as stream, guarded():
        print(text)
        print(text, file=sys.stderr)
        sys.stderr.writelines([text, text])
        common.note(text)
        common.complain(text, text)
        common.print_table([text], [[text]])
        common.print_json({text: text})
        terminal.console().print(text, markup=False)
        terminal.console().print(f"[link=http://x]{terminal.literal(text)}[/link]")
        logging.lastResort.emit(logging.LogRecord("x", logging.ERROR, "", 0, text, None, None))
    shown = stream.getvalue()
    assert not foreign(shown)
    assert "\x1b[1;31merror:\x1b[0m" in shown  # its own colours stay
    assert not isinstance(sys.stdout, terminal._Guarded)


def test_what_is_written_above_a_progress_bar_is_visible_too():
    from rich.progress import TextColumn

    with screen() as stream, guarded():
        bar = terminal.bar(TextColumn("{task.description}"), refresh_per_second=1)
        bar.add_task(ALL)
        print(ALL, file=sys.stderr)
        print("\x1b[8mhidden\x1b]8;;http://owned\x07link")
        bar.stop()
        assert not isinstance(sys.stderr.behind, terminal._Guarded)
    shown = stream.getvalue()
    assert "\\x1b[8mhidden" in shown
    assert not [c for c in ("\x1b]", "\x1b[8m", "\x9b", "\x07", "\u202e") if c in shown]


@pytest.fixture
def llmkit(capfd, tmp_path, monkeypatch):
    """Runs a command; returns exit code and all that was printed, which must command nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))

    def run(*args: str) -> tuple[int, str]:
        code = app.run(list(args))
        shown = "".join(capfd.readouterr())
        assert not commands_in(shown), args
        assert "internal:" not in shown, shown
        return code, shown

    yield run
    common.settings.debug = common.settings.quiet = False


def test_no_command_passes_on_what_a_row_a_name_or_a_flag_says(llmkit, tmp_path):
    name = f"o{ALL}o".replace("/", "").replace("\0", "")
    row = {"id": ALL, "question": f"What is {ALL} two and two?", "answer": f"4{ALL}", "options": [ALL, "4"]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "bad.jsonl").write_bytes(f'{{"id": "{ALL}"'.encode() + b"\n")
    (tmp_path / f"{name}.yaml").write_text(f"version: 1\n{json.dumps(ALL)}: 1\n", encoding="utf-8")
    (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / name / "recipe.resolved.yaml").write_text(
        json.dumps({"version": 1, "model": {"path": ALL}, "data": {"task": ALL}})
    )
    for arguments in [
        ("data", "show", "rows.jsonl"),
        ("data", "show", "rows.jsonl", "--json"),
        ("data", "show", "bad.jsonl"),
        ("data", "show", ALL),
        ("perturb", "rows.jsonl", "--op", "ec", "--rate", "1"),
        ("perturb", "rows.jsonl", "--op", "ec", "--preview", "1"),
        ("perturb", "rows.jsonl", "--op", "ec", "--stats", "--json"),
        ("perturb", "rows.jsonl", "--op", ALL),
        ("perturb", "bad.jsonl", "--field", ALL),
        ("perturb", "rows.jsonl", "--protect", f"({ALL}"),
        ("recipe", "check", f"{name}.yaml"),
        ("recipe", "check", f"{name}.yaml", "--json"),
        ("recipe", "show", "--set", f"model.path={json.dumps(ALL)}"),
        ("recipe", "show", "--set", f"model.path={json.dumps(ALL)}", "--origins"),
        ("recipe", "show", "--set", f"model.path={json.dumps(ALL)}", "--json"),
        ("recipe", "init", name),
        ("recipe", "init", name),
        ("runs", "ls"),
        ("runs", "ls", "--json"),
        ("runs", "show", name),
        ("runs", "show", "o", "--json"),
        ("runs", "show", ALL),
        ("runs", "compare", name, name),
        ("runs", "merge", name),
        ("eval", "score", f"runs/{name}"),
        ("eval", "export", f"runs/{name}", "--format", ALL),
        ("eval", "--model", ALL, "--path", "rows.jsonl"),
        ("eval", "--model", "tiny", "--path", "rows.jsonl", "--dry-run"),
        ("eval", "demo", "--gate", ALL),
        ("eval", "demo", "--shard", ALL),
        ("eval", f"--{ALL}"),
        ("rop", "--model", "x", "--task", ALL),
        ("finetune", "--model", "x", "--task", ALL, "--dry-run"),
        ("serve", "--model", "x", "--adapter", ALL),
        ("cache", "clear", ALL),
        (ALL,),
        ("--debug", "data", "show", ALL),
    ]:
        arguments = [a.replace("\0", "") for a in arguments]
        assert llmkit(*arguments)[0] in (0, 1, 2), arguments


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_a_server_says_nothing_to_a_terminal(llmkit, debug):
    root = logging.getLogger()
    handlers = list(root.handlers)
    refuse = lambda handler, body: handler._send(400, {"error": {"message": ALL, "code": ALL}})  # noqa: E731
    with FaultServer(model=f"m{ALL}") as server:
        command = ("eval", "--model", f"m{ALL}", "--base-url", server.url, "--task", "arithmetic", "--limit", "2")
        try:
            for fault in (refuse, None):
                server.fault = lambda text, attempt, fault=fault: fault
                code, shown = llmkit(*debug, *command, "--set", "engine.retries=0", "--set", "data.size=60")
                assert code in (0, 1, 4), shown
        finally:
            root.handlers[:] = handlers
            root.setLevel(logging.WARNING)
    run = next(os.scandir("runs")).path
    for command in (("runs", "show", run), ("runs", "show", run, "--json"), ("eval", "score", run)):
        assert llmkit(*command)[0] == 0


def test_an_error_in_a_worker_of_a_training_is_visible(monkeypatch, capfd):
    from llmkit.finetune import worker

    monkeypatch.setattr(worker, "worker", lambda *args, **kw: (_ for _ in ()).throw(DataError(ALL, ALL)))
    with pytest.raises(SystemExit):
        worker.main()
    assert not commands_in(capfd.readouterr().err)
