"""Publishers wait while the queue of a bridge that they publish to is full."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from ..clock import Timer
from ..engine.engine import Engine
from ..packets.model import Publish
from ..routing.topics import matches
from ..session.session import Session
from .settings import BridgeSettings

log = logging.getLogger("pybroker.bridge")

MARGIN = 4000
"""Messages: where fewer fit into the queue, each message is looked at before it is taken."""
STALLED = 60.0
"""Seconds for which publishers wait although the queue does not move. After that, messages are dropped until
it moves again."""


class _Crowd:
    """A queue that is nearly full, and those that wait for room in it."""

    def __init__(self) -> None:
        self.room: asyncio.Event | None = None
        """None: nobody waits."""
        self.timer: Timer | None = None
        self.stalled = False
        self.least = 0
        """The fewest messages, in flight or queued, that the session has had since somebody began to wait."""

    def release(self) -> None:
        """Let all look again."""
        if self.room is not None:
            self.room.set()
            self.room = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Backlog:
    """Asked by the engine about each message of QoS 1 and 2 while a queue is nearly full.

    Only messages for that queue wait. A bridge whose own queue is full does not wait for another one, so two
    bridges never wait for each other.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._modes: dict[str, str] = {}
        """``wait`` or ``wait_always``, by the client identifier of the bridge's session."""
        self._crowds: dict[Session, _Crowd] = {}

    @property
    def full(self) -> bool:
        """Whether messages have to be looked at."""
        return bool(self._crowds)

    def watch(self, settings: BridgeSettings, session: Session) -> None:
        """Look after the queue of this session."""
        if settings.when_full == "drop":
            self.leave(session)
            return
        self._modes[session.client_id] = settings.when_full
        session.queue_grew = self._grew
        self._grew(session)

    def leave(self, session: Session) -> None:
        """The bridge has ended."""
        session.queue_grew = None
        self._modes.pop(session.client_id, None)
        self._forget(session)

    def room_for(self, publish: Publish, publisher: Session) -> Awaitable[Any] | None:
        """What the publisher has to wait for; None: nothing."""
        if self._is_full(publisher, publish):
            return None
        for session in self._crowds:
            if session is not publisher and self._is_full(session, publish) and _wants(session, publish):
                return self._room(session)
        return None

    def moved(self, session: Session) -> None:
        """Messages have left the queue, or the link has come or gone."""
        crowd = self._crowds.get(session)
        if crowd is None:
            return
        if (now := _count(session)) < crowd.least:
            crowd.least = now
            crowd.stalled = False
            if crowd.timer is not None:
                self._set_timer(session, crowd)
        if not self._is_nearly_full(session, MARGIN // 2):
            self._forget(session)
        elif not self._makes_wait(session) or self._has_some_room(session):
            crowd.release()

    def _makes_wait(self, session: Session) -> bool:
        return session.connected or self._modes.get(session.client_id) == "wait_always"

    def _grew(self, session: Session) -> None:
        if session not in self._crowds and self._makes_wait(session) and self._is_nearly_full(session):
            self._crowds[session] = _Crowd()
            self._engine.restrict()

    def _is_nearly_full(self, session: Session, less: int = 0) -> bool:
        queue = session.queue
        if queue is None or not len(queue):
            return False
        if session.keeper is None and queue.bytes + session.inflight.bytes > queue.max_bytes // 2:
            return True
        return len(queue) + MARGIN + less > queue.max_messages

    def _is_full(self, session: Session, publish: Publish) -> bool:
        """Whether the message would be dropped there, and would not be if it waited."""
        crowd, queue = self._crowds.get(session), session.queue
        if crowd is None or crowd.stalled or queue is None or not self._makes_wait(session):
            return False
        if len(queue) >= queue.max_messages:
            return True
        return session.keeper is None and not queue.has_room(len(publish.wire), session.inflight.bytes)

    def _has_some_room(self, session: Session) -> bool:
        """Enough for those that wait to be worth a try."""
        queue = session.queue
        if queue is None:
            return True
        free = queue.max_messages - len(queue)
        return free >= min(queue.max_messages // 10, MARGIN // 4) and free > 0

    def _room(self, session: Session) -> Awaitable[Any]:
        self._engine.counters.limited["max_send_queue_len"] += 1
        crowd = self._crowds[session]
        if crowd.room is None:
            crowd.room = asyncio.Event()
            crowd.least = _count(session)
            self._set_timer(session, crowd)
        return crowd.room.wait()

    def _set_timer(self, session: Session, crowd: _Crowd) -> None:
        if crowd.timer is not None:
            crowd.timer.cancel()
        clock = self._engine.clock
        crowd.timer = clock.call_at(clock.monotonic() + STALLED, lambda: self._stalled(session))

    def _stalled(self, session: Session) -> None:
        crowd = self._crowds.get(session)
        if crowd is None or self._modes.get(session.client_id) == "wait_always":
            return
        log.warning(
            "%s: its queue has been full for %.0f seconds and does not move. Until it does, messages that"
            " find no room are dropped",
            session.client_id,
            STALLED,
        )
        crowd.stalled = True
        crowd.release()

    def _forget(self, session: Session) -> None:
        crowd = self._crowds.pop(session, None)
        if crowd is not None:
            crowd.release()
            self._engine.restrict()


def _count(session: Session) -> int:
    """Messages of the session that are not acknowledged."""
    return len(session.inflight) + (len(session.queue) if session.queue is not None else 0)


def _wants(session: Session, publish: Publish) -> bool:
    """Whether the message goes there at QoS 1 or 2."""
    return any(one.qos and matches(one.topic_filter, publish.topic) for one in session.subscriptions.values())
