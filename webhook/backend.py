"""The seam between the delivery of events and what carries them: HTTP, or another backend.

Queue, spool, retries, batches, counters and dead letters are the same for all; a backend only sends. How to
write one is in docs/events.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from pybroker.broker import events

from .parcels import Delivery, Headers
from .settings import WebhookSettings

ANSWER_BYTES = 4096
"""As much of an answer is kept, for logs and dead letters."""


class Verdict(Enum):
    """What became of an event."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """The other side may take it later."""
    DEAD = "dead"
    """The other side will never take it."""
    DISABLE = "disable"
    """The other side wants no more events at all."""
    LATER = "later"
    """It is not due yet: it waits for ``Outcome.after``. That is no failure and no try. Not for endpoints
    that keep an order."""
    UNWANTED = "unwanted"
    """Nobody needs it any more: it is counted as filtered."""


_ANSWERS = frozenset({Verdict.DELIVERED, Verdict.DEAD, Verdict.DISABLE})
"""What only the other side can say."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a try came to."""

    verdict: Verdict
    why: str = ""
    """In a few words, for logs and dead letters."""
    after: float = 0.0
    """Seconds that the other side asks to be left alone."""
    status: int | None = None
    """The other side's answer, where it has such a code; None where it did not answer."""
    body: bytes = b""
    """What else it said; at most ANSWER_BYTES are kept with a dead letter."""

    @classmethod
    def delivered(cls, why: str = "delivered", status: int | None = None) -> Outcome:
        return cls(Verdict.DELIVERED, why, 0.0, status)

    @classmethod
    def retry(cls, why: str, after: float = 0.0) -> Outcome:
        return cls(Verdict.RETRY, why, after)

    @classmethod
    def dead(cls, why: str) -> Outcome:
        return cls(Verdict.DEAD, why)

    @classmethod
    def later(cls, after: float) -> Outcome:
        return cls(Verdict.LATER, "not due yet", after)

    @classmethod
    def unwanted(cls, why: str) -> Outcome:
        return cls(Verdict.UNWANTED, why)

    @property
    def answered(self) -> bool:
        """The other side said something, be it yes or no."""
        return self.status is not None or self.verdict in _ANSWERS


DELIVERED = Outcome.delivered()

Outcomes = Outcome | Sequence[Outcome]
"""One for all events of a batch, or one for each."""


class Sender(Protocol):
    """Sends batches of events. Several calls of ``send`` may run at once; a caller bounds each in time by
    cancelling it."""

    @property
    def address(self) -> Address:
        """What the sender must know of an event beyond its body, topic and client, such as a routing key: a
        function that is called when the event happens. What it gives stands before the event's headers, in
        the spool too. None: nothing."""

    async def send(self, events: Sequence[Delivery]) -> Outcomes:
        """Send and wait until the other side has them. An exception means that all may be tried again."""

    async def close(self) -> None:
        """Let go of all connections. ``send`` may be called again later."""


class Backend(Sender, Protocol):
    """A Sender over a connection."""

    async def open(self) -> None:
        """Connect. Called before the first ``send``, and after an exception of ``send`` anew, with ``close``
        before it. An exception means that the other side cannot be reached: the events wait."""


Address = Callable[[events.Event], Headers] | None
"""Of a Sender."""

MakeSender = Callable[[WebhookSettings], Sender]
"""Raises SettingsError where the settings cannot work."""


def outcome_of(result: object) -> Outcome:
    """What one entry of ``asyncio.gather(..., return_exceptions=True)`` means: an Outcome is itself, an
    exception is a failure that is tried again, anything else is success."""
    if isinstance(result, Outcome):
        return result
    if isinstance(result, BaseException):
        return Outcome.retry(words(result))
    return DELIVERED


def words(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return text[:300] if text else type(error).__name__
