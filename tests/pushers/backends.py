"""Backends that the tests name by ``tests.pushers.backends:...``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pybroker.webhook.backend import DELIVERED, Outcome, Verdict
from pybroker.webhook.parcels import Delivery


class Moody:
    """Takes some events, refuses some, loses its connection now and then; remembers what it took."""

    taken: ClassVar[list[Delivery]] = []
    random: ClassVar[random.Random] = random.Random(0)

    def __init__(self) -> None:
        self._open = False

    async def open(self) -> None:
        if self.random.random() < 0.2:
            raise ConnectionError("not today")
        self._open = True

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        assert self._open
        if self.random.random() < 0.1:
            self._open = False
            raise ConnectionError("lost")
        return [self._outcome(event) for event in events]

    def _outcome(self, event: Delivery) -> Outcome:
        if self.random.random() < 0.2:
            return Outcome.retry("later")
        if event.seq % 20 == 0:
            return Outcome.dead("never")
        self.taken.append(event)
        return DELIVERED

    async def close(self) -> None:
        self._open = False


class Options:
    """With options of every type."""

    @dataclass
    class Options:
        server: str
        linger: float = 0.5
        count: int = 1
        loud: bool = False

    made: ClassVar[list[Options]] = []

    def __init__(self, options: Options) -> None:
        if options.count < 0:
            raise ValueError("count must not be negative")
        self.made.append(options)

    async def open(self) -> None: ...

    async def send(self, events: Sequence[Delivery]) -> Outcome:
        return DELIVERED

    async def close(self) -> None: ...


class Wrong(Moody):
    """Says too little."""

    async def open(self) -> None: ...

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        return [DELIVERED] * (len(events) - 1)


class Leaving(Moody):
    """Wants no more after the third event."""

    async def open(self) -> None: ...

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        gone = Outcome(Verdict.DISABLE, "is gone")
        return [gone if event.seq == 3 else DELIVERED for event in events]


class Mistaken(Moody):
    async def open(self) -> None: ...

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        raise AttributeError("a mistake in the code")


class NoClose:
    async def open(self) -> None: ...

    async def send(self, events: Sequence[Delivery]) -> Outcome:
        return DELIVERED


def function() -> None: ...


class Postponing:
    """Takes each event when it comes for the third time; of every tenth it says that nobody needs it."""

    seen: ClassVar[dict[str, int]] = {}

    async def open(self) -> None: ...

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        return [self._outcome(event) for event in events]

    def _outcome(self, event: Delivery) -> Outcome:
        if event.seq % 10 == 0:
            return Outcome.unwanted("nobody needs it")
        self.seen[event.id] = self.seen.get(event.id, 0) + 1
        return DELIVERED if self.seen[event.id] == 3 else Outcome.later(0.001)

    async def close(self) -> None: ...


class Never(Postponing):
    """One outcome for all: nobody needs them."""

    async def send(self, events: Sequence[Delivery]) -> Outcome:
        return Outcome.unwanted("nobody needs it")

    @staticmethod
    def wants(event: object) -> bool:
        if getattr(event, "payload", b"") == b"4":
            raise ValueError("four")
        return getattr(event, "payload", b"") != b"0"


class Hanging(Postponing):
    async def send(self, events: Sequence[Delivery]) -> Outcome:
        await asyncio.sleep(3600)
        return DELIVERED
