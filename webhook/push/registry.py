"""The devices that are registered for notifications: in memory, and on disk if a directory is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .registration import Registration
from .store import Store, StoreError


class FullError(Exception):
    """There is no room for another registration. The message names the limit."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of registrations."""

    all: int = 100_000
    per_client: int = 10
    bytes: int = 256 << 20
    """The memory that they may take."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A change, and the future of its caller."""

    registration: Registration
    kept: bool
    done: asyncio.Future[None]


class Registry:
    """Each change is on disk before its caller continues. Changes made at the same time are one commit."""

    def __init__(self, directory: Path | None, bounds: Bounds) -> None:
        self.directory = directory
        """None: registrations last as long as the broker runs."""
        self.bounds = bounds
        self._clients: dict[str, dict[tuple[str, str], Registration]] = {}
        self._count = self._bytes = 0
        self._store: Store | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._wanted: list[_Wanted] = []
        self._writer: asyncio.Task[None] | None = None

    # ---- asked

    def __len__(self) -> int:
        return self._count

    def __contains__(self, client: str) -> bool:
        return client in self._clients

    def __iter__(self) -> Iterator[Registration]:
        for client in list(self._clients):
            yield from self.of(client)

    def of(self, client: str) -> tuple[Registration, ...]:
        """The devices of one client."""
        return tuple(self._clients.get(client, {}).values())

    # ---- changed

    async def add(self, registration: Registration) -> None:
        """Add a device, or replace its registration. Raises FullError, or StoreError if it cannot be written
        to disk; then nothing has changed."""
        await self._change(registration, True)

    async def remove(self, registration: Registration) -> None:
        """Remove a registration, unless the device was registered again meanwhile. Raises StoreError if it
        cannot be written to disk; then nothing has changed."""
        if registration in self.of(registration.client):
            await self._change(registration, False)

    async def remove_all(self, client: str, device: str | None = None) -> int:
        """Remove every device of a client, or one. Returns how many there were. Raises StoreError."""
        found = [one for one in self.of(client) if device in (None, one.device_id)]
        await asyncio.gather(*(self.remove(one) for one in found))
        return len(found)

    # ---- life

    async def open(self) -> None:
        """Read the registrations. Raises StoreError if the file cannot be used."""
        if self._thread is not None or self.directory is None:
            return
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="push")
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._open, self.directory)
        except BaseException:
            self._thread.shutdown()
            self._thread = None
            raise
        for one in found:
            self._restore(one, one)

    def _open(self, directory: Path) -> list[Registration]:
        store = Store(directory)
        try:
            found = store.read()
        except BaseException:
            store.close()
            raise
        self._store = store
        return found

    async def close(self) -> None:
        """Close the file after the pending changes are written."""
        if self._writer is not None:
            await self._writer
        thread, self._thread = self._thread, None
        store, self._store = self._store, None
        if thread is not None and store is not None:
            await asyncio.get_running_loop().run_in_executor(thread, store.close)
            thread.shutdown()

    # ---- the writer

    async def _change(self, registration: Registration, kept: bool) -> None:
        wanted = _Wanted(registration, kept, asyncio.get_running_loop().create_future())
        self._wanted.append(wanted)
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write(), name="push registrations")
        await wanted.done

    async def _write(self) -> None:
        """Write all pending changes. Only this task makes changes, so that a failed commit can be undone in
        the reverse order."""
        while self._wanted:
            wanted, self._wanted = self._wanted, []
            made: list[tuple[_Wanted, Callable[[], None]]] = []
            for one in wanted:
                try:
                    undo = self._put(one.registration) if one.kept else self._drop(one.registration)
                except FullError as error:
                    _fail(one, error)
                else:
                    made.append((one, undo))
            try:
                await self._commit([one for one, _ in made])
            except Exception as error:
                for one, undo in reversed(made):
                    undo()
                    _fail(one, StoreError(f"{self.directory}: {error}"))
            else:
                for one, _ in made:
                    if not one.done.done():
                        one.done.set_result(None)
        self._writer = None

    async def _commit(self, wanted: list[_Wanted]) -> None:
        store = self._store
        if store is not None and wanted:
            changes = [(one.registration, one.kept) for one in wanted]
            await asyncio.get_running_loop().run_in_executor(self._thread, store.write, changes)

    # ---- in memory

    def _put(self, new: Registration) -> Callable[[], None]:
        """Add or replace it, and return a function that undoes this. Raises FullError."""
        devices = self._clients.get(new.client, {})
        old = devices.get(new.key)
        if old is None:
            self._check_room(new, len(devices))
        self._restore(new, new)
        return lambda: self._restore(new, old)

    def _check_room(self, new: Registration, count: int) -> None:
        bounds = self.bounds
        if count >= bounds.per_client:
            raise FullError(f"the client has {count} devices already (push_registrations.max_per_client)")
        if self._count >= bounds.all:
            raise FullError(f"there are {self._count} registrations already (push_registrations.max)")
        if self._bytes + new.size > bounds.bytes:
            raise FullError("the registrations take all the memory they may (push_registrations.max_bytes)")

    def _drop(self, gone: Registration) -> Callable[[], None]:
        old = self._clients.get(gone.client, {}).get(gone.key)
        self._restore(gone, None)
        return lambda: self._restore(gone, old)

    def _restore(self, one: Registration, old: Registration | None) -> None:
        """Undo a change of ``one``."""
        devices = self._clients.setdefault(one.client, {})
        self._account(devices.pop(one.key, None), old)
        if old is not None:
            devices[one.key] = old
        if not devices:
            del self._clients[one.client]

    def _account(self, old: Registration | None, new: Registration | None) -> None:
        self._count += (new is not None) - (old is not None)
        self._bytes += (new.size if new else 0) - (old.size if old else 0)


def _fail(wanted: _Wanted, error: Exception) -> None:
    if not wanted.done.done():
        wanted.done.set_exception(error)
