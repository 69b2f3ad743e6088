"""The frame of the command line: what is imported, what is printed where, and which code it exits with."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.fault_server import FaultServer
from helpers.processes import run as run_process
from helpers.processes import started

from llmkit.cli import app, common, flags
from llmkit.errors import DataError, EngineError, GateFailed, GateUndecided, Incomplete, LlmkitError, UsageError
from llmkit.recipe.schema import meaning

KINDS = [LlmkitError, EngineError, UsageError, DataError, GateFailed, Incomplete, GateUndecided, app.Interrupted]
HEAVY = {"torch", "transformers", "vllm", "datasets", "scipy", "pandas", "numpy"}


@pytest.fixture
def command(monkeypatch):
    """Puts a function in the place of `llmkit finetune`."""

    def put(function) -> None:
        module = type(sys)("a_command")
        module.finetune = function
        monkeypatch.setitem(sys.modules, "llmkit.cli.finetune", module)

    return put


def raising(error: BaseException):
    def call() -> None:
        raise error

    return call


def process(*args: str, **options) -> subprocess.CompletedProcess[str]:
    return run_process([sys.executable, "-m", "llmkit", *args], **options)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["recipe", "--help"], ["cache", "info"]])
def test_light_commands_import_nothing_heavy(arguments, tmp_path):
    code = (
        "import sys\n"
        "from llmkit.cli.app import run\n"
        f"assert run({arguments!r}) == 0\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    environment = {**os.environ, "LLMKIT_CACHE": str(tmp_path)}
    done = run_process([sys.executable, "-c", code], env=environment)
    assert done.returncode == 0, done.stderr
    imported = set(done.stderr.splitlines()[-1].split())
    assert "llmkit" in imported
    assert not imported & HEAVY
    if arguments == ["--help"]:
        assert not imported & {"pydantic", "ruamel"}


def test_help_lists_every_command_on_one_line_each(llmkit):
    code, out, err = llmkit("--help")
    assert (code, err) == (0, "")
    for name, (_, text, _) in app.COMMANDS.items():
        assert f"{name} " in out
        assert text in out


@pytest.mark.parametrize("name", app.COMMANDS)
def test_every_command_has_help(llmkit, name):
    code, out, err = llmkit(name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: llmkit {name}")


def test_version(llmkit):
    from llmkit import __version__

    assert llmkit("--version") == (0, f"llmkit {__version__}\n", "")


@pytest.mark.parametrize("group", [[], ["recipe"], ["cache"], ["runs"], ["data"]])
def test_a_group_without_a_command_shows_its_help(llmkit, group):
    code, out, err = llmkit(*group)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: llmkit")


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["rpo"], "error: No such command 'rpo'. Did you mean 'rop'?", "hint: see `llmkit --help`"),
        (["--nope"], "error: No such option: --nope", "hint: see `llmkit --help`"),
        (["recipe", "chek"], "error: No such command 'chek'", "hint: see `llmkit recipe --help`"),
        (["recipe", "check"], "error: Missing argument 'RECIPE'", "hint: see `llmkit recipe check --help`"),
        (["recipe", "show", "--jsn"], "error: No such option: --jsn", "hint: see `llmkit recipe show --help`"),
        (["rop", "--limit", "x"], "error: Invalid value for '--limit'", "hint: see `llmkit rop --help`"),
        (["recipe", "show", "dmo"], "error: no recipe `dmo`", "hint: did you mean `demo`"),
    ],
)
def test_wrong_usage_is_one_error_and_a_hint(llmkit, arguments, error, hint):
    code, out, err = llmkit(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(error)
    assert err.splitlines()[-1].startswith(hint)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "kind", [LlmkitError, UsageError, DataError, EngineError, GateFailed, Incomplete, GateUndecided]
)
def test_each_error_has_its_exit_code(llmkit, command, kind):
    command(raising(kind("it broke", "mend it")))
    assert llmkit("finetune") == (kind.exit_code, "", "error: it broke\nhint: mend it\n")


def test_exit_codes_are_the_documented_ones():
    assert [kind.exit_code for kind in KINDS] == [1, 1, 2, 2, 3, 4, 5, 130]


def test_what_nobody_expected_is_one_line(llmkit, command):
    command(raising(ValueError("strange\nand long")))
    expected = "error: internal: ValueError: strange\nhint: --debug shows the traceback\n"
    assert llmkit("finetune") == (1, "", expected)


def test_what_the_machine_refuses_is_said_as_it_says_it(llmkit, command):
    command(raising(PermissionError(13, "Permission denied", "runs/x")))
    assert llmkit("finetune")[2] == "error: runs/x: Permission denied\nhint: --debug shows the traceback\n"
    command(raising(OSError(errno.EIO, "Input/output error")))
    assert llmkit("--debug", "finetune")[2].endswith("\nerror: the system: Input/output error\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_incomplete_wherever_it_comes_from(llmkit, command, number):
    command(raising(OSError(number, os.strerror(number), "adapter/model.safetensors")))
    code, _, err = llmkit("finetune")
    assert code == 4
    assert err.startswith("error: no space left for adapter/model.safetensors\nhint: free some space")


@pytest.mark.parametrize("arguments", [["--debug", "finetune"], ["finetune", "--debug"]])
def test_debug_shows_tracebacks_before_or_behind_the_command(llmkit, command, arguments):
    command(raising(DataError("it broke")))
    code, _, err = llmkit(*arguments)
    assert code == 2
    assert err.startswith("Traceback")
    assert err.endswith("error: it broke\n")


def test_quiet_silences_notes_but_not_errors(llmkit, command):
    def call() -> None:
        common.note("by the way")
        raise DataError("it broke")

    command(call)
    assert llmkit("finetune")[2] == "by the way\nerror: it broke\n"
    assert llmkit("finetune", "--quiet")[2] == "error: it broke\n"


def test_flags_behind_two_dashes_are_left_alone(llmkit, command):
    def call(source: str) -> None:
        print(source, common.settings.quiet)

    command(call)
    assert llmkit("finetune", "--", "--quiet")[:2] == (0, "--quiet False\n")


def test_an_interrupt_says_how_to_go_on(llmkit, command, monkeypatch):
    command(raising(KeyboardInterrupt()))
    code, _, err = llmkit("finetune")
    assert code == 130
    assert err == "error: interrupted\nhint: what finished is saved: the same command goes on from there\n"
    monkeypatch.setitem(app.COMMANDS, "finetune", (*app.COMMANDS["finetune"][:2], False))
    assert llmkit("finetune")[2] == "error: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_sigterm_is_an_interrupt(tmp_path):
    code = (
        "import sys, time\n"
        "from llmkit.cli import app\n"
        "module = type(sys)('a_command')\n"
        "def call():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "module.finetune = call\n"
        "sys.modules['llmkit.cli.finetune'] = module\n"
        "app.main(['finetune'])\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started([sys.executable, "-c", code], **pipes) as child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate()
    assert child.returncode == 130
    assert err.startswith("error: interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX pipe")
def test_a_reader_that_leaves_is_no_error():
    many = [sys.executable, "-m", "llmkit", "recipe", "schema"]
    with started(many, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.close()  # before anything is written
        err = child.stderr.read()
        assert child.wait() == 141
    assert err == b""


def test_what_is_piped_is_utf_8_and_anything_can_be_printed(tmp_path):
    code = (
        "import sys\n"
        "from llmkit.cli import app, common\n"
        "module = type(sys)('a_command')\n"
        "module.finetune = lambda: common.print_json(['\\u00e4', '\\ud800'])\n"
        "sys.modules['llmkit.cli.finetune'] = module\n"
        "app.main(['finetune'])\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run_process([sys.executable, "-c", code], env=environment, text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.decode("utf-8")) == ["\u00e4", "\ud800"]


def test_colour_only_on_a_terminal(capsys, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    common.complain("it broke", "mend it")
    assert capsys.readouterr().err == "error: it broke\nhint: mend it\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    common.complain("it broke")
    assert "\x1b[1;31merror:" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    common.complain("it broke")
    assert capsys.readouterr().err == "error: it broke\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_knows_the_commands_and_their_options(shell):
    words = {"bash": {"COMP_WORDS": "llmkit re", "COMP_CWORD": "1"}}.get(shell, {"_TYPER_COMPLETE_ARGS": "llmkit re"})
    extra = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"} if shell == "fish" else {}
    environment = {**os.environ, "_LLMKIT_COMPLETE": f"complete_{shell}", **words, **extra}
    assert "recipe" in process(env=environment).stdout
    environment |= {"COMP_WORDS": "llmkit recipe show --or", "COMP_CWORD": "3"}
    environment["_TYPER_COMPLETE_ARGS"] = "llmkit recipe show --or"
    assert "--origins" in process(env=environment).stdout


def test_a_command_can_be_run_as_a_module():
    assert process("--version").stdout.startswith("llmkit ")


def parameters():
    """Every parameter of every command that takes a recipe."""
    for name in ("perturb", "rop", "eval", "finetune", "data"):
        command = app._command(name)
        for inner in getattr(command, "commands", {"": command}).values():
            yield from inner.params


class TestFlags:
    def test_a_flag_is_the_same_as_setting_its_key(self):
        by_flag = flags.recipe_from(
            "demo", None, limit=5, seed=3, model="m", task="gsm8k", conditions="ec, mix(sc:0.5,uic:0.5)", rate="0,.1"
        )
        by_set = flags.recipe_from(
            "demo",
            ["data.limit=5", "seed=3", "model.path=m", "data.task=gsm8k", "perturb.rate=[0.0, .1]",
             "perturb.conditions=[ec, 'mix(sc:0.5,uic:0.5)']"],
        )  # fmt: skip
        assert by_flag.recipe == by_set.recipe
        assert str(by_flag.origins["data.limit"]) == "--limit 5"

    def test_a_flag_not_given_says_nothing(self):
        assert flags.overrides(None, **dict.fromkeys(flags.KEYS)) == []
        assert flags.recipe_from(None, limit=None, base_url=[]).origins == {}

    def test_a_flag_wins_over_set(self):
        assert flags.recipe_from(None, ["data.limit=5"], limit=6).recipe.data.limit == 6

    @pytest.mark.parametrize(("text", "rate"), [("paper", "paper"), ("0.3", 0.3), ("0,.05,.1", (0.0, 0.05, 0.1))])
    def test_rates(self, text, rate):
        assert flags.recipe_from(None, rate=text).recipe.perturb.rate == rate

    def test_every_flag_names_a_key_of_the_recipe(self):
        from llmkit.recipe.faults import all_keys

        assert {key for _, key in flags.KEYS.values()} <= set(all_keys())

    def test_the_help_of_a_flag_is_the_meaning_of_its_key(self):
        """One text: what the schema says is what `--help` says."""
        seen = set()
        for parameter in parameters():
            spelling, key = flags.KEYS.get(parameter.name, ("", ""))
            if spelling in parameter.opts:
                assert meaning(key), f"{key} has no docstring"
                assert parameter.help.startswith(meaning(key)), spelling
                seen.add(parameter.name)
        assert seen == set(flags.KEYS)

    def test_earlier_names_are_accepted_and_the_new_ones_said(self, llmkit):
        _, _, err = llmkit("eval", "demo", "--model-id", "r1", "--out", "there", "--limit", "-1")
        assert err.startswith("note: --model-id is now --revision\nnote: --out is now --dir\n")
        earlier = flags.overrides(None, model_id="r1", out="there")
        assert earlier == flags.overrides(None, revision="r1", runs_dir="there")
        assert not any("model-id" in line for line in llmkit("eval", "run", "--help")[1].splitlines())

    def test_a_wrong_value_names_the_flag(self, llmkit):
        code, _, err = llmkit("rop", "--limit", "-3", "--dtype", "float3")
        assert code == 2
        assert "--limit -3: data.limit: should be greater than or equal to 1, not -3" in err
        assert "--dtype float3: engine.dtype: should be" in err
        assert "did you mean `float32`" in err


def test_json_on_stdout_is_strict(capsys):
    with pytest.raises(ValueError):
        common.print_json({"a": float("nan")})
    common.print_json({"a": "ä", "path": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": "ä", "path": "x"}


def test_a_table_is_whole_when_piped(capsys):
    common.print_table(["a", "b"], [["x" * 300, 1]], right=("b",))
    assert "x" * 300 in capsys.readouterr().out


def test_an_evaluation_over_http_imports_nothing_heavy(tmp_path):
    with FaultServer() as server:
        arguments = ["eval", "--model", "tiny", "--base-url", server.url, "--task", "arithmetic", "--limit", "4"]
        code = (
            "import sys\n"
            "from llmkit.cli.app import run\n"
            f"assert run({[*arguments, '--conditions', 'ec']!r}) == 0\n"
            "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
        )
        environment = {**os.environ, "LLMKIT_CACHE": str(tmp_path / "cache")}
        command = [sys.executable, "-c", code]
        done = run_process(command, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert not set(done.stderr.splitlines()[-1].split()) & (HEAVY - {"numpy", "pandas"} | {"peft", "huggingface_hub"})
