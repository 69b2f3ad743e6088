"""A user's function: found by its name, called with what its parameters ask for, and its result read."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from llmkit.engines.answers import arguments as read_arguments
from llmkit.errors import EngineError, UsageError
from llmkit.registry import nearest
from llmkit.secrets import scrub
from llmkit.types import Reply, ToolCall, Usage

_FORM = "python:package.module:function"
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_KEYS = ("text", "usage", "documents", "tool_calls")

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Those by position and those by name."""


@dataclass(frozen=True)
class Function:
    """A function with what it takes: messages or one text, named `first`, and `fields` of the row by name.

    `needed` are the fields without a default; `takes_any` is True for one with `**fields`.
    """

    name: str
    call: Callable[..., Any]
    first: str
    takes_text: bool
    fields: tuple[str, ...]
    needed: frozenset[str]
    takes_any: bool

    @classmethod
    def named(cls, kind: str) -> Function:
        """Imports the function that `--engine` names. The current folder is importable, as for `python -m`.

        UsageError for a module that cannot be imported, and for a function that is not there or takes nothing.
        """
        module_name, _, function_name = kind.removeprefix("python:").partition(":")
        if not (module_name and function_name):
            raise UsageError(f"`{kind}` names no function", f"write {_FORM}")
        call = _member(_imported(module_name, kind), function_name, kind)
        if not callable(call):
            raise UsageError(f"`{kind}` is a {type(call).__name__}, not a function")
        try:
            parameters = list(inspect.signature(call).parameters.values())
        except (TypeError, ValueError) as error:
            raise UsageError(f"`{kind}` does not say what it takes: {error}", "wrap it in a function") from error
        if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
            raise UsageError(f"`{kind}` takes no messages", "its first parameter is the list of messages, or a text")
        first, *others = parameters
        named = [p for p in others if p.kind in _NAMED]
        return cls(
            kind,
            call,
            first.name,
            takes_text=not others and first.annotation in (str, "str"),
            fields=tuple(p.name for p in named),
            needed=frozenset(p.name for p in named if p.default is p.empty),
            takes_any=any(p.kind is p.VAR_KEYWORD for p in others),
        )

    def arguments(self, messages: Sequence[Mapping[str, str]], row: Mapping[str, str]) -> Arguments:
        """Returns what the function is called with. EngineError where it needs a field that the row does not have."""
        if self.takes_text:
            turns = [message["content"] for message in messages if message["role"] == "user"]
            return (turns[-1] if turns else "",), {}
        if missing := sorted(self.needed - row.keys()):
            raise EngineError(f"`{self.name}` needs {', '.join(missing)}, and the row has no such field")
        given = row if self.takes_any else {name: row[name] for name in self.fields if name in row}
        return ([dict(message) for message in messages],), {name: given[name] for name in given if name != self.first}

    def reply(self, returned: Any) -> Reply:
        """Returns the reply in what the function returned. EngineError for what is none."""
        if isinstance(returned, str):
            return Reply(returned)
        if not isinstance(returned, Mapping) or not returned.keys() <= {*_KEYS}:
            keys = f" with {', '.join(map(str, returned))}" if isinstance(returned, Mapping) else ""
            raise EngineError(
                f"`{self.name}` returned a {type(returned).__name__}{keys}",
                f"a function returns a text, or a mapping with some of {', '.join(_KEYS)}",
            )
        try:
            usage = returned.get("usage") or {}
            calls = [(call["name"], call.get("arguments")) for call in returned.get("tool_calls") or ()]
            return Reply(
                str(returned.get("text") or ""),
                usage=Usage.reported(usage.get("prompt", 0), usage.get("completion", 0)),
                documents=_documents(returned.get("documents")),
                tool_calls=tuple(ToolCall(str(name), read_arguments(given, str)) for name, given in calls),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EngineError(
                f"`{self.name}` returned a mapping that cannot be read: {type(error).__name__}: {error}",
                "usage is {prompt, completion}, documents a list, tool_calls a list of {name, arguments}",
            ) from error

    def blame(self, error: BaseException) -> str:
        """Returns an exception in words, with the place in the user's file where it was raised."""
        return blame(error, getattr(sys.modules.get(self.call.__module__ or ""), "__file__", None))


def blame(error: BaseException, file: str | None = None) -> str:
    """Returns an exception in words, with its last place in `file`, else its last place anywhere.

    >>> blame(ValueError("no such ticket"))
    'ValueError: no such ticket'
    """
    frames = traceback.extract_tb(error.__traceback__)
    at = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1] if frames else None)
    place = f" ({os.path.relpath(at.filename)}:{at.lineno} in {at.name})" if at else ""
    words = scrub(" ".join(str(error).split()))
    return f"{type(error).__name__}{f': {words}' if words else ''}{place}"


def _documents(returned: Any) -> tuple[str, ...]:
    """Returns the ids or texts in a list of documents; None and empty ones are no document."""
    if isinstance(returned, str | bytes | Mapping):
        raise TypeError(f"documents is a {type(returned).__name__}, no list")
    return tuple(str(document) for document in returned or () if document is not None and document != "")


def _imported(name: str, kind: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"importing `{name}` fails: {blame(error)}", "install what it imports where llmkit is installed"
            ) from error
        raise UsageError(
            f"there is no module `{error.name}` for --engine {kind}",
            f"it is looked for in {here} and among the installed packages; {_FORM}",
        ) from error
    except (Exception, SystemExit) as error:  # the user's own code, which may do anything when it is imported
        raise UsageError(f"importing `{name}` fails: {blame(error)}", "try it with python -c 'import ...'") from error


def _member(module: Any, path: str, kind: str) -> Any:
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError as error:
        own = [name for name in vars(module) if callable(getattr(module, name)) and not name.startswith("_")]
        close = nearest(path, own) or own[:5]
        hint = f"it has {', '.join(f'`{name}`' for name in close)}" if close else "it has no functions"
        raise UsageError(f"the module of --engine {kind} has no `{path}`", hint) from error
