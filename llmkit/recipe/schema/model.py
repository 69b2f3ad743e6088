"""`model` and `engine`: what answers, and what runs it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from llmkit.recipe.schema.base import NEUTRAL, Section


def _variable(name: str) -> str:
    if not name.isidentifier():  # perhaps the key itself: it must not be repeated in the message
        raise ValueError("should be the name of an environment variable, not a key")
    return name


class ModelSection(Section):
    """The model that is asked."""

    path: str | None = None
    """A hub name, a local folder, `smollm2-135m`, or the name a server knows it by."""
    revision: str | None = None
    """A hub commit or tag; for a server, the revision that its operator states."""
    adapter: str | None = None
    """A PEFT adapter: a folder or a hub name."""
    chat_template: str | None = None
    """A file with a Jinja chat template, or `none` to send plain text. Default: the tokenizer's own."""
    system_prompt: str | None = None
    """A text file that stands before every conversation as the system message."""


class EngineSection(Section):
    """The way the model is run."""

    kind: str = Field("auto", examples=["auto", "vllm", "openai", "transformers"])
    """What runs the model: `vllm`, `openai`, `transformers`, or an engine that another package brings. `auto`: a server
    if `base_url` is given, else vLLM if it imports, else transformers."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """The dtype that the model computes in. `auto`: what the weights are stored in, or what is faster here."""
    max_model_len: int | None = Field(None, ge=16)
    """Longest prompt plus reply, in tokens. Default: the model's own limit, at most 4096."""
    max_num_seqs: Annotated[int, NEUTRAL] = Field(64, ge=1, le=65_536)
    """Requests in flight at once: vLLM's batch, or a server's concurrency."""
    batch_size: Annotated[int, NEUTRAL] = Field(16, ge=1)
    """Rows of one transformers batch."""
    kv_cache_gib: float | None = Field(None, gt=0)
    """vLLM's cache for keys and values. Default: 1 GiB on a CPU, vLLM's own choice on a GPU."""
    enforce_eager: bool | None = None
    """Skip compilation. Default: true on a CPU, false on a GPU."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs that share one model."""
    prefix_caching: bool = True
    """Keep the keys and values of prompts that begin alike."""
    batch_invariant: bool = False
    """vLLM's batch-invariant kernels, where the GPU has them: slower, and the same answer in any batch."""
    trust_remote_code: bool = False
    """Run code that comes with a model. Off unless you have read that code."""
    base_url: tuple[str, ...] = ()
    """Addresses of OpenAI-compatible servers; several share the load."""
    replicas: bool = False
    """Declare that all `base_url` serve the same model, so that their answers may be shared."""
    api_key_env: Annotated[str, NEUTRAL, AfterValidator(_variable)] = "OPENAI_API_KEY"
    """The environment variable that holds the key. The key itself never stands in a recipe."""
    timeout_s: Annotated[float, NEUTRAL] = Field(120.0, gt=0)
    """Seconds to wait for one reply of a server."""
    retries: Annotated[int, NEUTRAL] = Field(4, ge=0, le=100)
    """Times that a failed request to a server is sent again."""
