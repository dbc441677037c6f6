"""An event on its way to an endpoint, and the parcel of events that travel in one request."""

from __future__ import annotations

from collections.abc import Sequence

Headers = tuple[tuple[str, str], ...]

OVERHEAD = 400
"""Memory of a waiting event besides its body: the objects around it, measured."""
HEADER_OVERHEAD = 150
"""The same for a header, besides its name and value."""


def header_bytes(headers: Headers) -> int:
    """Memory of the headers, in bytes."""
    return sum([len(name) + len(value) + HEADER_OVERHEAD for name, value in headers])


class Delivery:
    """One encoded event, as it waits in a queue or in the spool."""

    __slots__ = ("at", "body", "client", "event", "headers", "id", "seq", "size", "topic")

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
        """A sequence number for each endpoint, which continues over restarts with a spool."""
        self.id = id
        """``webhook-id``: the same on every try."""
        self.at = at
        """When it happened: seconds since the epoch."""
        self.event = event
        """NanoMQ's ``action``, such as ``message_publish``."""
        self.topic = topic
        self.client = client
        """The client identifier of the event; empty if the broker itself caused it."""
        self.headers = headers
        """The event's headers, in addition to the endpoint's."""
        self.body = body
        self.size = len(body) + OVERHEAD + (header_bytes(headers) if headers else 0)
        """Memory of the event while it waits, in bytes."""


class Parcel:
    """The events of one request: one, or as many as a batch takes."""

    __slots__ = ("items", "probe", "size", "tries")

    def __init__(self, items: Sequence[Delivery], tries: int = 0) -> None:
        self.items = items
        self.size = items[0].size if len(items) == 1 else sum(item.size for item in items)
        """Memory of its events while they wait, in bytes."""
        self.tries = tries
        self.probe = False
        """Whether this try is a probe of a failing endpoint."""

    def __str__(self) -> str:
        first = self.items[0]
        more = f" and {len(self.items) - 1} more" if len(self.items) > 1 else ""
        return f"{first.event} {first.id}{more}"
