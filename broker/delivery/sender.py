"""Sends the messages of one session: writes, queues, acknowledges and repeats them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import ceil

from ..clock import Clock
from ..packets.encoder import publish_shape, pubrel
from ..packets.errors import ProtocolError
from ..packets.model import Publish
from ..reports import Reports
from ..session.inflight import Outgoing
from ..session.queue import MessageQueue
from ..session.session import Session
from ..session.stretch import Stretch
from .outbox import Pending

DUP = 0x08

BURST = 64
"""The number of queued packets that are gathered before they are written."""
BURST_BYTES = 4096
"""A packet of at least this many bytes is not gathered."""
MOST_PLAIN = 500
"""The number of queued messages of QoS 0 that are written to one session at a time, which takes half a
millisecond. Other clients have their turn before the next."""
STRETCH_BYTES = 65_536
"""The bytes that are gathered when packets are written a stretch at a time."""


class Sender:
    """Sends with QoS 0, 1 and 2 to each receiver (MQTT 5.0 section 4.3)."""

    __slots__ = (
        "_clock",
        "_counters",
        "_hooks",
        "_pending",
        "_postpone",
        "_reports",
        "max_bytes",
        "max_messages",
        "retry_interval",
        "window",
    )

    def __init__(
        self,
        pending: Pending,
        reports: Reports,
        clock: Clock,
        *,
        max_messages: int,
        max_bytes: int,
        retry_interval: float,
        postpone: Callable[[Session], None],
    ) -> None:
        """``postpone`` is called when :meth:`pump` has left messages for later. It has them written after
        other clients have had their turn."""
        self._pending = pending
        self._postpone = postpone
        self._reports = reports
        self._counters = reports.counters
        self._hooks = reports.hooks
        self._clock = clock
        self.retry_interval = retry_interval
        """A message to a 3.x client is sent again after this many seconds without an acknowledgement; 0:
        never."""
        self.max_messages = max_messages
        """The number of messages that may wait for one session."""
        self.max_bytes = max_bytes
        """The number of bytes that may wait for one session, those included that it has not acknowledged."""
        self.window = 0
        """The number of messages of a session's queue that are in memory, if a keeper has them too."""

    def bound(self, session: Session) -> None:
        """To be called when the session's window or packet size, or :attr:`max_bytes`, has changed. Packets
        so small that a whole window of them takes a quarter of the bytes need not be counted one by one."""
        session.small_packet = min(session.max_packet_size, self.max_bytes // (4 * session.full_window))

    def send(self, session: Session, message: Outgoing, shape: tuple[bytes, bytes] | None = None) -> None:
        """Write ``message`` now, or queue it, or drop and count it. ``shape`` is the result of
        :func:`publish_shape` for it, if the caller has it."""
        outbox = session.outbox
        qos = message.qos
        inflight = session.inflight
        # There is never a queue while the window has room: whatever makes room also pumps.
        if outbox is None or (qos and (session.behind or len(inflight.messages) >= session.window)):
            self._wait(session, message)
            return
        head, tail = shape or self._shape(session, message)
        size = len(head) + len(tail) + 2
        large = size > session.small_packet
        if large and self._not_now(session, message, size):
            return
        if qos:
            packet_id = inflight.add(message)
            if large:
                inflight.count(packet_id, size)
            if session.keeper is not None:
                session.keeper.sent(message, packet_id)
            head = head + packet_id.to_bytes(2, "big") + tail
            if session.version != 5 and self.retry_interval:
                message.sent_at = self._clock.monotonic()
                if session.retry_timer is None:
                    self._start_retries(session)
        chunks = outbox.chunks
        if not chunks:
            self._pending.outboxes.append(outbox)
        chunks.append(head)
        self._counters.publish_sent += 1
        if self._hooks.message_delivered:
            self._reports.delivered(session.client, message.publish, qos, message.retain)

    def send_as_it_is(self, session: Session, publish: Publish) -> bool:
        """The same for a message of QoS 0 that is stored as exactly the bytes that the session gets. Returns
        False, and does nothing, if the session gets other bytes, or if the message has to wait. The caller
        has to see to it that the message has no subscription identifier, and the RETAIN flag that the session
        wants."""
        outbox = session.outbox
        if (
            outbox is None
            or publish.qos
            or publish.properties is not None
            or (publish.version == 5) != (session.version == 5)
            or len(publish.wire) > session.small_packet
            or self._hooks.message_delivered
        ):
            return False
        self._pending.send(outbox, publish.wire)
        self._counters.publish_sent += 1
        return True

    def send_all(self, session: Session, stretch: Stretch, *, alone: bool) -> bool:
        """The same for many messages together. Returns False, and does nothing, if each has to be handled by
        itself. ``alone``: the session is the only receiver, so no other keeper has the messages."""
        if session.keeper is not None and not alone:
            return False
        inflight = session.inflight
        if session.outbox is None or session.behind or len(inflight.messages) >= session.window:
            return self._wait_all(session, stretch)
        count = len(stretch)
        if len(inflight.messages) + count > session.window or not self._goes_as_one(session, stretch):
            return False
        packet_id = inflight.free_block(count)
        if packet_id:
            self._write_all(session, stretch, packet_id)
        return packet_id > 0

    def acknowledge(
        self, session: Session, packet_ids: Iterable[int], qos: int, *, released: bool = False
    ) -> None:
        """The messages are done [MQTT-4.4.0-2]: PUBACK was received, or a PUBREC that refuses or, for
        messages that are ``released``, PUBCOMP. Unknown identifiers are ignored. Raises ProtocolError if a
        message waits for another acknowledgement."""
        inflight = session.inflight
        messages, unsent = inflight.messages, inflight.unsent
        acked = self._hooks.message_acked
        keeper = session.keeper
        large = inflight.large
        done: list[Outgoing] = []
        for packet_id in packet_ids:
            message = messages.get(packet_id)
            if message is None:
                continue
            if message.qos != qos or message.released != released:
                if keeper is not None:
                    keeper.done(done)
                raise _wrong_kind(packet_id, message)
            del messages[packet_id]
            if large and inflight.uncount(packet_id):
                session.window = session.full_window
            if unsent:
                unsent.pop(packet_id, None)
            if keeper is not None:
                done.append(message)
            if acked:
                self._reports.acked(session.client, message.publish, message.qos, message.retain)
        if keeper is not None:
            keeper.done(done)
        if session.queue is not None or unsent:
            self.pump(session)

    def release(self, session: Session, packet_ids: Iterable[int]) -> list[int]:
        """PUBREC was received: from now on only PUBREL is sent [MQTT-4.3.3-6]. Returns the unknown
        identifiers. Raises ProtocolError if a message is not of QoS 2."""
        messages, unsent = session.inflight.messages, session.inflight.unsent
        now = self._clock.monotonic()
        released: list[bytes] = []
        unknown: list[int] = []
        for packet_id in packet_ids:
            message = messages.get(packet_id)
            if message is None:
                unknown.append(packet_id)
                continue
            if message.qos != 2:
                raise _wrong_kind(packet_id, message)
            message.released = True
            if session.keeper is not None:
                session.keeper.released(message)
            message.sent_at = now
            if unsent:
                unsent.pop(packet_id, None)
            released.append(pubrel(packet_id))
        if session.outbox is not None:
            self._pending.send_all(session.outbox, released)
        return unknown

    def resume(self, session: Session) -> None:
        """The client has reconnected. Send again the messages that it did not acknowledge, in order and with
        the identifiers that they had [MQTT-4.4.0-1], then the queue; not more at a time than the client
        accepts now."""
        inflight = session.inflight
        inflight.unsent.clear()
        room = session.window
        for packet_id, message in list(inflight.messages.items()):
            if len(message.publish.wire) > session.small_packet:
                inflight.count(packet_id, len(message.publish.wire))
            if message.released or room > 0:
                self._send_again(session, packet_id, message)
                room -= 1
            else:
                inflight.resend_later(packet_id, message)
        self._start_retries(session)
        self.pump(session)

    def pump(self, session: Session) -> None:
        """Write queued messages, as far as the connection and the window have room."""
        inflight = session.inflight
        messages, unsent = inflight.messages, inflight.unsent
        window = session.full_window
        while unsent and session.outbox is not None and len(messages) - len(unsent) < window:
            packet_id = next(iter(unsent))
            self._send_again(session, packet_id, unsent.pop(packet_id))
        queue = session.queue
        if queue is None:
            return
        behind, session.behind = (
            session.behind,
            False,
        )  # the messages that are taken out now come before the others
        plain = 0
        while session.outbox is not None and (message := queue.next_plain()) is not None:
            self._write_unless_expired(session, message)
            plain += 1
            if plain == MOST_PLAIN:
                session.outbox = None  # nothing may overtake the rest
                session.behind = behind
                self._postpone(session)
                return
        gathered = 0
        while (outbox := session.outbox) is not None and len(messages) < session.window:
            if written := self._write_stretch(session, queue):
                gathered += written
                if gathered >= STRETCH_BYTES:
                    gathered = 0
                    self._counters.packets_sent += self._pending.flush_early(outbox)
                continue
            message = queue.first_acknowledged()
            if message is None:
                break
            if not self._fits(session, len(message.publish.wire)):
                session.window = 0  # nothing may overtake it
                break
            queue.next_acknowledged()
            self._write_unless_expired(session, message)
        session.behind = behind
        if not len(queue):
            session.queue = None
            if session.source is not None:
                session.source.go_on()
        elif session.keeper is not None and queue.runs_low:
            session.keeper.fetch(session)

    def give_up(self, session: Session, message: Outgoing, reason: str) -> None:
        """Drop a message that was sent and is not acknowledged."""
        inflight = session.inflight
        for packet_id, one in inflight.messages.items():
            if one is message:
                del inflight.messages[packet_id]
                inflight.unsent.pop(packet_id, None)
                if inflight.uncount(packet_id):
                    session.window = session.full_window
                self._drop(session, message, reason)
                return

    def has_room(self, session: Session, publish: Publish, qos: int) -> bool:
        """Whether a message could be written at once, with nothing queued before it."""
        if session.outbox is None or session.queue:
            return False
        if not qos:
            return True
        return len(session.inflight.messages) < session.window and self._fits(session, len(publish.wire))

    def await_room(self, session: Session) -> None:
        """Call the session's source when there may be room: whatever makes room for a queue pumps."""
        if session.queue is None:
            session.queue = self._new_queue(session)

    def _new_queue(self, session: Session) -> MessageQueue:
        return MessageQueue(session.max_queued or self.max_messages, self.max_bytes, self.window)

    def _write_stretch(self, session: Session, queue: MessageQueue) -> int:
        """Write the oldest messages together, as many as there is room for, if they are a stretch. Returns
        the number of bytes; 0 if nothing was written."""
        inflight = session.inflight
        stretch = queue.first_stretch()
        if stretch is None or not self._goes_as_one(session, stretch):
            return 0
        count = min(len(stretch), session.window - len(inflight.messages))
        packet_id = inflight.free_block(count)
        if not packet_id:
            return 0
        stretch = queue.next_of_stretch(count)
        self._write_all(session, stretch, packet_id)
        return len(stretch.run.wire)

    def _goes_as_one(self, session: Session, stretch: Stretch) -> bool:
        """Whether no message of the stretch needs handling by itself."""
        if self._hooks.message_delivered or stretch.largest > session.small_packet:
            return False
        return (session.version == 5) == (stretch.run.version == 5)

    def _write_all(self, session: Session, stretch: Stretch, packet_id: int) -> None:
        """Write messages for which there is room, with identifiers from ``packet_id`` on."""
        assert session.outbox is not None
        messages = stretch.messages()
        session.inflight.add_all(packet_id, messages)
        if session.keeper is not None:
            session.keeper.sent_all(stretch, messages, packet_id)
        if session.version != 5 and self.retry_interval:
            now = self._clock.monotonic()
            for message in messages:
                message.sent_at = now
            if session.retry_timer is None:
                self._start_retries(session)
        self._pending.send(session.outbox, stretch.run.renumbered(packet_id))
        self._counters.publish_sent += len(messages)
        self._counters.packets_sent += len(messages) - 1

    def _wait_all(self, session: Session, stretch: Stretch) -> bool:
        """Queue all of them. Returns False, and does nothing, if there may not be room for each, or if each
        has to be reported."""
        if not session.connected and (self._hooks.message_queued or not session.expiry):
            return False
        queue, keeper = session.queue, session.keeper
        if queue is None:
            queue = self._new_queue(session)
        if keeper is not None and session.behind:
            if not queue.takes_beyond(stretch):
                return False
            keeper.queued_all(stretch)
            queue.elsewhere += len(stretch)
            if session.queue_grew is not None:
                session.queue_grew(session)
            return True
        if not queue.takes(stretch, session.inflight.bytes, kept=keeper is not None):
            return False
        if keeper is not None:
            keeper.queued_all(stretch)
        queue.add_stretch(stretch)
        session.queue = queue
        if session.queue_grew is not None:
            session.queue_grew(session)
        return True

    def _write_unless_expired(self, session: Session, message: Outgoing) -> None:
        expires_at = message.publish.expires_at
        if expires_at is not None and expires_at <= self._clock.monotonic():  # [MQTT-3.3.2-5]
            self._drop(session, message, "expired")
            return
        outbox = session.outbox
        self.send(session, message)
        # Written at once, so that a full connection calls back before the next message.
        if outbox is not None and (len(outbox.chunks) >= BURST or len(message.publish.wire) >= BURST_BYTES):
            self._counters.packets_sent += self._pending.flush_early(outbox)

    def _not_now(self, session: Session, message: Outgoing, size: int) -> bool:
        """Returns True if the packet cannot be sent now: it is larger than the client accepts, and is dropped
        [MQTT-3.1.2-24], or it is so large that it waits until others are acknowledged."""
        if size - (0 if message.qos else 2) > session.max_packet_size:
            self._drop(session, message, "packet_too_large")
            return True
        if not message.qos or self._fits(session, size):
            return False
        self._wait(session, message)
        if session.queue:
            session.window = 0  # nothing may overtake it
        return True

    def _fits(self, session: Session, size: int) -> bool:
        """Whether a message of ``size`` bytes may be unacknowledged too. One message always may."""
        taken = session.inflight.bytes
        return not taken or taken + size <= self.max_bytes

    def _wait(self, session: Session, message: Outgoing) -> None:
        if not session.connected and not message.qos and _is_kept(session, message):
            message = Outgoing(message.publish, 1, message.retain, message.identifiers)
        if not session.connected and (not message.qos or not session.expiry):
            return  # nothing is kept for a session that ends now, and no QoS 0 for a client that is away
        queue = session.queue
        if queue is None:
            queue = session.queue = self._new_queue(session)
        taken = session.inflight.bytes
        if session.keeper is not None and message.qos and queue.leaves(message, taken):
            session.keeper.queued(message)
            if not queue.elsewhere and not queue.last:
                queue.last = message.number - 1  # the keeper brings the messages after this one
            queue.elsewhere += 1
            session.behind = True
            if session.queue_grew is not None:
                session.queue_grew(session)
            if not session.connected:
                self._reports.queued(session.client, message.publish, message.qos, message.retain)
            return
        refused = queue.add(message, taken)
        if message in refused and (expired := queue.take_expired(self._clock.monotonic())):
            for old in expired:  # expired messages take no room [MQTT-3.3.2-5]
                self._drop(session, old, "expired")
            refused[-1:] = queue.add(message, taken)
        if message.qos and message not in refused:
            if session.keeper is not None:
                session.keeper.queued(message)
                queue.last = message.number
            if not session.connected:
                self._reports.queued(session.client, message.publish, message.qos, message.retain)
        if session.queue_grew is not None:
            session.queue_grew(session)
        for dropped in refused:
            if not dropped.qos or len(queue) < queue.max_messages:
                self._reports.counters.limited["max_queued_bytes"] += 1
            reason = "queue_full" if dropped.qos or not session.connected else "slow_receiver"
            self._drop(session, dropped, reason)

    def _drop(self, session: Session, message: Outgoing, reason: str) -> None:
        if session.keeper is not None and message.number:
            session.keeper.done([message])
        self._reports.dropped(reason, message.publish, session.client)

    def _send_again(self, session: Session, packet_id: int, message: Outgoing) -> None:
        if session.outbox is None:
            return
        message.sent_at = self._clock.monotonic()
        if message.released:
            self._pending.send(session.outbox, pubrel(packet_id))
            return
        head, tail = self._shape(session, message)
        if len(head) + len(tail) + 2 > session.max_packet_size:
            del session.inflight.messages[packet_id]
            session.inflight.uncount(packet_id)
            self._drop(session, message, "packet_too_large")
            return
        again = bytes((head[0] | DUP,)) + head[1:]  # [MQTT-3.3.1-1]
        self._pending.send(session.outbox, again + packet_id.to_bytes(2, "big") + tail)
        self._counters.publish_sent += 1

    def _shape(self, session: Session, message: Outgoing) -> tuple[bytes, bytes]:
        publish = message.publish
        return publish_shape(
            publish,
            session.version,
            message.qos,
            message.retain,
            message.identifiers,
            self._expiry_left(publish),
        )

    def _expiry_left(self, publish: Publish) -> int | None:
        """Whole seconds until the message expires, for the receiver [MQTT-3.3.2-6]; None: never."""
        if publish.expires_at is None:
            return None
        return max(0, ceil(publish.expires_at - self._clock.monotonic()))

    def _start_retries(self, session: Session) -> None:
        """Start the timer of repeats. They are allowed on the same connection in 3.1 and 3.1.1, and not in
        5.0 [MQTT-4.4.0-1]."""
        if self.retry_interval and session.version != 5 and session.repeats and session.inflight.messages:
            due = self._clock.monotonic() + self.retry_interval
            session.retry_timer = self._clock.call_at(due, partial(self._retry, session))

    def _retry(self, session: Session) -> None:
        session.retry_timer = None
        overdue = self._clock.monotonic() - self.retry_interval
        inflight = session.inflight
        for packet_id, message in list(inflight.messages.items()):
            if message.sent_at <= overdue and packet_id not in inflight.unsent:
                self._send_again(session, packet_id, message)
        if session.connected:
            self._start_retries(session)
        self._pending.flush()


def _is_kept(session: Session, message: Outgoing) -> bool:
    """Whether a message of QoS 0 waits for a client that is away."""
    return session.keeps_plain or (session.keeps_retained and message.retain)


def _wrong_kind(packet_id: int, message: Outgoing) -> ProtocolError:
    """The error for an acknowledgement that the state of the message does not allow (MQTT 5.0, section 1.2,
    protocol error) [3.1.1: MQTT-4.8.0-1]."""
    due = {1: "PUBACK", 2: "PUBCOMP" if message.released else "PUBREC"}[message.qos]
    return ProtocolError(
        f"message {packet_id}, of QoS {message.qos}, waits for {due}; another acknowledgement came"
    )
