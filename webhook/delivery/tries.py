"""The last tries of one endpoint: those that failed always, all of them while somebody looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..backend import Outcome, Verdict
from ..clock import Clock, Timer
from ..parcels import Delivery, Headers

FAILURES = 10
"""That are kept though nobody looks."""
KEPT = 50
"""While somebody does."""
FORGOTTEN_AFTER = 10.0
"""Seconds without a look."""
BODY_BYTES = 4096
"""Of an event's body that are kept."""
MAX_HEADERS = 50
HEADER_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Try:
    """What was sent, and what became of it."""

    number: int
    """Counts the tries that were noted."""
    at: float
    """When it began: seconds since the epoch."""
    seconds: float
    """How long it took."""
    tries: int
    """The how many-th for these events."""
    events: int
    """Of its batch; what follows is about the first."""
    id: str
    event: str
    topic: str | None
    client: str
    headers: Headers
    """The event's own."""
    body: bytes
    """The beginning."""
    body_size: int
    outcome: Outcome


class Tries:
    """Costs one truth test for a success that nobody looks at."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: deque[Try] = deque(maxlen=FAILURES)
        self._all: deque[Try] = deque(maxlen=KEPT)
        self._number = 0
        self._timer: Timer | None = None

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return self._timer is not None

    def look(self, after: int = 0) -> list[Try]:
        """Those that are kept, oldest first, with numbers above ``after``."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(self._clock.monotonic() + FORGOTTEN_AFTER, self.stop)
        kept = {one.number: one for one in (*self._failures, *self._all)}
        return [kept[number] for number in sorted(kept) if number > after]

    def stop(self) -> None:
        """Nobody looks any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._all.clear()

    def note(self, items: Sequence[Delivery], tries: int, outcome: Outcome, seconds: float) -> None:
        """A try, which took ``seconds``, has come to its end."""
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
