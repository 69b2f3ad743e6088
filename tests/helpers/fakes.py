"""A scripted engine, for every room's tests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from llmkit.engines import ENGINES, Engine, EngineIdentity
from llmkit.errors import EngineError
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.types import Reply, Request, Usage


class FakeEngine:
    """Answers by a function of the request: a text, a Reply or an EngineError. `asked` lists what it was asked.

    Replies come in a shuffled order (`shuffle` is its seed; None keeps the order). An EngineError that the function
    raises, rather than returns, is fatal, as a dead server's is.
    """

    def __init__(
        self,
        answer: Callable[[Request], Any] = lambda request: "The answer is 4.",
        *,
        name: str = "fake",
        shuffle: int | None = 0,
        capabilities: frozenset[str] = frozenset({"likelihood", "tools"}),
        local: bool = True,
    ) -> None:
        self.answer = answer
        self.identity = EngineIdentity(kind="fake", version="1", model=name, revision="0")
        self.identity_is_local = local
        self.capabilities = capabilities
        self.canary = None
        self.asked: list[Request] = []
        self.closed = False
        self.most_pending = 0
        self._pending: list[tuple[Any, Request]] = []
        self._random = None if shuffle is None else random.Random(shuffle)

    def submit(self, key: Any, request: Request) -> None:
        self.asked.append(request)
        self._pending.append((key, request))
        self.most_pending = max(self.most_pending, len(self._pending))

    def drain(self) -> Iterator[tuple[Any, Reply | EngineError]]:
        while self._pending:
            at = self._random.randrange(len(self._pending)) if self._random else 0
            key, request = self._pending.pop(at)
            said = self.answer(request)
            yield key, fake_reply(request, said) if isinstance(said, str) else said

    def close(self) -> None:
        self._pending.clear()
        self.closed = True


class FakeKind:
    """A kind of engine whose engines are what `opened` makes of a recipe's sections."""

    kind = "fake"

    def __init__(self, opened: Callable[[ModelSection, EngineSection], Engine]) -> None:
        self.opened = opened

    def takes(self, model: ModelSection, section: EngineSection) -> bool:
        return True

    def __call__(self, model: ModelSection, section: EngineSection) -> Engine:
        return self.opened(model, section)


@contextmanager
def fake_kind(
    opened: Callable[[ModelSection, EngineSection], Engine], kinds: Iterable[str] = ("fake",)
) -> Iterator[None]:
    """Recipes with `engine.kind: fake` open these engines; with other `kinds`, in the place of the real ones."""
    with mock.patch.dict(ENGINES._items, dict.fromkeys(kinds, FakeKind(opened))):
        yield


def fake_reply(request: Request, text: str) -> Reply:
    """A reply that counts words as tokens; for a continuation, -1 nat for each of its words."""
    prompt = sum(len(m.content.split()) for m in request.messages)
    logprobs = None if request.continuation is None else tuple(-1.0 for _ in request.continuation.split())
    return Reply(text=text, usage=Usage(prompt=prompt, completion=len(text.split())), logprobs=logprobs)


def make_tiny_llama(folder: Path, seed: int = 0, layers: int = 2) -> Path:
    """Save a Llama of about 0.3 million random parameters (head size 32) with a small BPE tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    text = [
        f"{a} apples and {b} pears are {a + b} pieces of fruit. How many are left?"
        for a in range(12)
        for b in range(12)
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        text, trainers.BpeTrainer(vocab_size=500, special_tokens=special, initial_alphabet=alphabet)
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[1], pad_token=special[2]
    )
    wrapped.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    ids = {
        name: wrapped.convert_tokens_to_ids(token) for name, token in zip(("bos", "eos", "pad"), special, strict=True)
    }
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.2,
        bos_token_id=ids["bos"],
        eos_token_id=ids["eos"],
        pad_token_id=ids["pad"],
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder
