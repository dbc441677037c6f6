"""The interface between notifications and the services that send them."""

from __future__ import annotations

from typing import Protocol

from ..backend import Outcome, Verdict
from .notification import Notification
from .registration import Registration


class Provider(Protocol):
    """Sends one notification to one device. A caller bounds each call in time by cancelling it."""

    async def push(self, device: Registration, note: Notification) -> Outcome:
        """Send it. DISABLE means that the device does not exist any more, so it is removed. An exception
        means that the try may be repeated."""

    async def close(self) -> None:
        """Close all connections. ``push`` may be called again later."""


def gone(status: int, why: str) -> Outcome:
    """The outcome if the app is not on that device any more."""
    return Outcome(Verdict.DISABLE, why, status=status)


def refused(status: int, why: str) -> Outcome:
    """The outcome if the service will never accept the notification."""
    return Outcome(Verdict.DEAD, why, status=status)


def again(status: int, why: str, after: float = 0.0) -> Outcome:
    """The outcome if the service may accept the notification later."""
    return Outcome(Verdict.RETRY, why, after, status)
