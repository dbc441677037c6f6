"""The pool that empties a queue: long-lived workers, tries and retries, the breaker.

No task, timer or object is made for an event beyond its parcel and its request. All times come from the
clock that is handed in.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from ..backend import Answer, NoAnswerError, Transport
from ..clock import Clock, Timer
from ..complaints import Complaints
from ..http.packing import Packer
from ..metrics import Counters
from ..parcels import Delivery, Parcel
from ..settings import WebhookSettings
from ..spool.queue import Queue
from .retry import Breaker, Verdict, backoff, retry_after, verdict

log = logging.getLogger("pybroker.webhook")


class Outcomes(Protocol):
    """Who is told what became of a parcel. Each is called once a parcel, when it has left the pool."""

    def delivered(self, parcel: Parcel) -> None:
        """The endpoint answered 2xx."""

    def died(self, parcel: Parcel, why: str, answer: Answer | None, expired: bool) -> None:
        """It will not be tried again; ``expired`` where its age is the reason."""


class Pool:
    """Up to ``pool_size`` workers, each with one request at a time."""

    def __init__(
        self,
        settings: WebhookSettings,
        queue: Queue,
        packer: Packer,
        transport: Transport,
        outcomes: Outcomes,
        counters: Counters,
        complaints: Complaints,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self.queue = queue
        self._packer = packer
        self._transport = transport
        self._outcomes = outcomes
        self._counters = counters
        self._complaints = complaints
        self._clock = clock
        self._jitter = jitter
        self._breaker = Breaker(settings.breaker_failures)
        self._again: deque[Parcel] = deque()
        """Parcels whose next try is due."""
        self._later: list[tuple[float, int, Parcel]] = []
        """A heap of the parcels that wait for theirs."""
        self._workers: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._timer: tuple[float, Timer] | None = None
        self._batch_started: float | None = None
        """When the batch that is being filled got its first event."""
        self._running = False
        self._flushing = False
        """Part-filled batches go at once."""
        self._drained: list[asyncio.Future[None]] = []
        self.disabled = False
        """It answered 410: nothing is tried until ``enable``."""

    @property
    def failing(self) -> bool:
        return self._breaker.open

    @property
    def tried(self) -> list[Parcel]:
        """What was tried and waits for another try."""
        return [*self._again, *(parcel for _, _, parcel in self._later)]

    def start(self, tried: Iterable[Parcel] = ()) -> None:
        """Begin; ``tried`` is what a halted pool over the same queue had left."""
        self._running = True
        self._again.extend(tried)
        self.wake()

    def enable(self) -> None:
        """Try again after a 410."""
        self.disabled = False
        self._breaker.succeeded()
        self.wake()

    def wake(self) -> None:
        """There may be something to do: one more worker looks."""
        if self._idle:
            waiter = self._idle.pop()
            if not waiter.done():
                waiter.set_result(None)
        elif self._running and len(self._workers) < self._settings.pool_size:
            task = asyncio.get_running_loop().create_task(self._work(), name=f"webhook {self._settings.name}")
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    def flush(self) -> None:
        """Send what waits in part-filled batches, now and from now on."""
        self._flushing = True
        self.wake()

    async def drained(self) -> None:
        """Return once nothing waits and nothing is in flight, or what waits can only wait for a reload."""
        if not self.is_drained:
            waiter = asyncio.get_running_loop().create_future()
            self._drained.append(waiter)
            await waiter

    async def halt(self, grace: float) -> None:
        """Start no more tries, give those in flight ``grace`` seconds, then cut them off; they wait again."""
        self._running = False
        self._cancel_timer()
        for waiter in self._idle:
            waiter.cancel()
        self._idle.clear()
        workers = set(self._workers)
        if workers:
            _, pending = await asyncio.wait(workers, timeout=max(grace, 0.0))
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)
        await self._transport.close()
        self._tell_drained()

    # ---- one worker

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._running:
            parcel = self._next()
            if parcel is not None:
                await self._try(parcel)
                continue
            waiter = loop.create_future()
            self._idle.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if self._running:
                    raise
                return

    def _next(self) -> Parcel | None:
        """The parcel to try now, already counted as in flight; None where there is none or none may go."""
        if self.disabled:
            return None
        breaker = self._breaker
        if breaker.open and not breaker.allows(self._clock.monotonic()):
            self._arm()
            return None
        if self._again:
            parcel = self._again.popleft()
        else:
            items = self._take()
            if not items:
                self._arm()
                return None
            parcel = self._packer.pack(items)
        parcel.probe = breaker.start()
        count = len(parcel.items)
        self._counters.queued -= count
        self._counters.queued_bytes -= parcel.size
        self._counters.in_flight += count
        if self._again:
            self.wake()
        elif available := self.queue.available:
            self.announce(available)
        return parcel

    def announce(self, count: int = 1) -> None:
        """``count`` more events wait in the queue: one more worker looks, but not while a batch is still
        being filled."""
        if self._fills_batches:
            available, size = self.queue.available, self._settings.batch.size
            if available < size:
                self._begin_batch(available)
                return
            if available % size >= count:
                return  # they filled no batch; a worker was woken when the one before was full
        self.wake()

    def _take(self) -> list[Delivery]:
        """The events of the next parcel; empty where there are none, or too few yet."""
        size = self._settings.batch.size
        if self._fills_batches and self.queue.available < size:
            self._begin_batch(self.queue.available)
            if self._batch_started is None or self._clock.monotonic() < self._batch_due:
                return []
        self._batch_started = None
        return self.queue.take(size)

    def _begin_batch(self, available: int) -> None:
        """Give the batch that is being filled its time, where it has not begun yet."""
        if available and self._batch_started is None:
            self._batch_started = self._clock.monotonic()
            self._arm()

    @property
    def _fills_batches(self) -> bool:
        batch = self._settings.batch
        return batch.size > 1 and batch.time > 0 and not self._flushing

    @property
    def _batch_due(self) -> float:
        return (self._batch_started or 0.0) + self._settings.batch.time

    async def _try(self, parcel: Parcel) -> None:
        counters, clock = self._counters, self._clock
        parcel.tries += 1
        counters.tries += 1
        if parcel.tries > 1:
            counters.retries += 1
        started = clock.monotonic()
        try:
            answer = await self._post(parcel, started)
        except NoAnswerError as error:
            self._failed(parcel, str(error), None)
            return
        except asyncio.CancelledError:
            self._put_back(parcel)
            raise
        except Exception as error:  # a transport of someone else's: its fault must not end the worker
            log.exception("webhook %s: the transport failed", self._settings.name)
            self._failed(parcel, f"{type(error).__name__}: {error}", None)
            return
        counters.answered(clock.monotonic() - started)
        self._judge(parcel, answer)

    async def _post(self, parcel: Parcel, started: float) -> Answer:
        """One POST, given up after ``cancel_timeout``."""
        task = asyncio.current_task()
        assert task is not None
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            task.cancel()

        timer = self._clock.call_at(started + self._settings.cancel_timeout, give_up)
        try:
            return await self._transport.post(self._packer.request(parcel, self._clock.time()))
        except asyncio.CancelledError:
            if late and task.uncancel() == 0:
                raise NoAnswerError(f"no answer within {self._settings.cancel_timeout:g} s") from None
            raise
        finally:
            timer.cancel()

    # ---- what became of a try

    def _judge(self, parcel: Parcel, answer: Answer) -> None:
        decision = verdict(answer.status)
        if decision is Verdict.RETRY:
            self._failed(parcel, f"answered {answer.status}", answer)
            return
        if self._breaker.failures:
            if self._breaker.open:
                log.info("webhook %s: the endpoint answers again", self._settings.name)
            self._breaker.succeeded()
        if decision is Verdict.DELIVERED:
            self._settle(parcel)
            self._counters.succeeded += len(parcel.items)
            self._outcomes.delivered(parcel)
        else:
            if decision is Verdict.DISABLE and not self.disabled:
                self.disabled = True
                log.error(
                    "webhook %s: the endpoint answered 410 (gone); nothing is sent to it until a reload",
                    self._settings.name,
                )
            self._die(parcel, f"answered {answer.status}", answer)
        self._tell_drained()

    def _failed(self, parcel: Parcel, why: str, answer: Answer | None) -> None:
        """The endpoint may take it later."""
        retry, breaker = self._settings.retry, self._breaker
        now, wall = self._clock.monotonic(), self._clock.time()
        asked = (retry_after(answer.headers.get("retry-after"), wall) if answer else None) or 0.0
        # No event waits longer than ttl for another try, so neither does the endpoint.
        next_probe = now + max(backoff(breaker.probes + 1, retry, self._jitter), min(asked, retry.ttl))
        if breaker.failed(parcel.probe, next_probe):
            log.warning(
                "webhook %s: %d failures in a row, the last: %s; one probe at a time from now on",
                self._settings.name,
                breaker.failures,
                why,
            )
        wait = max(backoff(parcel.tries, retry, self._jitter), asked)
        if parcel.tries >= retry.max_attempts:
            self._die(parcel, why, answer)
        elif wall + wait > parcel.items[-1].at + retry.ttl:
            self._die(parcel, why, answer, expired=True)
        else:
            self._complaints.warn("retry", f"{why}; tried again in {wait:.1f} s (try {parcel.tries})")
            self._wait(parcel, now + wait)
        self._arm()
        self._tell_drained()

    def _die(self, parcel: Parcel, why: str, answer: Answer | None, expired: bool = False) -> None:
        self._settle(parcel)
        self._outcomes.died(parcel, why, answer, expired)

    def _settle(self, parcel: Parcel) -> None:
        self._counters.in_flight -= len(parcel.items)
        self.queue.finished(parcel.items)

    def _wait(self, parcel: Parcel, due: float) -> None:
        self._back_to_waiting(parcel)
        heapq.heappush(self._later, (due, parcel.items[0].seq, parcel))

    def _put_back(self, parcel: Parcel) -> None:
        """The try was cut off: it does not count."""
        parcel.tries -= 1
        self._breaker.abandoned(parcel.probe)
        self._back_to_waiting(parcel)
        self._again.appendleft(parcel)

    def _back_to_waiting(self, parcel: Parcel) -> None:
        count = len(parcel.items)
        self._counters.in_flight -= count
        self._counters.queued += count
        self._counters.queued_bytes += parcel.size

    # ---- time

    def _arm(self) -> None:
        """Set the one timer to the next moment at which something may become due."""
        due = [
            when for when in (self._next_retry(), self._next_probe(), self._next_batch()) if when is not None
        ]
        if not due or not self._running:
            return
        when = min(due)
        if self._timer is not None:
            if self._timer[0] <= when:
                return
            self._timer[1].cancel()
        self._timer = when, self._clock.call_at(when, self._on_timer)

    def _next_retry(self) -> float | None:
        return self._later[0][0] if self._later else None

    def _next_probe(self) -> float | None:
        waiting = self._again or self._later or len(self.queue)
        now = self._clock.monotonic()
        probe = self._breaker.next_probe
        return probe if waiting and probe is not None and probe > now else None

    def _next_batch(self) -> float | None:
        if self._batch_started is None or self._batch_due <= self._clock.monotonic():
            return None
        return self._batch_due

    def _on_timer(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._later and self._later[0][0] <= now:
            self._again.append(heapq.heappop(self._later)[2])
        self.wake()
        self._arm()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None

    # ---- the end

    @property
    def is_drained(self) -> bool:
        counters = self._counters
        return not counters.in_flight and (not counters.queued or self.disabled or not self._running)

    def _tell_drained(self) -> None:
        if self._drained and self.is_drained:
            for waiter in self._drained:
                if not waiter.done():
                    waiter.set_result(None)
            self._drained.clear()
