"""`pybroker start`, from settings to exit status: the event loop, the signals, the printed lines."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pybroker.webhook.reports import lines

from .. import __version__
from ..app import START_ERRORS, App
from ..config import ConfigError, Settings
from ..config.describe import describe
from ..transport.sockets import ANOTHER
from . import control, instances, log, service
from .bridges import bridge_command
from .daemon import to_background
from .faults import fault_command
from .health import health_command
from .nodes import nodes_command
from .output import complain, fail, say
from .preflight import unfit_files
from .state_layout import LayoutError, check_layouts
from .top import top_command

logger = logging.getLogger("pybroker")

MANY_FILES = 1 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
STOPPED_AT_ONCE = 130
"""The exit status after a second signal."""
PATIENCE = 0.5
"""Seconds after which a stop prints what it waits for."""


@dataclass(frozen=True, slots=True)
class StartOptions:
    """The options of the command line beside the configuration."""

    ready_file: Path | None = None
    started_at: float = 0.0
    """``time.monotonic()`` when the program began, for the ready line."""
    reread: Callable[[], Settings] | None = None
    """Reads the configuration again, for a reload; may raise ConfigError. None where there is no file."""


def serve(settings: Settings, options: StartOptions) -> int:
    """Run the broker until it is told to stop; returns the exit status. With `system.daemon` this returns
    only in the background: the process that was started exits once the broker is ready, or has failed."""
    say_ready = to_background() if settings.daemon else _nothing
    settings = _without_console(settings)
    try:
        log.configure(settings.log)
    except OSError as error:
        return fail(f"the log cannot be written: {error}")
    log.spare()
    _allow_open_files(settings.limits.max_connections)
    try:
        check_layouts(settings)
    except LayoutError as error:
        return fail(str(error))
    if settings.workers > 1:
        from .supervisor import supervise

        return supervise(settings, options, say_ready)
    return run_in_loop(_serve(settings, options, say_ready))


def _allow_open_files(connections: int) -> None:
    """Allow as many open files as the system permits. Each connection takes one, and the default is often
    1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if hard != resource.RLIM_INFINITY and connections > hard:
        logger.debug(
            "the system allows %d open files, which is too few for limits.max_connections = %d",
            hard,
            connections,
        )


def _nothing() -> None:
    pass


def _without_console(settings: Settings) -> Settings:
    """In the background the log goes to a file instead of the terminal."""
    if not settings.daemon or "console" not in settings.log.to:
        return settings
    places = tuple(dict.fromkeys("file" if place == "console" else place for place in settings.log.to))
    return replace(settings, log=replace(settings.log, to=places))


def run_in_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop if it is installed."""
    try:
        import uvloop
    except ImportError:  # no wheel for this system: asyncio serves as well, only slower
        return asyncio.run(main)
    return uvloop.run(main)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory. Otherwise it returns large blocks to the system and requests them again
    at the next read, which takes a third of the time with packets of 64 KiB. Without glibc this does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, 8 << 20)
    mallopt(M_TRIM_THRESHOLD, 32 << 20)


def settle_garbage_collector() -> None:
    """Collect garbage less often. Objects of the start stay, and later ones are mostly freed by reference
    counting. A search for cycles after every 700 new objects takes a tenth of the time under load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve(settings: Settings, options: StartOptions, say_ready: Callable[[], None]) -> int:
    stopping = asyncio.Event()
    _on_signals(stopping)
    try:
        control_path = instances.runtime_dir() / f"{os.getpid()}.sock"
        app = App(settings)
        await app.start()
    except (*START_ERRORS, OSError) as error:
        return fail(with_holder(str(error), settings))
    instance = instances.Instance(
        pid=os.getpid(),
        conf=str(settings.source.resolve()) if settings.source else None,
        listeners=[listener.facts for listener in app.listeners],
        control=str(control_path),
    )
    reloader = Reloader(app, options.reread)
    commands = control.ControlSocket(
        control_path,
        {
            "stop": _stop_command(stopping),
            "reload": reloader.command,
            "health": health_command(app.engine, app.listeners.all),
            "webhook status": _webhook_command(app),
            "bridge status": bridge_command(app.bridges.status),
            "cluster status": nodes_command(app.nodes),
            "top": top_command(app.engine, app.webhooks.sink),
            "faults": fault_command(app.faults, app.outage),
        },
    )
    app.end = ending = Ending(stopping, options.reread)
    announced = None
    try:
        try:
            await commands.open()
            announced = instances.announce(instance)
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.signalled)
            settle_garbage_collector()
            keep_freed_memory()
            _describe(app)
            if options.ready_file is not None:
                _write_ready_file(app, options.ready_file)
        except OSError as error:
            await app.stop(grace=0)
            return fail(f"{error.filename or control_path} cannot be written: {error.strerror}")
        _say_ready(app, options)
        say_ready()
        service.notify(service.READY)
        await stopping.wait()
        service.notify(service.STOPPING)
        commands.close()
        await _stop(app)
    finally:
        commands.close()
        if announced is not None:
            announced.unlink(missing_ok=True)  # `pybroker stop` waits for this
    if ending.restart:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same command
    return 0


class Ending:
    """What HTTP may request: a stop, or a stop and a restart of the process."""

    def __init__(self, stopping: asyncio.Event, reread: Callable[[], Settings] | None) -> None:
        self._stopping = stopping
        self._reread = reread
        self.restart = False

    def __call__(self, restart: bool) -> None:
        self.restart = restart
        self._stopping.set()

    async def problems(self) -> list[str]:
        """The errors in the file, certificates and folders that would prevent a start now."""
        return await asyncio.to_thread(self._problems)

    def _problems(self) -> list[str]:
        if self._reread is None:
            return []
        try:
            return unfit_files(self._reread())
        except (ConfigError, OSError) as error:
            return [str(error)]


async def _stop(app: App) -> None:
    say("stopping ...")
    stop = asyncio.ensure_future(app.stop())
    await asyncio.wait({stop}, timeout=PATIENCE)
    if not stop.done():
        for line in _waited_for(app):
            say(line)
    for left in await stop:
        say(left, logging.WARNING)
    for stats in app.webhooks.sink.stats():
        logger.info("%s", "; ".join(map(str.strip, lines(stats))))
    log.flush()
    say("stopped")


def _waited_for(app: App) -> Iterator[str]:
    """What the stop still waits for."""
    for stats in app.webhooks.sink.stats():
        waiting = stats.queued + stats.in_flight
        if waiting:
            events = "1 event" if waiting == 1 else f"{waiting} events"
            yield f"  {stats.section} {stats.name}: {events} to send first; another Ctrl-C stops at once"


def with_holder(text: str, settings: Settings) -> str:
    """``text``, with the name of the listener or other pybroker that uses the address, if there is one."""
    found = re.search(rf"(?:port (\d+) on|the socket) (\S+) is in use by {ANOTHER}", text)
    if found is None:
        return text
    port, path = int(found[1] or 0), found[2]
    for one in settings.listeners:
        same = one.port == port if port else str(Path(one.path).absolute()) == path
        if same and not text.startswith(f"listener {one.name}:"):
            return text.replace(ANOTHER, f"listener {one.name} of the same configuration")
    for broker in instances.running():
        if any((one["port"] == port if port else one.get("path") == path) for one in broker.listeners):
            return text.replace(ANOTHER, f"the pybroker that runs with pid {broker.pid}")
    return text


def _on_signals(stopping: asyncio.Event) -> None:
    """The first signal shuts the broker down, the second ends it at once."""

    def stop() -> None:
        if stopping.is_set():
            os._exit(STOPPED_AT_ONCE)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _stop_command(stopping: asyncio.Event) -> control.Handler:
    async def stop(_: dict[str, Any]) -> None:
        stopping.set()

    return stop


def _webhook_command(app: App) -> control.Handler:
    async def status(_: dict[str, Any]) -> list[dict[str, Any]]:
        return [stats.to_dict() for stats in app.webhooks.sink.stats()]

    return status


class Reloader:
    """Reads the configuration again: for `pybroker reload`, and on SIGHUP."""

    def __init__(self, app: App, reread: Callable[[], Settings] | None) -> None:
        self._app = app
        self._reread = reread
        self._tasks: set[asyncio.Task[None]] = set()

    async def command(self, _: dict[str, Any]) -> list[str]:
        """The changes, as readable lines. Raises ControlError; then nothing has changed."""
        lines = await self._reload()
        for line in lines:
            logger.info("reload: %s", line)
        return lines

    def signalled(self) -> None:
        """Reload on SIGHUP, and log the result."""
        task = asyncio.ensure_future(self._reload_and_log())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_and_log(self) -> None:
        try:
            await self.command({})
        except control.ControlError as error:
            for line in str(error).splitlines():
                logger.error("reload: %s", line)

    async def _reload(self) -> list[str]:
        if self._reread is None:
            raise control.ControlError(
                "this broker was started without a file, so there is nothing to reload"
            )
        try:
            # In a thread: a large file takes tenths of a second.
            settings = _without_console(await asyncio.to_thread(self._reread))
            handlers = log.open_handlers(settings.log)
            try:
                changes = await self._app.reload(settings)
            except BaseException:
                log.close(handlers)
                raise
            log.use(settings.log, handlers)
        except ConfigError as error:
            raise control.ControlError(f"{error}\nnothing has changed") from None
        except (*START_ERRORS, OSError) as error:
            raise control.ControlError(f"{error}; nothing has changed") from None
        lines = [str(change) for change in changes] or ["the file has not changed"]
        again = [one.settings.name for one in self._app.listeners if one.settings.tls is not None]
        if again:
            lines.append(f"certificates read again: {', '.join(again)}")
        return lines + [f"warning: {warning}" for warning in settings.warnings]


def _describe(app: App) -> None:
    say("\n".join([f"pybroker {__version__}", *(f"  {line}" for line in describe(app.settings))]))
    for warning in app.settings.warnings:
        complain(f"  warning: {warning}", logging.WARNING)


def _say_ready(app: App, options: StartOptions) -> None:
    where = ", ".join(listener.url for listener in app.listeners)
    if app.rest.url is not None:
        where += f", page at {app.rest.url}"
    took = f" in {time.monotonic() - options.started_at:.2f} s" if options.started_at else ""
    say(f"ready{took}: {where}")


def _write_ready_file(app: App, path: Path) -> None:
    facts: dict[str, Any] = {
        "pid": os.getpid(),
        "listeners": [listener.facts for listener in app.listeners],
    }
    if app.rest.url is not None:
        facts["page"] = app.rest.url
    try:
        instances.write_whole(path, facts)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"the ready file {path}") from None
