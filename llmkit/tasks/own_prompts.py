"""The user's own prompts around a row: messages whose texts are templates over the row's fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.recipe import PromptFile, Recipe, read_prompt
from llmkit.registry import nearest
from llmkit.tasks.text import without_options
from llmkit.templates import ROW, BadTemplate
from llmkit.types import Message, Question, Texts

_SAID = ("role", "content")
TOOLS = "tools"  # the field of a row with the tools that it may call
GUIDANCE, EXAMPLES = "guidance", "examples"
"""The names under which a prompt gets what llmkit puts into it: an instruction, and worked examples."""


@dataclass(frozen=True)
class OwnPrompt:
    """A prompt of the user's own. Without a `file` it sends a row as it is.

    Guidance and worked examples stand where a template says `{{ guidance }}` and `{{ examples }}`, else before the text
    of the last user turn. A field of the row that has one of these names is the row's.
    """

    file: PromptFile | None = None

    @property
    def name(self) -> str:
        """The name in tables and results; "" for rows that are sent as they are."""
        return self.file.name if self.file else ""

    @property
    def tools(self) -> tuple[Mapping[str, Any], ...]:
        return self.file.tools if self.file else ()

    @cached_property
    def names(self) -> dict[str, int]:
        """The names that its templates use, each with the line of the file."""
        found: dict[str, int] = {}
        for turn in self.file.turns if self.file else ():
            for name, line in (turn.template.names if turn.template else {"messages": 1}).items():
                found.setdefault(name, turn.line_of(line))
        return found

    def messages(self, question: Question, texts: Texts, guidance: str = "", examples: str = "") -> tuple[Message, ...]:
        """Returns the messages that ask `texts`, the wordings of the question's parts.

        DataError, with the line of the prompt, for a template that fails with this row.
        """
        values = values_of(question, texts)
        mine = {GUIDANCE: guidance, EXAMPLES: examples}
        made = self._rendered(question, texts, {ROW: values, **mine, **values})
        before = [text for name, text in mine.items() if text and (name in values or name not in self.names)]
        if not before:
            return made
        last = max(i for i, message in enumerate(made) if message.role == "user")
        asked = replace(made[last], content="\n\n".join([*before, made[last].content]))
        return (*made[:last], asked, *made[last + 1 :])

    def _rendered(self, question: Question, texts: Texts, values: Mapping[str, Any]) -> tuple[Message, ...]:
        if self.file is None:
            if _conversation(question) is None:
                return (Message("user", "\n\n".join(texts)),)
            return _turns(question, texts)
        made: list[Message] = []
        for turn in self.file.turns:
            if turn.template is None:
                made += _turns(question, texts)
                continue
            try:
                made.append(Message(turn.role, turn.template.render(values)))
            except BadTemplate as error:
                place = f"{self.file.source}:{turn.line_of(error.line)}"
                hint = _fields_like(error.name, question) if error.name else None
                what = f"the row {question.id} has no field `{error.name}`" if error.name else error.message
                raise DataError(f"{place}: {what}", hint) from None
        return tuple(made)

    def refuse_without_place(self, question: Question, answer: str | None) -> None:
        """Raises UsageError where the prompt has no place for a field of `question` that noise falls on, or shows the
        field that holds the `answer`."""
        if self.file is None:
            return
        if answer in self.names:
            hint = "data.answer names that field; a prompt that shows it measures nothing"
            raise UsageError(f"{self.file.source}:{self.names[answer]}: the prompt shows the answer (`{answer}`)", hint)
        for field in dict.fromkeys(part.field for part in question.parts) or ("question",):
            if field in self.names:
                continue
            close = [name for name in nearest(field, self.names) if name not in question.fields]
            line = self.names[close[0]] if close else self._asking_line
            written = f"`{{{{ {close[0]} }}}}` is none; " if close else ""
            raise UsageError(
                f"{self.file.source}:{line}: the prompt has no place for `{field}`, which noise falls on",
                f"{written}write {_written(field)} where it belongs, or name other fields with perturb.fields",
            )

    @property
    def _asking_line(self) -> int:
        """The line of the last user turn, where the text that is asked would stand."""
        turns = self.file.turns if self.file else ()
        return next((turn.line for turn in reversed(turns) if turn.role == "user"), 1)


def own_prompts(recipe: Recipe) -> list[OwnPrompt]:
    """Returns the prompts that a recipe names, in its order."""
    return [OwnPrompt(read_prompt(section)) for section in recipe.prompts]


def as_sent(question: Question) -> OwnPrompt | None:
    """Returns the prompt that sends a row as it is, for a row that has no answer or is a conversation; else None."""
    unworded = question.gold is None or _conversation(question) is not None
    return OwnPrompt() if unworded else None


def values_of(question: Question, texts: Texts) -> dict[str, Any]:
    """Returns the fields of a row with `texts` in the places of its parts. A question of a task has the one field
    `question`."""
    if not question.parts:
        return {"question": texts[0]}
    values = dict(question.fields)
    for part, text in zip(question.parts, texts, strict=True):
        if part.turn is None:
            values[part.field] = without_options(text) if question.options else text
        else:
            turns = list(values[part.field])
            turns[part.turn] = {**turns[part.turn], "content": text}
            values[part.field] = turns
    return values


def tools_of(question: Question, prompt: OwnPrompt | None) -> tuple[Mapping[str, Any], ...]:
    """Returns the tools that a model may call: those of the prompt, then those in the row's field `tools`."""
    own = question.fields.get(TOOLS)
    rows = own if isinstance(own, list) and all(isinstance(tool, Mapping) for tool in own) else []
    return (*(prompt.tools if prompt else ()), *rows)


def fields_of(question: Question, texts: Texts) -> dict[str, str]:
    """Returns the row's fields as texts, with `texts` in the places of its parts; none for a question of a task."""
    if not question.parts:
        return {}
    values = values_of(question, texts)
    return {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in values.items()}


def _conversation(question: Question) -> str | None:
    """Returns the field that holds a conversation, if one does."""
    return next((part.field for part in question.parts if part.turn is not None), None)


def _turns(question: Question, texts: Texts) -> tuple[Message, ...]:
    """Returns the turns of a logged conversation up to the last that waits for an answer: what stood there is no part
    of the question."""
    field = _conversation(question)
    if field is None:
        raise DataError(
            "the row has no conversation for `{{ messages }}`", "name its field with --field or perturb.fields"
        )
    turns = list(values_of(question, texts)[field])
    while turns and turns[-1]["role"] == "assistant":
        turns.pop()
    return tuple(
        # A turn that only calls tools has null as its content, and keeps it.
        Message(turn["role"], turn["content"] or "", {k: v for k, v in turn.items() if k not in _SAID or v is None})
        for turn in turns
    )


def _written(field: str) -> str:
    """Returns the template that shows a field."""
    return f"{{{{ {field} }}}}" if field.isidentifier() else f'{{{{ {ROW}["{field}"] }}}}'


def _fields_like(name: str, question: Question) -> str:
    fields = list(values_of(question, question.texts))
    close = nearest(name, fields)
    meant = f"did you mean {' or '.join(f'`{field}`' for field in close)}? " if close else ""
    return f"{meant}its fields are {', '.join(fields)}"
