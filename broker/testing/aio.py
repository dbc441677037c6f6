"""The test broker for tests in an event loop: waits are awaited."""

from __future__ import annotations

from typing import Unpack, overload

from ..faults.seen import SeenPacket
from .face import Face
from .messages import Message
from .queries import MessageQuery, PacketQuery, WebhookQuery
from .waiting import TIMEOUT, wait_async, wait_until_async
from .webhooks import Webhook


class AsyncTestBroker(Face):
    """See TestBroker for what each wait does."""

    __test__ = False

    @overload
    async def wait_for(
        self, topic: str, *, count: None = None, timeout: float = TIMEOUT, **query: Unpack[MessageQuery]
    ) -> Message: ...
    @overload
    async def wait_for(
        self, topic: str, *, count: int, timeout: float = TIMEOUT, **query: Unpack[MessageQuery]
    ) -> list[Message]: ...
    async def wait_for(
        self, topic: str, *, count: int | None = None, timeout: float = TIMEOUT, **query: Unpack[MessageQuery]
    ) -> Message | list[Message]:
        __tracebackhide__ = True
        found = await wait_async(self._messages(topic, count, **query), timeout)
        return found[0] if count is None else found

    @overload
    async def wait_for_packet(
        self, type: str, *, count: None = None, timeout: float = TIMEOUT, **query: Unpack[PacketQuery]
    ) -> SeenPacket: ...
    @overload
    async def wait_for_packet(
        self, type: str, *, count: int, timeout: float = TIMEOUT, **query: Unpack[PacketQuery]
    ) -> list[SeenPacket]: ...
    async def wait_for_packet(
        self, type: str, *, count: int | None = None, timeout: float = TIMEOUT, **query: Unpack[PacketQuery]
    ) -> SeenPacket | list[SeenPacket]:
        __tracebackhide__ = True
        found = await wait_async(self._packets(type, count, **query), timeout)
        return found[0] if count is None else found

    @overload
    async def wait_for_webhook(
        self,
        action: str | None = None,
        *,
        count: None = None,
        timeout: float = TIMEOUT,
        **query: Unpack[WebhookQuery],
    ) -> Webhook: ...
    @overload
    async def wait_for_webhook(
        self,
        action: str | None = None,
        *,
        count: int,
        timeout: float = TIMEOUT,
        **query: Unpack[WebhookQuery],
    ) -> list[Webhook]: ...
    async def wait_for_webhook(
        self,
        action: str | None = None,
        *,
        count: int | None = None,
        timeout: float = TIMEOUT,
        **query: Unpack[WebhookQuery],
    ) -> Webhook | list[Webhook]:
        __tracebackhide__ = True
        found = await wait_async(self._webhooks(action, count, **query), timeout)
        return found[0] if count is None else found

    async def wait_for_client(self, client: str, *, connected: bool = True, timeout: float = TIMEOUT) -> None:
        __tracebackhide__ = True
        await wait_until_async(
            lambda: (client in self.clients) is connected, timeout, lambda: self._who(client, connected)
        )

    async def drain(self, timeout: float = TIMEOUT) -> None:
        __tracebackhide__ = True
        await wait_until_async(lambda: not self._unfinished(), timeout, self._still)
