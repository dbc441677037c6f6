"""`pybroker start` from settings to exit status: the event loop, the signals, the lines people read."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__, control, instances, log
from .app import START_ERRORS, App
from .config import Settings
from .config.describe import describe

STOPPED_AT_ONCE = 130
"""The exit status after a second signal."""


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What the command line says beside the configuration."""

    ready_file: Path | None = None
    started_at: float = 0.0
    """``time.monotonic()`` when the program began, for the ready line."""


def serve(settings: Settings, options: StartOptions) -> int:
    """Run the broker until it is told to stop; the exit status."""
    try:
        log.configure(settings.log)
    except OSError as error:
        return fail(f"the log cannot be written: {error}")
    return _run(_serve(settings, options))


def fail(message: str, status: int = 1) -> int:
    """Say on stderr what went wrong; the exit status."""
    print(f"pybroker: {message}", file=sys.stderr)
    return status


def _run(main: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:  # no wheel for this system: asyncio serves as well, only slower
        return asyncio.run(main)
    return uvloop.run(main)


def _settle_garbage_collector() -> None:
    """What is there at the start stays; what comes later is mostly freed by counting. Looking for cycles
    after every 700 new objects costs a tenth of the time under load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve(settings: Settings, options: StartOptions) -> int:
    stopping = asyncio.Event()
    _on_signals(stopping)
    try:
        control_path = instances.runtime_dir() / f"{os.getpid()}.sock"
        app = App(settings)
        await app.start()
    except (*START_ERRORS, OSError) as error:
        return fail(str(error))
    instance = instances.Instance(
        pid=os.getpid(),
        conf=str(settings.source.resolve()) if settings.source else None,
        listeners=[listener.facts for listener in app.listeners],
        control=str(control_path),
    )
    commands = control.ControlSocket(control_path, {"stop": _stop_command(stopping)})
    await commands.open()
    announced = instances.announce(instance)
    _settle_garbage_collector()
    _say_ready(app, options)
    try:
        await stopping.wait()
        commands.close()
        print("stopping ...", flush=True)
        for left in await app.stop():
            print(left)
        print("stopped", flush=True)
    finally:
        announced.unlink(missing_ok=True)  # `pybroker stop` waits for this
    return 0


def _on_signals(stopping: asyncio.Event) -> None:
    """The first signal stops in order, the second at once."""

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


def _say_ready(app: App, options: StartOptions) -> None:
    print(f"pybroker {__version__}")
    for line in describe(app.settings):
        print(f"  {line}")
    for warning in app.settings.warnings:
        print(f"  warning: {warning}", file=sys.stderr)
    where = ", ".join(listener.url for listener in app.listeners)
    took = f" in {time.monotonic() - options.started_at:.2f} s" if options.started_at else ""
    if options.ready_file is not None:
        facts = {"pid": os.getpid(), "listeners": [listener.facts for listener in app.listeners]}
        instances.write_whole(options.ready_file, facts)
    print(f"ready{took}: {where}", flush=True)
