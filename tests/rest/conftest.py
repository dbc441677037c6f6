"""A broker with an HTTP side, on free ports, in the test's event loop."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import aiohttp
import pytest

from pybroker.broker.app import App
from pybroker.broker.config import load
from tests.waiting import DEADLINE

Serve: TypeAlias = Callable[..., Awaitable[App]]
LISTENER = 'listeners.tcp.bind = "127.0.0.1:0"\n'


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts a broker: the keys of its `http_server`, then whatever else is in its file."""
    apps: list[App] = []

    async def start(http: str = "", more: str = "") -> App:
        conf = tmp_path / f"{len(apps)}.conf"
        conf.write_text(f"{LISTENER}http_server {{\n port = 0\n{http}\n}}\n{more}\n", encoding="utf-8")
        app = App(load(conf))
        await app.start()
        apps.append(app)
        return app

    yield start
    for app in apps:
        await app.stop(0)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=DEADLINE)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session


def url(app: App, path: str) -> str:
    assert app.rest.url is not None
    return app.rest.url.rstrip("/") + path


def basic(username: str, password: str) -> dict[str, str]:
    """The header of basic authentication."""
    return {"Authorization": "Basic " + b64encode(f"{username}:{password}".encode()).decode()}


class End:
    """In place of a program's way to stop its broker."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.wrong: list[str] = []

    def __call__(self, restart: bool) -> None:
        self.asked.append(restart)

    async def problems(self) -> list[str]:
        return self.wrong
