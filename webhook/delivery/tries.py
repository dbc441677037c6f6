"""The last tries of one endpoint. Failed tries are always kept, others only while somebody looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..backend import Outcome, Verdict
from ..clock import Clock, Timer
from ..parcels import Delivery, Headers

FAILURES = 10
"""The number of failed tries that are kept while nobody looks."""
KEPT = 50
"""The number of tries that are kept while somebody looks."""
FORGOTTEN_AFTER = 10.0
"""After so many seconds without a look, successful tries are discarded."""
BODY_BYTES = 4096
"""The bytes of an event's body that are kept."""
MAX_HEADERS = 50
HEADER_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Try:
    """A request and its outcome."""

    number: int
    """The number of the try, counted from 1."""
    at: float
    """When the try began, in seconds since the epoch."""
    seconds: float
    """Its duration."""
    tries: int
    """The number of tries so far for these events, this one included."""
    events: int
    """The number of events of its batch. The following fields are about the first of them."""
    id: str
    event: str
    topic: str | None
    client: str
    headers: Headers
    """The headers of the event."""
    body: bytes
    """The beginning of its body."""
    body_size: int
    outcome: Outcome


class Tries:
    """Keeps the last tries. While nobody looks, a successful try costs one truth test."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: deque[Try] = deque(maxlen=FAILURES)
        self._all: deque[Try] = deque(maxlen=KEPT)
        self._number = 0
        self._timer: Timer | None = None

    @property
    def watched(self) -> bool:
        """Whether somebody looks at the tries."""
        return self._timer is not None

    def look(self, after: int = 0) -> list[Try]:
        """The kept tries with numbers above ``after``, oldest first."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(self._clock.monotonic() + FORGOTTEN_AFTER, self.stop)
        kept = {one.number: one for one in (*self._failures, *self._all)}
        return [kept[number] for number in sorted(kept) if number > after]

    def stop(self) -> None:
        """Stop keeping successful tries."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._all.clear()

    def note(self, items: Sequence[Delivery], tries: int, outcome: Outcome, seconds: float) -> None:
        """Keep a finished try, which took ``seconds``."""
        self._number += 1
        first = items[0]
        one = Try(
            number=self._number,
            at=self._clock.time() - seconds,
            seconds=seconds,
            tries=tries,
            events=len(items),
            id=first.id,
            event=first.event,
            topic=first.topic,
            client=first.client,
            headers=tuple((name, value[:HEADER_CHARACTERS]) for name, value in first.headers[:MAX_HEADERS]),
            body=first.body[:BODY_BYTES],
            body_size=len(first.body),
            outcome=outcome,
        )
        if outcome.verdict is not Verdict.DELIVERED:
            self._failures.append(one)
        if self._timer is not None:
            self._all.append(one)
