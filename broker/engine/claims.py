"""The interface by which CONNECT claims its client for this node."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..packets.reasons import ReasonCode
from ..session.session import Session


class Refusal(NamedTuple):
    """Why a client is not admitted."""

    reason: ReasonCode
    text: str


class Claims(Protocol):
    """Which node of several hosts has the session of a client; None where that is known without asking."""

    def is_here(self, client_id: str) -> bool:
        """Whether this node has the session, and may use it at once."""

    def claim(self, client_id: str, clean: bool, then: Callable[[Refusal | None], None]) -> None:
        """Bring the session of a client that connects here to this node; ``clean``: end it instead. Call
        ``then`` once, now or later: with None when the client may be admitted."""

    def ended(self, session: Session) -> None:
        """A session has ended here. Another one may take its place at once."""
