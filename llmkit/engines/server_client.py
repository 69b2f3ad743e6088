"""One OpenAI-compatible server: its client, its calls, and what its failures mean."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from llmkit.engines import answers
from llmkit.engines.canary import PROMPTS, Canary, Sight
from llmkit.engines.chat import ChatStyle, disarm, plain_text, render_template
from llmkit.engines.reasoning import opens_reasoning, split_reasoning
from llmkit.engines.sampling import request_seed
from llmkit.errors import EngineError, UsageError
from llmkit.registry import nearest
from llmkit.secrets import public_url, remember, scrub, scrub_reply
from llmkit.types import Message, Reply, Request, Usage

T = TypeVar("T")

_PROBE_SECONDS = 10.0
_LONGEST_NAME = 200  # characters of what a server calls its model


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


class Filtered(Exception):
    """A provider's content filter kept the question or the reply back. That is an answer: a refusal."""


class ServerClient:
    """One address. Lives on the event loop of the engine that owns it."""

    def __init__(self, url: str, key: str, model: str | None, style: ChatStyle, timeout: float, places: int) -> None:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

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
            http_client=DefaultAsyncHttpxClient(event_hooks={"request": [self._stay_at_home]}),
        )
        self.timeout = timeout
        self.model = model or ""  # which it is, is known once the server has listed its models
        self._asked_model = model
        self.style = style
        self.limit_name = "max_tokens"
        self.tokenizes = False
        self.gives_logprobs = not self._templated
        self.dead = False
        self.successes = 0
        self.read = 0  # answers of any kind that could be read, those of the canary included
        self.places, self.taken = places, 0  # requests that it may have at once, and has
        self.paused_until = 0.0
        self._seen: list[list[Sight]] = [[] for _ in PROMPTS]
        self._reported = "", ""  # what the last answer called the model, and its system_fingerprint
        self._probing: asyncio.Task[bool] | None = None

    async def close(self) -> None:
        await self.client.close()

    async def start(self) -> None:
        """Checks that the server is there and has the model."""
        await self._check_model()
        self.tokenizes = await self._can_score()

    async def canary(self, times: int) -> Canary:
        """Returns what the model answers to the canary's prompts, each put `times` times; asks what was not asked
        yet."""
        for before in range(times):
            for prompt, asked in zip(PROMPTS, self._seen, strict=True):
                if len(asked) <= before:  # else it was answered before a call failed
                    asked.append(await self._sight(prompt))
        return Canary.of(self._seen, *self._reported)

    async def alive(self) -> bool:
        """Returns whether the server still answers anything at all; asked once for everybody who wants to know."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())
        return await self._probing

    async def _probe(self) -> bool:
        from openai import APIConnectionError, APIStatusError

        for wait in (0.0, 0.5, 1.0, 2.0):
            await asyncio.sleep(wait)
            try:
                await self._listed()
            except (APIConnectionError, TimeoutError):
                continue
            except (APIStatusError, EngineError, ValueError, RecursionError):
                return True
            return True
        return False

    async def _listed(self) -> Any:
        """Returns the server's list of models, whole within a few seconds."""
        async with asyncio.timeout(_PROBE_SECONDS):
            return await self.client.with_options(timeout=_PROBE_SECONDS).models.list()

    async def _stay_at_home(self, request: Any) -> None:
        """Refuses a request that a redirect would take to another server: it carries the user's questions along."""
        home, url = urlsplit(self.address), request.url
        usual = {"http": 80, "https": 443}
        here, there = (
            (u_host, port or usual.get(scheme))
            for scheme, u_host, port in ((home.scheme, home.hostname, home.port), (url.scheme, url.host, url.port))
        )
        secured = home.hostname == url.host and url.scheme == "https" and url.port in (None, 443)
        if not secured and (home.scheme, here) != (url.scheme, there):
            where = scrub(f"{url.scheme}://{url.netloc.decode('ascii', 'replace').rpartition('@')[2]}")
            raise EngineError(
                f"{self.address} redirects to another server, {where}: nothing was sent there",
                "if you trust that one, give its address with --base-url",
            )

    async def _check_model(self) -> None:
        from openai import APIConnectionError, APIStatusError, AuthenticationError, PermissionDeniedError

        try:
            names = [m.id for m in (await self._listed()).data if isinstance(m.id, str)]
        except (AuthenticationError, PermissionDeniedError) as error:
            raise UsageError(
                f"{self.address} refuses the key ({error.status_code})",
                "check the variable that engine.api_key_env names",
            ) from error
        except (APIConnectionError, TimeoutError) as error:
            if fault := _tls_fault(error):
                raise EngineError(
                    f"the TLS connection to {self.address} fails: {fault}",
                    "is it http:// or https://? For a certificate of your own set SSL_CERT_FILE",
                ) from error
            raise EngineError(
                f"no server answers at {self.address}",
                "is it running, and is the address right? It usually ends in /v1",
            ) from error
        except (APIStatusError, ValueError, TypeError, AttributeError, RecursionError):
            names = []  # some servers do not list their models
        if self._asked_model is None:
            if len(names) != 1:
                raise UsageError(f"{self.address} has {len(names)} models", f"choose with --model: {', '.join(names)}")
            self.model = names[0]
        if names and self.model not in names:
            close = nearest(self.model, names) or names[:5]
            raise UsageError(
                f"{self.address} has no model `{self.model}`", f"it has {', '.join(f'`{n}`' for n in close)}"
            )

    async def _can_score(self) -> bool:
        """Returns whether the server has vLLM's /tokenize, which scoring a given text needs."""
        try:
            return bool(await self._tokenize({"prompt": "a", "add_special_tokens": False}))
        except (Again, EngineError, Filtered):
            return False

    async def _sight(self, prompt: str) -> Sight:
        """Returns the likeliest first tokens of an answer; its words where the server gives no log-probabilities."""
        request = Request((Message("user", prompt),))
        if self.gives_logprobs:
            try:
                options = {"logprobs": True, "top_logprobs": 5, self.limit_name: 1}
                call = self.client.chat.completions.create(**self._chat(request, options))
                if tokens := await self._read(call, lambda answer: answers.first_tokens(answers.first_choice(answer))):
                    return {scrub_reply(token, prompt): p for token, p in tokens.items()}
                self.gives_logprobs = False
            except Filtered:
                return ""
            except EngineError as error:
                if self.limit_name in error.message and "max_completion_tokens" in error.message:
                    self.limit_name = "max_completion_tokens"  # what OpenAI's newer models want
                    return await self._sight(prompt)
        return (await self._generate(request, {self.limit_name: 16})).text

    async def answer(self, request: Request) -> Reply:
        """Makes one call. Raises Again for a failure that may pass, EngineError for one that will not."""
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
        if self._templated:
            prompt = self._render(request)
            values = {**self._sampling(request), "prompt": prompt}
            if self.limit_name in options:
                values["max_tokens"] = options[self.limit_name]
            call, opened = self.client.completions.create(**values), opens_reasoning(prompt)
        else:
            call, opened = self.client.chat.completions.create(**self._chat(request, options)), False

        def read(answer: Any) -> Reply:
            choice = answers.first_choice(answer)
            said, thought = (answers.texts(choice.text)[0], "") if self._templated else answers.said_in_chat(choice)
            text, inline = split_reasoning(said, opened)
            reasoning = "\n".join(part for part in (thought, inline) if part)
            asked = "\n".join(m.content for m in self.style.messages(request))
            text, reasoning = (scrub_reply(part, asked) for part in (text, reasoning))
            return Reply(text, reasoning, answers.usage_of(answer), answers.finish_reason(choice))

        try:
            return await self._read(call, read)
        except Filtered:
            return Reply("", finish_reason="content_filter")

    def _render(self, request: Request) -> str:
        messages = tuple(Message(m.role, disarm(m.content)) for m in self.style.messages(request))
        template = self.style.template
        return plain_text(messages) if template is None else render_template(template, messages)

    async def _score(self, request: Request) -> Reply:
        """Returns log-probabilities of the continuation, from an echoed prompt of token ids."""
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

        def read(answer: Any) -> list[Any]:
            logprobs = getattr(answers.first_choice(answer), "logprobs", None)
            return list(getattr(logprobs, "token_logprobs", None) or ())[len(prompt) : len(ids)]

        try:
            scored = await self._read(call, read)
        except Filtered as error:
            raise EngineError(f"{self.address} refuses to score the text: {error}") from error
        if len(scored) < len(continuation) or not all(map(answers.is_number, scored)):
            raise EngineError(f"{self.address} gives no log-probabilities of the prompt", "score by execution instead")
        return Reply(request.continuation or "", usage=Usage(prompt=len(ids)), logprobs=tuple(scored))

    async def _tokenize(self, body: dict[str, Any]) -> list[int]:
        url = self.address.removesuffix("/v1") + "/tokenize"
        call = self.client.post(url, body={"model": self.model, **body}, cast_to=object)
        tokens = await self._read(call, lambda answer: answer["tokens"] if isinstance(answer, dict) else [])
        return tokens if isinstance(tokens, list) else []

    async def _read(self, call: Awaitable[Any], read: Callable[[Any], T]) -> T:
        """Awaits a call of the client and reads its answer; tells failures that may pass from those that will not."""
        answer = await self._answered(call)
        try:
            value = read(answer)
        except ValueError as error:
            raise Again(scrub(str(error))) from error
        except (AttributeError, LookupError, TypeError, RecursionError) as error:
            raise Again("the answer is not of the form that the protocol gives it") from error
        self.read += 1
        self._reported = _reported(answer, "model"), _reported(answer, "system_fingerprint")
        return value

    async def _answered(self, call: Awaitable[Any]) -> Any:
        """Returns the answer to a call, whole within the time limit: the client's own limit is one between two
        bytes."""
        from openai import APIConnectionError, APIResponseValidationError, APIStatusError, APITimeoutError

        try:
            async with asyncio.timeout(self.timeout):
                return await call
        except (APITimeoutError, TimeoutError) as error:
            raise Again("no whole answer within the time limit", late=True) from error
        except APIConnectionError as error:
            reason = _tls_fault(error) or type(error.__cause__).__name__
            raise Again(f"the connection broke ({reason})", connection=True) from error
        except APIStatusError as error:
            status, words = error.status_code, scrub(answers.words_of(error))
            if answers.is_filtered(error):
                raise Filtered(words) from error
            if status == 429:
                wait = _retry_after(error.response.headers)
                raise Again(f"too many requests (429): {words}", throttled=True, wait=wait) from error
            if status >= 500 or status in (408, 409):
                raise Again(f"server error {status}: {words}") from error
            raise EngineError(f"{self.address} refuses the request ({status}): {words}") from error
        except (APIResponseValidationError, ValueError, RecursionError) as error:
            raise Again("the answer is not whole JSON, or nested too deeply") from error


def _reported(answer: Any, name: str) -> str:
    """Returns what an answer says of its model, short and without keys."""
    return scrub_reply(str(getattr(answer, name, None) or ""), "")[:_LONGEST_NAME]


def _tls_fault(error: BaseException) -> str | None:
    """Returns what TLS complains of, if that is why a connection failed."""
    at: BaseException | None = error
    while at is not None and not isinstance(at, ssl.SSLError):
        at = at.__cause__ or at.__context__
    if isinstance(at, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {at.verify_message}"
    return None if at is None else (at.reason or str(at)).replace("_", " ").lower()


def _retry_after(headers: Any) -> float | None:
    """Returns the seconds that a Retry-After header asks for, given as a number or a date; None without one that can be
    read."""
    value = headers.get("retry-after", "")
    try:
        seconds = (
            float(value) if value[:1].isdigit() else email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)
