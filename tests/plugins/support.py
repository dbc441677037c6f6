"""A broker with plugins and without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from pybroker.broker.config.settings import AuthSettings, Settings
from pybroker.broker.packets.model import Connack
from pybroker.broker.plugins.amqtt_host import load_plugins
from tests import harness
from tests.waiting import DEADLINE

SAMPLES = "tests.plugins.samples"

P = TypeVar("P")


class Hosted(harness.Broker):
    """The engine of the harness, with plugins, inside a running event loop."""

    def __init__(
        self,
        plugins: Mapping[str, Mapping[str, Any]] | None = None,
        auth: AuthSettings | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        settings = Settings(auth=auth or AuthSettings(), plugins=plugins or {})
        self.host = load_plugins(self.engine, settings)

    def plugin(self, kind: type[P]) -> P:
        [found] = [plugin for plugin in self.host.plugins_manager.plugins if isinstance(plugin, kind)]
        return found

    def _spawn(self, answer: Awaitable[Any], then: Callable[[Any], None]) -> None:
        async def hand_on() -> None:
            then(await answer)

        asyncio.ensure_future(hand_on())  # noqa: RUF006 - settle() waits for it

    async def join(self, client_id: str = "c", version: int = 5, **options: Any) -> harness.Client:
        """Connect, however long access control takes; see the client's ``connack``."""
        client = self.dial(version)
        client.send(harness.connect_packet(client_id, version, **options))
        client.client_id = client_id
        await settle()
        client.connack = client.next(Connack)
        return client


async def settle() -> None:
    """Wait until nothing is left to do."""
    async with asyncio.timeout(DEADLINE):
        while waiting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(waiting)
