"""`pybroker start --workers N`: one process that keeps N others running, which together are one broker.

The supervisor opens the listeners' sockets, on which all workers accept. It serves nobody itself, and has no
event loop and no threads, so that it can fork a new worker at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from .. import __version__
from ..config import ConfigError, Settings
from ..config.changes import compare
from ..config.describe import describe
from ..config.settings import ListenerSettings
from ..parts.workers import Place
from ..transport.errors import ListenError
from ..transport.listener import facts_of, listening_sockets, url_of
from . import instances, log, service
from .daemon import leave_terminal
from .output import complain, fail, say
from .serve import STOPPED_AT_ONCE, StartOptions, with_holder

logger = logging.getLogger("pybroker.workers")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a worker that did not even start is started again; doubled each time."""
HANGS_AFTER = 30.0
"""Seconds without a sign of life after which a worker is killed, and replaced."""
LONGEST_FOLDER = 80
"""Characters; the path of a unix socket has about a hundred."""
LOST = (
    "its clients are cut off; sessions are lost, with what waited for them, as there is no sqlite {}",
    "its clients are cut off; their sessions are on disk and come back with the next",
)


@dataclass(slots=True)
class Worker:
    """One process."""

    index: int
    pid: int
    reports: int
    """The file that it writes to: a JSON object a line."""
    heard_at: float
    ready: bool = False
    rest: bytes = b""


@dataclass(slots=True)
class Absent:
    """A worker that is to be started again."""

    index: int
    due: float
    pause: float = FIRST_PAUSE


@dataclass(slots=True)
class Reports:
    """What the workers have said."""

    page: str | None = None
    problem: str = ""
    stop: bool = False
    restart: bool = False
    lines: list[str] = field(default_factory=list)


def supervise(settings: Settings, options: StartOptions, say_ready: Callable[[], None]) -> int:
    """Until it is told to stop; the exit status."""
    log.worker = 0
    try:
        log.configure(settings.log)
        folder = _folder()
    except OSError as error:
        return fail(str(error))
    try:
        sockets = asyncio.run(_open(settings.listeners))
    except ListenError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return fail(with_holder(str(error), settings))
    supervisor = Supervisor(settings, options, folder, sockets)
    try:
        return supervisor.run(say_ready)
    finally:
        _close(settings.listeners, sockets)
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    """A new one, for the workers' sockets. Their paths must not be long."""
    folder = instances.runtime_dir() / f"{os.getpid()}.workers"
    if len(str(folder)) > LONGEST_FOLDER:
        return Path(tempfile.mkdtemp(prefix="pybroker-"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


async def _open(listeners: tuple[ListenerSettings, ...]) -> dict[str, list[socket.socket]]:
    """What each listener accepts on. Raises ListenError; then nothing stays open."""
    opened: dict[str, list[socket.socket]] = {}
    try:
        for one in listeners:
            opened[one.name] = await listening_sockets(one)
    except ListenError:
        _close(listeners, opened)
        raise
    return opened


def _close(listeners: tuple[ListenerSettings, ...], opened: dict[str, list[socket.socket]]) -> None:
    for one in listeners:
        for listening in opened.get(one.name, ()):
            listening.close()
            if one.type == "unix":
                Path(one.path).absolute().unlink(missing_ok=True)


class Supervisor:
    def __init__(
        self,
        settings: Settings,
        options: StartOptions,
        folder: Path,
        sockets: dict[str, list[socket.socket]],
    ) -> None:
        self._settings = settings
        self._options = options
        self._folder = folder
        self._sockets = sockets
        self._workers: dict[int, Worker] = {}
        self._absent: dict[int, Absent] = {}
        self._selector = selectors.DefaultSelector()
        self._reports = Reports()
        self._replaced = 0
        self._announced: Path | None = None
        self._life, self._living = os.pipe()
        """Workers notice by the first when this process, which has the second, is no more."""
        self._control = instances.runtime_dir() / f"{os.getpid()}.sock"

    def run(self, say_ready: Callable[[], None]) -> int:
        wake, woken = self._catch_signals()
        gc.collect()
        gc.freeze()
        for index in range(self._settings.workers):
            self._start(index, first=True)
        try:
            if not self._wait_until_ready():
                return fail(self._reports.problem) if self._reports.problem else self._end()
            try:
                self._announce()
            except OSError as error:
                self._end()
                return fail(f"{error.filename or self._control} cannot be written: {error.strerror}")
            say_ready()
            service.notify(service.READY)
            while not self._reports.stop:
                self._look(1.0)
                self._watch()
            return self._end()
        finally:
            self._kill_all()
            for path in (self._announced, self._control):
                if path is not None:
                    path.unlink(missing_ok=True)  # `pybroker stop` waits for the first
            for descriptor in (wake, woken, self._life, self._living):
                os.close(descriptor)

    # Signals

    def _catch_signals(self) -> tuple[int, int]:
        wake, woken = os.pipe()
        for end in (wake, woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        self._selector.register(wake, selectors.EVENT_READ, self._drain)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_stop)
        signal.signal(signal.SIGHUP, self._told_to_reload)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return wake, woken

    def _told_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Only noted: it may be the middle of starting a worker."""
        if self._reports.stop:
            self._kill_all()
            os._exit(STOPPED_AT_ONCE)
        self._reports.stop = True

    def _told_to_reload(self, number: int, frame: FrameType | None) -> None:
        first = self._workers.get(0)
        if first is not None:
            _kill(first.pid, signal.SIGUSR1)

    def _drain(self, descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(descriptor, 4096):
                pass

    # Workers

    def _start(self, index: int, *, first: bool) -> None:
        reader, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            self._be_worker(index, writer, first)
        os.close(writer)
        os.set_blocking(reader, False)
        worker = self._workers[index] = Worker(index, pid, reader, time.monotonic())
        self._selector.register(reader, selectors.EVENT_READ, worker)

    def _be_worker(self, index: int, writer: int, first: bool) -> None:
        """In the new process; never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for number in (
                signal.SIGINT,
                signal.SIGHUP,
            ):  # the terminal's; the supervisor passes on what counts
                signal.signal(number, signal.SIG_IGN)
            if self._settings.daemon:
                leave_terminal()
            self._selector.close()
            os.close(self._living)
            for worker in self._workers.values():
                os.close(worker.reports)
            from .worker import WorkerOptions, work

            place = Place(
                index,
                self._settings.workers,
                self._folder,
                first,
                self._sockets,
                http=self._settings.http_server is not None,
                replaced=self._replaced,
            )
            options = WorkerOptions(place, writer, self._life, self._control, self._options.reread)
            status = work(self._settings, options)
        except BaseException:
            logger.exception("worker %d has failed", index + 1)
        finally:
            log.flush()
            logging.shutdown()
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(status)

    def _wait_until_ready(self) -> bool:
        while not all(worker.ready for worker in self._workers.values()):
            self._look(1.0)
            if self._reports.stop or self._reports.problem:
                return False
            gone = self._reap()
            if gone:
                self._look(0)  # what the last one has said
                self._reports.problem = self._reports.problem or f"worker {gone[0].index + 1} did not start"
                return False
        return True

    def _watch(self) -> None:
        """Replace those that have died or hang."""
        now = time.monotonic()
        if self._reports.stop:
            return
        for worker in self._reap():
            self._mourn(worker, now)
        for worker in self._workers.values():
            if now - worker.heard_at > HANGS_AFTER:
                logger.error("worker %d has given no sign of life for %d s", worker.index + 1, HANGS_AFTER)
                worker.heard_at = now
                _kill(worker.pid, signal.SIGKILL)
        for absent in list(self._absent.values()):
            if absent.due <= now:
                absent.due = float("inf")
                self._start(absent.index, first=False)

    def _mourn(self, worker: Worker, now: float) -> None:
        absent = self._absent.get(worker.index)
        if worker.ready or absent is None:
            self._replaced += 1
            complain(
                f"pybroker: worker {worker.index + 1} (pid {worker.pid}) has died: "
                f"{LOST[self._settings.sqlite is not None]}"
            )
            absent = self._absent[worker.index] = Absent(worker.index, now)
            if not worker.ready:
                absent.due = now + absent.pause
        else:
            why = self._reports.problem or "it did not start"
            self._reports.problem = ""
            logger.error("worker %d: %s; trying again in %g s", worker.index + 1, why, absent.pause)
            absent.due = now + absent.pause
            absent.pause = min(2 * absent.pause, LONGEST_PAUSE)

    def _reap(self) -> list[Worker]:
        """Those that have ended."""
        gone: list[Worker] = []
        for worker in list(self._workers.values()):
            pid, _ = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._hear(worker)
                self._selector.unregister(worker.reports)
                os.close(worker.reports)
                del self._workers[worker.index]
                gone.append(worker)
        return gone

    # Reports

    def _look(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Worker):
                if not self._hear(key.data):
                    time.sleep(0.001)  # it has closed its end, and is about to be gone
            else:
                key.data(key.fd)

    def _hear(self, worker: Worker) -> bool:
        """Whether the worker may say more."""
        while True:
            try:
                data = os.read(worker.reports, 1 << 16)
            except BlockingIOError:
                return True
            if not data:
                return False
            worker.heard_at = time.monotonic()
            *lines, worker.rest = (worker.rest + data).split(b"\n")
            for line in lines:
                self._heard(worker, json.loads(line))

    def _heard(self, worker: Worker, report: dict[str, Any]) -> None:
        if report.get("ready"):
            worker.ready = True
            if self._absent.pop(worker.index, None) is not None:
                logger.warning("worker %d is there again, as pid %d", worker.index + 1, worker.pid)
        self._reports.page = report.get("page", self._reports.page)
        self._reports.problem = report.get("problem", self._reports.problem)
        self._reports.lines += report.get("lines", ())
        if "stop" in report:
            self._reports.stop = True
            self._reports.restart = report["stop"] == "restart"
        if report.get("reloaded"):
            self._reload()

    def _reload(self) -> None:
        """A worker that is started from now on goes by the file as it is now, as the others do."""
        if self._options.reread is not None:
            with contextlib.suppress(ConfigError, OSError):
                self._settings, _ = compare(self._settings, self._options.reread())

    # The beginning and the end

    def _announce(self) -> None:
        settings = self._settings
        listeners = [facts_of(one, self._port_of(one)) for one in settings.listeners]
        instance = instances.Instance(
            pid=os.getpid(),
            conf=str(settings.source.resolve()) if settings.source else None,
            listeners=listeners,
            control=str(self._control),
        )
        self._announced = instances.announce(instance)
        say("\n".join([f"pybroker {__version__}", *(f"  {line}" for line in describe(settings))]))
        for warning in settings.warnings:
            complain(f"  warning: {warning}", logging.WARNING)
        page = self._reports.page
        if self._options.ready_file is not None:
            facts: dict[str, Any] = {"pid": os.getpid(), "listeners": listeners}
            facts |= {"page": page} if page else {}
            instances.write_whole(self._options.ready_file, facts)
        where = ", ".join(url_of(one, self._port_of(one)) for one in settings.listeners)
        where += f", page at {page}" if page else ""
        began = self._options.started_at
        took = f" in {time.monotonic() - began:.2f} s" if began else ""
        say(f"ready{took}: {where}, {settings.workers} workers")

    def _port_of(self, one: ListenerSettings) -> int:
        return 0 if one.type == "unix" else int(self._sockets[one.name][0].getsockname()[1])

    def _end(self) -> int:
        """Wait until all are gone; the exit status."""
        service.notify(service.STOPPING)
        say("stopping ...")
        for worker in self._workers.values():
            _kill(worker.pid, signal.SIGTERM)
        while self._workers:
            self._look(1.0)
            self._reap()
            lines, self._reports.lines = self._reports.lines, []
            for line in lines:
                say(line, logging.WARNING)
        log.flush()
        say("stopped")
        if self._reports.restart:
            for path in (self._announced, self._control):
                if path is not None:
                    path.unlink(missing_ok=True)
            shutil.rmtree(self._folder, ignore_errors=True)
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same command
        return 0

    def _kill_all(self) -> None:
        for worker in list(self._workers.values()):
            _kill(worker.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(worker.pid, 0)
        self._workers.clear()


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
