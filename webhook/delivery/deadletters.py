"""Dead letters for the command line: find, show, retry, delete."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pybroker.broker.routing.topics import matches

from ..backend import MakeSender, Verdict
from ..settings import WebhookSettings
from ..spool.files import database_path
from ..spool.store import DeadLetter, Store
from .post import Poster

BURIED_AT_ONCE = 100


class DeadLetterError(Exception):
    """One line that says what cannot be done, and why."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of dead letters; a field that is None selects all."""

    event: str | None = None
    """With or without ``on_``."""
    topic: str | None = None
    """A topic filter."""
    since: float | None = None
    """Died at or after: seconds since the epoch."""
    until: float | None = None
    seqs: frozenset[int] | None = None
    """Their numbers."""

    def takes(self, letter: DeadLetter) -> bool:
        item = letter.delivery
        return (
            (self.seqs is None or item.seq in self.seqs)
            and (self.event is None or item.event == self.event.removeprefix("on_"))
            and (self.topic is None or (item.topic is not None and matches(self.topic, item.topic)))
            and (self.since is None or letter.died_at >= self.since)
            and (self.until is None or letter.died_at <= self.until)
        )


@dataclass(slots=True)
class Retried:
    """The result of ``retry``."""

    delivered: int = 0
    failed: int = 0
    stopped: str | None = None
    """Why it ended early."""


class DeadLetters:
    """The dead letters of one endpoint. A running broker may use the same spool at the same time."""

    def __init__(self, settings: WebhookSettings) -> None:
        """Raises DeadLetterError if there is no spool."""
        self.settings = settings
        if settings.spool is None:
            raise DeadLetterError(f"{settings.label} keeps no dead letters: it has no spool")
        self._path: Path = database_path(settings.spool.path, settings.name)

    def find(self, selection: Selection) -> Generator[DeadLetter, None, None]:
        """The dead letters of ``selection``, oldest first."""
        if not self._path.exists():
            return
        with self._open() as store:
            yield from (letter for letter in store.dead_letters() if selection.takes(letter))

    def purge(self, selection: Selection) -> int:
        """Delete them; returns how many."""
        seqs = [letter.delivery.seq for letter in self.find(selection)]
        self._bury(seqs)
        return len(seqs)

    async def retry(
        self,
        selection: Selection,
        make_sender: MakeSender,
        progress: Callable[[], None] = lambda: None,
    ) -> Retried:
        """Send them again, with the same ``webhook-id``, and remove the delivered ones. Ends early if the
        endpoint fails too often in a row."""
        result = Retried()
        poster = Poster(self.settings, make_sender)
        letters = self.find(selection)
        taken: list[int] = []
        failures = 0

        async def work() -> None:
            nonlocal failures
            while result.stopped is None and (letter := next(letters, None)) is not None:
                outcome, said = await poster.post(letter.delivery)
                progress()
                if outcome.verdict is Verdict.DELIVERED:
                    failures = 0
                    result.delivered += 1
                    taken.append(letter.delivery.seq)
                    if len(taken) >= BURIED_AT_ONCE:
                        self._bury(taken)
                        taken.clear()
                    continue
                result.failed += 1
                failures = failures + 1 if outcome.verdict is Verdict.RETRY else 0
                if failures >= self.settings.breaker_failures:
                    result.stopped = f"the endpoint failed {failures} times in a row, the last: {said}"

        workers = self.settings.pool_size if self.settings.order == "none" else 1
        try:
            await asyncio.gather(*(work() for _ in range(workers)))
        finally:
            self._bury(taken)
            letters.close()
            await poster.close()
        return result

    def _bury(self, seqs: list[int]) -> None:
        if seqs:
            with self._open() as store:
                store.bury(seqs)

    @contextmanager
    def _open(self) -> Iterator[Store]:
        try:
            store = Store(self._path, create=False)
            try:
                yield store
            finally:
                store.close()
        except (sqlite3.Error, OSError) as error:
            raise DeadLetterError(f"{self.settings.label}: {self._path}: {error}") from error


def moment(text: str, now: float | None = None) -> float:
    """Seconds since the epoch of an age (``90s``, ``15m``, ``6h``, ``2d``) or an ISO 8601 time, local
    where it names no zone. Raises ValueError."""
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
        return (time.time() if now is None else now) - float(found[1]) * seconds
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ValueError(f'"{text}" is neither an age such as 15m nor a time, 2026-01-31T12:00') from None
