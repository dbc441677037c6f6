"""The engine's sessions and messages with the attributes that amqtt's plugins expect.

Values are looked up when a plugin asks for them. So each client takes one small object, and none if no plugin
can see it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from amqtt.broker import RetainedApplicationMessage
from amqtt.session import (
    ApplicationMessage,
    IncomingApplicationMessage,
    OutgoingApplicationMessage,
    Session,
)

from ..engine.access import Credentials
from ..engine.disconnect import end_session, expiry_seconds
from ..engine.engine import Engine
from ..events import Client
from ..packets.encoder import make_publish
from ..packets.model import Publish
from ..packets.reasons import ReasonCode
from ..routing.topics import topic_error
from ..session.inflight import Outgoing
from ..session.queue import MessageQueue
from ..session.session import Session as EngineSession


class SessionView(Session):
    """A session of the engine as amqtt's plugins know it.

    What is read is as of now. ``attributes``, ``is_anonymous``, ``username`` and whatever else a plugin
    writes is for the plugins to share; ``clean_session`` and ``retained_messages`` reach the engine.
    """

    def __init__(
        self, engine: Engine, client: Client, password: bytes | None = None, tls: Any = None
    ) -> None:
        # amqtt's own constructor makes a state machine and two queues; none of them is needed here.
        self.engine = engine
        self.client = client
        self.session: EngineSession | None = None
        """None until the client is admitted."""
        self.client_id = client.client_id
        self.username = client.username
        self.password = None if password is None else password.decode("utf-8", "surrogateescape")
        self.ssl_object = tls
        self.is_anonymous = False
        self.attributes = {}
        self.may_receive: dict[str, bool | asyncio.Future[bool]] = {}
        """Topic to what the topic plugins said of receiving it, or are about to say."""

    def __getattr__(self, name: str) -> Any:
        """The rest of amqtt's attributes, looked up when asked for."""
        look_up = _LOOK_UP.get(name)
        if look_up is None:
            raise AttributeError(f"a session has no attribute {name!r}")
        return look_up(self)

    @property
    def clean_session(self) -> bool | None:
        """Whether the session ends with its connection."""
        return not self.session.expiry if self.session is not None else self.client.clean_start

    @clean_session.setter
    def clean_session(self, clean: bool | None) -> None:
        session = self.session
        if session is None or clean is None or clean == self.clean_session:
            return
        if not clean:
            session.expiry = expiry_seconds(self.engine, int(self.engine.mqtt.session_expiry))
        elif session.connected:
            session.expiry = 0.0
        else:
            end_session(self.engine, session, "disconnected")

    @property
    def inflight_in_count(self) -> int:
        return len(self.session.received) if self.session is not None else 0

    @property
    def inflight_out_count(self) -> int:
        return len(self.session.inflight) if self.session is not None else 0

    def renew(self, newer: SessionView) -> None:
        """The client has connected again. Its new CONNECT counts; attributes that plugins set for the same
        user stay."""
        attributes = newer.attributes
        if newer.username == self.username:
            attributes = {**self.attributes, **attributes}
        self.__dict__.clear()
        self.__dict__.update(newer.__dict__)
        self.attributes = attributes


class State:
    """`session.transitions`: the state of the session, which only the engine changes."""

    def __init__(self, session: EngineSession | None) -> None:
        if session is None:
            self.state = "new"
        else:
            self.state = "connected" if session.connected else "disconnected"

    def is_new(self) -> bool:
        return self.state == "new"

    def is_connected(self) -> bool:
        return self.state == "connected"

    def is_disconnected(self) -> bool:
        return self.state == "disconnected"


class WaitingMessages:
    """`session.retained_messages`: the messages that wait for the client, with the interface of an asyncio
    queue."""

    def __init__(self, view: SessionView) -> None:
        self._engine = view.engine
        self._session = view.session

    def qsize(self) -> int:
        queue = self._session.queue if self._session is not None else None
        return len(queue) if queue is not None else 0

    def empty(self) -> bool:
        return not self.qsize()

    def full(self) -> bool:
        return False

    async def put(self, message: ApplicationMessage) -> None:
        self.put_nowait(message)

    def put_nowait(self, message: ApplicationMessage) -> None:
        """Send the message to the client, or keep it until the client comes."""
        session = self._session
        if session is None:
            raise RuntimeError("the client is not admitted yet: there is nowhere to put a message for it")
        publish = make_message(message.topic, message.data, message.qos)
        outgoing = Outgoing(publish, publish.qos)
        if session.connected:
            self._engine.sender.send(session, outgoing)
            self._engine.flush()
            return
        if session.queue is None:
            session.queue = MessageQueue(self._engine.sender.max_messages, self._engine.sender.max_bytes)
        for dropped in session.queue.add(outgoing):
            self._engine.reports.dropped("queue_full", dropped.publish, session.client)

    async def get(self) -> ApplicationMessage:
        return self.get_nowait()

    def get_nowait(self) -> ApplicationMessage:
        """The message that has waited longest, taken out of the queue; raises asyncio.QueueEmpty."""
        queue = self._session.queue if self._session is not None else None
        message = (queue.next_acknowledged() or queue.next_plain()) if queue is not None else None
        if message is None:
            raise asyncio.QueueEmpty
        return retained_message(message.publish.topic, message.publish.payload, message.qos)


class Handler:
    """Replaces amqtt's protocol handler of a session."""

    def __init__(self, session: SessionView) -> None:
        self.session = session

    async def stop(self) -> None:
        """Disconnect the client, if it is connected."""
        session = self.session.session
        if session is not None and session.channel is not None:
            session.channel.close(ReasonCode.ADMINISTRATIVE_ACTION, "kicked")


class SessionViews:
    """All views, so that every plugin sees the attributes that another one has set."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.keep = True
        """Whether there is a plugin that may see a session after its client was admitted."""
        self._connections: dict[int, SessionView] = {}
        """By identity of the connection's Client, which the view keeps alive."""
        self._sessions: dict[str, SessionView] = {}

    def __iter__(self) -> Iterator[SessionView]:
        """The views of the sessions that have one."""
        return iter(list(self._sessions.values()))

    def arriving(self, credentials: Credentials) -> SessionView:
        """A view for a client that is not admitted yet."""
        view = SessionView(self._engine, credentials.client, credentials.password, credentials.tls)
        if self.keep:
            self._connections[id(credentials.client)] = view
        return view

    def of(self, session: EngineSession) -> SessionView:
        view = self._sessions.get(session.client_id)
        if view is None or view.session is not session:
            view = SessionView(self._engine, session.client)
            view.session = session
            if self.keep and self._engine.sessions.get(session.client_id) is session:
                self._sessions[session.client_id] = view
        return view

    def of_client(self, client: Client) -> SessionView:
        view = self._connections.get(id(client))
        if view is not None:
            return view
        session = self._engine.sessions.get(client.client_id)
        return self.of(session) if session is not None else SessionView(self._engine, client)

    def connected(self, client: Client) -> SessionView:
        """The client was admitted: its view becomes the session's."""
        arrived = self._connections.get(id(client)) or SessionView(self._engine, client)
        session = self._engine.sessions.get(client.client_id)
        view = self._sessions.get(client.client_id, arrived)
        if view is not arrived:
            view.renew(arrived)
        view.session = session
        view.last_connect_time = int(self._engine.clock.time())
        self._connections[id(client)] = self._sessions[client.client_id] = view
        return view

    def disconnected(self, client: Client) -> SessionView | None:
        """The connection is over, whether the client was admitted or not."""
        view = self._connections.pop(id(client), None)
        if view is not None:
            view.last_disconnect_time = int(self._engine.clock.time())
            view.ssl_object = None
        return view

    def terminated(self, client: Client) -> None:
        """The session is over; a connection that still is keeps its view."""
        self._sessions.pop(client.client_id, None)


class Sessions(Mapping[str, tuple[SessionView, Handler]]):
    """`broker.sessions`: client identifier to view and handler, as of now."""

    def __init__(self, engine: Engine, views: SessionViews) -> None:
        self._engine = engine
        self._views = views

    def __len__(self) -> int:
        return len(self._engine.sessions)

    def __iter__(self) -> Iterator[str]:
        return (session.client_id for session in self._engine.sessions)

    def __getitem__(self, client_id: str) -> tuple[SessionView, Handler]:
        session = self._engine.sessions.get(client_id)
        if session is None:
            raise KeyError(client_id)
        view = self._views.of(session)
        return view, Handler(view)

    def __setitem__(self, client_id: str, session: tuple[Session, Any]) -> None:
        """amqtt puts here what ``create_offline_session`` gave it: the engine has that session already."""
        if client_id not in self._engine.sessions:
            raise KeyError(f"no session of {client_id!r}; sessions are made by create_offline_session")


class RetainedMessages(MutableMapping[str, RetainedApplicationMessage]):
    """`broker.retained_messages`: what is retained as of now; writing here retains and forgets.

    A message that was read is a copy: to change it, put it back.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __len__(self) -> int:
        return len(self._engine.retained)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._engine.retained))

    def __getitem__(self, topic: str) -> RetainedApplicationMessage:
        publish = self._engine.retained.get(topic)
        if publish is None:
            raise KeyError(topic)
        return retained_message(topic, publish.payload, publish.qos)

    def __setitem__(self, topic: str, message: RetainedApplicationMessage) -> None:
        publish = make_message(topic, message.data, message.qos, retain=True)
        if not publish.payload:
            self._engine.retained.remove(topic)
        elif not self._engine.retained.set(topic, publish):
            self._engine.reports.dropped("quota_exceeded", publish)

    def __delitem__(self, topic: str) -> None:
        if not self._engine.retained.remove(topic):
            raise KeyError(topic)

    def clear(self) -> None:
        self._engine.retained.clear()


class PublishedMessage(IncomingApplicationMessage):
    """A message from a client; the packet is only built for those who look at it."""

    __slots__ = ("_packet",)
    _packet: Any

    @property
    def publish_packet(self) -> Any:
        if self._packet is None:
            self._packet = self.build_publish_packet()
        return self._packet

    @publish_packet.setter
    def publish_packet(self, packet: Any) -> None:
        self._packet = packet


def subscriptions(engine: Engine, views: SessionViews) -> dict[str, list[tuple[Session, int]]]:
    """Topic filter to the sessions that subscribe to it and their QoS: as it is now, a copy."""
    found: dict[str, list[tuple[Session, int]]] = {}
    for session in engine.sessions:
        if session.subscriptions:
            view = views.of(session)
            for topic_filter, subscription in session.subscriptions.items():
                found.setdefault(topic_filter, []).append((view, subscription.qos))
    return found


def make_message(
    topic: str, data: bytes | bytearray | None, qos: int | None, *, retain: bool = False
) -> Publish:
    """A plugin's message for the engine. Raises ValueError where the topic or the QoS is none."""
    if error := topic_error(topic):
        raise ValueError(f"{topic!r} cannot be published: {error}")
    if qos not in (None, 0, 1, 2):
        raise ValueError(f"the QoS of a message is 0, 1 or 2, not {qos!r}")
    return make_publish(topic, bytes(data or b""), qos=qos or 0, retain=retain)


def retained_message(topic: str, payload: bytes, qos: int) -> RetainedApplicationMessage:
    return RetainedApplicationMessage(None, topic, payload, qos)


def _peer(view: SessionView) -> tuple[str | None, int | None]:
    host, _, port = view.client.peer.rpartition(":")
    return (host.strip("[]") or None, int(port) if port.isdigit() else None)


def _will(field: str, without: Any) -> Callable[[SessionView], Any]:
    def look_up(view: SessionView) -> Any:
        will = view.session.will if view.session is not None else None
        return getattr(will, field) if will is not None else without

    return look_up


def _inflight_out(view: SessionView) -> OrderedDict[int, OutgoingApplicationMessage]:
    sent = view.session.inflight.messages if view.session is not None else {}
    return OrderedDict(
        (
            packet_id,
            OutgoingApplicationMessage(packet_id, m.publish.topic, m.qos, m.publish.payload, m.retain),
        )
        for packet_id, m in sent.items()
    )


def _inflight_in(view: SessionView) -> OrderedDict[int, IncomingApplicationMessage]:
    """The engine hands a QoS 2 message on when it comes, and keeps nothing of it but its identifier."""
    received = view.session.received if view.session is not None else ()
    return OrderedDict(
        (packet_id, IncomingApplicationMessage(packet_id, "", 2, b"", False)) for packet_id in received
    )


_LOOK_UP: dict[str, Callable[[SessionView], Any]] = {
    "remote_address": lambda view: _peer(view)[0],
    "remote_port": lambda view: _peer(view)[1],
    "keep_alive": lambda view: view.client.keepalive,
    "will_flag": lambda view: view.session is not None and view.session.will is not None,
    "will_topic": _will("topic", None),
    "will_message": _will("payload", None),
    "will_qos": _will("qos", None),
    "will_retain": _will("retain", None),
    "transitions": lambda view: State(view.session),
    "inflight_out": _inflight_out,
    "inflight_in": _inflight_in,
    "retained_messages": WaitingMessages,
    "delivered_message_queue": lambda view: asyncio.Queue(),  # no message waits for a plugin to fetch it
    "parent": lambda view: 0,
    "publish_retry_delay": lambda view: 0,
    "_packet_id": lambda view: 0,
    **dict.fromkeys(
        (
            "last_connect_time",
            "last_disconnect_time",
            "broker_uri",
            "cafile",
            "capath",
            "cadata",
        ),
        lambda view: None,
    ),
}
"""amqtt's attribute of a session to where it comes from."""
