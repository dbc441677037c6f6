"""Slow password checks: in fair order, and no more of them than may wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from pybroker.broker.plugins import password_checks
from pybroker.broker.plugins.password_checks import PasswordChecks, TooManyLoginsError, network_of


class Desk:
    """Checks of which none ends before it is let go; what was begun is noted."""

    def __init__(self, threads: int = 1) -> None:
        self.checks = PasswordChecks(threads)
        self.begun: list[str] = []
        self._gate = threading.Event()
        self.tasks: dict[str, asyncio.Task[bool]] = {}

    async def ask(self, name: str, host: str, user: str) -> asyncio.Task[bool]:
        """Ask for a check, and let the loop see it."""
        task = self.tasks[name] = asyncio.ensure_future(
            self.checks.make(lambda: self._check(name), host, user)
        )
        await asyncio.sleep(0)
        return task

    async def finish(self) -> None:
        self._gate.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    def refused(self) -> list[str]:
        return [
            n for n, t in self.tasks.items() if t.done() and isinstance(t.exception(), TooManyLoginsError)
        ]

    def _check(self, name: str) -> bool:
        self.begun.append(name)
        self._gate.wait()
        return name.startswith("right")


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    with suppress(Exception):
        await made.finish()
    made.checks.close()


async def test_users_of_one_address_take_turns(desk: Desk) -> None:
    for number in range(4):
        await desk.ask(f"wrong{number}", "192.0.2.1", "ann")
    right = await desk.ask("right", "192.0.2.1", "bob")
    await desk.finish()
    assert desk.begun[:3] == ["wrong0", "wrong1", "right"]
    assert right.result() is True
    assert desk.tasks["wrong3"].result() is False


async def test_addresses_take_turns(desk: Desk) -> None:
    for number in range(10):
        await desk.ask(f"wrong{number}", "192.0.2.1", f"user{number}")
    await desk.ask("right", "192.0.2.2", "user5")
    await desk.finish()
    assert desk.begun.index("right") == 2


async def test_only_so_many_wait_for_a_user(desk: Desk) -> None:
    for number in range(50):
        await desk.ask(f"wrong{number}", "192.0.2.1", "ann")
    assert len(desk.refused()) == 50 - 1 - password_checks.MAX_FOR_A_USER
    await desk.ask("right", "192.0.2.1", "bob")
    await desk.finish()
    assert desk.begun[2] == "right"


async def test_in_a_crowded_address_those_who_ask_much_give_way(desk: Desk) -> None:
    for user in "abcd":
        for number in range(5):
            await desk.ask(f"{user}{number}", "192.0.2.1", user)
    assert len(desk.checks) == password_checks.MAX_FOR_AN_ADDRESS
    await desk.ask("right", "192.0.2.1", "e")
    assert len(desk.checks) == password_checks.MAX_FOR_AN_ADDRESS
    assert not desk.tasks["right"].done()
    await desk.finish()
    assert desk.tasks["right"].result() is True


async def test_in_all_only_so_many_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_checks, "MAX_WAITING", 20)
    for host in range(4):
        for number in range(16):
            await desk.ask(f"{host}-{number}", f"192.0.2.{host}", str(number))
    assert len(desk.checks) == 20
    await desk.ask("right", "198.51.100.1", "ann")
    assert len(desk.checks) == 20
    await desk.finish()
    assert desk.tasks["right"].result() is True
    assert len(desk.checks) == 0


async def test_a_check_that_fails(desk: Desk) -> None:
    def broken() -> bool:
        raise ValueError("no hash")

    with pytest.raises(ValueError, match="no hash"):
        await desk.checks.make(broken, "192.0.2.1", "ann")
    desk._gate.set()
    assert await desk.checks.make(lambda: True, "192.0.2.1", "ann")


async def test_closing_gives_up(desk: Desk) -> None:
    task = await desk.ask("wrong", "192.0.2.1", "ann")
    desk.checks.close()
    await desk.finish()
    assert task.result() is False


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("x:y", "x:y"),
    ],
)
def test_the_address_that_counts(host: str, network: str) -> None:
    assert network_of(host) == network
