"""What one node sends another: numbered batches of records, sent again until they are acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from struct import Struct, error

from .bus import Transmit

WINDOW = 4 << 20
"""Bytes that are sent before the first of them is acknowledged."""
MOST_HELD = 64 << 20
"""Bytes that wait for a node before those who send more have to wait."""
ACKNOWLEDGED_TOGETHER = 16
"""Batches, where nobody waits for the acknowledgement."""
PATIENCE = 2.0
"""Seconds without an acknowledgement after which the node is asked what it has."""

IS_HELLO, IS_BATCH, IS_ACK, IS_ASKING_BATCH, IS_ASK = range(1, 6)
_HELLO = Struct("<B?QQQQ")  # kind, asks, incarnation, the one it knows of us, numbers
_NUMBERED = Struct("<BQ")


class Link:
    """Our end. Each process is an incarnation: the next knows nothing of what came before. It is told all
    again (``tell_all``), and then gets what the one before it did not acknowledge."""

    __slots__ = (
        "_acknowledged_to",
        "_asked",
        "_asked_for",
        "_count",
        "_done",
        "_handled",
        "_last_heard",
        "_number",
        "_opened_for",
        "_ready",
        "_received",
        "_sent_again_at",
        "_transmit",
        "_unacknowledged",
        "_waiters",
        "_waiting",
        "_wanted",
        "_window",
        "before_flush",
        "chunks",
        "handle",
        "held",
        "incarnation",
        "peer",
        "reset",
        "tell_all",
        "together",
        "written",
    )

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        """Ours: a number that no other process has."""
        self.handle: Callable[[int, bytes], None] = _nobody
        """Takes the number and the records of a batch; :meth:`handled` is to follow."""
        self.reset: Callable[[], None] = _nothing
        """Called when what the other node has told counts no longer."""
        self.tell_all: Callable[[], list[bytes]] = list
        """All that a node must know first, as records."""
        self.before_flush: Callable[[], None] = _nothing
        """Called when a batch is about to be closed: the last moment to add to it. Each is read by itself."""
        self.chunks: list[bytes] = []
        """Records of the next batch. With :attr:`written`, :meth:`flush` and :meth:`write_all` this is what
        ``Pending`` writes to."""
        self.written = 0
        self.held = 0
        """Bytes that are not acknowledged."""
        self.peer = 0
        """The other's incarnation; 0 while it is not known."""
        self._opened_for = 0
        """The incarnation that was told all."""
        self._transmit: Transmit | None = None
        self._ready = False
        """Whether the other knows which incarnation we are."""
        self._asked = False
        self._received = self._handled = 0
        """The numbers of the last batches that came, and that were dealt with."""
        self.together = 1
        """How many batches are acknowledged together."""
        self._acknowledged_to = 0
        """The number of the last batch that we have acknowledged."""
        self._wanted = 0
        """The number of the last batch whose acknowledgement the other waits for."""
        self._asked_for = 0
        """The same, the other way round."""
        self._number = 0
        """Of the last batch that was sent to this incarnation."""
        self._count = self._done = 0
        """How many batches were made, and how many of these the other has dealt with."""
        self._waiting: deque[tuple[int, bytes]] = deque()
        """Batches that were not sent yet; by their count, 0 for those of ``tell_all``."""
        self._unacknowledged: deque[tuple[int, int, bytes]] = deque()
        """Those that were, by number and count."""
        self._window = 0
        """Bytes of these."""
        self._waiters: deque[tuple[int, Callable[[], None]]] = deque()
        self._last_heard = 0.0
        self._sent_again_at = -inf
        """When batches were last sent again."""

    @property
    def is_up(self) -> bool:
        """Whether what is sent gets there, as far as we know."""
        return self._ready

    def up(self, transmit: Transmit) -> None:
        """There is a way to the node."""
        self._transmit = transmit
        self._sent_again_at = -inf
        self._ready = self._asked = False
        self._hello(asks=True)

    def down(self) -> None:
        """There is none; what is sent waits."""
        self._transmit = None
        self._ready = False

    def forget(self) -> list[bytes]:
        """Wait for the node no longer; should it come back, both begin anew. Returns the records that it will
        never have."""
        sent = [(count, batch) for _, count, batch in self._unacknowledged]
        lost = [batch for count, batch in (*sent, *self._waiting) if count]
        lost.append(b"".join(self.chunks))
        self.chunks = []
        self._waiting.clear()
        self._unacknowledged.clear()
        self.held = self._window = 0
        self.peer = self._opened_for = 0
        self.incarnation += 2  # for the node it is as if another process had come
        self._done = self._count = self._count + 1
        self._call_waiters()
        return lost

    def flush(self) -> int:
        """Send the records; none of them is a packet to a client."""
        self.before_flush()
        if self.chunks:
            chunks, self.chunks = self.chunks, []
            self.write_all(chunks)
        return 0

    def write_all(self, chunks: list[bytes]) -> None:
        records = b"".join(chunks)
        self._count += 1
        self.held += len(records)
        self._waiting.append((self._count, records))
        self._send()

    @property
    def is_busy(self) -> bool:
        """Whether the node has not dealt with all that there is for it, flushed or not."""
        return bool(self.chunks) or self._done < self._count

    def when_done(self, then: Callable[[], None]) -> None:
        """Call ``then`` once the node has dealt with all that there is until now, or is forgotten."""
        count = self._count + bool(self.chunks)
        if self._done >= count:
            then()
        else:
            self._waiters.append((count, then))
            self.ask()

    def ask(self) -> None:
        """Have what was sent acknowledged as soon as it is dealt with."""
        if self._ready and self._transmit is not None and self._asked_for < self._number:
            self._asked_for = self._number
            self._transmit(_NUMBERED.pack(IS_ASK, self._number))

    def received(self, frame: bytes, now: float) -> None:
        """A frame from the other end. One that is none of ours is ignored."""
        try:
            kind = frame[0]
            if kind in (IS_BATCH, IS_ASKING_BATCH):
                number = _NUMBERED.unpack_from(frame)[1]
                if kind == IS_ASKING_BATCH:
                    self._wanted = max(self._wanted, number)
                self._batch(number, frame)
            elif kind == IS_ASK:
                self._wanted = max(self._wanted, _NUMBERED.unpack(frame)[1])
                self._acknowledge_some()
            elif kind == IS_ACK:
                self._last_heard = now
                self._acknowledged(_NUMBERED.unpack(frame)[1])
            elif kind == IS_HELLO:
                self._last_heard = now
                self._greeted(*_HELLO.unpack(frame)[1:], now=now)
        except (IndexError, error):
            return

    def handled(self, number: int) -> None:
        """The batch, and so those before it, is dealt with, and safe."""
        if number > self._handled and number <= self._received:
            self._handled = number
            self._acknowledge_some()

    def tick(self, now: float) -> None:
        """To be called every second: ask about what is not acknowledged, or was never answered."""
        self._acknowledge()
        if not self._unacknowledged and self._ready:
            self._last_heard = now
        elif self._transmit is not None and now - self._last_heard > PATIENCE:
            self._last_heard = now
            self._hello(asks=True)

    def _send(self) -> None:
        """As much as the window takes."""
        transmit = self._transmit
        while self._ready and transmit is not None and self._waiting and self._window < WINDOW:
            count, records = self._waiting.popleft()
            self._number += 1
            self._unacknowledged.append((self._number, count, records))
            self._window += len(records)
            kind = IS_BATCH
            if self._waiters or self._window > WINDOW // 4:
                kind, self._asked_for = IS_ASKING_BATCH, self._number
            transmit(_NUMBERED.pack(kind, self._number) + records)

    def _acknowledge_some(self) -> None:
        """Where there are many, or the other waits for it."""
        enough = self._handled - self._acknowledged_to >= self.together
        if enough or self._handled >= self._wanted > self._acknowledged_to:
            self._acknowledge()

    def _acknowledge(self) -> None:
        if self._transmit is not None and self._handled > self._acknowledged_to:
            self._acknowledged_to = self._handled
            self._transmit(_NUMBERED.pack(IS_ACK, self._handled))

    def _batch(self, number: int, frame: bytes) -> None:
        if not self.peer:
            return
        if number == self._received + 1:
            self._received = number
            self._asked = False
            self.handle(number, frame[_NUMBERED.size :])
        elif number > self._received and not self._asked:
            self._asked = True
            self._hello(asks=True)
        elif number <= self._handled:
            self._acknowledged_to = 0  # what we said is lost
            self._acknowledge()

    def _acknowledged(self, number: int) -> None:
        unacknowledged = self._unacknowledged
        while unacknowledged and unacknowledged[0][0] <= number:
            _, count, records = unacknowledged.popleft()
            self._window -= len(records)
            if count:
                self.held -= len(records)
                self._done = count
        self._call_waiters()
        self._send()

    def _call_waiters(self) -> None:
        while self._waiters and self._waiters[0][0] <= self._done:
            self._waiters.popleft()[1]()

    def _hello(self, *, asks: bool) -> None:
        if self._transmit is not None:
            last = self._received, self._handled
            self._transmit(_HELLO.pack(IS_HELLO, asks, self.incarnation, self.peer, *last))

    def _greeted(
        self, asks: bool, incarnation: int, known: int, received: int, handled: int, *, now: float
    ) -> None:
        if incarnation != self.peer:
            self.peer = incarnation
            self._received = self._handled = self._acknowledged_to = self._wanted = 0
            self.reset()
        if incarnation != self._opened_for:
            self._begin_anew(incarnation)
        elif known == self.incarnation:
            self._acknowledged(handled)
            self._send_again(received, now)
        if asks:
            self._hello(asks=False)
        if known == self.incarnation:
            self._ready = True
            self._send()

    def _begin_anew(self, incarnation: int) -> None:
        """The first thing that this incarnation gets is all that there is to know."""
        self._opened_for = incarnation
        self._sent_again_at = -inf
        self._take_back(0)
        self._number = self._asked_for = 0
        told = [(0, records) for records in self.tell_all()]
        # What the incarnation before it has not handled follows.
        self._waiting = deque([*told, *(one for one in self._waiting if one[0])])

    def _send_again(self, received: int, now: float) -> None:
        """At most once in a while. A node that stood still answers many greetings at once, each as of the
        batches that came before it; the batches after these are on their way already."""
        if now - self._sent_again_at >= PATIENCE / 2:
            self._sent_again_at = now
            self._take_back(received)

    def _take_back(self, received: int) -> None:
        """Send again what came after the batch with this number."""
        unacknowledged = self._unacknowledged
        while unacknowledged and unacknowledged[-1][0] > received:
            number, count, records = unacknowledged.pop()
            self._number = self._asked_for = number - 1
            self._window -= len(records)
            self._waiting.appendleft((count, records))


def _nobody(_: int, __: bytes) -> None: ...
def _nothing() -> None: ...
