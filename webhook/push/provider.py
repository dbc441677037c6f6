"""The seam between notifications and the services that carry them."""

from __future__ import annotations

from typing import Protocol

from ..backend import Outcome, Verdict
from .notification import Notification
from .registration import Registration


class Provider(Protocol):
    """Sends one notification to one device. A caller bounds each call in time by cancelling it."""

    async def push(self, device: Registration, note: Notification) -> Outcome:
        """DISABLE says that the device is gone: it is forgotten. An exception means that it may be tried
        again."""

    async def close(self) -> None:
        """Let go of all connections. ``push`` may be called again later."""


def gone(status: int, why: str) -> Outcome:
    """The app is not on that device any more."""
    return Outcome(Verdict.DISABLE, why, status=status)


def refused(status: int, why: str) -> Outcome:
    """The service will never take it."""
    return Outcome(Verdict.DEAD, why, status=status)


def again(status: int, why: str, after: float = 0.0) -> Outcome:
    """The service may take it later."""
    return Outcome(Verdict.RETRY, why, after, status)
