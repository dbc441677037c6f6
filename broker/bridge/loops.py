"""Finds messages that come to this broker a second time, over another bridge."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count, islice
from math import inf
from secrets import token_hex

from ..engine.channel import Channel, Handlers
from ..engine.engine import Engine
from ..engine.publish import drop_copy
from ..events import MessagePublished, SessionTerminated
from ..packets.encoder import forwarded, make_publish
from ..packets.model import Connect, Publish
from ..packets.properties import Properties
from ..routing.topics import matches
from ..session.session import Session
from .counters import BridgeCounters
from .path import IDENTIFIER, identifier_of, is_bridge, path_of
from .settings import BridgeSettings
from .tally import Tally, mark_of

log = logging.getLogger("pybroker.bridge")

IDENTIFIED = 600.0
"""Seconds for which the identifier of a message is remembered, at least."""
EQUAL = 10.0
"""The same for a message without one, of which topic and payload are remembered."""
ROUNDS = 20
"""It is clear that messages go in a circle once a bridge has brought one of them so often within
:data:`EQUAL` seconds, each time after an equal one that came another way."""
SAMPLE, SHARE = 40, 4
"""It is also clear once a bridge has brought so many different messages in this time, and every fourth of
them had come another way."""
MOST_COUNTED = 1000
"""Messages that are counted for that."""
MOST_REMEMBERED, LONGEST_REMEMBERED = 10_000, 1024
"""Topics of which is remembered whether they may loop, and the characters of the longest."""
ALERT = 600.0
"""Seconds without a dropped copy after which a circle is no longer assumed."""
CIRCLE_FOUND = (
    'messages go in a circle of bridges: equal messages come several ways, such as to "%s" over %s.'
    " From now on an equal message is dropped if it comes over a second bridge within %.0f seconds"
)
DOUBTFUL = "~"
"""The end of the identifier of a message that may have had another one, which a bridge of 3.1 or 3.1.1 could
not carry."""
MOST_SUBSCRIBERS = 5000
"""Subscribers of one topic among which bridges of other brokers are looked for."""
FEW = 3
"""Bridges of other brokers that are clients: as many matter for whether messages may loop."""
HERE = ""
"""The way of messages that no bridge has brought."""


@dataclass(frozen=True, slots=True)
class _Topics:
    """The local topic filters of one bridge."""

    out: tuple[str, ...]
    into: tuple[str, ...]


class _Circles:
    """Tells messages that go in a circle from equal messages that are sent on purpose."""

    def __init__(self) -> None:
        self._since = 0.0
        self._came: Counter[tuple[str, int]] = Counter()
        """How often each way has brought each message since then."""
        self._rounds: Counter[tuple[str, int]] = Counter()
        """The same, only where an equal message had come another way."""
        self._different: Counter[str] = Counter()
        """How many different messages each way has brought."""
        self._copies: Counter[str] = Counter()
        """How many of these had come another way."""

    def see(self, way: str, mark: int, is_copy: bool, now: float) -> bool:
        """Count a message that a bridge has brought. Returns whether messages go in a circle."""
        if now >= self._since + EQUAL or len(self._came) > MOST_COUNTED:
            for counter in (self._came, self._rounds, self._different, self._copies):
                counter.clear()
            self._since = now
        self._came[way, mark] += 1
        if self._came[way, mark] == 1:
            self._different[way] += 1
            self._copies[way] += is_copy
        self._rounds[way, mark] += is_copy
        if self._rounds[way, mark] >= ROUNDS:
            return True
        different = self._different[way]
        return different >= SAMPLE and self._copies[way] * SHARE >= different


class Loops:
    """Drops copies on brokers that several bridges meet, and does nothing on others.

    A message of 5.0 has an identifier and the path that it took, so a copy is certain. A message of 3.1 or
    3.1.1 has neither. There, an equal message that a second bridge brings is dropped only once
    messages have been seen to go in a circle, because equal messages may be sent on purpose.
    """

    def __init__(self, engine: Engine, broker_id: str) -> None:
        self.broker_id = broker_id
        """Names this broker in the path of messages."""
        self.copies = 0
        """Messages dropped."""
        self._engine = engine
        self._run = token_hex(6)
        self._numbers = count(1)
        self._identified = Tally(IDENTIFIED)
        self._equal = Tally(EQUAL)
        self._circles = _Circles()
        self._alert_until = -inf
        self._own: dict[str, _Topics] = {}
        """The bridges of this broker, by the client identifier of their local session."""
        self._served: set[str] = set()
        """The clients that are bridges of other brokers."""
        self._counters: dict[str, BridgeCounters] = {}
        self._versions: dict[str, int] = {}
        """The protocol level of each way, where it is known."""
        self._has_old = False
        """Whether a way speaks 3.1 or 3.1.1: messages lose their identifier there."""
        self._serves_old = False
        """Whether that is a client."""
        self._has_doubt = False
        """Whether a bridge has brought messages that may have lost their identifier."""
        self._concerned: dict[str, bool] = {}
        """What :meth:`concerns` has said."""
        self._observes = False

    def use(self, bridges: Iterable[tuple[BridgeSettings, BridgeCounters]]) -> None:
        """These are the broker's bridges from now on."""
        self._own.clear()
        self._counters.clear()
        for settings, counters in bridges:
            into = tuple(one.mapping.target_filter() for one in settings.subscriptions)
            self._own[settings.local_client_id] = _Topics(
                tuple(one.mapping.source for one in settings.forwards),
                (*into, "#") if settings.transparent else into,
            )
            self._counters[settings.local_client_id] = counters
        self._observe()

    def linked(self, way: str, version: int) -> None:
        """The way speaks this version of MQTT; 0: it has ended."""
        if version:
            self._versions[way] = version
        else:
            self._versions.pop(way, None)
        self._has_old = any(one != 5 for one in self._versions.values())
        self._serves_old = any(self._versions[one] != 5 for one in self._served)

    def forget(self) -> None:
        """The broker has lost its state: what was sent to it before may come again."""
        self._identified.clear()
        self._equal.clear()

    def concerns(self, topic: str) -> bool:
        """Whether a message to ``topic`` may come by several ways. The router asks for each route that it
        makes."""
        found = self._may_come_twice(topic)
        if len(topic) <= LONGEST_REMEMBERED:
            if len(self._concerned) >= MOST_REMEMBERED:
                self._concerned.clear()
            self._concerned[topic] = found
        return found

    def _is_concerned(self, topic: str) -> bool:
        """The same, from memory."""
        found = self._concerned.get(topic)
        return self.concerns(topic) if found is None else found

    def _may_come_twice(self, topic: str) -> bool:
        if topic.startswith("$SYS/"):
            return False
        bridges = comes = 0
        for topics in self._own.values():
            out = any(matches(one, topic) for one in topics.out)
            into = any(matches(one, topic) for one in topics.into)
            if self._served and (into or (out and self._serves_old)):
                return True
            bridges += out or into
            comes += into
        return (bridges > 1 and comes > 0) or self._is_served_twice(topic)

    def _is_served_twice(self, topic: str) -> bool:
        """Whether bridges of several brokers have subscribed to ``topic``."""
        if len(self._served) < 2:
            return False
        found = set()
        for session in islice(self._engine.router.subscribed(topic), MOST_SUBSCRIBERS):
            if session.client_id in self._served:
                found.add(session.client_id)
                if len(found) > 1:
                    return True
        return False

    # ---- what the engine asks

    def connected(self, channel: Channel, connect: Connect) -> None:
        """A client has connected. Each message of another broker's bridge is looked at."""
        client = channel.client
        if channel.inside or client is None:
            return
        if is_bridge(connect):
            self._serve(client.client_id, connect.version)
            if connect.version == 5:
                channel.handlers = _OfBridge(self, channel.handlers)
        else:
            self._serve(client.client_id, 0)

    def publish(self, channel: Channel, publish: Publish, handlers: Handlers) -> None:
        """A bridge of another broker has sent a message."""
        properties = publish.properties
        if properties is not None and not self._is_concerned(publish.topic):
            now = self._engine.clock.monotonic()
            identifier = identifier_of(properties)
            if self._is_certain(publish, identifier, now):
                self.copies += 1
                drop_copy(self._engine, channel, publish)
                return
            if identifier:
                mark = _identified(identifier, publish.topic, publish.payload)
                self._identified.add(mark, now=now)
        handlers.publish(self._engine, channel, publish)

    def is_copy(self, publish: Publish, publisher: Session | None) -> bool:
        """Whether the message has been here. One that has not gets an identifier. Asked once for each message
        to a topic that :meth:`concerns` is true for, just before :meth:`_published`."""
        if not self._is_concerned(publish.topic):
            return False
        way = self._way(publisher.client_id) if publisher is not None else HERE
        identifier = identifier_of(publish.properties)
        now = self._engine.clock.monotonic()
        if way and (not identifier or identifier.endswith(DOUBTFUL)):
            self._has_doubt = True
        comparable = way and (self._has_old or self._has_doubt)
        if self._is_certain(publish, identifier, now) or (comparable and self._is_likely(way, publish, now)):
            self.copies += 1
            if way in self._counters:
                self._counters[way].dropped["loop"] += 1
            return True
        if not identifier and 5 in self._versions.values():
            doubt = DOUBTFUL if way and self._versions.get(way) != 5 else ""
            _identify(publish, f"{self._run}.{next(self._numbers)}{doubt}")
        return False

    def _is_certain(self, publish: Publish, identifier: str, now: float) -> bool:
        if self.broker_id in path_of(publish.properties):
            return True
        if not identifier:
            return False
        return self._identified.has(_identified(identifier, publish.topic, publish.payload), now)

    def _is_likely(self, way: str, publish: Publish, now: float) -> bool:
        """Whether an equal message has come another way, where messages go in circles."""
        mark = mark_of(publish.topic, publish.payload)
        behind = self._equal.is_behind(way, mark, now)
        if now >= self._alert_until and not self._circles.see(way, mark, behind, now):
            return False
        if not behind:
            return False
        if now >= self._alert_until:
            log.warning(CIRCLE_FOUND, publish.topic, way, EQUAL)
        self._alert_until = now + ALERT
        self._equal.catch_up(way, mark)
        return True

    # ---- events

    def _published(self, event: MessagePublished) -> None:
        """The message was accepted: its copies are known from now on."""
        now = self._engine.clock.monotonic()
        for name, value in event.user_properties:
            if name == IDENTIFIER:
                self._identified.add(_identified(value, event.topic, event.payload), now=now)
                break
        publisher = event.publisher
        way = self._way(publisher.client_id) if publisher is not None else HERE
        self._equal.add(mark_of(event.topic, event.payload), way, now=now)

    def _terminated(self, event: SessionTerminated) -> None:
        self._serve(event.client.client_id, 0)

    def _serve(self, client_id: str, version: int) -> None:
        """``version`` 0: it is no bridge, or no more."""
        if self._versions.get(client_id, 0) == version:
            return
        hooks = self._engine.hooks
        if version:
            if not self._served:
                hooks.observe(SessionTerminated, self._terminated)
            self._served.add(client_id)
        else:
            self._served.discard(client_id)
            if not self._served:
                hooks.forget(self._terminated)
        self.linked(client_id, version)
        session = self._engine.sessions.get(client_id)
        # More than a few change nothing, unless they have subscriptions already.
        if len(self._served) <= FEW or (session is not None and session.subscriptions):
            self._observe()

    def _way(self, client_id: str) -> str:
        return client_id if client_id in self._own or client_id in self._served else HERE

    def _observe(self) -> None:
        wanted = bool(self._own) or len(self._served) > 1
        if wanted and not self._observes:
            self._engine.hooks.observe(MessagePublished, self._published, topics=self.concerns)
        elif self._observes and not wanted:
            self._engine.hooks.forget(self._published)
        if wanted or self._observes:
            self._concerned.clear()
            self._engine.router.forget_all_routes()
        self._observes = wanted


class _OfBridge:
    """The handlers of a client that is a bridge of 5.0."""

    def __init__(self, loops: Loops, handlers: Handlers) -> None:
        self._loops = loops
        self._handlers = handlers
        self.by_packet = handlers.by_packet
        self.publish_run = handlers.publish_run
        self.leave = handlers.leave

    def publish(self, engine: Engine, channel: Channel, packet: Publish) -> None:
        self._loops.publish(channel, packet, self._handlers)


def _identified(identifier: str, topic: str, payload: bytes) -> int:
    """What stands for a message with an identifier: no other message can pass for it."""
    return hash((identifier, topic, payload))


def _identify(publish: Publish, identifier: str) -> None:
    """Give the message an identifier, which makes it one of 5.0."""
    own = forwarded(publish.properties) if publish.properties is not None else Properties()
    made = make_publish(
        publish.topic,
        publish.payload,
        qos=publish.qos,
        retain=publish.retain,
        properties=replace(own, user_properties=(*own.user_properties, (IDENTIFIER, identifier))),
        version=5,
        packet_id=publish.packet_id,
        dup=publish.dup,
    )
    publish.properties, publish.version = made.properties, made.version
    publish.wire, publish.payload_at = made.wire, made.payload_at
