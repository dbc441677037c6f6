"""Retained messages for new subscriptions, sent as fast as the client accepts them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ..packets.model import Publish
from ..routing.subscription import Subscription
from ..session.inflight import Outgoing
from ..session.session import Session
from .engine import Engine

BURST_BYTES = 64 * 1024
"""Bytes that are gathered before they are written; then the connection is checked for room."""


def send_retained(engine: Engine, session: Session, subscription: Subscription) -> None:
    """Send the retained messages of the filter, with the RETAIN flag set [MQTT-3.3.1-8]: as many now as time
    and the client allow, the rest later."""
    sending = session.source
    if sending is None:
        sending = session.source = RetainedSending(engine, session)
    sending.add(subscription)
    sending.go_on()


class RetainedSending:
    """Reads the store only as far as messages can be written. So a client that does not read takes no memory,
    and other clients need not wait."""

    def __init__(self, engine: Engine, session: Session) -> None:
        self._engine = engine
        self._session = session
        self._subscriptions: dict[str, Subscription] = {}
        """The subscriptions to serve, by their filters; the first is being served."""
        self._topics: Iterator[str | None] | None = None
        """The remaining topics of the first subscription."""
        self._next: str | None = None
        """The next topic, if there was no room for its message."""
        self._gathered = 0
        """Bytes sent since the last write."""
        self._waits = False
        """Whether it waits for its next turn, for access control, or for the disk."""
        self._sends = False

    def add(self, subscription: Subscription) -> None:
        """Add ``subscription``; it replaces one with the same filter."""
        if next(iter(self._subscriptions), None) == subscription.topic_filter:
            self._begin_next()
        self._subscriptions[subscription.topic_filter] = subscription

    def owed(self) -> list[Subscription]:
        """The subscriptions that have not got all their retained messages."""
        return list(self._subscriptions.values())

    def go_on(self) -> None:
        """Send as many messages as room and time allow."""
        if not self._waits and not self._sends:
            self._sends = True
            try:
                self._send_some()
            finally:
                self._sends = False

    def _send_some(self) -> None:
        end = self._engine.turns.end()
        while subscription := self._current():
            if self._topics is None:
                self._topics = self._engine.retained.find(subscription.topic_filter)
            if self._send_all(subscription, self._topics, end):
                self._begin_next()
                if self._session.keeper is not None:
                    self._session.keeper.subscribed(subscription)
            elif self._waits or self._next is not None:
                return
        self._session.source = None

    def _send_all(self, subscription: Subscription, topics: Iterator[str | None], end: float) -> bool:
        """Send the messages of the topics until ``end``. Returns whether none is left."""
        turns = self._engine.turns
        if self._next is not None and not self._send_topic(subscription, self._next):
            return False
        for topic in topics:
            if topic is not None and not self._send_topic(subscription, topic):
                return False
            if turns.now() > end:
                self._waits = True
                turns.later(self._turn)
                return False
        return True

    def _send_topic(self, subscription: Subscription, topic: str) -> bool:
        """Send the message of the topic, if it has one. Returns whether the next may follow at once."""
        engine = self._engine
        self._next = None
        publish = self._retained(topic)
        if publish is None:
            return True
        qos = publish.qos if publish.qos < subscription.qos else subscription.qos
        if not engine.sender.has_room(self._session, publish, qos):
            self._next = topic
            engine.sender.await_room(self._session)
            return False
        self._gathered += self._send(subscription, publish, qos)
        if self._gathered > BURST_BYTES:
            self._gathered = 0
            self._write()
            return False
        return not self._waits

    def _current(self) -> Subscription | None:
        """The subscription to serve; ended subscriptions, and all of an ended session, are skipped."""
        if self._engine.sessions.get(self._session.client_id) is not self._session:
            return None
        while self._subscriptions:
            topic_filter, subscription = next(iter(self._subscriptions.items()))
            if self._session.subscriptions.get(topic_filter) is subscription:
                return subscription
            self._begin_next()
        return None

    def _begin_next(self) -> None:
        del self._subscriptions[next(iter(self._subscriptions))]
        self._topics = self._next = None

    def _retained(self, topic: str) -> Publish | None:
        publish = self._engine.retained.get(topic)
        if publish is None:
            return None
        if publish.expires_at is not None and publish.expires_at <= self._engine.clock.monotonic():
            self._engine.retained.remove(topic)  # [MQTT-3.3.2-5]
            return None
        return publish

    def _send(self, subscription: Subscription, publish: Publish, qos: int) -> int:
        """Send the message if access control allows it; returns its bytes."""
        may_receive = self._engine.router.may_receive
        allowed = may_receive is None or may_receive(self._session, publish.topic)
        if not isinstance(allowed, bool):
            self._waits = True
            self._engine.spawn(allowed, partial(self._answered, publish.topic))
            return 0
        if not allowed:
            return 0
        sender, session, identifier = self._engine.sender, self._session, subscription.identifier
        if identifier or not publish.retain or not sender.send_as_it_is(session, publish):
            identifiers = (identifier,) if identifier else ()
            sender.send(session, Outgoing(publish, qos, True, identifiers))
        return len(publish.wire)

    def _write(self) -> None:
        """Write the gathered messages. If sessions are kept on disk, they are written once they are
        stored."""
        outbox = self._session.outbox
        self._engine.flush()
        if outbox is not None:
            self._waits = True
            self._engine.pending.when_written(outbox, self._written)

    def _written(self) -> None:
        self._waits = False
        if not self._sends:
            self._turn()

    def _answered(self, topic: str, allowed: bool) -> None:
        """The answer of access control has come: go on with the retained messages and subscriptions of now.
        Answers are remembered."""
        if allowed:
            self._next = topic
        self._turn()

    def _turn(self) -> None:
        self._waits = False
        self.go_on()
        self._engine.flush()
