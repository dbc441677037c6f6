"""Messages to very many receivers, one after another, each sent in turns."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from ..delivery.outbox import Outbox
from ..packets.model import Publish, PublishRun
from ..routing.long_route import LongRoute
from ..routing.route import Route
from ..session.session import Session
from .turns import Work

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger("pybroker")

MAX_WAITING_BYTES = 64 << 20
"""The approximate memory of all messages that wait here. Beyond it, clients have to try again, and messages
for which nobody waits are dropped: wills, and the broker's own."""
OVERHEAD = 1000
"""The approximate memory of a message in addition to its bytes."""
AGAIN = 1.0
"""Seconds after which a client tries again."""
MOST_BYTES = 8 << 20
"""Bytes that are written for one message, or one run, in one step."""
LARGE_MESSAGE = MOST_BYTES // 1000
"""Bytes of a message that may be too large for all receivers of a route at once."""
GROUPS = 100
"""Shared subscriptions that are served in one step."""

Narrowed: TypeAlias = Callable[[Route[Session]], Route[Session]]


class _Job:
    """One message, or the alike messages of one read."""

    __slots__ = ("is_awaited", "key", "size", "then", "work")

    def __init__(self, work: Work, size: int, key: object, *, is_awaited: bool) -> None:
        self.work = work
        self.is_awaited = is_awaited
        """Whether a client waits for it."""
        self.size = size
        """The approximate memory in bytes."""
        self.key = key
        self.then: list[Callable[[], None]] = []
        """Called when it is done."""


class Spreading:
    """The queue of these messages. All receivers of one have it before the next begins, whatever the topics.
    So there is never more than one long route in use. One step is done in each round of the event loop.

    Messages for which a client waits, and all others, have a queue each. These take turns, so that many
    messages of one kind do not hold up the other.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._awaited: deque[_Job] = deque()
        self._unawaited: deque[_Job] = deque()
        self._current: _Job | None = None
        self._by_key: dict[object, _Job] = {}
        self._bytes = 0
        """The memory of all jobs."""

    def __len__(self) -> int:
        return len(self._awaited) + len(self._unawaited)

    @property
    def has_unawaited(self) -> bool:
        """Whether there are messages for which nobody waits."""
        return bool(self._unawaited)

    def has_room(self, size: int) -> bool:
        """Whether a message of ``size`` bytes may be added. The caller of :meth:`add` has to see to it."""
        return self._bytes + size + OVERHEAD <= MAX_WAITING_BYTES

    def add(self, work: Work, size: int, then: Callable[[], None] | None = None, key: object = None) -> None:
        """Do the work for a message of ``size`` bytes when its turn comes, then call ``then``. ``key``: see
        :meth:`join`."""
        job = _Job(work, size + OVERHEAD, key, is_awaited=then is not None)
        self._bytes += job.size
        if key is not None:
            self._by_key[key] = job
        if then is not None:
            job.then.append(then)
            self._awaited.append(job)
        else:
            self._unawaited.append(job)
        if len(self) == 1:
            self._later()

    def join(self, key: object, then: Callable[[], None]) -> bool:
        """Call ``then`` when the work with this key is done. False: there is none."""
        job = self._by_key.get(key)
        if job is None:
            return False
        job.then.append(then)
        return True

    def when_done(self, then: Callable[[], None]) -> None:
        """Call ``then`` when the messages that are in the queues now have reached their receivers."""
        last = [queue[-1] for queue in (self._awaited, self._unawaited) if queue]
        undone = len(last)

        def one_is_done() -> None:
            nonlocal undone
            undone -= 1
            if not undone:
                then()

        for job in last:
            job.then.append(one_is_done)
        if not last:
            then()

    def _later(self) -> None:
        self._engine.turns.later(self._step)

    def _step(self) -> None:
        self._go_on(None)

    def _go_on(self, answer: Any) -> None:
        engine = self._engine
        job = self._current
        if job is None:
            job = self._current = (self._awaited or self._unawaited)[0]
        try:
            awaited = job.work.send(answer)
            engine.flush()
        except StopIteration:
            self._finish(job)
        except Exception:
            log.exception("a message has not reached all of its receivers")
            self._finish(job)
        else:
            if awaited is None:
                engine.pending.when_written(_NOTHING, self._later)
            else:
                engine.spawn(_answer(awaited), self._go_on)

    def _finish(self, job: _Job) -> None:
        self._by_key.pop(job.key, None)
        self._bytes -= job.size
        try:
            for then in job.then:
                then()
        finally:
            # Only now: what these calls have added waits for the next step.
            mine, others = self._awaited, self._unawaited
            if not job.is_awaited:
                mine, others = others, mine
            mine.popleft()
            self._current = others[0] if others else mine[0] if mine else None
            if self._current is not None:
                self._later()
        self._engine.flush()


_NOTHING = Outbox(lambda data: None)


async def _answer(awaited: Awaitable[Any]) -> Any:
    """An answer that fails counts as a refusal: the messages behind must not wait for ever."""
    try:
        return await awaited
    except Exception:
        log.exception("an answer about a receiver of a message has failed")
        return False


def goes_in_turns(route: Route[Session], size: int) -> bool:
    """Whether a message of ``size`` bytes is too large to be written to all receivers at once."""
    return size * (len(route.targets) + len(route.groups)) > MOST_BYTES


def deliver_in_steps(
    engine: Engine,
    route: LongRoute[Session],
    packet: Publish,
    publisher: Session | None,
    narrowed: Narrowed | None = None,
) -> Work:
    """Deliver the message to all receivers, to some in each step. ``narrowed``: the part of a route that
    counts; then shared subscriptions do not."""
    for part in _current_parts(engine, route, len(packet.wire), narrowed):
        engine.fanout.deliver(part, packet, publisher)
        yield None
    if narrowed is not None:
        return
    yield from _to_groups(engine, route, packet)


def deliver_run_in_steps(
    engine: Engine, route: LongRoute[Session], run: PublishRun, publisher: Session
) -> Work:
    """The same for messages of QoS 0."""
    fanout = engine.fanout

    def each(messages: PublishRun) -> Iterator[Publish]:
        for packet in messages:
            packet.source = publisher.client
            yield packet

    for part in _current_parts(engine, route, len(run.wire), None):
        rest = run
        plan = fanout.plan_for_run(part, rest, publisher)
        if plan is None:  # the first message makes the plan
            fanout.deliver(part, next(each(run)), publisher)
            rest = run.cut(1, len(run))
            plan = fanout.plan_for_run(part, rest, publisher)
        if plan is not None:
            late = fanout.forward(plan, rest)
            if late:
                yield from fanout.forward_later(late, rest)
        else:
            for packet in each(rest):
                fanout.deliver(part, packet, publisher)
                yield None
        yield None
    for packet in each(run) if route.groups else ():
        yield from _to_groups(engine, route, packet)


def _to_groups(engine: Engine, route: LongRoute[Session], packet: Publish) -> Work:
    most = min(GROUPS, max(1, MOST_BYTES // len(packet.wire)))
    for number, share in enumerate(route.groups, 1):
        current = share if engine.router.is_current(route) else share.group.share_of(packet.topic)
        engine.fanout.to_group(current, packet)
        if not number % most:
            yield None


def _current_parts(
    engine: Engine, route: LongRoute[Session], size: int, narrowed: Narrowed | None
) -> Iterator[Route[Session]]:
    """The parts as they are now. A message of ``size`` bytes may go to all receivers of one at once."""
    most = max(1, MOST_BYTES // size)
    for part in route.parts:
        for start in range(0, len(part.targets), most):
            some = part if most >= len(part.targets) else Route(part.targets[start : start + most], (), ())
            if not engine.router.is_current(route):
                some = engine.router.still(some)
            yield some if narrowed is None else narrowed(some)
