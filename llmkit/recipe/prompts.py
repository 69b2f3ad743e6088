"""The files of the user's own prompts: read with the recipe, checked as a whole, each fault with its line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Literal

from llmkit.recipe.document import Document, Fault, Origin, Path, parse
from llmkit.recipe.schema import Recipe
from llmkit.recipe.schema.prompts import PromptSection
from llmkit.registry import nearest
from llmkit.templates import BadTemplate, BoundedTemplate

MOST_CHARS = 100_000  # of one file; a recipe's resolved form holds its prompts and has to stay readable
CONVERSATION = re.compile(r"\{\{-?\s*messages\s*-?\}\}")  # alone in the place of a message: the turns of the row
_ROLES = ("system", "user", "assistant")
_BLOCK = re.compile(r"\|[-+\d]*\s*(?:#.*)?$")  # a key whose text begins in the next line, line by line as written
_EXAMPLE = "a prompt is a list of messages, such as `- {role: user, content: '{{ body }}'}`"

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Turn:
    """One message of a prompt. `template` is None where the turns of the row's own conversation stand."""

    role: Role
    template: BoundedTemplate | None
    line: int = 1
    """The line of the file that the message stands in, or its text, where that begins in a line of its own."""
    by_line: bool = False
    """True where the lines of the template are lines of the file."""

    def line_of(self, line: int) -> int:
        """Returns the line of the file for one of the template."""
        return self.line + line - 1 if self.by_line else self.line


@dataclass(frozen=True)
class PromptFile:
    """A prompt as its file has it. `source` names the file in messages."""

    name: str
    source: str
    turns: tuple[Turn, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    faults: tuple[Fault, ...] = field(default=(), compare=False)


def read_prompt(section: PromptSection, rank: int = 0) -> PromptFile:
    """Reads the text of a prompt. What is wrong with it is in its `faults`, all of it."""
    source = section.file or f"prompts: {section.name}"
    document = parse(section.text or "", source, rank)
    if document.faults:
        return PromptFile(section.name, source, (), faults=tuple(document.faults))
    reader = _Reader(document, source, rank, (section.text or "").splitlines())
    turns, tools = reader.read()
    return PromptFile(section.name, source, turns, tools, tuple(reader.faults))


def with_prompts(recipe: Recipe, origins: Mapping[Path, Origin]) -> tuple[Recipe, list[Fault]]:
    """Returns the recipe with the text of its prompts, and all that is wrong with them."""
    faults: list[Fault] = []
    sections = []
    names = Counter(section.name for section in recipe.prompts)
    for number, section in enumerate(recipe.prompts):
        here = next((origins[p] for p in (("prompts", number), ("prompts",)) if p in origins), Origin(0, "recipe"))
        key = f"prompts.{number}"
        if names[section.name] > 1:
            faults.append(Fault(here, key, f"two prompts are called `{section.name}`: give each a `name` of its own"))
        if section.text is None:
            try:
                section = section.model_copy(update={"text": _read(FilePath(str(section.file)).expanduser())})
            except ValueError as error:
                faults.append(Fault(here, key, str(error)))
                continue
        sections.append(section)
        # Behind the recipe's own, because a user reads the recipe first.
        faults += read_prompt(section, rank=here.rank + 1).faults
    return recipe.model_copy(update={"prompts": tuple(sections)}), faults


def _read(path: FilePath) -> str:
    """Returns the text of a file. ValueError where it is no file, too long, or not UTF-8."""
    if not path.is_file():  # a pipe or a device might never end
        folder = path.parent
        beside = [str(folder / file.name) for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
        close = nearest(str(path), beside)
        raise ValueError(f"there is no file {path}" + (f" (did you mean `{close[0]}`?)" if close else ""))
    try:
        if path.stat().st_size > MOST_CHARS * 4:
            raise ValueError(f"{path}: a prompt has at most {MOST_CHARS:,} characters")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}:{line}: is not UTF-8 (byte {error.object[error.start]:#04x})") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    if len(text) > MOST_CHARS:
        raise ValueError(f"{path}: a prompt has at most {MOST_CHARS:,} characters")
    return text


class _Reader:
    """Walks the values of one prompt file into turns and tools, and notes what is wrong with them."""

    def __init__(self, document: Document, source: str, rank: int, lines: list[str]) -> None:
        self.document, self.source, self.rank, self.lines = document, source, rank, lines
        self.faults: list[Fault] = []

    def read(self) -> tuple[tuple[Turn, ...], tuple[Mapping[str, Any], ...]]:
        """Returns the turns and the tools."""
        tree: Any = self.document.tree
        tools: Any = ()
        path: Path = ()
        if isinstance(tree, dict):
            path = ("messages",)
            for key in tree.keys() - {"messages", "tools"}:
                self.fault((key,), f"unknown key `{key}`: a prompt has `messages` and `tools`")
            tree, tools = tree.get("messages"), tree.get("tools") or ()
        if not isinstance(tools, list | tuple) or not all(isinstance(tool, dict) for tool in tools):
            self.fault(("tools",), "`tools` should be a list of maps, as your server takes them")
            tools = ()
        if not isinstance(tree, list) or not tree:
            self.fault(path, f"no messages: {_EXAMPLE}")
            return (), tuple(tools)
        turns = [turn for number, item in enumerate(tree) for turn in self.turns(item, (*path, number))]
        if not self.faults and not any(turn.role == "user" for turn in turns):
            self.fault(path, "no message of the role `user`: nobody asks")
        return tuple(turns), tuple(tools)

    def turns(self, item: Any, path: Path) -> Iterator[Turn]:
        """Yields the turn that an item of the list stands for, or notes why it stands for none."""
        line = self.at(path).line or 1
        if isinstance(item, str) and CONVERSATION.fullmatch(item.strip()):
            yield Turn("user", None, line)
            return
        if not isinstance(item, dict):
            self.fault(path, f"should be a map with `role` and `content`, or `{{{{ messages }}}}`: {_EXAMPLE}")
            return
        for key in item.keys() - {"role", "content"}:
            self.fault((*path, key), f"unknown key `{key}`: a message has `role` and `content`")
        role, content = item.get("role"), item.get("content")
        if role not in _ROLES:
            given = "has no `role`" if role is None else f"the role {role!r} is not known"
            self.fault((*path, "role"), f"{given}: it is {', '.join(_ROLES[:-1])} or {_ROLES[-1]}")
            return
        if not isinstance(content, str):
            self.fault((*path, "content"), "`content` should be a text" if "content" in item else "has no `content`")
            return
        line = self.at((*path, "content")).line or line
        by_line = line <= len(self.lines) and _BLOCK.search(self.lines[line - 1]) is not None
        turn = Turn(role, None, line + by_line, by_line)
        try:
            yield Turn(role, BoundedTemplate(content), turn.line, by_line)
        except BadTemplate as error:
            self.faults.append(Fault(Origin(self.rank, self.source, turn.line_of(error.line)), "", error.message))

    def at(self, path: Path) -> Origin:
        """Returns where a value stands, or what it is in."""
        while path and path not in self.document.origins:
            path = path[:-1]
        return self.document.origins.get(path, Origin(self.rank, self.source, 1))

    def fault(self, path: Path, message: str) -> None:
        """Notes a fault and goes on, so that all are found in one reading."""
        self.faults.append(Fault(self.at(path), "", message))
