from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from pybroker.broker.clock import ManualClock, Timers
from pybroker.broker.loop_clock import LoopClock


def test_calls_are_made_in_order_and_at_their_moment() -> None:
    clock = ManualClock()
    calls: list[tuple[str, float]] = []
    clock.call_at(20, lambda: calls.append(("later", clock.monotonic())))
    clock.call_at(10, lambda: calls.append(("sooner", clock.monotonic())))
    clock.call_at(10, lambda: calls.append(("same moment", clock.monotonic())))
    clock.advance(15)
    assert calls == [("sooner", 10), ("same moment", 10)]
    assert clock.monotonic() == 15
    clock.advance(5)
    assert calls[-1] == ("later", 20)


def test_a_call_may_ask_for_another() -> None:
    clock = ManualClock()
    beats: list[float] = []

    def beat() -> None:
        beats.append(clock.monotonic())
        clock.call_at(clock.monotonic() + 1, beat)

    clock.call_at(1, beat)
    clock.advance(4.5)
    assert beats == [1, 2, 3, 4]


def test_a_cancelled_timer_is_silent() -> None:
    clock = ManualClock()
    calls: list[int] = []
    timer = clock.call_at(1, lambda: calls.append(1))
    timer.cancel()
    timer.cancel()
    clock.advance(2)
    assert calls == []


def test_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers()
    keep = [timers.add(1000 + n, lambda: None) for n in range(10)]
    for number in range(10_000):
        timers.add(900 + number, lambda: None).cancel()
    assert len(timers) < 300
    assert timers.next_due() == 1000
    keep[0].cancel()
    assert timers.next_due() == 1001


async def test_the_loop_s_clock_calls_when_due() -> None:
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop)
    calls: list[str] = []
    done = asyncio.Event()
    now = clock.monotonic()
    clock.call_at(now + 0.02, done.set)
    clock.call_at(now + 0.01, lambda: calls.append("first"))
    clock.call_at(now + 0.015, lambda: calls.append("never")).cancel()
    await asyncio.wait_for(done.wait(), 10)
    assert calls == ["first"]


async def test_the_loop_s_clock_stops() -> None:
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop)
    calls: list[int] = []
    clock.call_at(clock.monotonic() + 0.001, lambda: calls.append(1))
    clock.stop()
    after = asyncio.Event()
    loop.call_later(0.01, after.set)
    await asyncio.wait_for(after.wait(), 10)
    assert calls == []


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_loop_s_clock_takes_moments_that_have_passed(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    called: list[str] = []

    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        now = clock.monotonic()
        clock.call_at(now - 1, lambda: called.append("second"))
        clock.call_at(now - 2, lambda: called.append("first"))
        async with asyncio.timeout(10):
            while len(called) < 2:
                await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    assert called == ["first", "second"]
