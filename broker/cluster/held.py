"""Acknowledgements to publishers that wait until other nodes have made messages safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial

from ..delivery.outbox import Outbox
from ..engine.engine import Engine
from .peer import Peer


class _Answers:
    """Bytes for one client, and how many nodes they wait for."""

    __slots__ = ("data", "missing")

    def __init__(self, data: bytes, missing: int) -> None:
        self.data = data
        self.missing = missing


class HeldAnswers:
    """Those of one client are sent in the order in which its messages came [MQTT-4.6.0-2]. There are no more
    of them than there are messages that wait for a node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[Outbox, deque[_Answers]] = {}

    def hold(self, outbox: Outbox, data: bytes, peers: Iterable[Peer]) -> bool:
        """False, and nothing is held, where no node has anything left to make safe."""
        busy = [peer for peer in peers if peer.link.is_busy or peer.session.has_more]
        if not busy and outbox not in self._held:
            return False
        answers = _Answers(data, len(busy))
        self._held.setdefault(outbox, deque()).append(answers)
        for peer in busy:
            peer.session.flush()  # it counts from here on
            peer.link.when_done(partial(self._done, outbox, answers))
        return True

    def _done(self, outbox: Outbox, answers: _Answers) -> None:
        answers.missing -= 1
        held = self._held.get(outbox)
        while held and not held[0].missing:
            self._engine.pending.send(outbox, held.popleft().data)
        if held is not None and not held:
            del self._held[outbox]
