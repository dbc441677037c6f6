"""One event on its way to an endpoint, and the parcel in which events travel together."""

from __future__ import annotations

from collections.abc import Sequence

Headers = tuple[tuple[str, str], ...]

OVERHEAD = 400
"""Bytes that a waiting event costs besides its body: the objects around it, measured."""


class Delivery:
    """One event, encoded once, as it waits in a queue or lies in the spool."""

    __slots__ = ("at", "body", "client", "event", "headers", "id", "seq", "topic")

    def __init__(
        self,
        seq: int,
        id: str,
        at: float,
        event: str,
        topic: str | None,
        client: str,
        headers: Headers,
        body: bytes,
    ) -> None:
        self.seq = seq
        """Counts up for each endpoint, and over restarts where there is a spool."""
        self.id = id
        """``webhook-id``: the same on every try."""
        self.at = at
        """When it happened: seconds since the epoch."""
        self.event = event
        """NanoMQ's ``action``, such as ``message_publish``."""
        self.topic = topic
        self.client = client
        """The client identifier that the event is about; empty where the broker acted."""
        self.headers = headers
        """What this event adds to the endpoint's own headers."""
        self.body = body

    @property
    def size(self) -> int:
        """Bytes it takes while it waits."""
        return len(self.body) + OVERHEAD


class Parcel:
    """The events of one request: one, or as many as a batch takes."""

    __slots__ = ("items", "probe", "size", "tries")

    def __init__(self, items: Sequence[Delivery], tries: int = 0) -> None:
        self.items = items
        self.size = items[0].size if len(items) == 1 else sum(item.size for item in items)
        """Bytes that its events take while they wait."""
        self.tries = tries
        self.probe = False
        """This try finds out whether a failing endpoint is back."""

    def __str__(self) -> str:
        first = self.items[0]
        more = f" and {len(self.items) - 1} more" if len(self.items) > 1 else ""
        return f"{first.event} {first.id}{more}"
