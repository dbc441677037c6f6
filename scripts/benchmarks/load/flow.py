"""Publishers and subscribers that saturate a broker from one thread, on plain sockets.

All packets of a run have the same size: the receiving side counts bytes where it need not answer, and the
generator costs a small part of the broker it drives.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..process import Meter
from .client import Client, publish_packet

WRITE_AT_ONCE = 65_536
READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Flow:
    """What the publishers of a run send."""

    messages: int
    """Of each publisher."""
    size: int = 64
    """Bytes of payload."""
    qos: int = 0
    version: int = 4
    window: int = 20
    """Unacknowledged messages a publisher keeps in flight."""


class Publisher:
    """Sends its messages: freely at QoS 0, a window at a time above."""

    def __init__(self, client: Client, topic: str, flow: Flow) -> None:
        self.client = client
        self.socket = client.socket
        self.out = memoryview(b"")
        """What waits to be written."""
        self._qos = flow.qos
        self._left = flow.messages
        ids = range(1, flow.window + 1) if flow.qos else [0]
        self._packets = [publish_packet(topic, flow.size, flow.qos, flow.version, id) for id in ids]
        if not flow.qos:
            self._packets *= max(1, min(flow.messages, WRITE_AT_ONCE // len(self._packets[0])))
        self._packet_size = len(self._packets[0])
        self._window = memoryview(b"".join(self._packets))
        self._unacknowledged = 0
        self._inbox = bytearray()

    @property
    def done(self) -> bool:
        return not self._left and not self.out and not self._unacknowledged

    def refill(self) -> None:
        """Make the next window ready, if it may go."""
        if self.out or not self._left or self._unacknowledged:
            return
        count = min(self._left, len(self._packets))
        self.out = self._window[: count * self._packet_size]
        self._left -= count
        if self._qos:
            self._unacknowledged = count

    def on_writable(self) -> None:
        self.refill()
        while self.out:
            self.out = self.out[write_some(self) :]
            if self.out:
                return
            self.refill()

    def on_readable(self) -> int:
        """Take in acknowledgements; answers PUBREC. Returns 0: nothing was delivered."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the broker closed a publisher's connection")
        if not self._qos:
            return 0
        inbox = self._inbox
        inbox += data
        at, end, replies = 0, len(inbox), []
        while at + 2 <= end and at + 2 + inbox[at + 1] <= end:
            kind = inbox[at] & 0xF0
            if kind in (0x40, 0x70):  # PUBACK, PUBCOMP
                self._unacknowledged -= 1
            elif kind == 0x50:  # PUBREC
                replies.append(b"\x62\x02" + inbox[at + 2 : at + 4])
            at += 2 + inbox[at + 1]
        del inbox[:at]
        if replies:
            self.out = memoryview(bytes(self.out) + b"".join(replies))
        return 0


class Subscriber:
    """Counts what arrives; above QoS 0 it acknowledges every packet."""

    def __init__(self, client: Client, topic: str, flow: Flow) -> None:
        self.client = client
        self.socket = client.socket
        self.out = memoryview(b"")
        self._qos = flow.qos
        self._packet_size = len(publish_packet(topic, flow.size, flow.qos, flow.version))
        self._id_at = self._packet_size - flow.size - len(client.no_properties) - 2
        self._bytes = 0
        self._inbox = bytearray()
        self._scratch = memoryview(bytearray(READ_AT_ONCE))

    def refill(self) -> None:
        """It sends nothing of its own."""

    def on_readable(self) -> int:
        """How many messages arrived."""
        size = self.socket.recv_into(self._scratch)
        if not size:
            raise ConnectionError("the broker closed a subscriber's connection")
        if self._qos:
            return self._acknowledge(self._scratch[:size])
        before = self._bytes // self._packet_size
        self._bytes += size
        return self._bytes // self._packet_size - before

    def _acknowledge(self, data: memoryview) -> int:
        inbox, size, id_at = self._inbox, self._packet_size, self._id_at
        inbox += data
        at, end, got, replies = 0, len(inbox), 0, []
        received = b"\x40\x02" if self._qos == 1 else b"\x50\x02"  # PUBACK or PUBREC
        while at < end:
            kind = inbox[at] & 0xF0
            if kind == 0x30:  # PUBLISH
                if at + size > end:
                    break
                replies.append(received + inbox[at + id_at : at + id_at + 2])
                got += 1
                at += size
            else:
                if at + 2 > end or at + 2 + inbox[at + 1] > end:
                    break
                if kind == 0x60:  # PUBREL
                    replies.append(b"\x70\x02" + inbox[at + 2 : at + 4])
                at += 2 + inbox[at + 1]
        del inbox[:at]
        self.out = memoryview(bytes(self.out) + b"".join(replies))
        self.on_writable()
        return got

    def on_writable(self) -> None:
        while self.out:
            written = write_some(self)
            if not written:
                return
            self.out = self.out[written:]


Party = Publisher | Subscriber


def write_some(party: Party) -> int:
    try:
        return party.socket.send(party.out)
    except BlockingIOError:
        return 0


@dataclass(slots=True)
class Driven:
    """How a run ended."""

    got: int
    """Messages delivered."""
    cut: bool
    """Whether it ran into its time limit."""


def drive(
    publishers: Sequence[Publisher],
    subscribers: Sequence[Subscriber],
    want: int,
    meter: Meter,
    *,
    stall: float,
    limit: float,
) -> Driven:
    """Run until all publishers are done and ``want`` messages came, or nothing came for ``stall`` seconds,
    or ``limit`` seconds are over."""
    selector = selectors.DefaultSelector()
    parties: list[Party] = [*publishers, *subscribers]
    for party in parties:
        party.socket.setblocking(False)
        writes = selectors.EVENT_WRITE if isinstance(party, Publisher) else 0
        selector.register(party.socket, selectors.EVENT_READ | writes, party)
    got, cut = 0, False
    with meter:
        end, quiet = time.monotonic() + limit, time.monotonic()
        while got < want or not all(one.done for one in publishers):
            moved = False
            for key, events in selector.select(1):
                party = key.data
                moved = True
                if events & selectors.EVENT_READ:
                    got += party.on_readable()
                if events & selectors.EVENT_WRITE:
                    party.on_writable()
                party.refill()
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if party.out else 0)
                if key.events != wanted:
                    selector.modify(party.socket, wanted, party)
            now = time.monotonic()
            if moved:
                quiet = now
            elif now - quiet > stall:
                break
            if now > end:
                cut = True
                break
    selector.close()
    return Driven(got, cut)
