"""The broker's counters since its start."""

from __future__ import annotations

from collections import Counter


class Counters:
    """Plain numbers, read by `$SYS`, the log at exit, and tests."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "clients_maximum",
        "connects",
        "dropped",
        "limited",
        "packets_received",
        "packets_sent",
        "publish_received",
        "publish_sent",
        "refused",
    )

    def __init__(self) -> None:
        self.bytes_received = 0
        self.bytes_sent = 0
        self.packets_received = 0
        self.packets_sent = 0
        self.publish_received = 0
        self.publish_sent = 0
        self.connects = 0
        self.clients_maximum = 0
        """The most clients that were connected at one time."""
        self.refused: Counter[str] = Counter()
        """Connections refused, by the name of the reason."""
        self.dropped: Counter[str] = Counter()
        """Messages not delivered to a receiver, by the reason of MessageDropped."""
        self.limited: Counter[str] = Counter()
        """How often each key of `limits {}` took effect; ``failed_logins`` are answers held back."""
