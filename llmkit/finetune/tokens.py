"""Views to token ids: which tokens are learnt, the end of sequence, and the cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.engines.chat import Renderer
from llmkit.errors import DataError
from llmkit.files import lock
from llmkit.finetune.views import View
from llmkit.resources import cache_dir
from llmkit.types import Message, Request

if TYPE_CHECKING:
    import numpy as np


@dataclass
class Tokens:
    """Rows of different lengths in flat arrays. Row i is ids[starts[i]:starts[i+1]]; its first prompts[i] are prompt.

    The second view of a row, if any, has the same answer: only its prompt, in `second` with `second_starts`.
    """

    ids: np.ndarray  # int32
    starts: np.ndarray  # int64, rows + 1
    prompts: np.ndarray  # int32, rows
    second: np.ndarray  # int32, empty without second views
    second_starts: np.ndarray  # int64, rows + 1, or empty
    dropped: np.ndarray  # int64, one number: rows left out as too long

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, both views together."""
        import numpy as np

        own_lengths = np.diff(self.starts)
        return (
            own_lengths + (np.diff(self.second_starts) + own_lengths - self.prompts)
            if len(self.second_starts)
            else own_lengths
        )

    def row(self, index: int) -> dict[str, list[int]]:
        """Returns `input_ids` and `labels` (-100: not learnt), and `view_input_ids`, `view_labels` of a second view."""
        token_ids = self.ids[self.starts[index] : self.starts[index + 1]].tolist()
        prompt_length = int(self.prompts[index])
        answer_ids = token_ids[prompt_length:]
        row = {"input_ids": token_ids, "labels": [-100] * prompt_length + answer_ids}
        if len(self.second_starts):
            second_prompt = self.second[self.second_starts[index] : self.second_starts[index + 1]].tolist()
            row |= {
                "view_input_ids": second_prompt + answer_ids,
                "view_labels": [-100] * len(second_prompt) + answer_ids,
            }
        return row


class Encoder:
    """Encodes prompts exactly as the engines do, and answers so that they end in an end-of-sequence token."""

    def __init__(self, renderer: Renderer, plain: Renderer, max_length: int, too_long: str) -> None:
        self.renderer, self.plain, self.max_length, self.too_long = renderer, plain, max_length, too_long
        self.eos = renderer.tokenizer.eos_token_id
        if self.eos is None:
            raise DataError(
                "the tokenizer has no end-of-sequence token", "set `eos_token` in its tokenizer_config.json"
            )

    def prompt(self, messages: tuple[Message, ...], plain: bool) -> list[int]:
        token_ids = (self.plain if plain else self.renderer).prompt(Request(messages)).ids
        # Some tokenizers end every text; a prompt that already ends would teach that answers follow an end.
        return token_ids[:-1] if len(token_ids) > 1 and token_ids[-1] == self.eos and plain else token_ids

    def answer(self, text: str, plain: bool) -> list[int]:
        """Encodes an answer; its last id is the end of sequence. After a plain prompt it begins with a space or
        line."""
        token_ids = self.renderer.tokenizer(self._lead(plain) + text, add_special_tokens=False).input_ids
        return [*token_ids, self.eos]

    def _lead(self, plain: bool) -> str:
        return "\n" if plain or self.renderer.plain else ""

    def encode(self, view: View) -> tuple[list[int], list[int], list[int] | None] | None:
        """Encodes prompt, answer and second prompt. None for a row dropped as too long."""
        prompt, answer = self.prompt(view.prompt, view.plain), self.answer(view.answer, view.plain)
        second = None if view.second is None else self.prompt(view.second, view.plain)
        longest = max(len(prompt), len(second or ())) + len(answer)
        if longest <= self.max_length:
            return prompt, answer, second
        if self.too_long == "drop":
            return None
        tokens_left = self.max_length - max(len(prompt), len(second or ()))
        if self.too_long == "error" or tokens_left < 1:
            raise DataError(
                f"row {view.row} has {longest} tokens, finetune.data.max_length is {self.max_length}",
                "raise max_length, or set finetune.data.too_long to drop or truncate",
            )
        return prompt, answer[:tokens_left], second

    def encode_all(self, views: Iterable[View]) -> Tokens:
        """Encodes every view, in order. DataError if nothing is left."""
        import numpy as np

        encoded_rows = [self.encode(view) for view in views]
        kept_rows = [row for row in encoded_rows if row is not None]
        if not kept_rows:
            raise DataError(
                f"all {len(encoded_rows)} rows are longer than finetune.data.max_length={self.max_length}"
                if encoded_rows
                else "no rows",
                "raise finetune.data.max_length",
            )
        paired = kept_rows[0][2] is not None
        # Of all rows, or of none
        seconds = [second_prompt for _, _, second_prompt in kept_rows if second_prompt is not None]
        return Tokens(
            ids=_flat([[*prompt, *answer] for prompt, answer, _ in kept_rows]),
            starts=_starts([len(prompt) + len(answer) for prompt, answer, _ in kept_rows]),
            prompts=np.array([len(prompt) for prompt, _, _ in kept_rows], dtype=np.int32),
            second=_flat(seconds),
            second_starts=_starts([len(second_prompt) for second_prompt in seconds])
            if paired
            else np.zeros(0, np.int64),
            dropped=np.array([len(encoded_rows) - len(kept_rows)], dtype=np.int64),
        )


def _flat(rows: list[list[int]]) -> np.ndarray:
    import numpy as np

    return np.fromiter((token for row in rows for token in row), dtype=np.int32, count=sum(map(len, rows)))


def _starts(lengths: list[int]) -> np.ndarray:
    import numpy as np

    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def cached(key: str, make: Any) -> tuple[Tokens, bool]:
    """Returns `make()` or its cached result under this key, and whether that was cached. Replaces a damaged file.

    Of several processes with one cache the first makes them, and the others wait for its file.
    """
    import os

    import numpy as np

    path = cache_dir() / "tokens" / f"{key}.npz"
    if (stored := _stored(path)) is not None:
        return stored, True
    with lock(path.with_suffix(".lock")):
        if (stored := _stored(path)) is not None:
            return stored, True
        tokens = make()
        unfinished_path = path.with_name(f"{path.name}.{os.getpid()}.part")
        with open(unfinished_path, "wb") as file:
            np.savez(file, **{field.name: getattr(tokens, field.name) for field in fields(Tokens)})
        os.replace(unfinished_path, path)
    return tokens, False


def _stored(path: Path) -> Tokens | None:
    """Reads the tokens in a file. None if there is none, or a damaged one."""
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            return Tokens(**{field.name: stored[field.name] for field in fields(Tokens)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
