"""The test broker for synchronous code and tests."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Unpack, overload

from ..faults.seen import SeenPacket
from .aio import AsyncTestBroker
from .face import Face
from .messages import Message
from .queries import MessageQuery, PacketQuery, WebhookQuery
from .running import Running
from .setup import Conf, Setup, SetupOptions
from .waiting import TIMEOUT, refuse_to_block, wait, wait_until
from .webhooks import Webhook


class TestBroker(Face):
    """A whole broker on a free port, in a thread of this process, watched and at your command.

    ``with TestBroker() as broker:`` in plain code; ``async with TestBroker() as broker:`` gives an
    AsyncTestBroker, whose waits are awaited. Takes what `pybroker.broker.testing.setup.Setup` lists. Raises
    ConfigError for a bad ``conf``; ``start`` raises ListenError where a port cannot be had.
    """

    __test__ = False  # no test class, whatever pytest makes of its name

    def __init__(self, conf: Conf = None, **setup: Unpack[SetupOptions]) -> None:
        super().__init__(Running(Setup(conf=conf, **setup)))
        self.aio = AsyncTestBroker(self.running)
        """The same broker for tests that run in an event loop."""

    def start(self) -> TestBroker:
        """Start the broker. Returns when clients can connect."""
        self.running.start()
        return self

    def stop(self) -> None:
        """Stop the broker; a ConnectionLeftBehind warning names clients that are still connected."""
        self._warn(self.running.stop())

    def close(self) -> None:
        """Stop the broker, without a warning for connected clients."""
        self.running.stop(wait_for_clients=False)

    def __enter__(self) -> TestBroker:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        left = self.running.stop()
        if kind is None:  # else there is worse to tell
            self._warn(left)

    async def __aenter__(self) -> AsyncTestBroker:
        self.start()
        return self.aio

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        left = await self.running.stop_async()
        if kind is None:
            self._warn(left)

    # ---- waiting

    @overload
    def wait_for(
        self, topic: str, *, count: None = None, timeout: float = TIMEOUT, **query: Unpack[MessageQuery]
    ) -> Message: ...
    @overload
    def wait_for(
        self, topic: str, *, count: int, timeout: float = TIMEOUT, **query: Unpack[MessageQuery]
    ) -> list[Message]: ...
    def wait_for(
        self, topic: str, *, count: int | None = None, timeout: float = TIMEOUT, **query: Unpack[MessageQuery]
    ) -> Message | list[Message]:
        """Wait for a message that matches the topic filter, and return it; earlier messages count. With
        ``count``, return the first so many as a list. ``client``, ``since`` and ``where`` narrow it:
        ``where=lambda m: m.json()["t"] > 20``. Messages that the test itself has published count only with
        ``own=True``. ``timeout`` is real seconds. Raises WaitTimeout, which says what did arrive."""
        __tracebackhide__ = True
        refuse_to_block("wait_for")
        found = wait(self._messages(topic, count, **query), timeout)
        return found[0] if count is None else found

    @overload
    def wait_for_packet(
        self, type: str, *, count: None = None, timeout: float = TIMEOUT, **query: Unpack[PacketQuery]
    ) -> SeenPacket: ...
    @overload
    def wait_for_packet(
        self, type: str, *, count: int, timeout: float = TIMEOUT, **query: Unpack[PacketQuery]
    ) -> list[SeenPacket]: ...
    def wait_for_packet(
        self, type: str, *, count: int | None = None, timeout: float = TIMEOUT, **query: Unpack[PacketQuery]
    ) -> SeenPacket | list[SeenPacket]:
        """Like ``wait_for``, for packets on the wire: ``wait_for_packet("PUBACK", client="dev",
        direction="out")``; ``CLOSED`` is the end of a connection."""
        __tracebackhide__ = True
        refuse_to_block("wait_for_packet")
        found = wait(self._packets(type, count, **query), timeout)
        return found[0] if count is None else found

    @overload
    def wait_for_webhook(
        self,
        action: str | None = None,
        *,
        count: None = None,
        timeout: float = TIMEOUT,
        **query: Unpack[WebhookQuery],
    ) -> Webhook: ...
    @overload
    def wait_for_webhook(
        self,
        action: str | None = None,
        *,
        count: int,
        timeout: float = TIMEOUT,
        **query: Unpack[WebhookQuery],
    ) -> list[Webhook]: ...
    def wait_for_webhook(
        self,
        action: str | None = None,
        *,
        count: int | None = None,
        timeout: float = TIMEOUT,
        **query: Unpack[WebhookQuery],
    ) -> Webhook | list[Webhook]:
        """Like ``wait_for``, for webhooks. A webhook counts when it was answered 2xx; with
        ``delivered=False`` when it was tried."""
        __tracebackhide__ = True
        refuse_to_block("wait_for_webhook")
        found = wait(self._webhooks(action, count, **query), timeout)
        return found[0] if count is None else found

    def wait_for_client(self, client: str, *, connected: bool = True, timeout: float = TIMEOUT) -> None:
        """Wait until the client is connected; with ``connected=False``, until it is disconnected. Raises
        WaitTimeout."""
        __tracebackhide__ = True
        refuse_to_block("wait_for_client")
        wait_until(
            lambda: (client in self.clients) is connected, timeout, lambda: self._who(client, connected)
        )

    def drain(self, timeout: float = TIMEOUT) -> None:
        """Wait until no message waits for a connected client, all are acknowledged, and every webhook is
        settled. Raises WaitTimeout, which says what is left."""
        __tracebackhide__ = True
        refuse_to_block("drain")
        wait_until(lambda: not self._unfinished(), timeout, self._still)


class MakeTestBroker(Protocol):
    """The fixture ``make_mqtt_broker``."""

    def __call__(self, conf: Conf = None, **setup: Unpack[SetupOptions]) -> TestBroker:
        """A broker that runs until the test ends."""
