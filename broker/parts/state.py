"""The part for `sqlite {}`: restores the sessions and retained messages of an earlier run, and keeps those of
this one."""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..config.settings import Settings
from ..delivery.outbox import HoldingPending
from ..engine.engine import Engine
from ..engine.forget import forget_everything
from ..part import Part
from ..state.files import open_state, reported
from ..state.keeper import Notes
from ..state.restore import Left, restore, set_off
from ..state.storage import DiskStorage

log = logging.getLogger("pybroker.state")

MANY = 100_000
"""Objects of the state that are left out of garbage collection."""


class State(Part):
    """The first part to start and the last to stop. Its start raises StateError."""

    def __init__(self, engine: Engine, settings: Settings, *, retained: bool = True) -> None:
        """``retained``: keep retained messages as well as sessions."""
        self._engine = engine
        self._settings = settings.sqlite
        self._retained = retained
        self._storage: DiskStorage | None = None
        self._left: list[Left] = []

    async def start(self) -> None:
        settings, engine = self._settings, self._engine
        if settings is None:
            return
        opened = await asyncio.to_thread(open_state, settings.path)
        try:
            notes = Notes(engine.clock)
            engine.sender.window = settings.disk_cache_size
            assert isinstance(engine.pending, HoldingPending)
            storage = DiskStorage(engine, opened, notes, settings)
            with reported(settings.path), _without_collecting():
                self._left = restore(engine, opened.database, notes, opened.alive, retained=self._retained)
        except BaseException:
            opened.close()
            raise
        if opened.damaged:
            log.warning(
                "sqlite.mounted_file_path: %s: %d places of the journal are damaged; the changes that stood"
                " there are lost",
                settings.path,
                opened.damaged,
            )
        storage.start()
        self._storage = storage

    def set_off(self) -> None:
        """Publish the wills and end the sessions that were due while the broker was down."""
        if self._storage is not None:
            left, self._left = self._left, []
            set_off(self._engine, left)
            self._engine.flush()

    async def read_again(self) -> None:
        """Discard the state in memory and load it again from the disk. No client may be connected."""
        if self._storage is None:
            return
        await self.stop(None)
        forget_everything(self._engine)
        await self.start()
        self.set_off()

    async def settle(self) -> None:
        """Wait until no packet is held back."""
        if self._storage is not None:
            await self._storage.settle()

    async def stop(self, grace: float | None) -> list[str]:
        storage, self._storage = self._storage, None
        if storage is None or self._settings is None:
            return []
        try:
            await storage.close()
        except sqlite3.Error as error:
            return [f"the state in {self._settings.path} cannot be written: {error}"]
        finally:
            for session in self._engine.sessions:
                session.keeper = None
            self._engine.bans.watchers = ()
            if self._retained:
                self._engine.retained.watchers = ()
        return []

    def sys_values(self) -> Iterable[tuple[str, str]]:
        if (storage := self._storage) is None:
            return ()
        return (
            ("state/commits", str(storage.commits)),
            ("state/errors", str(storage.errors)),
            ("state/full", str(storage.full).lower()),
        )


class Overdue(Part):
    """Publishes the wills and ends the sessions that were due while the broker was down, once their observers
    are there."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def start(self) -> None:
        self._state.set_off()


@contextmanager
def _without_collecting() -> Iterator[None]:
    """No garbage collection while the state is loaded: of a million new objects none is garbage. If they are
    many, later collections leave them out too."""
    enabled, before = gc.isenabled(), gc.get_count()[0]
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] - before > MANY:
            gc.freeze()
        if enabled:
            gc.enable()
