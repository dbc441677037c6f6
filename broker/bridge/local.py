"""The bridge as a client of its own broker: a session like any other, whose connection has no socket."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from ..engine import handlers
from ..engine.channel import Channel
from ..engine.channel import Link as Transport
from ..engine.engine import Engine
from ..engine.offline import add_offline_session
from ..engine.retained import send_retained
from ..engine.subscribe import add_subscription, remove_subscription
from ..packets.encoder import encode
from ..packets.model import Connect
from ..packets.properties import Properties
from ..routing.subscription import Subscription
from ..session.inflight import Outgoing
from ..session.session import Session
from .backlog import Backlog
from .settings import BridgeSettings

LISTENER = "bridge"
"""What takes the place of a listener's name in events and in the log."""


class LocalSession:
    """The session that holds what waits for the remote broker."""

    def __init__(self, engine: Engine, settings: BridgeSettings, backlog: Backlog) -> None:
        self._backlog = backlog
        self._engine = engine
        self._client_id = settings.local_client_id
        self._settings = settings
        self.lacks_retained: set[str] = set()
        """Topic filters of forwards; what was retained before the forward existed has not been sent."""
        self.prepare()

    @property
    def session(self) -> Session | None:
        return self._engine.sessions.get(self._client_id)

    def __len__(self) -> int:
        """Messages that wait or are in flight."""
        session = self.session
        if session is None:
            return 0
        return len(session.inflight) + (len(session.queue) if session.queue is not None else 0)

    def prepare(self) -> None:
        """Have the session, and exactly the subscriptions that the forwards need."""
        engine, settings = self._engine, self._settings
        session = self.session
        if session is None:
            session = add_offline_session(engine, self._client_id, inf)
        self._set_up(session)
        wanted: dict[str, Subscription] = {}
        for forward in settings.forwards:
            source = forward.mapping.source
            qos = 2 if forward.qos is None else forward.qos
            if source in wanted:
                qos = max(qos, wanted[source].qos)
            # no local: what came over the link does not go back over it
            wanted[source] = Subscription(
                source, min(qos, engine.mqtt.max_qos), no_local=True, retain_as_published=True
            )
        for topic_filter in set(session.subscriptions) - set(wanted):
            remove_subscription(engine, session, topic_filter)
        for topic_filter, subscription in wanted.items():
            if topic_filter not in session.subscriptions and len(engine.retained):
                self.lacks_retained.add(topic_filter)
            if session.subscriptions.get(topic_filter) != subscription:
                add_subscription(engine, session, subscription)

    def _set_up(self, session: Session) -> None:
        session.superuser = True
        session.expiry = inf
        session.max_queued = self._settings.max_queue
        if session.queue is not None:
            session.queue.max_messages = session.max_queued
        session.repeats = False
        session.keeps_plain = self._settings.retry_qos_0
        session.keeps_retained = True
        self._backlog.watch(self._settings, session)
        if session.keeper is not None:
            session.keeper.changed(session)

    def moved(self) -> None:
        """Messages may have left the queue, or the link has come or gone."""
        if self._backlog.full and (session := self.session) is not None:
            self._backlog.moved(session)

    @property
    def first(self) -> Outgoing | None:
        """The oldest message that the remote broker has not acknowledged, where it may have been sent."""
        session = self.session
        messages = session.inflight.messages if session is not None else {}
        return next((message for message in messages.values() if not message.released), None)

    def give_up(self, message: Outgoing) -> None:
        """Drop a message that the remote broker does not take."""
        if (session := self.session) is not None:
            self._engine.sender.give_up(session, message, "refused")

    def end(self) -> None:
        """Nobody has to wait for this session any more."""
        if (session := self.session) is not None:
            self._backlog.leave(session)

    def connect(self, link: Link, version: int, window: int) -> Channel:
        """Take the session: what it has in flight, and then what waits, is written to ``link``. 3.1 lays
        PUBLISH out as 3.1.1 does: ``version`` is 4 or 5."""
        properties = None
        if version == 5:
            properties = Properties(session_expiry_interval=0xFFFFFFFF, receive_maximum=min(window, 0xFFFF))
        self.prepare()
        channel = Channel(self._engine, handlers, link, listener=LISTENER, inside=True)
        packet = Connect("MQTT", version, False, 0, self._client_id, properties=properties)
        channel.received(encode(packet, version))
        channel.watch_keepalive(0)
        if channel.session is not None:
            self._set_up(channel.session)
        return channel

    def forget_received(self) -> None:
        """The remote broker has begun a new session, so its packet identifiers mean other messages."""
        session = self.session
        if session is None:
            return
        for packet_id in list(session.received):
            session.received.discard(packet_id)
            if session.keeper is not None:
                session.keeper.forgot(packet_id)

    def send_retained(self) -> None:
        """What was retained here before there was a forward for it, to the remote broker; once."""
        session = self.session
        if session is not None:
            for topic_filter in sorted(self.lacks_retained & session.subscriptions.keys()):
                send_retained(self._engine, session, session.subscriptions[topic_filter])
        self.lacks_retained.clear()


class Link:
    """What the local channel takes for its transport; see :class:`~pybroker.broker.engine.channel.Link`."""

    def __init__(self, write: Callable[[bytes], None], closed: Callable[[], None], remote: Transport) -> None:
        """``remote`` is read no faster than the broker takes what comes, and bounds what it is written."""
        self.write = write
        self.close = self.abort = closed
        self.unsent_bytes = remote.unsent_bytes
        self.paused = False
        """Whether the broker takes nothing more for now."""
        self._remote = remote

    def pause_reading(self) -> None:
        self.paused = True
        self._remote.pause_reading()

    def resume_reading(self) -> None:
        self.paused = False
        self._remote.resume_reading()
