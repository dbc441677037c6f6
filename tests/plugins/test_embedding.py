"""`pybroker.amqtt.Broker` where somebody used `amqtt.broker.Broker`."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
import websockets
from amqtt.adapters import ReaderAdapter, StreamReaderAdapter, StreamWriterAdapter, WriterAdapter
from amqtt.errors import BrokerError
from amqtt.plugins.manager import PluginManager
from amqtt.session import Session

from pybroker.amqtt import Broker
from pybroker.broker.config.settings import TlsServer
from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.encoder import encode
from pybroker.broker.packets.model import Connack, Disconnect, Pingreq, Pingresp
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.transport.tls import server_context
from tests.harness import connect_packet
from tests.transport.conftest import Certificates
from tests.waiting import DEADLINE, until

from .samples import Recorder
from .support import SAMPLES

RECORDER = f"{SAMPLES}.Recorder"
ANONYMOUS = "amqtt.plugins.authentication.AnonymousAuthPlugin"
ROOT = Path(__file__).resolve().parents[2]
LOCAL = {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}
EXTERNAL = {**LOCAL, "outside": {"type": "external"}}


@asynccontextmanager
async def serving(config: dict[str, Any] | None = None) -> AsyncIterator[Broker]:
    broker = Broker({"listeners": LOCAL} if config is None else config)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.shutdown()


def port_of(broker: Broker, listener: str = "default") -> int:
    return broker.addresses[listener][1]


def client(port: int, client_id: str = "", version: int = 4, **options: Any) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1", port, identifier=client_id or None, protocol=aiomqtt.ProtocolVersion(version), **options
    )


async def first(subscriber: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(DEADLINE):
        return await anext(aiter(subscriber.messages))


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_clients_publish_and_receive(version: int) -> None:
    async with (
        serving() as broker,
        client(port_of(broker), "sub", version) as subscriber,
        client(port_of(broker), "pub", version) as publisher,
    ):
        await subscriber.subscribe("a/#", qos=1)
        await publisher.publish("a/b", b"hello", qos=2)
        message = await first(subscriber)
        assert (message.payload, message.qos) == (b"hello", 1)
        assert sorted(broker.sessions) == ["pub", "sub"]


async def test_a_life_from_start_to_shutdown_and_again() -> None:
    broker = Broker({"listeners": LOCAL, "plugins": {ANONYMOUS: {}, RECORDER: {}}})
    recorder = broker.plugins_manager.get_plugin("Recorder")
    assert isinstance(recorder, Recorder)
    assert isinstance(broker.plugins_manager, PluginManager)

    for _ in range(2):
        recorder.events.clear()
        await broker.start()
        assert broker.transitions.state == "started"
        with pytest.raises(BrokerError, match="can't be started"):
            await broker.start()
        async with client(port_of(broker), "c", 4, clean_session=False) as subscriber:
            await subscriber.subscribe("a")
            await broker.retain_message(None, "a", b"kept")
            await until(lambda: "client_subscribed" in recorder.names)
        await until(lambda: "client_disconnected" in recorder.names)
        assert list(broker.sessions) == ["c"]
        await broker.shutdown()
        assert broker.transitions.state == "stopped"
        assert (list(broker.sessions), dict(broker.retained_messages)) == ([], {})
        assert recorder.names == [
            "pre_start",
            "post_start",
            "client_connected",
            "client_subscribed",
            "retained_message",
            "client_disconnected",
            "pre_shutdown",
            "post_shutdown",
            "close",
        ]


async def test_shutdown_sends_the_clients_away() -> None:
    broker = Broker({"listeners": LOCAL})
    await broker.start()
    port = port_of(broker)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode(connect_packet("c"), 5))
    await until(lambda: len(broker.sessions) == 1)
    await broker.shutdown()
    async with asyncio.timeout(DEADLINE):
        connack, disconnect = packets(await reader.read())
    assert isinstance(connack, Connack)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason == ReasonCode.SERVER_SHUTTING_DOWN
    with pytest.raises(OSError, match=r"refused|failed"):
        await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def test_restored_sessions_are_there_before_the_listener() -> None:
    config = {"listeners": LOCAL, "plugins": {ANONYMOUS: {}, f"{SAMPLES}.Restorer": {}}}
    async with serving(config) as broker, client(port_of(broker), "away", clean_session=False) as restored:
        assert (await first(restored)).payload == b"while away"
        await broker.internal_message_broadcast("news/2", b"more")
        assert (await first(restored)).payload == b"more"


async def test_a_subscription_of_a_session_that_is_not_there_makes_it() -> None:
    async with serving({"listeners": LOCAL}) as broker:
        session = Session()
        session.client_id = "away"
        assert await broker.add_subscription(("news/#", 1), session) == 1
        assert await broker.add_subscription(("news/#/x", 1), session) == 0x80
        assert list(broker.sessions) == ["away"]
        await broker.internal_message_broadcast("news/1", b"while away", 1)
        async with client(port_of(broker), "away", clean_session=False) as away:
            assert (await first(away)).payload == b"while away"
        session.client_id = None
        assert await broker.add_subscription(("a", 1), session) == 0x80


async def test_no_authentication_plugin_lets_nobody_in() -> None:
    async with serving({"listeners": LOCAL, "plugins": {}}) as broker:
        with pytest.raises(aiomqtt.MqttError, match=r"[Nn]ot authori[sz]ed"):
            async with client(port_of(broker)):
                pass


async def test_sessions_expire_as_configured() -> None:
    async with serving({"listeners": LOCAL, "session_expiry_interval": 100}) as broker:
        assert broker.engine.mqtt.session_expiry == 100.0
        async with client(port_of(broker), "c", clean_session=False):
            pass
        assert broker.engine.sessions.get("c").expiry == 100.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("listener", "message"),
    [
        ({"type": "tcp", "bind": "127.0.0.1:0", "ssl": True}, "listener 'extra': ssl needs certfile"),
        ({"type": "tcp", "bind": "127.0.0.1:many"}, "Invalid port value in bind value: 127.0.0.1:many"),
    ],
)
async def test_a_listener_that_cannot_be_served(listener: dict[str, Any], message: str) -> None:
    broker = Broker({"listeners": {**LOCAL, "extra": listener}, "plugins": {RECORDER: {}}})
    with pytest.raises(BrokerError, match=message):
        await broker.start()
    assert broker.transitions.state == "not_started"
    assert broker.plugins_manager.get_plugin("Recorder").names == []  # type: ignore[union-attr]


async def test_a_port_in_use_stops_the_plugins_again() -> None:
    async with serving() as broker:
        config = {"listeners": {"default": {"bind": f"127.0.0.1:{port_of(broker)}"}}}
        second = Broker({**config, "plugins": {RECORDER: {}}})
        with pytest.raises(
            BrokerError, match=r"can't be started: listener default: port \d+ on 127.0.0.1 is in use"
        ):
            await second.start()
        recorder = second.plugins_manager.get_plugin("Recorder")
        assert isinstance(recorder, Recorder)
        assert recorder.names == ["pre_start", "post_start", "pre_shutdown", "post_shutdown", "close"]


# Listeners of other kinds.


@pytest.mark.parametrize("path", ["/mqtt", "/", "/anything"])
async def test_a_websocket_listener_serves_any_path(path: str) -> None:
    listeners = {**LOCAL, "web": {"type": "ws", "bind": "127.0.0.1:0"}}
    async with (
        serving({"listeners": listeners}) as broker,
        client(port_of(broker, "web"), "c", 5, transport="websockets", websocket_path=path) as web,
    ):
        await web.subscribe("a")
        await web.publish("a", b"hello")
        assert (await first(web)).payload == b"hello"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("handed_over", [False, True], ids=["listener", "streams"])
async def test_plugins_see_the_certificate_of_a_client(certificates: Certificates, handed_over: bool) -> None:
    server = certificates.server
    listeners = {
        **EXTERNAL,
        "secure": {
            "type": "tcp",
            "bind": "127.0.0.1:0",
            "ssl": True,
            "certfile": str(server.certfile),
            "keyfile": str(server.keyfile),
            "cafile": str(certificates.cacertfile),
        },
    }
    plugins = {f"{SAMPLES}.Certified": {}}
    context = server_context("outside", broker_side(server, certificates)) if handed_over else None
    async with (
        serving({"listeners": listeners, "plugins": plugins}) as broker,
        handed_in(broker, False, context) as handed,
    ):
        port = handed if handed_over else port_of(broker, "secure")
        known = certificates.client("device-7")
        async with client(port, "c", tls_context=known):
            view = broker.sessions["c"][0]
            der = view.attributes["samples.der"]
            assert b"device-7" in der
        await until(lambda: view.ssl_object is None)
        with pytest.raises(aiomqtt.MqttError, match=r"[Nn]ot authori[sz]ed"):
            async with client(port, "d", tls_context=certificates.client()):
                pass
        with pytest.raises(aiomqtt.MqttError, match=r"[Nn]ot authori[sz]ed"):
            async with client(port_of(broker), "e"):
                pass


def broker_side(server: TlsServer, certificates: Certificates) -> TlsServer:
    return replace(server, cacertfile=certificates.cacertfile, verify_peer=True)


@pytest.mark.parametrize("option", ["capath", "cadata"])
async def test_authorities_that_are_no_file(certificates: Certificates, option: str) -> None:
    server = certificates.server
    listener = {
        "bind": "127.0.0.1:0",
        "ssl": True,
        "certfile": str(server.certfile),
        "keyfile": str(server.keyfile),
        option: str(certificates.directory),
    }
    with pytest.raises(BrokerError, match="listener 'default': capath and cadata are not served"):
        await Broker({"listeners": {"default": listener}}).start()


async def test_a_listener_bounds_its_connections() -> None:
    async with serving({"listeners": {"default": {"bind": "127.0.0.1:0", "max_connections": 1}}}) as broker:
        async with client(port_of(broker), "c", 5):
            with pytest.raises(aiomqtt.MqttError):
                async with client(port_of(broker), "d", 5):
                    pass
        await until(lambda: not broker.engine.channels)
        async with client(port_of(broker), "d", 5):
            pass


# Connections that somebody else has accepted.


@asynccontextmanager
async def handed_in(broker: Broker, adapters: bool, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server of somebody else's that hands each connection to the broker; its port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if adapters:
            await broker.external_connected(
                StreamReaderAdapter(reader), StreamWriterAdapter(writer), "outside"
            )
        else:
            await broker.stream_connected(reader, writer, "outside")

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture(params=[False, True], ids=["streams", "adapters"])
def adapters(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("size", [0, 10, 100, 20_000, 3_000_000])
async def test_messages_over_streams(adapters: bool, size: int) -> None:
    async with serving({"listeners": EXTERNAL}) as broker, handed_in(broker, adapters) as port:
        payload = bytes(size)
        async with client(port, "sub", 5) as subscriber, client(port, "pub") as publisher:
            await subscriber.subscribe("a", qos=2)
            await publisher.publish("a", payload, qos=2)
            assert (await first(subscriber)).payload == payload
            session = broker.engine.sessions.get("sub")
            assert session is not None
            assert session.client.listener == "outside"
            assert session.client.peer.startswith("127.0.0.1:")
        await until(lambda: not broker.engine.channels)


async def test_a_stream_client_that_is_sent_away_is_disconnected(adapters: bool) -> None:
    async with serving({"listeners": EXTERNAL}) as broker, handed_in(broker, adapters) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(encode(connect_packet("c"), 5))
        await until(lambda: len(broker.sessions) == 1)
        await broker.sessions["c"][1].stop()
        async with asyncio.timeout(DEADLINE):
            *_, disconnect = packets(await reader.read())
        assert isinstance(disconnect, Disconnect)
        assert disconnect.reason == ReasonCode.ADMINISTRATIVE_ACTION
        writer.close()


async def test_a_stream_client_that_reads_nothing_is_given_up(
    adapters: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pybroker.broker.engine.channel.LINGER", 0.05)
    monkeypatch.setattr("pybroker.broker.plugins.amqtt_streams.CLOSE_TIMEOUT", 0.05)
    async with serving({"listeners": EXTERNAL}) as broker, handed_in(broker, adapters) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        stuck = connect_packet("stuck", clean_start=False, session_expiry_interval=100)
        writer.write(encode(stuck, 5))
        await until(lambda: len(broker.sessions) == 1)
        await broker.add_subscription(("a", 1), broker.sessions["stuck"][0])
        session = broker.engine.sessions.get("stuck")
        assert session is not None
        for _ in range(40):
            await broker.internal_message_broadcast("a", bytes(1 << 20))
        await until(lambda: session.outbox is None)
        assert session.queue is not None, "what it cannot take waits"

        await broker.sessions["stuck"][1].stop()
        await until(lambda: not broker.engine.channels)
        writer.close()


@pytest.mark.parametrize("data", [b"\x00\x00", b"\x10\xff\xff\xff\xff\xff", b"\x10", b"\x30\xff\xff\xff\x7f"])
async def test_a_malformed_packet_ends_one_stream_only(adapters: bool, data: bytes) -> None:
    async with (
        serving({"listeners": EXTERNAL}) as broker,
        handed_in(broker, adapters) as port,
        client(port, "good") as good,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(DEADLINE):
            await reader.read()
        writer.close()
        await good.subscribe("a")
        await good.publish("a", b"still here")
        assert (await first(good)).payload == b"still here"


async def test_a_websocket_that_somebody_else_accepted() -> None:
    async with serving({"listeners": EXTERNAL}) as broker:

        async def connected(websocket: websockets.ServerConnection) -> None:
            await broker.ws_connected(websocket, "outside")

        async with websockets.serve(
            connected, "127.0.0.1", 0, subprotocols=[websockets.Subprotocol("mqtt")]
        ) as server:
            port = server.sockets[0].getsockname()[1]
            async with client(port, "c", 5, transport="websockets") as over_websocket:
                await over_websocket.subscribe("a", qos=1)
                await over_websocket.publish("a", b"there and back", qos=1)
                assert (await first(over_websocket)).payload == b"there and back"
            await until(lambda: not broker.engine.channels)


async def test_an_unknown_listener_is_refused() -> None:
    async with serving({"listeners": EXTERNAL}) as broker:
        reader, writer = Pipe(), Pipe()
        with pytest.raises(BrokerError, match="Invalid listener name 'nowhere'"):
            await broker.external_connected(reader, writer, "nowhere")
    with pytest.raises(BrokerError, match="Invalid listener name 'outside'"):
        await broker.external_connected(reader, writer, "outside")


async def test_adapters_that_break() -> None:
    async with serving({"listeners": EXTERNAL}) as broker:
        writer = Pipe(broken=True)
        await broker.external_connected(Pipe(encode(connect_packet("c"), 5)), writer, "outside")
        assert writer.closed
        assert not broker.engine.channels

        writer = Pipe()
        reader = Pipe(encode(connect_packet("c"), 5) + encode(Pingreq(), 5))
        async with asyncio.timeout(DEADLINE):
            await broker.external_connected(reader, writer, "outside")
        connack, pingresp = packets(bytes(writer.written))
        assert isinstance(connack, Connack)
        assert isinstance(pingresp, Pingresp)
        assert writer.closed


class Pipe(ReaderAdapter, WriterAdapter):
    """Adapters as somebody writes them: what there is to read ends; what is written is kept, or fails."""

    def __init__(self, data: bytes = b"", *, broken: bool = False) -> None:
        self._data = data
        self._broken = broken
        self.written = bytearray()
        self.closed = False

    async def read(self, n: int = -1) -> bytes:
        part, self._data = self._data[:n], self._data[n:]
        return part

    def feed_eof(self) -> None: ...

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        if self._broken:
            raise ConnectionResetError("gone")

    def get_peer_info(self) -> tuple[str, int] | None:
        return None

    def get_ssl_info(self) -> None:
        return None

    async def close(self) -> None:
        self.closed = True
        if self._broken:
            raise ConnectionResetError("still gone")


def packets(data: bytes) -> list[Any]:
    decoder = Decoder(1 << 20)
    decoder.version = 5
    return list(decoder.feed(data))


def test_what_plugins_may_need_is_not_imported_without_them() -> None:
    check = "import sys, pybroker.amqtt; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)

    assert {"sqlalchemy", "psutil", "aiohttp", "jwt"}.isdisjoint(done.stdout.split())
