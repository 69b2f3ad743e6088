"""One OpenAI-compatible server: its client, its calls, and what its failures mean."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import time
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from llmkit.engines.canary import PROMPTS, Observation
from llmkit.engines.chat import ChatStyle, disarm, plain_text, render_template
from llmkit.engines.reasoning import opens_reasoning, split_reasoning
from llmkit.engines.sampling import request_seed
from llmkit.errors import EngineError, UsageError
from llmkit.registry import nearest
from llmkit.secrets import public_url, remember, scrub
from llmkit.types import Message, Reply, Request, Usage

_PROBE_SECONDS = 10.0


class Again(Exception):
    """A failure that may pass: the call is worth another try, after `wait` seconds if the server named a time."""

    def __init__(
        self,
        reason: str,
        *,
        connection: bool = False,
        throttled: bool = False,
        late: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.connection = connection
        self.throttled = throttled
        self.late = late
        self.wait = wait


class Server:
    """One address. Lives on the event loop of the engine that owns it."""

    def __init__(self, url: str, key: str, model: str | None, style: ChatStyle, timeout: float, places: int) -> None:
        from openai import AsyncOpenAI

        self.address = public_url(url)
        parts = urlsplit(url)
        headers = {}
        if parts.username:
            token = base64.b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
            remember(token)
            headers["Authorization"] = f"Basic {token}"
        self.client = AsyncOpenAI(
            api_key=key,
            base_url=self.address,
            default_query=dict(parse_qsl(parts.query)),
            default_headers=headers,
            max_retries=0,
            timeout=timeout,
        )
        self.model = model
        self.style = style
        self.limit_name = "max_tokens"
        self.tokenizes = False
        self.dead = False
        self.successes = 0
        self.places, self.taken = places, 0  # requests that it may have at once, and has
        self.paused_until = 0.0
        self._seen: Observation = []
        self._probing: asyncio.Task[bool] | None = None

    async def close(self) -> None:
        await self.client.close()

    async def start(self) -> Observation:
        """Check that the server is there and has the model, and look at its canary."""
        await self._check_model()
        self.tokenizes = await self._can_score()
        for prompt in PROMPTS[len(self._seen) :]:  # a second start goes on where the first one failed
            self._seen.append(await self._canary(prompt))
        return self._seen

    async def alive(self) -> bool:
        """Whether the server still answers anything at all; asked once for everybody who wants to know."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())
        return await self._probing

    async def _probe(self) -> bool:
        from openai import APIConnectionError, APIStatusError

        for wait in (0.0, 0.5, 1.0, 2.0):
            await asyncio.sleep(wait)
            try:
                await self.client.with_options(timeout=_PROBE_SECONDS).models.list()
            except APIStatusError:
                return True
            except APIConnectionError:
                continue
            except ValueError:
                return True
            return True
        return False

    async def _check_model(self) -> None:
        from openai import APIConnectionError, APIStatusError, AuthenticationError, PermissionDeniedError

        try:
            listed = await self.client.with_options(timeout=_PROBE_SECONDS).models.list()
            names = [m.id for m in listed.data]
        except (AuthenticationError, PermissionDeniedError) as error:
            raise UsageError(
                f"{self.address} refuses the key ({error.status_code})",
                "check the variable that engine.api_key_env names",
            ) from error
        except APIConnectionError as error:
            raise EngineError(
                f"no server answers at {self.address}",
                "is it running, and is the address right? It usually ends in /v1",
            ) from error
        except (APIStatusError, ValueError, TypeError, AttributeError):
            names = []  # some servers do not list their models
        if self.model is None:
            if len(names) != 1:
                raise UsageError(f"{self.address} has {len(names)} models", f"choose with --model: {', '.join(names)}")
            self.model = names[0]
        if names and self.model not in names:
            close = nearest(self.model, names) or names[:5]
            raise UsageError(
                f"{self.address} has no model `{self.model}`", f"it has {', '.join(f'`{n}`' for n in close)}"
            )

    async def _can_score(self) -> bool:
        """Whether the server has vLLM's /tokenize, which scoring a given text needs."""
        try:
            return bool(await self._tokenize({"prompt": "a", "add_special_tokens": False}))
        except (Again, EngineError):
            return False

    async def _canary(self, prompt: str) -> dict[str, float] | str:
        request = Request((Message("user", prompt),))
        if not self._templated:
            try:
                options = {"logprobs": True, "top_logprobs": 5, self.limit_name: 1}
                answer = await self._checked(self.client.chat.completions.create(**self._chat(request, options)))
                logprobs = answer.choices[0].logprobs
                if logprobs and logprobs.content:
                    return {t.token: round(t.logprob, 4) for t in logprobs.content[0].top_logprobs}
            except EngineError as error:
                if self.limit_name in error.message and "max_completion_tokens" in error.message:
                    self.limit_name = "max_completion_tokens"  # what OpenAI's newer models want
                    return await self._canary(prompt)
        return (await self._generate(request, {self.limit_name: 16})).text

    async def answer(self, request: Request) -> Reply:
        """One call. Raises Again for a failure that may pass, EngineError for one that will not."""
        return await (self._generate(request, {}) if request.continuation is None else self._score(request))

    @property
    def _templated(self) -> bool:
        return self.style.plain or self.style.template is not None

    def _chat(self, request: Request, options: dict[str, Any]) -> dict[str, Any]:
        messages = [{"role": m.role, "content": disarm(m.content)} for m in self.style.messages(request)]
        return {"messages": messages, **self._sampling(request), **options}

    def _sampling(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        values: dict[str, Any] = {"model": self.model, self.limit_name: sampling.max_tokens}
        values["temperature"] = sampling.temperature
        if sampling.temperature:
            values |= {"top_p": sampling.top_p, "seed": request_seed(request)}
        if sampling.stop:
            values["stop"] = list(sampling.stop)
        return values

    async def _generate(self, request: Request, options: dict[str, Any]) -> Reply:
        if not self._templated:
            answer = await self._checked(self.client.chat.completions.create(**self._chat(request, options)))
            choice = answer.choices[0]
            said, opened = choice.message.content or "", False
            thought = getattr(choice.message, "reasoning_content", None) or getattr(choice.message, "reasoning", None)
        else:
            prompt = self._render(request)
            values = {**self._sampling(request), "prompt": prompt}
            if self.limit_name in options:
                values["max_tokens"] = options[self.limit_name]
            answer = await self._checked(self.client.completions.create(**values))
            choice = answer.choices[0]
            said, thought, opened = choice.text or "", None, opens_reasoning(prompt)
        text, inline = split_reasoning(said, opened)
        reasoning = "\n".join(part for part in (thought, inline) if part)
        return Reply(text, reasoning, _usage(answer.usage), choice.finish_reason or "stop")

    def _render(self, request: Request) -> str:
        messages = tuple(Message(m.role, disarm(m.content)) for m in self.style.messages(request))
        return plain_text(messages) if self.style.plain else render_template(self.style.template, messages)

    async def _score(self, request: Request) -> Reply:
        """Log-probabilities of the continuation, from an echoed prompt of token ids."""
        if self._templated:
            body: dict[str, Any] = {"prompt": self._render(request), "add_special_tokens": self.style.plain}
        else:
            body = {"messages": self._chat(request, {})["messages"], "add_generation_prompt": True}
        prompt = await self._tokenize(body)
        continuation = await self._tokenize({"prompt": request.continuation, "add_special_tokens": False})
        if not continuation:
            raise EngineError("the continuation to be scored is empty")
        ids = prompt + continuation
        call = self.client.completions.create(
            model=self.model, prompt=ids, max_tokens=1, temperature=0.0, echo=True, logprobs=0
        )
        logprobs = (await self._checked(call)).choices[0].logprobs
        if logprobs is None or len(logprobs.token_logprobs) < len(ids):
            raise EngineError(f"{self.address} gives no log-probabilities of the prompt", "score by execution instead")
        scored = logprobs.token_logprobs[len(prompt) : len(ids)]
        return Reply(request.continuation, usage=Usage(prompt=len(ids)), logprobs=tuple(scored))

    async def _tokenize(self, body: dict[str, Any]) -> list[int]:
        url = self.address.removesuffix("/v1") + "/tokenize"
        answer = await self._checked(
            self.client.post(url, body={"model": self.model, **body}, cast_to=object), parsed=False
        )
        return answer.get("tokens", []) if isinstance(answer, dict) else []

    async def _checked(self, call: Any, parsed: bool = True) -> Any:
        """Await a call of the client and tell failures that may pass from those that will not."""
        from openai import APIConnectionError, APIResponseValidationError, APIStatusError, APITimeoutError

        try:
            answer = await call
        except APITimeoutError as error:
            raise Again("no answer within the time limit", late=True) from error
        except APIConnectionError as error:
            raise Again(f"the connection broke ({type(error.__cause__).__name__})", connection=True) from error
        except APIStatusError as error:
            if error.status_code == 429:
                raise Again(
                    "too many requests (429)", throttled=True, wait=_retry_after(error.response.headers)
                ) from error
            if error.status_code >= 500 or error.status_code in (408, 409):
                raise Again(f"server error {error.status_code}") from error
            raise EngineError(
                f"{self.address} refuses the request ({error.status_code}): {scrub(_said(error))}"
            ) from error
        except (APIResponseValidationError, ValueError) as error:
            raise Again("the answer is not whole JSON") from error
        if parsed and not getattr(answer, "choices", None):
            raise Again("the answer has no choices")
        return answer


def _said(error: Any) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or body.get("detail") or error.message)[:500]


def _usage(usage: Any) -> Usage:
    if usage is None:
        return Usage()
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0, getattr(details, "cached_tokens", None) or 0)


def _retry_after(headers: Any) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or a date; None without one that can be read."""
    value = headers.get("retry-after", "")
    try:
        seconds = (
            float(value) if value[:1].isdigit() else email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)
