"""`model` and `engine`: what answers, and what runs it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from llmkit.recipe.schema.base import LATER, NEUTRAL, Section


def _variable(name: str) -> str:
    if not name.isidentifier():  # perhaps the key itself: it must not be repeated in the message
        raise ValueError("should be the name of an environment variable, not a key")
    return name


def _path(path: str) -> str:
    from llmkit.forms import check_path

    return check_path(path)


def _body(body: JsonValue) -> JsonValue:
    from llmkit.forms import Form

    Form(body)
    return body


Variable = Annotated[str, AfterValidator(_variable)]
JsonPath = Annotated[str, AfterValidator(_path)]
Body = Annotated[JsonValue, AfterValidator(_body)]
Method = Literal["POST", "PUT", "PATCH", "GET"]


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


class BeforeSection(Section):
    """A call of your application before each question, such as one that opens a session."""

    url: str
    """The address."""
    method: Method = "POST"
    """The HTTP method. GET sends the body as the query."""
    headers_env: Annotated[dict[str, Variable], NEUTRAL] = Field(default_factory=dict)
    """Header names, each with the environment variable that holds its value."""
    body: Body = None
    """As `engine.body`, without `session`."""
    session: JsonPath
    """The JSONPath of what fills `{{ session }}` in `engine.body`."""


class UsageSection(Section):
    """The places of the token counts in your application's reply."""

    prompt: JsonPath | None = None
    """The JSONPath of the number of prompt tokens."""
    completion: JsonPath | None = None
    """The JSONPath of the number of new tokens."""


class EngineSection(Section):
    """The way the model is run."""

    kind: str = Field("auto", examples=["auto", "vllm", "openai", "transformers", "http"])
    """What runs the model: `vllm`, `openai`, `transformers`, `http` (your application), or an engine that another
    package brings. `auto`: a server if `base_url` is given, else vLLM if it imports, else transformers."""
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
    """Addresses of OpenAI-compatible servers; several share the load. `@FILE` lists replicas of one model, a line each,
    and is read again while a run goes on: servers join and leave."""
    replicas: bool = False
    """Declare that all `base_url` serve the same model, so that their answers may be shared."""
    url: Annotated[str | None, LATER] = None
    """The address of your application, for `kind: http`."""
    method: Annotated[Method, LATER] = "POST"
    """The HTTP method that it takes. GET sends the body as the query."""
    headers_env: Annotated[dict[str, Variable], NEUTRAL] = Field(default_factory=dict)
    """Names of headers that it wants, each with the environment variable that holds its whole value."""
    body: Annotated[Body, LATER] = None
    """The content of its requests: any JSON value. Each text in it is a Jinja template over `messages`, `prompt` (the
    last user turn), `session`, `tools` and the row's fields; one that is exactly `{{ messages }}` becomes the list."""
    answer: Annotated[JsonPath | None, LATER] = None
    """The JSONPath (RFC 9535) of the answer in its reply; with `stream`, of the piece of text in each event."""
    usage: Annotated[UsageSection | None, LATER] = None
    """The places in its reply that count tokens."""
    documents: Annotated[JsonPath | None, LATER] = None
    """The JSONPath of the ids or texts of what it retrieved, best first."""
    tool_calls: Annotated[JsonPath | None, LATER] = None
    """The JSONPath of the tool calls in its reply, each an object with a name and arguments."""
    reported_model: Annotated[JsonPath | None, LATER] = None
    """The JSONPath of the model's name in its reply: another one in a later start is noticed."""
    reported_fingerprint: Annotated[JsonPath | None, LATER] = None
    """The JSONPath of what else names its version, such as `$.system_fingerprint`."""
    stream: Annotated[Literal["sse"] | None, LATER] = None
    """`sse`: it answers by server-sent events, each with JSON, until one is `[DONE]` or the reply ends."""
    before: Annotated[BeforeSection | None, LATER] = None
    """A call before each question."""
    deterministic: Annotated[bool, NEUTRAL] = False
    """Declare that your application answers the same to the same request, so that its answers may be cached."""
    rps: Annotated[float | None, NEUTRAL] = Field(None, gt=0)
    """At most this many requests a second, retries included, to servers and your own application."""
    api_key_env: Annotated[Variable, NEUTRAL] = "OPENAI_API_KEY"
    """The environment variable that holds the key. The key itself never stands in a recipe."""
    timeout_s: Annotated[float, NEUTRAL] = Field(120.0, gt=0)
    """Seconds to wait for one reply of a server or of your application."""
    retries: Annotated[int, NEUTRAL] = Field(4, ge=0, le=100)
    """Times that a failed request to a server or your application is sent again."""
