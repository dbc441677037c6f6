"""Runs a broker in a thread with its own event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from pybroker.webhook.http.client import open_transport
from pybroker.webhook.http.transport import MakeTransport

from ..app import App
from ..clock import Clock
from ..engine.channel import Channel
from ..engine.engine import Engine
from ..engine.forget import forget_everything
from ..faults.channel import WatchedChannel
from ..faults.rules import Faults
from ..loop_clock import LoopClock
from ..parts.presets import add_preset_sessions
from .clock import VirtualClock
from .recorder import Recorder
from .setup import Setup, settings_for
from .threads import other_threads_sleep

T = TypeVar("T")

FAREWELL = 0.2
"""Seconds that clients have to take their DISCONNECT when the broker stops."""
GRACE = 0.1
"""Seconds in which a connection that is being closed may still go before it counts as left behind."""
AT_ONCE = 20
"""Turns of the event loop in which most of them are gone."""
LOOK_AGAIN = 0.002
IDLE_LOOKS = 3
"""So often, so many seconds apart, this process must be seen idle: then it is closing no client."""
START_TIMEOUT = 30.0
CLEANING = 5.0
"""Seconds that a failed start may take to close what it has opened."""
NOT_RUNNING = "the test broker is not running in this process; start() it, or use it in a with block"


class Running:
    """The App and what watches it."""

    loop: asyncio.AbstractEventLoop

    clients_are_here = True
    """Whether the clients are threads of this process."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.settings = settings_for(setup)
        self.bridges: set[str] = set()
        """Client identifiers of bridges that other test brokers have to this one."""
        self.recorder = Recorder()
        self.faults = Faults()
        self._app: App | None = None
        self._connections: set[Channel] = set()
        self._serving: asyncio.Task[Any] | None = None
        self._stopping: asyncio.Event
        self._thread: threading.Thread | None = None

    # ---- from any thread

    @property
    def app(self) -> App:
        """The app, also after the broker has stopped. Raises RuntimeError if the broker was never started."""
        if self._app is None:
            raise RuntimeError(NOT_RUNNING)
        return self._app

    @property
    def clock(self) -> Clock:
        return self.app.clock

    def start(self) -> None:
        """Return when every listener accepts; harmless when they do. Raises what stands in the way, such
        as ListenError."""
        if self.is_running:
            return
        started: Future[None] = Future()
        self._serving = None
        self._thread = threading.Thread(
            target=self._main, args=(started,), name="pybroker test broker", daemon=True
        )
        self._thread.start()
        try:
            started.result(START_TIMEOUT)
        except BaseException:
            self._give_up(started)
            raise

    def _give_up(self, started: Future[None]) -> None:
        if not started.cancel():  # it has begun
            with suppress(RuntimeError):  # and has ended by itself
                self.loop.call_soon_threadsafe(self._cancel)
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(CLEANING)

    def stop(self, *, wait_for_clients: bool = True) -> list[str]:
        """Stop the broker and its thread; harmless when it has been done. Returns who was still connected."""
        thread = self._thread
        if thread is None or not self.is_running:
            return []
        left = self.run(self.left_behind()).result() if wait_for_clients else []
        self._thread = None
        self.loop.call_soon_threadsafe(self._stopping.set)
        thread.join()
        return left

    async def stop_async(self) -> list[str]:
        """The same; the event loop, whose clients may be closing, goes on meanwhile."""
        if not self.is_running:
            return []
        try:
            return await asyncio.wrap_future(self.run(self.left_behind()))
        finally:
            self.stop(wait_for_clients=False)

    @property
    def is_running(self) -> bool:
        """In this process: one that was forked has no part of it."""
        return self._thread is not None and self._thread.is_alive()

    def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` on the broker's thread and return its result."""
        if not self.is_running:
            raise RuntimeError(NOT_RUNNING)
        if threading.current_thread() is self._thread:
            return function()
        done: Future[T] = Future()
        self.loop.call_soon_threadsafe(_finish, done, function)
        return done.result()

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``work`` on the broker's thread."""
        if not self.is_running:
            work.close()
            raise RuntimeError(NOT_RUNNING)
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    # ---- the broker's thread

    def _main(self, started: Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._serve(started))
        except asyncio.CancelledError:
            pass  # the caller has stopped waiting
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, started: Future[None]) -> None:
        self.loop = asyncio.get_running_loop()
        self._serving = asyncio.current_task()
        self._stopping = asyncio.Event()
        if not started.set_running_or_notify_cancel():
            return
        clock = self._make_clock()
        self._app = App(
            self.settings,
            clock=clock,
            webhook_transport=self._webhook_transport(clock),
            faults=self.faults,
            open_channel=self._open_channel,
        )
        self.recorder.attach(self._app.engine.hooks)
        await self._app.start()
        try:
            started.set_result(None)
            await self._stopping.wait()
        finally:
            await self._end()

    def _open_channel(self, *arguments: Any, **about: Any) -> Channel:
        """A channel that is known for as long as its transport lives."""
        channel = WatchedChannel(
            self.faults, self.recorder.packet, *arguments, gone=self._connections.discard, **about
        )
        self._connections.add(channel)
        return channel

    def _make_clock(self) -> Clock:
        if not self.setup.virtual_clock:
            return LoopClock(self.loop)
        return VirtualClock(self.loop, self._happenings, lambda: self.app.outage.is_ending)

    def _cancel(self) -> None:
        if self._serving is not None:
            self._serving.cancel()

    async def _end(self) -> None:
        """Stop, and wait until every socket is closed."""
        self.faults.clear()
        await self.app.stop(grace=0)
        deadline = self.loop.time() + FAREWELL
        while self._connections:
            if self.loop.time() > deadline:
                for connection in list(self._connections):
                    connection.link.abort()
            await asyncio.sleep(0.001)

    def _webhook_transport(self, clock: Clock) -> MakeTransport:
        return self.recorder.webhooks.transport(clock, open_transport if self.setup.post else None)

    def _happenings(self) -> tuple[int, ...]:
        hooks, counters = self.recorder.webhooks, self.app.engine.counters
        return self.recorder.happenings, hooks.tries, counters.packets_sent

    # ---- what a test may do to it

    @property
    def engine(self) -> Engine:
        return self.app.engine

    async def bring_up(self, keep_state: bool) -> None:
        """End an outage. A broker with a state on disk goes on from there, as a new process does."""
        if keep_state:
            await self.app.state.read_again()
        await self.app.outage.bring_up()

    async def reset(self) -> list[str]:
        """As if just started, with the same ports and the same time. Returns who was still connected."""
        left = await self.left_behind()
        self.app.start_faults()
        forget_everything(self.app.engine)
        add_preset_sessions(self.app.engine, self.settings.presets)
        if not self.app.webhooks.sink.idle():
            await self.app.webhooks.start_anew()
        self.recorder.reset()
        await self.app.outage.bring_up()
        return left

    async def left_behind(self) -> list[str]:
        """Connections that stay, each named."""
        for _ in range(AT_ONCE):
            await asyncio.sleep(0)
            if not self._clients():
                return []
        # One that has been silent for so long is not about to disconnect.
        silent = self.engine.clock.monotonic() - max(channel.heard_at for channel in self._clients())
        deadline = self.loop.time() + max(0.0, GRACE - silent)
        idle = 0
        while self._clients() and idle < IDLE_LOOKS and self.loop.time() < deadline:
            await asyncio.sleep(LOOK_AGAIN)
            idle = idle + 1 if self.clients_are_here and other_threads_sleep() else 0
        return [_name(channel) for channel in self._clients()]

    def _clients(self) -> list[Channel]:
        """The connections of clients: the bridges that tests have made are none, on either side."""
        return [
            channel
            for channel in self.engine.channels
            if not channel.inside and not (channel.client and channel.client.client_id in self.bridges)
        ]

    def unfinished(self) -> list[str]:
        """What is still on its way: to clients that are connected, and to webhooks."""
        found = []
        for session in self.app.engine.sessions:
            queued = len(session.queue) if session.queue is not None else 0
            if session.connected and (queued or len(session.inflight)):
                sent = len(session.inflight)
                found.append(f"client {session.client_id}: {sent} messages unacknowledged, {queued} waiting")
        for channel in self.app.engine.channels:
            if unsent := channel.link.unsent_bytes():
                found.append(f"{_name(channel)}: {unsent} bytes not sent")
        found += [
            f"webhook {one.name}: {one.queued} events waiting, {one.in_flight} in flight"
            for one in self.app.webhooks.sink.stats()
            if one.queued or one.in_flight
        ]
        return found


def _name(channel: Channel) -> str:
    who = channel.client.client_id if channel.client is not None else "a client that sent no CONNECT"
    return f"{who} ({channel.peer or channel.listener})"


def _finish(done: Future[T], function: Callable[[], T]) -> None:
    try:
        done.set_result(function())
    except BaseException as error:
        done.set_exception(error)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop that `pybroker start` has."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
