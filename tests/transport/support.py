"""A broker in a thread of its own, real clients for it, and bare sockets that speak MQTT."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import uvloop
from paho.mqtt.enums import MQTTProtocolVersion

from pybroker.broker.app import App
from pybroker.broker.config.settings import ListenerSettings, Settings
from pybroker.broker.packets.encoder import encode
from pybroker.broker.packets.model import Connack, Connect
from pybroker.broker.transport.listener import Listener
from tests.waiting import DEADLINE

from ..integration.clients import Client

T = TypeVar("T")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
PINGREQ, PINGRESP, DISCONNECT = b"\xc0\x00", b"\xd0\x00", b"\xe0\x00"


class BrokerThread:
    """An `App` in an event loop of its own; tests look at it from outside by :meth:`call`."""

    def __init__(self, loop: str, *listeners: ListenerSettings, **settings: Any) -> None:
        self._settings = Settings(listeners=listeners, **settings)
        self._ready: Any = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(LOOPS[loop],), daemon=True)
        self._thread.start()
        assert self._started.wait(DEADLINE)
        if isinstance(self._ready, BaseException):
            self._thread.join()
            raise self._ready

    def listener(self, name: str) -> Listener:
        return next(one for one in self.app.listeners if one.settings.name == name)

    def port(self, name: str) -> int:
        return self.listener(name).port

    def call(self, what: Callable[[], T]) -> T:
        """``what`` done in the broker's event loop."""

        async def do() -> T:
            return what()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(DEADLINE)

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # already stopped
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    def _run(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            self._loop = runner.get_loop()
            runner.run(self._main())

    async def _main(self) -> None:
        self.app = App(self._settings)
        try:
            await self.app.start()
        except BaseException as error:
            self._ready = error
            self._started.set()
            return
        self._started.set()
        await self._stop.wait()
        await self.app.stop(grace=0)


@contextmanager
def connected(
    listener: Listener,
    client_id: str = "client",
    version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
    *,
    host: str = "127.0.0.1",
    context: ssl.SSLContext | None = None,
) -> Iterator[Client]:
    """A paho client that came through ``listener`` and was let in."""
    kind = listener.settings.type
    transport = {"ws": "websockets", "wss": "websockets", "unix": "unix"}.get(kind, "tcp")
    client = Client(client_id, version, transport=transport, reconnect_on_failure=False)
    if context is not None:
        client.tls_set_context(context)
    if kind == "unix":
        client.connect(listener.facts["path"])
    else:
        client.connect(host, listener.port)
    client.loop_start()
    try:
        assert client.answered.wait(DEADLINE), "no CONNACK"
        assert client.reason == "Success"
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


class Wire:
    """A bare socket that says and reads exactly what a test wants."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(DEADLINE)

    @classmethod
    def to(cls, port: int, host: str = "127.0.0.1") -> Wire:
        return cls(socket.create_connection((host, port), DEADLINE))

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, size: int) -> bytes:
        """Exactly so many bytes, or what came before the end."""
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                break
            data += more
        return data

    def read_to_end(self) -> bytes:
        """All there is until the other side closes; a reset counts as an end."""
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while more := self.socket.recv(65536):
                data += more
        return data

    def read_until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            more = self.socket.recv(1)
            assert more, f"ended after {data!r}"
            data += more
        return data

    def connect(self, client_id: str = "wire", **fields: Any) -> None:
        """CONNECT, and a CONNACK that says yes."""
        self.send(connect_packet(client_id, **fields))
        assert self.read(4) == encode(Connack(False), 4)


def connect_packet(client_id: str = "wire", **fields: Any) -> bytes:
    return encode(Connect("MQTT", 4, True, 0, client_id, **fields), 4)
