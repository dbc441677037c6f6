"""The interface between the delivery of events and a backend: HTTP, or another.

Queue, spool, retries, batches, counters and dead letters are the same for all backends; a backend only sends.
docs/events.md shows how to write one.
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
"""Bytes of an answer that are kept, for logs and dead letters."""


class Verdict(Enum):
    """The verdict on an event after a try."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """The server may accept it later."""
    DEAD = "dead"
    """The server will never accept it."""
    DISABLE = "disable"
    """The server wants no more events at all."""
    LATER = "later"
    """The event is not due yet and waits for ``Outcome.after``. This counts neither as a failure nor as a
    try. Not for endpoints that keep an order."""
    UNWANTED = "unwanted"
    """The event is no longer needed: it counts as filtered."""


_ANSWERS = frozenset({Verdict.DELIVERED, Verdict.DEAD, Verdict.DISABLE})
"""The verdicts that only the server can give."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a try."""

    verdict: Verdict
    why: str = ""
    """The reason in a few words, for logs and dead letters."""
    after: float = 0.0
    """Seconds that the server asks to wait."""
    status: int | None = None
    """The status code of the answer; None without an answer or without such codes."""
    body: bytes = b""
    """The rest of the answer; at most ANSWER_BYTES are kept with a dead letter."""

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
        """Whether the server answered, whatever the answer."""
        return self.status is not None or self.verdict in _ANSWERS


DELIVERED = Outcome.delivered()

Outcomes = Outcome | Sequence[Outcome]
"""One outcome for all events of a batch, or one for each."""


class Sender(Protocol):
    """Sends batches of events. Several calls of ``send`` may run at once; a caller bounds each in time by
    cancelling it."""

    @property
    def address(self) -> Address:
        """A function from an event to values that the sender needs beyond its body, topic and client, such as
        a routing key. It is called when the event happens. The values come before the event's headers, in the
        spool too. None: no such values."""

    async def send(self, events: Sequence[Delivery]) -> Outcomes:
        """Send the events and wait until the server has them. An exception means that all may be tried
        again."""

    async def close(self) -> None:
        """Close all connections. ``send`` may be called again later."""


class Backend(Sender, Protocol):
    """A Sender that needs a connection."""

    async def open(self) -> None:
        """Connect. Called before the first ``send``, and again, after ``close``, when ``send`` has raised. An
        exception means that the server cannot be reached: the events wait."""


Address = Callable[[events.Event], Headers] | None
"""The Sender's part of the interface."""

MakeSender = Callable[[WebhookSettings], Sender]
"""Raises SettingsError for invalid settings."""


def outcome_of(result: object) -> Outcome:
    """The outcome for one result of ``asyncio.gather(..., return_exceptions=True)``: an Outcome is itself, an
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
