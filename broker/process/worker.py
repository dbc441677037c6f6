"""One of the processes that `pybroker start --workers N` runs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pybroker.webhook.metrics import EndpointStats, total
from pybroker.webhook.reports import lines

from ..app import START_ERRORS, App
from ..config import Settings
from ..parts.workers import Place
from . import control, log
from .bridges import bridge_command
from .faults import fault_command
from .health import health_command
from .nodes import nodes_command
from .serve import (
    Ending,
    Reloader,
    keep_freed_memory,
    run_in_loop,
    settle_garbage_collector,
    with_holder,
)
from .state_layout import settings_of
from .top import top_command

logger = logging.getLogger("pybroker.workers")

SIGN_OF_LIFE = 1.0
"""Seconds between two."""
ANSWER = 5.0
"""Seconds that another worker may take to answer a command; a reload may take longer."""
RELOAD = 60.0


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What the supervisor hands to a worker."""

    place: Place
    reports: int
    """Where the supervisor reads what we say."""
    life: int
    """Ends when the supervisor does."""
    control: Path
    """The socket of the whole broker, which the first worker serves."""
    reread: Callable[[], Settings] | None


def work(settings: Settings, options: WorkerOptions) -> int:
    """Until the supervisor says stop, or is gone; the exit status."""
    log.worker = options.place.index + 1
    log.configure(settings.log)
    return run_in_loop(Work(settings, options).run())


class Work:
    def __init__(self, settings: Settings, options: WorkerOptions) -> None:
        self._settings = settings
        self._options = options
        self._place = options.place
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        index = self._place.index
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_reader(self._options.life, self._stopping.set)
        count = self._place.count
        own = settings_of(self._settings, index, count)
        try:
            app = App(own, place=self._place)
            await app.start()
        except (*START_ERRORS, OSError) as error:
            self._report(problem=with_holder(str(error), self._settings))
            return 1
        reread = self._options.reread
        reloader = Reloader(app, None if reread is None else lambda: settings_of(reread(), index, count))
        commands: dict[str, control.Handler] = {
            "reload": reloader.command,
            "health": health_command(app.engine, app.listeners.all),
            "webhook status": _webhook_command(app),
            "bridge status": bridge_command(app.bridges.status),
            "top": top_command(app.engine, app.webhooks.sink),
        }
        sockets = [control.ControlSocket(self._path(index), commands)]
        if index == 0:
            everybody = self._commands(app, commands)
            sockets.append(control.ControlSocket(self._options.control, everybody))
            app.end = _Ending(self._end, reread)
            loop.add_signal_handler(
                signal.SIGUSR1, lambda: app.engine.spawn(self._reload_logged(everybody), lambda _: None)
            )
        try:
            for one in sockets:
                await one.open()
        except OSError as error:
            await app.stop(grace=0)
            self._report(problem=f"{error.filename or self._options.control}: {error.strerror}")
            return 1
        settle_garbage_collector()
        keep_freed_memory()
        self._report(ready=True, **({"page": app.rest.url} if app.rest.url else {}))
        living = asyncio.ensure_future(self._live())
        await self._stopping.wait()
        living.cancel()
        for one in sockets:
            one.close()
        left = await app.stop()
        self._report(lines=left)
        for stats in app.webhooks.sink.stats():
            logger.info("%s", "; ".join(map(str.strip, lines(stats))))
        return 0

    async def _live(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(SIGN_OF_LIFE)

    def _report(self, **words: Any) -> None:
        try:
            os.write(self._options.reports, json.dumps(words).encode() + b"\n")
        except OSError:
            self._stopping.set()  # nobody is there to read it

    def _end(self, restart: bool) -> None:
        self._report(stop="restart" if restart else "stop")

    def _path(self, index: int) -> Path:
        return self._place.folder / f"{index}.control"

    # What the first answers for all.

    def _commands(self, app: App, own: Mapping[str, control.Handler]) -> dict[str, control.Handler]:
        async def stop(_: dict[str, Any]) -> None:
            self._end(False)

        async def health(arguments: dict[str, Any]) -> str:
            await self._ask_others("health")
            engine = app.engine
            where = ", ".join(one.url for one in app.listeners)
            clients = engine.connected + engine.connected_elsewhere
            return f"{clients} clients on {where}, {self._place.count} workers"

        async def reload(arguments: dict[str, Any]) -> list[str]:
            said = await own["reload"](arguments)
            for other in await self._ask_others("reload", RELOAD):
                said += [line for line in other if line not in said]
            self._report(reloaded=True)
            return list(said)

        async def webhooks(arguments: dict[str, Any]) -> list[dict[str, Any]]:
            answers = [await own["webhook status"](arguments), *await self._ask_others("webhook status")]
            return [
                total([EndpointStats.from_dict(values) for values in one]).to_dict()
                for one in zip(*answers, strict=True)
            ]

        async def top(arguments: dict[str, Any]) -> dict[str, Any]:
            answers = [await own["top"](arguments), *await self._ask_others("top")]
            whole: dict[str, Any] = dict(answers[0])  # its overview is that of all
            whole["clients"] = sorted(
                (one for answer in answers for one in answer["clients"]),
                key=lambda one: (one["queued"] + one["inflight"], one["connected"]),
                reverse=True,
            )[:20]
            whole["topics"] = sorted(
                (one for answer in answers for one in answer["topics"]),
                key=lambda one: one["seen"],
                reverse=True,
            )[:20]
            whole["webhooks"] = await webhooks({})
            return whole

        return {
            "stop": stop,
            "reload": reload,
            "health": health,
            "webhook status": webhooks,
            "bridge status": own["bridge status"],
            "cluster status": nodes_command(app.nodes),
            "top": top,
            "faults": fault_command(app.faults, app.outage),
        }

    async def _reload_logged(self, commands: Mapping[str, control.Handler]) -> None:
        try:
            await commands["reload"]({})
        except control.ControlError as error:
            for line in str(error).splitlines():
                logger.error("reload: %s", line)

    async def _ask_others(self, command: str, patience: float = ANSWER) -> Sequence[Any]:
        """What each of the others answers. Raises ControlError where one does not."""

        async def one(index: int) -> Any:
            try:
                return await asyncio.to_thread(control.ask, str(self._path(index)), command, timeout=patience)
            except control.ControlError as error:
                raise control.ControlError(f"worker {index + 1}: {error}") from None

        return await asyncio.gather(*(one(index) for index in range(1, self._place.count)))


class _Ending(Ending):
    """Leaves it to the supervisor."""

    def __init__(self, end: Callable[[bool], None], reread: Callable[[], Settings] | None) -> None:
        super().__init__(asyncio.Event(), reread)
        self._end = end

    def __call__(self, restart: bool) -> None:
        self._end(restart)


def _webhook_command(app: App) -> control.Handler:
    async def status(_: dict[str, Any]) -> list[dict[str, Any]]:
        return [stats.to_dict() for stats in app.webhooks.sink.stats()]

    return status
