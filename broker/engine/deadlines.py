"""The moments at which connections have to be looked at: CONNECT or another packet may be overdue."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from ..clock import Clock, Timer
from .turns import Turns

if TYPE_CHECKING:
    from .channel import Channel

TICK = 0.25
"""Seconds by which a connection may be looked at late. Those of one tick share a call of the clock."""


class Deadlines:
    """For each connection the next moment at which :meth:`Channel.check_deadline` is called. A connection
    costs an entry in a set here, not a timer."""

    def __init__(self, clock: Clock, turns: Turns) -> None:
        self._clock = clock
        self._turns = turns
        self._ticks: dict[int, set[Channel]] = {}
        """Never an empty set: there are no more than connections."""
        self._timer: Timer | None = None
        self._armed = 0
        """The tick at which :meth:`_run` is called next; 0: never."""

    def check_by(self, channel: Channel, when: float) -> None:
        """Look at ``channel`` at the time ``when`` of the clock, or before."""
        tick = ceil(when / TICK)
        if channel.tick:
            if channel.tick <= tick:
                return
            self.forget(channel)
        channel.tick = tick
        those = self._ticks.get(tick)
        if those is not None:
            those.add(channel)
            return
        self._ticks[tick] = {channel}
        if not self._armed or tick < self._armed:
            self._arm(tick)

    def forget(self, channel: Channel) -> None:
        """Do not look at ``channel``."""
        tick, channel.tick = channel.tick, 0
        those = self._ticks.get(tick)
        if those is not None:
            those.discard(channel)
            if not those:
                del self._ticks[tick]

    def _arm(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = tick
        self._timer = self._clock.call_at(tick * TICK, self._run)

    def _run(self) -> None:
        """Look at the connections that are due. Where that takes longer than a turn, the rest waits."""
        self._armed = 0
        end = self._turns.end()
        try:
            for tick in sorted(tick for tick in self._ticks if tick * TICK <= self._clock.monotonic()):
                while tick in self._ticks:
                    channel = next(iter(self._ticks[tick]))
                    self.forget(channel)
                    channel.check_deadline()
                    if self._turns.now() > end:
                        self._armed = tick  # a timer would be due at once
                        self._turns.later(self._run)
                        return
        finally:
            if self._ticks and not self._armed:
                self._arm(min(self._ticks))
