"""The pool of workers that empties a queue: tries, retries and the breaker.

An event costs no task, timer or object beyond its parcel and its request. All times come from the clock that
is passed in.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from ..backend import Outcome, Outcomes, Sender, Verdict
from ..clock import Clock, Timer
from ..complaints import Complaints
from ..metrics import Counters
from ..parcels import Delivery, Parcel
from ..settings import WebhookSettings
from ..spool.queue import Queue
from .retry import Breaker, backoff
from .tries import Tries

log = logging.getLogger("pybroker.webhook")

_OF_ALL = (Verdict.DELIVERED, Verdict.RETRY)
"""The verdicts that hold for a batch if every event of it has the same."""
_OF_EACH = (Verdict.LATER, Verdict.UNWANTED)
"""The verdicts that the sender gives without asking the server."""


class Ends(Protocol):
    """The receiver of outcomes. Each method is called once for a parcel, when it has left the pool."""

    def delivered(self, parcel: Parcel) -> None:
        """The parcel is delivered."""

    def died(self, parcel: Parcel, outcome: Outcome, expired: bool) -> None:
        """The parcel will not be tried again; ``expired`` if its age is the reason."""


class Pool:
    """Up to ``pool_size`` workers, each with one batch at a time."""

    def __init__(
        self,
        settings: WebhookSettings,
        queue: Queue,
        sender: Sender,
        ends: Ends,
        counters: Counters,
        complaints: Complaints,
        clock: Clock,
        tries: Tries,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self.queue = queue
        self._sender = sender
        self._ends = ends
        self._counters = counters
        self._complaints = complaints
        self._clock = clock
        self._tries = tries
        self._jitter = jitter
        self._breaker = Breaker(settings.breaker_failures)
        self._again: deque[Parcel] = deque()
        """Parcels whose next try is due."""
        self._later: list[tuple[float, int, Parcel]] = []
        """A heap of the parcels that wait for their next try."""
        self._workers: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._timer: tuple[float, Timer] | None = None
        self._batch_started: float | None = None
        """The time at which the batch that is being filled got its first event."""
        self._running = False
        self._flushing = False
        """Whether part-filled batches are sent at once."""
        self._drained: list[asyncio.Future[None]] = []
        self.last_failure = ""
        """The reason of the last failed try; empty if none has failed since the last success."""
        self.disabled = False
        """The endpoint wants no more events: nothing is tried until ``enable``."""

    @property
    def failing(self) -> bool:
        return self._breaker.open

    @property
    def tried(self) -> list[Parcel]:
        """The parcels that were tried and wait for another try."""
        return [*self._again, *(parcel for _, _, parcel in self._later)]

    def start(self, tried: Iterable[Parcel] = ()) -> None:
        """Begin to send; ``tried`` are the parcels that a halted pool over the same queue has left."""
        self._running = True
        self._again.extend(tried)
        self.wake()

    def enable(self) -> None:
        """Try again after a 410."""
        self.disabled = False
        self._breaker.succeeded()
        self.wake()

    def wake(self) -> None:
        """There may be work: wake one more worker."""
        if self._idle:
            waiter = self._idle.pop()
            if not waiter.done():
                waiter.set_result(None)
        elif self._running and len(self._workers) < self._settings.pool_size:
            task = asyncio.get_running_loop().create_task(self._work(), name=self._settings.label)
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    def flush(self) -> None:
        """Send part-filled batches, now and from now on."""
        self._flushing = True
        self.wake()

    async def drained(self) -> None:
        """Return once nothing is queued or in flight, or the waiting events can only wait for a reload."""
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
        await self._sender.close()
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
            parcel = Parcel(items)
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
        """``count`` more events are queued: wake one more worker, unless a batch is still being filled."""
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
        """Start the timer of the batch that is being filled, if it is not running."""
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
            outcomes = await self._send(parcel, started)
        except asyncio.CancelledError:
            self._put_back(parcel)
            raise
        except Exception as error:  # the sender may not be ours: its error must not end the worker
            log.exception("%s: the transport failed", self._settings.label)
            outcomes = Outcome.retry(f"{type(error).__name__}: {error}")
        seconds = clock.monotonic() - started
        if isinstance(outcomes, Outcome) and outcomes.verdict in _OF_EACH:
            outcomes = [outcomes] * len(parcel.items)
        if isinstance(outcomes, Outcome):
            if outcomes.answered:
                counters.answered(seconds)
            self._judge(parcel, outcomes, seconds)
        else:
            self._judge_each(parcel, outcomes, seconds)
        self._tell_drained()

    async def _send(self, parcel: Parcel, started: float) -> Outcomes:
        """One try, given up after ``cancel_timeout``."""
        task = asyncio.current_task()
        assert task is not None
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            task.cancel()

        timer = self._clock.call_at(started + self._settings.cancel_timeout, give_up)
        try:
            return await self._sender.send(parcel.items)
        except asyncio.CancelledError:
            if late and task.uncancel() == 0:
                self._counters.timeouts += len(parcel.items)
                return Outcome.retry(f"no answer within {self._settings.cancel_timeout:g} s")
            raise
        finally:
            timer.cancel()

    # ---- what became of a try

    def _judge(self, parcel: Parcel, outcome: Outcome, seconds: float) -> None:
        """All its events have the same outcome."""
        if outcome.verdict is not Verdict.DELIVERED or self._tries.watched:
            self._tries.note(parcel.items, parcel.tries, outcome, seconds)
        if outcome.verdict is not Verdict.DELIVERED:
            self._counters.failed += len(parcel.items)
        if outcome.verdict is Verdict.RETRY:
            self._count_failure(parcel, outcome)
            self._try_again(parcel, outcome)
            return
        self._answered()
        self._settle(parcel.items)
        if outcome.verdict is Verdict.DELIVERED:
            self._deliver(parcel, seconds)
            return
        self._end(parcel, outcome)

    def _end(self, parcel: Parcel, outcome: Outcome) -> None:
        """The server will never accept the parcel, and perhaps no other."""
        if outcome.verdict is Verdict.DISABLE and not self.disabled:
            self.disabled = True
            log.error(
                "%s: the endpoint %s (gone); nothing is sent to it until a reload",
                self._settings.label,
                outcome.why,
            )
        self._ends.died(parcel, outcome, expired=False)

    def _judge_each(self, parcel: Parcel, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Some events of a batch may have arrived. Where an order is kept, those behind a failed one of their
        lane are sent again after it, even if they have arrived."""
        if len(outcomes) != len(parcel.items):
            wrong = f"the backend returned {len(outcomes)} outcomes for {len(parcel.items)} events"
            self._judge(parcel, Outcome.retry(wrong), seconds)
            return
        if any(one.answered for one in outcomes):
            self._counters.answered(seconds)
        failed = next((one for one in outcomes if one.verdict is Verdict.RETRY), None)
        if all(one.verdict is outcomes[0].verdict for one in outcomes) and outcomes[0].verdict in _OF_ALL:
            self._judge(parcel, outcomes[0], seconds)
            return
        for item, outcome in zip(parcel.items, outcomes, strict=True):
            if outcome.verdict in _OF_EACH:
                continue  # nothing was sent
            if outcome.verdict is not Verdict.DELIVERED:
                self._counters.failed += 1
            if outcome.verdict is not Verdict.DELIVERED or self._tries.watched:
                self._tries.note([item], parcel.tries, outcome, seconds)
        if any(one.answered for one in outcomes):
            self._answered()
        elif failed is not None:
            self._count_failure(parcel, failed)
        else:
            self._unmake_try(parcel)
        blocked: set[str] = set()
        again: list[Delivery] = []
        settled: list[tuple[Delivery, Outcome]] = []
        for item, outcome in zip(parcel.items, outcomes, strict=True):
            if outcome.verdict is Verdict.LATER:
                self._postpone(Parcel([item], parcel.tries - 1), outcome.after)
                continue
            lane = self.queue.lane(item)
            if outcome.verdict is Verdict.RETRY or lane in blocked:
                again.append(item)
                if lane is not None:
                    blocked.add(lane)
            else:
                settled.append((item, outcome))
        self._settle([item for item, _ in settled], blocked)
        delivered = [item for item, outcome in settled if outcome.verdict is Verdict.DELIVERED]
        if delivered:
            self._deliver(Parcel(delivered, parcel.tries), seconds)
        for item, outcome in settled:
            if outcome.verdict is Verdict.UNWANTED:
                self._counters.dropped_filtered += 1
                self._ends.delivered(Parcel([item]))
            elif outcome.verdict is not Verdict.DELIVERED:
                self._end(Parcel([item], parcel.tries), outcome)
        if again and failed is not None:
            self._try_again(Parcel(again, parcel.tries), failed)

    def _answered(self) -> None:
        """The server has answered."""
        self.last_failure = ""
        if self._breaker.failures:
            if self._breaker.open:
                log.info("%s: the endpoint answers again", self._settings.label)
            self._breaker.succeeded()

    def _deliver(self, parcel: Parcel, seconds: float) -> None:
        size = sum([len(item.body) for item in parcel.items])
        self._counters.delivered(len(parcel.items), size, seconds)
        self._ends.delivered(parcel)

    def _count_failure(self, parcel: Parcel, outcome: Outcome) -> None:
        retry, breaker = self._settings.retry, self._breaker
        self.last_failure = outcome.why
        # No event waits longer than ttl for another try, so neither does the endpoint.
        wait = max(backoff(breaker.probes + 1, retry, self._jitter), min(outcome.after, retry.ttl))
        if breaker.failed(parcel.probe, self._clock.monotonic() + wait):
            log.warning(
                "%s: %d failures in a row, the last: %s; from now on one try at a time",
                self._settings.label,
                breaker.failures,
                outcome.why,
            )

    def _try_again(self, parcel: Parcel, outcome: Outcome) -> None:
        """The endpoint may accept the parcel later."""
        retry = self._settings.retry
        left = parcel.items[-1].at + retry.ttl - self._clock.time()
        # Where the endpoint asks for more time than is left, the last try is made when that is over.
        wait = max(backoff(parcel.tries, retry, self._jitter), min(outcome.after, left))
        if parcel.tries >= retry.max_attempts:
            self._die(parcel, outcome)
        elif wait > left:
            self._die(parcel, outcome, expired=True)
        else:
            self._complaints.warn("retry", f"{outcome.why}; tried again {_after(wait)} (try {parcel.tries})")
            self._wait(parcel, self._clock.monotonic() + wait)
        self._arm()

    def _postpone(self, parcel: Parcel, seconds: float) -> None:
        self._wait(parcel, self._clock.monotonic() + seconds)
        self._arm()

    def _die(self, parcel: Parcel, outcome: Outcome, expired: bool = False) -> None:
        self._settle(parcel.items)
        self._ends.died(parcel, outcome, expired)

    def _settle(self, items: Sequence[Delivery], blocked: AbstractSet[str] = frozenset()) -> None:
        """The events neither wait nor are in flight any more; other events of the lanes in ``blocked``
        are."""
        self._counters.in_flight -= len(items)
        if blocked:
            items = [item for item in items if self.queue.lane(item) not in blocked]
        self.queue.finished(items)

    def _wait(self, parcel: Parcel, due: float) -> None:
        self._back_to_waiting(parcel)
        heapq.heappush(self._later, (due, parcel.items[0].seq, parcel))

    def _unmake_try(self, parcel: Parcel) -> None:
        """The try sent nothing to the server."""
        self._counters.tries -= 1
        if parcel.tries > 1:
            self._counters.retries -= 1
        self._breaker.abandoned(parcel.probe)

    def _put_back(self, parcel: Parcel) -> None:
        """The try was interrupted: it does not count."""
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
        """Set the timer to the next time at which something may be due."""
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


def _after(seconds: float) -> str:
    return f"in {seconds:.1f} s" if seconds >= 0.05 else "at once"
