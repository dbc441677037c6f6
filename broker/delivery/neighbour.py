"""A neighbour, which is another process of the same broker, as a session that subscribes for its clients."""

from __future__ import annotations

from typing import Protocol

from ..counters import Counters
from ..events import Client
from ..packets.encoder import publish_shape
from ..packets.model import Publish, PublishRun
from ..routing.shared import SharedGroup
from ..session.session import Session
from .outbox import Outbox, Pending

SOME_IDENTIFIER = b"\0\1"
"""A packet identifier that nobody reads, for packets that must have one."""
NOBODY = Client("")
"""No publisher has been told yet."""


class ToNeighbour(Protocol):
    """The connection to a neighbour. Calls keep their order."""

    def packets(self, layout: int, data: bytes) -> None:
        """Send PUBLISH packets for its clients."""

    def source_is(self, client: Client | None) -> None:
        """Tell who has published the packets that follow; None: the broker itself."""

    def group(self, topic_filter: str, layout: int, packet: bytes) -> None:
        """Send a PUBLISH packet for one member of a shared subscription."""


class _Lane(Outbox):
    """An outbox that counts no bytes, because they are not sent to a client."""

    def flush(self) -> int:
        count = super().flush()
        self.written = 0
        return count

    def write_all(self, chunks: list[bytes]) -> None:
        super().write_all(chunks)
        self.written = 0


class Neighbour(Session):
    """The session that stands for a neighbour's clients in the router. It gets each message once, as the
    received bytes. The neighbour decides which of its clients get the message, and with which QoS."""

    __slots__ = ("_counters", "_pending", "_publisher", "_way", "five", "four", "keeps", "tells")

    def __init__(self, pending: Pending, way: ToNeighbour, counters: Counters) -> None:
        super().__init__(Client(""))
        self.elsewhere = self
        self.superuser = True  # the neighbour decides who may receive a topic
        self._pending = pending
        self._way = way
        self._counters = counters
        self.keeps = False
        """Whether the neighbour keeps messages on disk, with their publisher."""
        self.tells = True
        """Whether the neighbour has to know who has published a message."""
        self._publisher: Client | None = NOBODY
        """The publisher that the neighbour assumes for the next message."""
        self.four = _lane(self, _Lane(self._write_four))
        self.five = _lane(self, _Lane(self._write_five))

    def lane(self, layout: int) -> Session:
        """The session that takes messages of QoS 0 whose publisher nobody asks for."""
        return self.five if layout == 5 else self.four

    def member(self, *, connected: bool) -> Session:
        """A session that stands for one member of a shared group."""
        session = _lane(self, None)
        session.channel = self if connected else None
        return session

    def take(self, publish: Publish, packet: bytes) -> None:
        """Send a message in the form that :func:`as_it_came` has made."""
        self._tell_source(publish.source)
        self._counters.publish_sent += 1  # as for the lanes; see Node
        self._send(publish.version, packet)

    def take_run(self, run: PublishRun, source: Client) -> None:
        """Send messages as they were received."""
        self._tell_source(source)
        self._counters.publish_sent += len(run)
        self._counters.packets_sent += len(run) - 1
        self._send(run.version, run.wire)

    def take_for_group(self, publish: Publish, group: SharedGroup[Session]) -> None:
        """Send a message for one member of the neighbour's part of the group."""
        self._tell_source(publish.source)
        self._way.group(f"$share/{group.name}/{group.topic_filter}", publish.version, as_it_came(publish))

    @property
    def has_more(self) -> bool:
        """Whether the lanes have packets that are not sent yet."""
        return bool(_chunks(self.four) or _chunks(self.five))

    def flush(self) -> None:
        """Send the packets of the lanes before anything that follows, which begins with its publisher."""
        self._put_on_way()
        self._publisher = NOBODY

    def _put_on_way(self) -> None:
        for lane in (self.four, self.five):
            if lane.outbox is not None and lane.outbox.chunks:
                self._counters.packets_sent += lane.outbox.flush()

    def _send(self, layout: int, packets: bytes) -> None:
        outbox = self.lane(layout).outbox
        assert outbox is not None
        self._pending.send(outbox, packets)

    def _tell_source(self, source: Client | None) -> None:
        if self.tells and source is not self._publisher:
            self._put_on_way()
            self._publisher = source
            self._way.source_is(source)

    def _write_four(self, data: bytes) -> None:
        self._way.packets(4, data)

    def _write_five(self, data: bytes) -> None:
        self._way.packets(5, data)


def as_it_came(publish: Publish) -> bytes:
    """The message as a packet without topic alias, and with a meaningless packet identifier."""
    head, tail = publish_shape(publish, publish.version, publish.qos, publish.retain)
    return b"".join((head, SOME_IDENTIFIER, tail)) if publish.qos else head


def _lane(neighbour: Neighbour, outbox: Outbox | None) -> Session:
    session = Session(Client(""))
    session.elsewhere = neighbour
    session.superuser = True
    session.version = 5
    session.small_packet = session.max_packet_size
    session.outbox = outbox
    return session


def _chunks(lane: Session) -> list[bytes]:
    return lane.outbox.chunks if lane.outbox is not None else []
