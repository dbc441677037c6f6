"""The app's parts: started in order, told of a reload and of the stop in the reverse order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pybroker.broker.app import App
from pybroker.broker.config import Settings
from pybroker.broker.part import Apply, Part
from pybroker.broker.transport.errors import ListenError


class Noted(Part):
    """Writes down what it is told; raises where ``fails`` says so."""

    def __init__(self, name: str, notes: list[str], fails: str = "") -> None:
        self._name = name
        self._notes = notes
        self._fails = fails

    def _note(self, what: str) -> None:
        if what == self._fails:
            raise ListenError("no")
        self._notes.append(f"{self._name} {what}")

    async def start(self) -> None:
        self._note("start")

    async def prepare(self, settings: Settings) -> Apply:
        self._note("prepare")
        return lambda: self._note("apply")

    async def leave(self) -> None:
        self._note("leave")

    async def stop(self, grace: float | None) -> list[str]:
        self._note("stop")
        return [f"{self._name} has something left"]


def app_of(notes: list[str], **fails: str) -> App:
    app = App(Settings())
    app.parts = tuple(Noted(name, notes, fails.get(name, "")) for name in ("first", "second"))
    return app


async def test_the_order() -> None:
    notes: list[str] = []
    app = app_of(notes)
    await app.start()
    await app.reload(replace(app.settings))
    assert await app.stop() == ["second has something left", "first has something left"]
    told = "first start,second start,second prepare,first prepare,first apply,second apply"
    assert notes == [*told.split(","), "second leave", "first leave", "second stop", "first stop"]


async def test_a_part_that_cannot_start_stops_the_others() -> None:
    notes: list[str] = []
    with pytest.raises(ListenError):
        await app_of(notes, second="start").start()
    assert notes == ["first start", "second leave", "first leave", "second stop", "first stop"]


async def test_where_one_is_not_ready_none_is_changed() -> None:
    notes: list[str] = []
    app = app_of(notes, first="prepare")
    with pytest.raises(ListenError):
        await app.reload(replace(app.settings))
    assert notes == ["second prepare"]
    await app.stop()
