"""Finds the message to which the remote broker answers by closing the connection. Pure."""

from __future__ import annotations

from ..session.inflight import Outgoing

LINKS = 5
"""Links in a row that the remote broker has closed with the same message first, none of them longer than
:data:`SOON`."""
SOON = 10.0
"""Seconds. For the last try the messages are held back for so long, to see that the link stands without
them."""


class Poison:
    """Fed with the end of each link."""

    def __init__(self) -> None:
        self._first: Outgoing | None = None
        self._links = 0

    @property
    def hold(self) -> float:
        """Seconds for which the next link has to send no message."""
        return SOON if self._links >= LINKS else 0.0

    def link_ended(
        self, first: Outgoing | None, *, sent_for: float | None, closed_there: bool
    ) -> Outgoing | None:
        """``first`` is the oldest message that is not acknowledged. ``sent_for`` says for how many seconds
        messages were sent; None: they were held back. Returns the message to give up."""
        if first is None or not closed_there or sent_for is None or sent_for > SOON:
            # Whatever has ended this link, it was no message.
            self._first, self._links = None, 0
            return None
        if first is not self._first:
            self._first, self._links = first, 0
        held = self.hold
        self._links += 1
        if not held:
            return None
        self._first, self._links = None, 0
        return first
