"""The runner: keeps thousands of jobs open at once, so that the engine always has a full batch."""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from llmkit.engines import Engine, Key, Served, cache_key, fields_read
from llmkit.engines.claims import Claims
from llmkit.errors import EngineError, Incomplete, UsageError
from llmkit.signals import interrupt
from llmkit.steps import Walk
from llmkit.types import Call, Reply, Request, Role, Steps

_LOOK = 0.1  # seconds between two looks at what other processes have claimed
_MOST_WAIT = 120.0  # seconds; past it a question is asked here as well, as whoever claimed it may hang
_numbers = itertools.count()  # of requests, never used twice, so that a reply meant for an earlier run is known as such


@dataclass(frozen=True)
class Finished:
    """A job's end: what its generator returned, the calls it made in order, or the error that ended it."""

    key: Key
    result: Any
    calls: tuple[Call, ...]
    error: EngineError | None = None


class Observer(Protocol):
    """What the runner tells while it works; `Progress` is one."""

    def replied(self, call: Call) -> None: ...

    def finished(self) -> None: ...


class Cache(Protocol):
    """The store of replies that the runner looks into before it asks an engine; `ResponseCache` is one."""

    def get(self, key: str, /) -> Reply | None: ...

    def put(self, key: str, reply: Reply, /) -> None: ...


@dataclass(slots=True)
class _OpenJob:
    """A generator that is under way, what came back of the requests that it made last, and its calls before those."""

    key: Key
    walk: Walk
    waits_for: int = 0
    replies: dict[int, Reply | EngineError] = field(default_factory=dict)
    answered: dict[int, Call] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)


@dataclass
class _Flight:
    """A request that an engine has, and every place in a job that waits for its reply."""

    cache_key: str
    engine: Engine
    submitted: float
    waiting: list[tuple[_OpenJob, int, Request]]


@dataclass
class _Deferred:
    """A request that another process has claimed, and every place in a job that waits for its reply in the cache."""

    engine: Engine
    until: float
    waiting: list[tuple[_OpenJob, int, Request]]


class Runner:
    """Drives jobs, which are generators of requests, through the cache and the engines.

    `engines` has at least `answerer`; roles without an engine of their own use it. Identical requests in flight are
    asked once. `budget` is the number of tokens that may be used by asking; past it the run stops as Incomplete.
    """

    def __init__(
        self,
        engines: Mapping[Role, Engine],
        cache: Cache | None = None,
        progress: Observer | None = None,
        budget: int | None = None,
        open_jobs: int = 4096,
    ) -> None:
        self.engines = dict(engines)
        self.cache = cache
        self.progress = progress
        self.budget = budget
        self.open_jobs = open_jobs
        # Only a cache that other processes share has claims.
        self.claims: Claims | None = getattr(cache, "claims", None)
        self.tokens = 0
        """Tokens used so far by asking; what the cache answers costs none."""
        self.asked = 0
        """Requests that an engine has answered so far."""

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes every engine."""
        for engine in {id(e): e for e in self.engines.values()}.values():
            engine.close()

    def served(self) -> dict[str, Served]:
        """Returns the work of each server so far; nothing where the model runs here, or the engine does not say."""
        engines = {id(engine): engine for engine in self.engines.values()}.values()
        return {address: work for engine in engines for address, work in getattr(engine, "served", {}).items()}

    def engine(self, role: Role) -> Engine:
        """Returns the engine that answers for a role."""
        return self.engines.get(role) or self.engines["answerer"]

    def run(self, jobs: Iterable[tuple[Key, Steps]]) -> Iterator[Finished]:
        """Runs jobs, taken lazily, and yields each as it ends, in any order.

        A request that fails is thrown into its job as an EngineError; a job that does not catch it ends with that
        error. Raises Incomplete if an engine dies or the budget is spent, after everything that had finished was
        yielded, and the engine's own error if it never answered at all.
        """
        yield from _Run(self).go(iter(jobs))


class _Run:
    """The state of one `Runner.run`."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.flights: dict[Key, _Flight] = {}
        self.by_cache_key: dict[str, _Flight] = {}
        self.deferred: dict[str, _Deferred] = {}
        self.looked_at_claims = 0.0
        self.drains: dict[int, Iterator[tuple[Key, Reply | EngineError]]] = {}
        self.pending: dict[Engine, int] = {}
        self.open = 0
        self.done: list[Finished] = []
        self.clock = 0.0  # seconds that one request has cost: each second is split among those in flight
        self.looked = time.monotonic()

    def go(self, jobs: Iterator[tuple[Key, Steps]]) -> Iterator[Finished]:
        more = True
        try:
            while more or self.open:
                # New jobs first, one reply after: the engine always has all that can be asked by now.
                while more and self.open - len(self.deferred) < self.runner.open_jobs:
                    job = next(jobs, None)
                    if job is None:
                        more = False
                        break
                    self.open += 1
                    key, steps = job
                    self.advance(_OpenJob(key, Walk(steps)))
                    yield from self.taken()
                busy = [engine for engine, count in self.pending.items() if count]
                for engine in busy:
                    self.take(engine)
                    yield from self.taken()
                if self.deferred:
                    self.look_at_claims(idle=not busy)
                    yield from self.taken()
        except (EngineError, Incomplete) as error:
            yield from self.taken()
            # An engine that never answered was not interrupted but does not work: nothing is there to go on from.
            if isinstance(error, Incomplete) or not self.runner.asked:
                raise
            saved = "what finished is saved, and the same command goes on from there"
            raise Incomplete(
                f"the engine failed: {error.message}", f"{error.hint}; {saved}" if error.hint else saved
            ) from error

    def taken(self) -> Iterator[Finished]:
        """Yields the jobs that have ended since the last time."""
        done, self.done = self.done, []
        for finished in done:
            if self.runner.progress:
                self.runner.progress.finished()
            yield finished

    def advance(self, job: _OpenJob) -> None:
        """Resumes a job whose replies are all there, and asks what it yields, until it waits for an engine or ends."""
        while len(job.replies) == job.waits_for:
            # Replies come in any order; the journal lists calls in the order of the requests.
            job.calls += [job.answered[place] for place in sorted(job.answered)]
            try:
                requests = job.walk.resume([job.replies[place] for place in range(job.waits_for)])
            except EngineError as error:
                return self.end(job, None, error)
            if requests is None:
                return self.end(job, job.walk.result, None)
            job.waits_for, job.replies, job.answered = len(requests), {}, {}
            for place, request in enumerate(requests):
                self.ask(job, place, request)
        return None

    def end(self, job: _OpenJob, result: Any, error: EngineError | None) -> None:
        self.open -= 1
        self.done.append(Finished(job.key, result, tuple(job.calls), error))

    def ask(self, job: _OpenJob, place: int, request: Request) -> None:
        """Answers from the cache, joins an identical request in flight, or submits."""
        runner = self.runner
        engine = runner.engine(request.role)
        if request.continuation is not None and "likelihood" not in engine.capabilities:
            raise UsageError(
                "this engine gives no log-probabilities of a given text",
                "use --engine vllm or transformers, or score by execution",
            )
        if request.tools and "tools" not in engine.capabilities:
            raise UsageError("this engine passes no tools on", "ask a server: --base-url URL")
        key = cache_key(engine.identity, request)
        if request.fields:  # the journal must not take a call for another one because of a field that nobody reads
            request = replace(request, fields=fields_read(engine.identity, request))
        if runner.cache and (reply := runner.cache.get(key)):
            self.place(job, place, Call(request, reply, key, cached=True))
        elif key in self.by_cache_key:  # before the budget: joining costs nothing
            self.by_cache_key[key].waiting.append((job, place, request))
        elif key in self.deferred:
            self.deferred[key].waiting.append((job, place, request))
        elif runner.claims and not runner.claims.take(key):
            self.deferred[key] = _Deferred(engine, time.monotonic() + _MOST_WAIT, [(job, place, request)])
        elif runner.claims and runner.cache and (reply := runner.cache.get(key)):  # another's, since the first look
            runner.claims.release(key)
            self.place(job, place, Call(request, reply, key, cached=True))
        else:
            self.submit(key, engine, [(job, place, request)])

    def submit(self, key: str, engine: Engine, waiting: list[tuple[_OpenJob, int, Request]]) -> None:
        """Gives a request to its engine. The budget may forbid it."""
        self.check_budget()
        number = next(_numbers)
        self.flights[number] = self.by_cache_key[key] = _Flight(key, engine, self.now(), waiting)
        self.pending[engine] = self.pending.get(engine, 0) + 1
        engine.submit(number, waiting[0][2])

    def look_at_claims(self, idle: bool) -> None:
        """Takes the replies that other processes have got meanwhile, and asks what they gave up or are too slow with.

        With nothing in flight (`idle`) it waits for the next look, else the loop goes on.
        """
        claims, cache = self.runner.claims, self.runner.cache
        assert claims is not None, "something was deferred"
        assert cache is not None, "claims are a cache's"
        wait = self.looked_at_claims + _LOOK - time.monotonic()
        if wait > 0:
            if not idle:
                return
            time.sleep(wait)
        self.looked_at_claims = time.monotonic()
        for key, deferred in list(self.deferred.items()):
            free = claims.take(key)
            if reply := cache.get(key):  # only now: whoever gave the claim up may have put the reply there before
                del self.deferred[key]
                if free:
                    claims.release(key)
                for job, place, request in deferred.waiting:
                    self.place(job, place, Call(request, reply, key, cached=True))
                    self.advance(job)
            elif free or time.monotonic() > deferred.until:
                del self.deferred[key]
                self.submit(key, deferred.engine, deferred.waiting)

    def place(self, job: _OpenJob, place: int, call: Call) -> None:
        job.replies[place] = call.reply
        job.answered[place] = call
        if self.runner.progress:
            self.runner.progress.replied(call)

    def take(self, engine: Engine) -> None:
        """Takes one reply from an engine, stores it, and hands it to every job that waits for it."""
        number, reply = self.next_reply(engine)
        now = self.now()
        flight = self.flights.pop(number, None)
        if flight is None:  # of an earlier run that was left early
            return
        del self.by_cache_key[flight.cache_key]
        self.pending[engine] -= 1
        runner = self.runner
        runner.asked += 1
        if isinstance(reply, Reply):
            runner.tokens += reply.usage.prompt + reply.usage.completion
            if runner.cache:
                runner.cache.put(flight.cache_key, reply)
        if runner.claims:
            runner.claims.release(flight.cache_key)
        seconds = now - flight.submitted
        for i, (job, place, request) in enumerate(flight.waiting):
            # One of those that share a request bears its time, or the calls would add up to more than the run took.
            if isinstance(reply, Reply):
                self.place(job, place, Call(request, reply, flight.cache_key, i > 0, 0.0 if i else seconds))
            else:
                job.replies[place] = reply
            self.advance(job)
        # With nothing in flight there is nothing to stop: the last reply may go past the budget.
        if self.flights:
            self.check_budget()

    def now(self) -> float:
        """Reads the clock, which runs slower the more requests share the time."""
        before, self.looked = self.looked, time.monotonic()
        if self.flights:
            self.clock += (self.looked - before) / len(self.flights)
        return self.clock

    def next_reply(self, engine: Engine) -> tuple[Key, Reply | EngineError]:
        for _ in range(2):  # a drain that ended between two submissions is opened again
            drain = self.drains.get(id(engine)) or self.drains.setdefault(id(engine), engine.drain())
            if item := next(drain, None):
                return item
            del self.drains[id(engine)]
        raise EngineError("the engine lost a request", "this is a fault in the engine; please report it")

    def check_budget(self) -> None:
        budget, used = self.runner.budget, self.runner.tokens
        if budget is not None and used >= budget:
            raise Incomplete(
                f"the budget of {budget} tokens is spent ({used} used)",
                "what finished is saved; with a larger --max-tokens-total the same command goes on from there",
            )


@contextlib.contextmanager
def terminable() -> Generator[None, None, None]:
    """Lets SIGTERM interrupt the block as Ctrl-C does, so that both leave a run folder that can be resumed."""
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
