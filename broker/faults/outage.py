"""An outage of the broker as its clients see it: it goes down and comes back, in the same process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ..clock import Timer
from ..engine.disconnect import leave
from ..engine.engine import Engine
from ..engine.forget import forget_everything
from ..transport.errors import ListenError
from ..transport.listener import Listener

log = logging.getLogger("pybroker.faults")

TRY_AGAIN = 1.0
"""Seconds until a listener that cannot come up is tried once more."""


class Interrupted(Protocol):
    """Connections that the broker makes itself."""

    def take_down(self) -> None:
        """Close the connections, and make no new ones."""

    def bring_up(self) -> None:
        """Make the connections again. Does nothing if they are not down."""


class Outage:
    """Takes a broker down and brings it up again, on the same ports."""

    def __init__(self, engine: Engine, listeners: Sequence[Listener], outgoing: Interrupted) -> None:
        self._engine = engine
        self._outgoing = outgoing
        self._listeners = listeners
        self._down: list[Listener] = []
        self._end: Timer | None = None
        """The timer that ends the outage."""
        self._tasks: set[asyncio.Task[None]] = set()

    def take_down(self, keep_state: bool) -> None:
        """Nobody can connect, and who was connected is cut off without DISCONNECT or will.

        With ``keep_state`` the sessions that outlive their connection and the retained messages are still
        there afterwards, as in a broker that has them on disk. Lasts until :meth:`bring_up`.
        """
        self._forget_end()
        for listener in self._listeners:
            if listener not in self._down:
                listener.settings = replace(listener.settings, port=listener.port)  # clients look there
                listener.refuse()
                self._down.append(listener)
        self._outgoing.take_down()
        for channel in list(self._engine.channels):
            if channel.session is not None:
                channel.session.will = None
            leave(self._engine, channel, "server_shutdown")
            channel.link.abort()
        if not keep_state:
            forget_everything(self._engine)
        self._engine.flush()

    @property
    def is_ending(self) -> bool:
        """Whether only the listeners are still missing: their addresses are being looked up."""
        return bool(self._tasks)

    async def bring_up(self) -> None:
        """Accept clients again. Raises ListenError; the listeners that could be opened are open then."""
        self._forget_end()
        while self._down:
            await self._down[0].open()
            del self._down[0]
        self._outgoing.bring_up()

    def restart(self, keep_state: bool, seconds: float) -> None:
        """Take the broker down in the next turn of the event loop, and up again ``seconds`` later."""
        asyncio.get_running_loop().call_soon(self._go_down, keep_state, seconds)

    def _go_down(self, keep_state: bool, seconds: float) -> None:
        self.take_down(keep_state)
        self._come_up_in(seconds)

    def _come_up_in(self, seconds: float) -> None:
        clock = self._engine.clock
        self._end = clock.call_at(clock.monotonic() + seconds, self._come_up)

    def _forget_end(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _come_up(self) -> None:
        task = asyncio.get_running_loop().create_task(self._bring_up_or_try_again())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bring_up_or_try_again(self) -> None:
        try:
            await self.bring_up()
        except ListenError as error:
            log.error("%s; tried again in %g s", error, TRY_AGAIN)
            self._come_up_in(TRY_AGAIN)
