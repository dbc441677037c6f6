"""The interface of the app's parts, such as access control, the webhooks or the listeners."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .config.settings import Settings

Apply = Callable[[], None]
"""Puts prepared settings into force. It cannot fail."""


class Part:
    """A part of a running broker. Each method does nothing here; a part overrides those that it needs.

    Parts start in the order in which the app lists them, the listeners last. They are prepared for a reload,
    leave and stop in the reverse order.
    """

    async def start(self) -> None:
        """Start the part, and open its sockets and files. Raises one of the app's START_ERRORS."""

    async def prepare(self, settings: Settings) -> Apply:
        """Prepare to use ``settings``, and change nothing before the returned function is called. Raises one
        of the app's START_ERRORS."""
        return _nothing

    async def leave(self) -> None:
        """The broker stops: accept nothing new. Clients are still connected."""

    async def stop(self, grace: float | None) -> list[str]:
        """Close everything; no client is connected any more. Work under way may take ``grace`` seconds (None:
        as configured). Returns a line for each thing that could not be finished."""
        return []

    def sys_values(self) -> Iterable[tuple[str, str]]:
        """Topics below `$SYS/brokers` and their values, as of now."""
        return ()


def _nothing() -> None:
    """Nothing has changed."""
