"""Running a coroutine by hand up to where it waits."""

import asyncio

import pytest

from pybroker.broker.plugins.step import step


async def test_an_answer_that_is_there_needs_no_waiting() -> None:
    async def answer() -> int:
        return 42

    assert step(answer()) == 42


async def test_an_error_is_raised_at_once() -> None:
    async def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        step(fail())


async def test_what_waits_is_finished_by_whoever_awaits_it() -> None:
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    steps = []

    async def answer() -> int:
        steps.append("begun")
        first = await gate
        await asyncio.sleep(0)
        steps.append("done")
        return first + 1

    rest = step(answer())
    assert steps == ["begun"]
    gate.set_result(41)
    assert not isinstance(rest, int)
    assert await asyncio.ensure_future(rest) == 42
    assert steps == ["begun", "done"]


async def test_an_error_while_waiting_reaches_the_coroutine() -> None:
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def answer() -> int:
        try:
            return await gate
        except OSError:
            return -1

    rest = step(answer())
    gate.set_exception(OSError())
    assert not isinstance(rest, int)
    assert await rest == -1


async def test_a_cancellation_reaches_the_coroutine() -> None:
    ended = []

    async def answer() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    rest = step(answer())
    assert rest is not None
    task = asyncio.ensure_future(rest)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
