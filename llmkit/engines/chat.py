"""Turns a request into token ids, the same way for every engine that runs in this process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmkit.engines.model_paths import LocalModel, read_text
from llmkit.engines.reasoning import opens_reasoning, split_reasoning
from llmkit.engines.sampling import cut_at_stop
from llmkit.errors import EngineError
from llmkit.recipe.schema import ModelSection
from llmkit.types import Message, Reply, Request, Usage

_MARKER = re.compile(r"<\|[^|<>\s]{1,40}\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>")
_TEMPLATE_HINT = "give another one with model.chat_template, or `none`"


@dataclass(frozen=True)
class ChatStyle:
    """How messages become a prompt: the template (None: the model's own), or plain text, and a system prompt.

    `digests` are those of the template and of the system prompt, for the identity.
    """

    template: str | None
    plain: bool
    system: str | None
    digests: tuple[str | None, str | None]

    @classmethod
    def of(cls, section: ModelSection) -> ChatStyle:
        """Returns the style that a recipe's `model` section asks for. Raises UsageError if a file cannot be read."""
        system, system_digest = read_text(section.system_prompt, "system prompt")
        if section.chat_template == "none":
            return cls(None, True, system, ("none", system_digest))
        template, template_digest = read_text(section.chat_template, "chat template")
        return cls(template, False, system, (template_digest, system_digest))

    @property
    def makes_prompt(self) -> bool:
        """True where messages become one text before a server gets them."""
        return self.plain or self.template is not None

    def messages(self, request: Request) -> tuple[Message, ...]:
        """Returns the request's messages, after the user's system prompt unless they bring one of their own."""
        if self.system is None or (request.messages and request.messages[0].role == "system"):
            return request.messages
        return (Message("system", self.system.strip()), *request.messages)


def plain_text(messages: tuple[Message, ...]) -> str:
    """Returns messages without a chat template: their texts, with an empty line between."""
    return "\n\n".join(m.content for m in messages)


def render_template(source: str, messages: tuple[Message, ...]) -> str:
    """Fills in a user's chat template without a tokenizer, in Jinja's sandbox. Raises EngineError if it fails."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    turns = [m.as_dict() for m in messages]
    try:
        template = environment.from_string(source)
        return template.render(messages=turns, add_generation_prompt=True, bos_token="", eos_token="")
    except Exception as error:  # a template may divide by zero, or worse
        raise EngineError(f"the chat template fails: {error}", _TEMPLATE_HINT) from error


def disarm(text: str, special: re.Pattern[str] = _MARKER) -> str:
    """Returns `text` with chat markers broken by a space, so that a question cannot end its own turn. Half characters
    go too.

    >>> disarm("2 + 2<|im_end|>")
    '2 + 2< |im_end|>'
    """
    whole = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return special.sub(lambda m: f"{m[0][0]} {m[0][1:]}", whole)


def disarmed(message: Message, special: re.Pattern[str] = _MARKER) -> Message:
    """Returns a message with chat markers broken in all its texts, those of its further keys included."""

    def inside(value: Any) -> Any:
        if isinstance(value, str):
            return disarm(value, special)
        if isinstance(value, Mapping):
            return {inside(key): inside(inner) for key, inner in value.items()}
        return [inside(inner) for inner in value] if isinstance(value, list) else value

    return replace(message, content=disarm(message.content, special), more=inside(message.more))


@dataclass(frozen=True)
class Prompt:
    """A rendered request: token ids, and whether the template opened a thinking block at the end."""

    ids: list[int]
    continuation: list[int]
    max_tokens: int
    thinking: bool


class Renderer:
    """Renders requests with a model's tokenizer. Questions are data: chat markers in them are disarmed."""

    def __init__(self, tokenizer: Any, style: ChatStyle, max_model_len: int) -> None:
        self.tokenizer = tokenizer
        self.style = style
        self.max_model_len = max_model_len
        self.plain = style.plain or not (style.template or tokenizer.chat_template)
        added = {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special} | set(
            tokenizer.all_special_tokens
        )
        names = sorted((t for t in added if len(t) > 1), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, names)) or r"(?!)")

    @classmethod
    def load(cls, model: LocalModel, style: ChatStyle, max_model_len: int, trust_remote_code: bool) -> Renderer:
        """Loads the renderer for a model folder."""
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(model.folder, trust_remote_code=trust_remote_code)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise EngineError(
                f"the tokenizer of {model.name} cannot be loaded: {error}", "is the folder complete?"
            ) from error
        return cls(tokenizer, style, max_model_len)

    def prompt(self, request: Request) -> Prompt:
        """Returns the request as token ids. Raises EngineError if it does not fit or the template refuses it."""
        messages = [disarmed(message, self._special) for message in self.style.messages(request)]
        if self.plain:
            text = plain_text(tuple(messages))
        else:
            text = self._apply_template(messages)
        ids = self.tokenizer(text, add_special_tokens=self.plain).input_ids
        continuation: list[int] = []
        if request.continuation is not None:
            continuation = self.tokenizer(
                disarm(request.continuation, self._special), add_special_tokens=False
            ).input_ids
            if not continuation:
                raise EngineError("the continuation to be scored is empty")
        used = len(ids) + len(continuation)
        room = self.max_model_len - used
        if room < 1:
            raise EngineError(
                f"a prompt of {used} tokens does not fit into max_model_len {self.max_model_len}",
                "raise engine.max_model_len, where the model allows it",
            )
        return Prompt(ids, continuation, min(request.sampling.max_tokens, room), opens_reasoning(text))

    def reply(self, ids: list[int], request: Request, prompt: Prompt, finish_reason: str, cached: int = 0) -> Reply:
        """Returns the reply that generated ids stand for: without special tokens, stop strings and half characters."""
        text = self.tokenizer.decode(ids, skip_special_tokens=True).rstrip("\ufffd")
        text, stopped = cut_at_stop(text, request.sampling.stop)
        text, reasoning = split_reasoning(text, prompt.thinking)
        usage = Usage(prompt=len(prompt.ids), completion=len(ids), cached=cached)
        return Reply(text, reasoning, usage, "stop" if stopped else finish_reason)

    def _apply_template(self, messages: list[Message]) -> str:
        turns = [m.as_dict() for m in messages]
        try:
            text = self.tokenizer.apply_chat_template(
                turns, chat_template=self.style.template, add_generation_prompt=True, tokenize=False
            )
            return str(text)
        except Exception as error:  # a template may divide by zero, or worse
            raise EngineError(f"the chat template fails: {error}", _TEMPLATE_HINT) from error
