"""One OpenAI-compatible server: its client, its calls, and what its failures mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from llmkit.engines import answers
from llmkit.engines.canary import Sight
from llmkit.engines.chat import ChatStyle, disarm, plain_text, render_template
from llmkit.engines.client import Again, Client, Filtered, capped, credentials, failure, stay_at_home, tls_fault
from llmkit.engines.pace import Pace
from llmkit.engines.reasoning import opens_reasoning, split_reasoning
from llmkit.engines.sampling import request_seed
from llmkit.errors import EngineError, UsageError
from llmkit.registry import nearest
from llmkit.secrets import public_url, scrub, scrub_reply
from llmkit.types import Message, Reply, Request, Usage

T = TypeVar("T")

_PROBE_SECONDS = 10.0


class ServerClient(Client):
    """One address of such a server."""

    def __init__(
        self, url: str, key: str, model: str | None, style: ChatStyle, timeout: float, places: int, pace: Pace
    ) -> None:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        # Which model it is, is known once the server has listed its models.
        super().__init__(public_url(url), timeout, places, pace, model or "")
        self.client = AsyncOpenAI(
            api_key=key,
            base_url=self.address,
            default_query=dict(parse_qsl(urlsplit(url).query)),
            default_headers=credentials(url),
            max_retries=0,
            timeout=timeout,
            http_client=DefaultAsyncHttpxClient(
                event_hooks={
                    "request": [stay_at_home(self.address, "--base-url")],
                    "response": [capped(self.address)],
                }
            ),
        )
        self._asked_model = model
        self.style = style
        self.limit_name = "max_tokens"
        self.tokenizes = False
        self.gives_logprobs = not self.style.makes_prompt

    async def close(self) -> None:
        await self.client.close()

    async def start(self) -> None:
        """Checks that the server is there and has the model."""
        await self._check_model()
        self.tokenizes = await self._can_score()

    async def responds(self) -> bool:
        from openai import APIConnectionError, APIStatusError

        try:
            await self._listed()
        except (APIConnectionError, TimeoutError):
            return False
        except (APIStatusError, EngineError, ValueError, RecursionError):
            return True
        return True

    async def _listed(self) -> Any:
        """Returns the server's list of models, whole within a few seconds."""
        await self.pace.turn()
        async with asyncio.timeout(_PROBE_SECONDS):
            return await self.client.with_options(timeout=_PROBE_SECONDS).models.list()

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
            if fault := tls_fault(error):
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

    async def sight(self, prompt: str) -> Sight:
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
                    return await self.sight(prompt)
        return (await self._generate(request, {self.limit_name: 16})).text

    async def answer(self, request: Request) -> Reply:
        return await (self._generate(request, {}) if request.continuation is None else self._score(request))

    def _chat(self, request: Request, options: dict[str, Any]) -> dict[str, Any]:
        messages = [{"role": m.role, "content": disarm(m.content)} for m in self.style.messages(request)]
        tools = {"tools": list(request.tools)} if request.tools else {}
        return {"messages": messages, **tools, **self._sampling(request), **options}

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
        if self.style.makes_prompt:
            prompt = self._render(request)
            values = {**self._sampling(request), "prompt": prompt}
            if self.limit_name in options:
                values["max_tokens"] = options[self.limit_name]
            call, opened = self.client.completions.create(**values), opens_reasoning(prompt)
        else:
            call, opened = self.client.chat.completions.create(**self._chat(request, options)), False

        def read(answer: Any) -> Reply:
            choice = answers.first_choice(answer)
            said, thought = (
                (answers.texts(choice.text)[0], "") if self.style.makes_prompt else answers.said_in_chat(choice)
            )
            text, inline = split_reasoning(said, opened)
            reasoning = "\n".join(part for part in (thought, inline) if part)
            asked = "\n".join(m.content for m in self.style.messages(request))
            text, reasoning = (scrub_reply(part, asked) for part in (text, reasoning))
            calls = answers.tool_calls(choice, lambda written: scrub_reply(written, asked))
            return Reply(text, reasoning, answers.usage_of(answer), answers.finish_reason(choice), tool_calls=calls)

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
        if self.style.makes_prompt:
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

    async def _read(self, call: Coroutine[Any, Any, Any], read: Callable[[Any], T]) -> T:
        """Awaits a call of the client and reads its answer; tells failures that may pass from those that will not."""
        answer = await self._answered(call)
        try:
            value = read(answer)
        except ValueError as error:
            raise Again(scrub(str(error))) from error
        except (AttributeError, LookupError, TypeError, RecursionError) as error:
            raise Again("the answer is not of the form that the protocol gives it") from error
        self._took(getattr(answer, "model", None), getattr(answer, "system_fingerprint", None))
        return value

    async def _answered(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Returns the answer to a call, whole within the time limit: the client's own limit is one between two
        bytes."""
        from openai import APIConnectionError, APIResponseValidationError, APIStatusError, APITimeoutError

        # Before the time limit begins: a turn may be a long way off.
        try:
            await self.pace.turn()
        except asyncio.CancelledError:
            call.close()  # Python warns of a call that was made and never awaited
            raise
        try:
            async with asyncio.timeout(self.timeout):
                return await call
        except (APITimeoutError, TimeoutError) as error:
            raise Again("no whole answer within the time limit", late=True) from error
        except APIConnectionError as error:
            reason = tls_fault(error) or type(error.__cause__).__name__
            raise Again(f"the connection broke ({reason})", connection=True) from error
        except APIStatusError as error:
            status, words = error.status_code, scrub(answers.words_of(error.body, error.message))
            if answers.is_filtered(error.body):
                raise Filtered(words) from error
            raise failure(self.address, status, words, error.response.headers) from error
        except (APIResponseValidationError, ValueError, RecursionError) as error:
            raise Again("the answer is not whole JSON, or nested too deeply") from error
