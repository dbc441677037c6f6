"""The topic filters of a node's own clients, as the other nodes know them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from ..engine.engine import Engine
from ..routing.topics import SHARE
from ..session.session import Session
from . import records
from .peer import Peer, local_members

FILTERS_A_RECORD = 500


class OwnRoutes:
    """Tells the others each change, with the next flush."""

    def __init__(
        self,
        engine: Engine,
        peers: Mapping[str, Peer],
        tell: Callable[[bytes], None],
        group_gone: Callable[[str], None],
    ) -> None:
        """``tell`` sends a record to all peers. ``group_gone`` is told the shared subscriptions that have no
        member here any more."""
        self._engine = engine
        self._peers = peers
        self._tell = tell
        self._group_gone = group_gone
        self._filters: set[str] = set()
        self._groups: dict[str, tuple[int, int]] = {}
        """Members of each shared subscription that are connected, and away."""
        self._changes = _Changes(self._announce)

    def changed(self, session: Session, topic_filter: str) -> None:
        """The session has subscribed or unsubscribed, or its client has come or gone."""
        if session.elsewhere is None:
            if not self._changes.chunks:
                self._engine.pending.outboxes.append(self._changes)
            self._changes.chunks.append(topic_filter)

    def flush(self) -> None:
        self._changes.flush()

    def all(self) -> list[bytes]:
        """Everything that a node must know, as records."""
        told = [_filters(records.SUBSCRIBED, self._filters)]
        told += [records.members(name, *members) for name, members in self._groups.items()]
        return [*told, records.pack(records.ALL_ROUTES, b"")]

    def _announce(self, changed: Iterable[str]) -> None:
        """Tell the others which of these filters our clients want now."""
        router = self._engine.router
        new: list[str] = []
        gone: list[str] = []
        for topic_filter in dict.fromkeys(changed):
            if topic_filter.startswith(SHARE):
                self._announce_group(topic_filter)
                continue
            foreign = sum(topic_filter in peer.filters for peer in self._peers.values())
            wanted = router.subscribers(topic_filter) > foreign
            if wanted and topic_filter not in self._filters:
                self._filters.add(topic_filter)
                new.append(topic_filter)
            elif not wanted and topic_filter in self._filters:
                self._filters.discard(topic_filter)
                gone.append(topic_filter)
        for kind, found in ((records.SUBSCRIBED, new), (records.UNSUBSCRIBED, gone)):
            if found:
                self._tell(_filters(kind, found))

    def _announce_group(self, topic_filter: str) -> None:
        group = self._engine.router.group(topic_filter)
        members = local_members(group) if group is not None else (0, 0)
        if members != self._groups.get(topic_filter, (0, 0)):
            if any(members):
                self._groups[topic_filter] = members
            else:
                self._groups.pop(topic_filter, None)
                self._group_gone(topic_filter)
            self._tell(records.members(topic_filter, *members))


class _Changes:
    """Filters that have changed. The next flush looks at them, when all packets of a read are handled."""

    def __init__(self, announce: Callable[[list[str]], None]) -> None:
        self.chunks: list[Any] = []
        self.written = 0
        self._announce = announce

    def flush(self) -> int:
        chunks, self.chunks = self.chunks, []
        self.write_all(chunks)
        return 0

    def write_all(self, chunks: list[Any]) -> None:
        self._announce(chunks)


def _filters(kind: int, topic_filters: Iterable[str]) -> bytes:
    found = iter(topic_filters)
    told = []
    while some := list(islice(found, FILTERS_A_RECORD)):
        told.append(records.pack(kind, "\0".join(some).encode()))
    return b"".join(told)
