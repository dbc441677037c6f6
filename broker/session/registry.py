"""All sessions of the broker, connected or not."""

from __future__ import annotations

from collections.abc import Iterator

from .session import Session

INSIDE = "$bridge/"
"""The start of client identifiers that only the broker itself uses."""


class Registry:
    """The sessions by client identifier, one for each at most."""

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def __contains__(self, client_id: str) -> bool:
        return client_id in self._sessions

    def get(self, client_id: str) -> Session | None:
        return self._sessions.get(client_id)

    def add(self, session: Session) -> None:
        self._sessions[session.client_id] = session

    def remove(self, session: Session) -> None:
        """Remove ``session``, unless another session has its client identifier now."""
        if self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]
