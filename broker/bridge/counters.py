"""What one bridge has counted since the start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class BridgeCounters:
    sent: int = 0
    """Messages written to the remote broker, repeats included."""
    received: int = 0
    """Messages that came from the remote broker."""
    bytes_sent: int = 0
    bytes_received: int = 0
    connects: int = 0
    """Times the link came up."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Messages that were not passed on, by reason: ``loop``, ``echo``, ``hop_limit``, ``topic``,
    ``not_subscribed``, ``packet_too_large``, ``refused``, ``window_full``, ``closes_link``."""
