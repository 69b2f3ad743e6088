"""The command line. `COMMANDS` names every command; its module is imported only when it is called.

To add a command: write `llmkit/cli/NAME.py` with a function (or a `typer.Typer` for a group of commands) and give it
one line in `COMMANDS`. Flags that set a recipe key come from `flags.py`. Raise an `LlmkitError` for what a user can
cause; `main` prints it and exits with its code. Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from llmkit import __version__
from llmkit.cli import common
from llmkit.errors import Incomplete, LlmkitError, UsageError
from llmkit.signals import ignore, interrupt
from llmkit.terminal import guarded

# name: (module and function or Typer, help, does the same command resume what was interrupted)
COMMANDS = {
    "perturb": ("llmkit.cli.perturb:perturb", "Make noisy copies of questions without changing their answers.", False),
    "noise": ("llmkit.cli.noise:app", "Fit noise to what people write, and say how close it comes.", False),
    "rop": ("llmkit.cli.rop:rop", "Repair at prompt time: correct the question, then guide.", True),
    "eval": ("llmkit.cli.eval:app", "Measure a model on clean and noisy questions.", True),
    "repair": ("llmkit.cli.repair:repair", "Repair texts, row by row, as a repair.json says.", False),
    "show": ("llmkit.cli.show:show", "Show a repair.json or the log of a proxy in shadow mode.", False),
    "label": ("llmkit.cli.label:label", "Label the few changed answers that decide what was lost.", True),
    "judge": ("llmkit.cli.judge:judge", "Have a model judge which of two answers is better, by a rubric.", True),
    "calibrate": ("llmkit.cli.calibrate:calibrate", "Choose a repair and bound the harm it does.", True),
    "finetune": ("llmkit.cli.finetune:finetune", "Repair in the weights: train an adapter on noisy text.", True),
    "serve": ("llmkit.cli.serve:serve", "Serve a model and its LoRA and TalkLoRA adapters through vLLM.", False),
    "proxy": ("llmkit.cli.proxy:proxy", "Repair the texts of users in front of any server.", False),
    "recipe": ("llmkit.cli.recipe:app", "Check, show and start recipes.", False),
    "data": ("llmkit.cli.data:app", "List question sets and look into them.", False),
    "runs": ("llmkit.cli.runs:app", "List finished runs and look into them.", False),
    "cache": ("llmkit.cli.cache:app", "Size and clearing of the cache folder.", False),
    "env": ("llmkit.cli.env:env", "Versions and hardware, for a bug report.", False),
}

READER_LEFT = 141  # as a shell reports any program whose reader left, as in `| head`

_ANYWHERE = {"--debug", "--quiet", "--trust-recipe"}  # understood behind the command too


class Interrupted(LlmkitError):
    """Ctrl-C or SIGTERM."""

    exit_code = 130


class _Commands(TyperGroup):
    """Lists commands from the table and imports the one that is called."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = {name: TyperCommand(name, help=text) for name, (_, text, _) in COMMANDS.items()}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        early = [a for a in args[:end] if a in _ANYWHERE]
        return super().parse_args(ctx, early + [a for i, a in enumerate(args) if i >= end or a not in _ANYWHERE])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in COMMANDS:
            self.commands[args[0]] = _command(args[0])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        common.settings.debug, common.settings.quiet = ctx.params["debug"], ctx.params["quiet"]
        common.settings.trust_recipe = ctx.params["trust_recipe"]
        common.set_up_logs()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            resumes = COMMANDS.get(ctx.invoked_subcommand or "", ("", "", False))[2]
            hint = "what finished is saved: the same command goes on from there" if resumes else None
            raise Interrupted("interrupted", hint) from None
        except BrokenPipeError:  # caught here, as Typer would make it a silent exit 1 whosever pipe it was
            if _stdout_is_gone():
                raise typer.Exit(READER_LEFT) from None
            raise LlmkitError("a connection broke: the other process ended", "--debug shows where") from None


def _command(name: str) -> Any:
    module, _, attribute = COMMANDS[name][0].partition(":")
    target = getattr(import_module(module), attribute)
    if isinstance(target, typer.Typer):
        target.info.name = name
        return get_group(target)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(target)
    return get_command(alone)


app = typer.Typer(
    name="llmkit",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"llmkit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and library logs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no notes, only results and errors.")] = False,
    trust_recipe: Annotated[
        bool,
        typer.Option("--trust-recipe", help="Let a recipe from elsewhere use the variables, files, servers it names."),
    ] = False,
) -> None:
    """Does a language model survive the text that people really write, and what can be done about it?"""


def main(args: list[str] | None = None) -> None:
    """Runs one command as the console script does, and exits with its code (errors.py)."""
    for wish in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(wish) is not signal.SIG_IGN:  # as a shell has it for what runs in the background
            signal.signal(wish, interrupt)
    if sys.stdout is None or sys.stderr is None:  # closed, as by `>&-`
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 open as long as the process
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    # What is piped is UTF-8 whatever the locale. A lone surrogate becomes \udxxx, which JSON reads back as the same.
    if isinstance(sys.stdout, TextIOWrapper):  # a program that runs `main` may have put something else there
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="backslashreplace")
    try:
        code = run(sys.argv[1:] if args is None else args)
    except KeyboardInterrupt:  # while an error was being printed
        code = Interrupted.exit_code
    ignore()
    sys.exit(code)


def run(args: list[str]) -> int:
    """Runs one command and returns its exit code; whatever goes wrong is printed, never raised."""
    with guarded():
        return _run(args)


def _run(args: list[str]) -> int:
    try:
        code = app(args, prog_name="llmkit", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except LlmkitError as error:
        return _fail(error, error.message, error.hint, error.exit_code)
    except typer.TyperException as error:
        return _bad_usage(error)
    except (typer.Abort, KeyboardInterrupt):
        return _fail(Interrupted("interrupted"), "interrupted", None, Interrupted.exit_code)
    except Exception as error:
        from llmkit.files import is_full

        if _stdout_is_gone():
            return READER_LEFT
        if is_full(error):
            return _full(error)
        hint = None if common.settings.debug else "--debug shows the traceback"
        if isinstance(error, OSError) and error.strerror:  # the machine's doing: no space, no permission
            return _fail(error, f"{error.filename or 'the system'}: {error.strerror}", hint, LlmkitError.exit_code)
        first = (str(error).splitlines() or [""])[0]
        return _fail(error, f"internal: {type(error).__name__}: {first}", hint, LlmkitError.exit_code)


def _full(error: BaseException) -> int:
    """Reports a full disk, wherever it struck. Where it is stdout's, drops what is still buffered."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()
    place = getattr(error, "filename", None)
    hint = "free some space and run the same command again: what finished is saved"
    return _fail(error, f"no space left{f' for {place}' if place else ''}", hint, Incomplete.exit_code)


def _fail(error: BaseException, message: str, hint: str | None, code: int) -> int:
    if common.settings.debug:
        import traceback

        from llmkit.secrets import scrub

        print(scrub("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    common.complain(message, hint)
    return code


def _bad_usage(error: typer.TyperException) -> int:
    """Reports a flag or command that does not exist, or a value that does not fit."""
    if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command: the message is its help
        print(error.message, file=sys.stderr)
        return UsageError.exit_code
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "llmkit"
    return _fail(error, error.format_message().rstrip("."), f"see `{path} --help`", UsageError.exit_code)


def _stdout_is_gone() -> bool:
    """Returns whether the reader of stdout has left; if so, drops what is still buffered without a complaint."""
    import select

    try:
        output = sys.stdout.fileno()
        poll = select.poll()
        poll.register(output, 0)  # asks for nothing: an error is reported anyway
        gone = bool(poll.poll(0))
    except (AttributeError, OSError, ValueError):  # Windows has no poll; a captured stdout has no number
        return False
    if gone:
        _drop_stdout()
    return gone


def _drop_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
