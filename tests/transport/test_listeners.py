"""Every kind of listener, with real clients."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from pybroker.broker.config.settings import Limits, ListenerSettings
from pybroker.broker.transport.listener import ListenError
from pybroker.broker.transport.sockets import listen_tcp
from tests.waiting import DEADLINE

from ..integration.clients import VERSIONS
from ..integration.support import wait_for
from .conftest import Certificates
from .support import DISCONNECT, PINGREQ, PINGRESP, BrokerThread, Wire, connect_packet, connected

Serve = Callable[..., BrokerThread]
TCP = ListenerSettings("tcp", "tcp", port=0)
WS = ListenerSettings("ws", "ws", port=0, path="/mqtt")
KINDS = ("tcp", "ssl", "ws", "wss", "unix")

needs_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")


@pytest.fixture
def all_kinds(certificates: Certificates, tmp_path: Path) -> list[ListenerSettings]:
    tls = certificates.server
    return [
        TCP,
        ListenerSettings("ssl", "ssl", port=0, tls=tls),
        WS,
        ListenerSettings("wss", "wss", port=0, path="/mqtt", tls=tls),
        ListenerSettings("unix", "unix", host="", port=0, path=str(tmp_path / "mqtt.sock")),
    ]


@pytest.mark.mqtt("3.1.1:MQTT-7.1.1-1", "5.0:MQTT-4.2-1")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_messages_pass_through_each_kind(
    serve: Serve,
    all_kinds: list[ListenerSettings],
    certificates: Certificates,
    kind: str,
    version: MQTTProtocolVersion,
) -> None:
    broker = serve(*all_kinds)
    context = certificates.client() if kind in ("ssl", "wss") else None
    payloads = [b"", b"21.5", bytes(range(256)) * 1200]
    with (
        connected(broker.listener(kind), "here", version, context=context) as here,
        connected(broker.listener("tcp"), "there", version) as there,
    ):
        here.subscribe_and_wait("to/here", 2)
        there.subscribe_and_wait("to/there", 2)
        for qos, payload in enumerate(payloads):
            here.publish_and_wait("to/there", payload, qos)
            there.publish_and_wait("to/here", payload, qos)
        assert [m.payload for m in there.wait(3)] == payloads
        assert [m.payload for m in here.wait(3)] == payloads


@pytest.mark.parametrize("kind", ["ssl", "ws", "wss"])
async def test_aiomqtt_connects(
    serve: Serve, all_kinds: list[ListenerSettings], certificates: Certificates, kind: str
) -> None:
    broker = serve(*all_kinds)
    async with aiomqtt.Client(
        "127.0.0.1",
        broker.port(kind),
        transport="websockets" if kind.startswith("w") else "tcp",
        tls_context=certificates.client() if kind in ("ssl", "wss") else None,
    ) as client:
        await client.subscribe("t", 1)
        await client.publish("t", b"hello", 1)
        assert (await anext(client.messages)).payload == b"hello"


def test_listeners_say_where_they_are(serve: Serve, all_kinds: list[ListenerSettings]) -> None:
    broker = serve(*all_kinds)
    port = {kind: broker.port(kind) for kind in KINDS}
    file = all_kinds[-1].path
    host = "127.0.0.1"
    assert [listener.facts for listener in broker.app.listeners] == [
        {"name": "tcp", "type": "tcp", "host": host, "port": port["tcp"]},
        {"name": "ssl", "type": "ssl", "host": host, "port": port["ssl"]},
        {"name": "ws", "type": "ws", "host": host, "port": port["ws"], "path": "/mqtt"},
        {"name": "wss", "type": "wss", "host": host, "port": port["wss"], "path": "/mqtt"},
        {"name": "unix", "type": "unix", "host": "", "port": 0, "path": file},
    ]
    assert [listener.url for listener in broker.app.listeners] == [
        f"mqtt://127.0.0.1:{port['tcp']}",
        f"mqtts://127.0.0.1:{port['ssl']}",
        f"ws://127.0.0.1:{port['ws']}/mqtt",
        f"wss://127.0.0.1:{port['wss']}/mqtt",
        f"unix:{file}",
    ]


def test_a_client_is_known_by_its_listener_and_address(serve: Serve) -> None:
    broker = serve(TCP, replace(TCP, name="tcp.inside"))
    with connected(broker.listener("tcp.inside"), "a") as client:
        (channel,) = broker.call(lambda: list(broker.app.engine.channels))
        assert channel.client.listener == "tcp.inside"
        connection = client.socket()
        assert connection is not None
        assert channel.client.peer == f"127.0.0.1:{connection.getsockname()[1]}"


@needs_ipv6
def test_ipv4_and_ipv6_on_one_port(serve: Serve) -> None:
    broker = serve(replace(TCP, name="tcp.four", host="0.0.0.0"))
    port = broker.port("tcp.four")
    other = serve(replace(TCP, name="tcp.six", host="::", port=port))
    assert other.listener("tcp.six").url == f"mqtt://[::]:{port}"
    with (
        connected(broker.listener("tcp.four"), "four"),
        connected(other.listener("tcp.six"), "six", host="::1"),
    ):
        (six,) = other.call(lambda: list(other.app.engine.channels))
        assert six.peer.startswith("[::1]:")
        (four,) = broker.call(lambda: list(broker.app.engine.channels))
        assert four.peer.startswith("127.0.0.1:")


@needs_ipv6
async def test_a_name_with_several_addresses_has_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def both(_: str, port: int, **options: int) -> list[object]:
        return [found for one in ("127.0.0.1", "::1") for found in real(one, port, **options)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", partial(_later, both))
    four, six = await listen_tcp("both.example", 0, 8)
    with four, six:
        assert four.getsockname()[0] == "127.0.0.1"
        assert six.getsockname()[0] == "::1"
        assert four.getsockname()[1] == six.getsockname()[1]


async def _later(function: Callable[..., object], *args: object, **options: object) -> object:
    return function(*args, **{k: v for k, v in options.items() if k != "flags"})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (replace(TCP, host="203.0.113.1"), "203.0.113.1 is not an address of this machine"),
        (replace(TCP, host="no-such-name.invalid"), "no-such-name.invalid is not an address of this machine"),
        (ListenerSettings("ssl", "ssl", port=0), "certfile"),
    ],
)
def test_an_address_that_cannot_be_had_is_named(serve: Serve, settings: ListenerSettings, words: str) -> None:
    with pytest.raises(ListenError, match=rf"^listener {settings.name}: .*{words}"):
        serve(settings)


def test_a_port_in_use_is_named_and_the_others_are_given_back(serve: Serve) -> None:
    port = serve(TCP).port("tcp")
    with pytest.raises(ListenError, match=rf"^listener tcp.b: port {port} on 127.0.0.1 is in use"):
        serve(replace(TCP, name="tcp.a"), replace(TCP, name="tcp.b", port=port))


def test_connections_are_closed_without_delay_on_small_writes(serve: Serve) -> None:
    """Nagle's algorithm is off however the socket was accepted."""
    broker = serve(TCP, replace(TCP, name="tcp.proxied", proxy_protocol=True))
    for name, start in (("tcp", b""), ("tcp.proxied", b"PROXY UNKNOWN\r\n")):
        with Wire.to(broker.port(name)) as wire:
            wire.send(start)
            wire.connect()
            (channel,) = broker.call(lambda: list(broker.app.engine.channels))
            accepted = channel.link._transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            wire.send(DISCONNECT)
            assert wire.read_to_end() == b""


# Unix sockets.


@pytest.fixture
def unix(tmp_path: Path) -> ListenerSettings:
    return ListenerSettings("unix", "unix", host="", port=0, path=str(tmp_path / "mqtt.sock"))


def test_a_unix_socket_is_for_owner_and_group_and_goes_with_the_broker(
    serve: Serve, unix: ListenerSettings
) -> None:
    broker = serve(unix)
    mode = Path(unix.path).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660
    with connected(broker.listener("unix"), "a"):
        (channel,) = broker.call(lambda: list(broker.app.engine.channels))
        assert channel.peer == ""
    broker.stop()
    assert not Path(unix.path).exists()


def test_a_socket_that_a_dead_program_left_is_replaced(serve: Serve, unix: ListenerSettings) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(unix.path)
        dead.listen()
    assert Path(unix.path).exists()
    with connected(serve(unix).listener("unix"), "a"):
        pass


def test_a_socket_in_use_is_left_alone(serve: Serve, unix: ListenerSettings) -> None:
    broker = serve(unix)
    with pytest.raises(ListenError, match=r"^listener unix: the socket .*mqtt.sock is in use"):
        serve(unix)
    with connected(broker.listener("unix"), "a"):
        pass


def test_a_socket_that_replaced_ours_is_left_alone(serve: Serve, unix: ListenerSettings) -> None:
    broker = serve(unix)
    Path(unix.path).unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(unix.path)
        broker.stop()
        assert Path(unix.path).exists()


def test_a_file_that_is_no_socket_is_left_alone(serve: Serve, unix: ListenerSettings) -> None:
    Path(unix.path).write_text("precious")
    with pytest.raises(ListenError, match=r"^listener unix: .*mqtt.sock exists and is not a socket"):
        serve(unix)
    assert Path(unix.path).read_text() == "precious"


@pytest.mark.parametrize(
    ("path", "words"), [("no/such/directory/s", "No such file or directory"), ("x" * 200, "too long")]
)
def test_a_socket_that_cannot_be_made_is_named(
    serve: Serve, unix: ListenerSettings, tmp_path: Path, path: str, words: str
) -> None:
    with pytest.raises(ListenError, match=rf"^listener unix: the socket .* cannot be made: .*{words}"):
        serve(replace(unix, path=str(tmp_path / path)))


# Connections that do not go by the book.


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_without_connect_is_closed(
    serve: Serve, all_kinds: list[ListenerSettings], kind: str
) -> None:
    """Whatever the listener waits for first: TLS, HTTP or CONNECT."""
    broker = serve(*all_kinds, limits=Limits(connect_timeout=0.2))
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as connection:
        connection.connect(all_kinds[-1].path if kind == "unix" else ("127.0.0.1", broker.port(kind)))
        assert Wire(connection).read_to_end() == b""
    wait_for(lambda: broker.call(lambda: not broker.app.engine.channels), "no channel left")


@pytest.mark.parametrize("kind", ["tls", "proxy"])
def test_who_has_not_arrived_yet_counts_too(
    serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """So that nobody fills the broker with handshakes that never end."""
    monkeypatch.setattr("pybroker.broker.transport.listener.MAX_UNANNOUNCED", 2)
    secure = ListenerSettings("slow", "ssl", port=0, tls=certificates.server)
    proxied = ListenerSettings("slow", "tcp", port=0, proxy_protocol=True)
    broker = serve(secure if kind == "tls" else proxied, limits=Limits(max_connections=1))
    engine, port = broker.app.engine, broker.port("slow")
    with Wire.to(port) as silent, Wire.to(port), Wire.to(port):
        wait_for(lambda: engine.arriving == 3, "all to be accepted")
        with Wire.to(port) as one_too_many:
            assert one_too_many.read_to_end() == b""
        assert engine.counters.limited["max_connections"] == 1
        silent.socket.close()
        wait_for(lambda: engine.arriving == 2, "one to be gone")
        with Wire.to(port) as wire:
            if kind == "tls":
                wire.socket = certificates.client().wrap_socket(wire.socket, server_hostname="localhost")
            else:
                wire.send(b"PROXY UNKNOWN\r\n")
            wire.connect()
    wait_for(lambda: engine.arriving == 0, "all to be gone")


@pytest.mark.mqtt("3.1.1:MQTT-7.1.1-1", "5.0:MQTT-4.2-1")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_packets_may_come_in_single_bytes(serve: Serve, all_kinds: list[ListenerSettings], kind: str) -> None:
    broker = serve(*all_kinds)
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as connection:
        connection.connect(all_kinds[-1].path if kind == "unix" else ("127.0.0.1", broker.port(kind)))
        wire = Wire(connection)
        for byte in connect_packet() + PINGREQ:
            wire.send(bytes([byte]))
        assert wire.read(4)[:2] == b"\x20\x02"
        assert wire.read(2) == PINGRESP


@pytest.mark.parametrize("kind", KINDS)
def test_closing_twice_is_closing_once(
    serve: Serve, all_kinds: list[ListenerSettings], certificates: Certificates, kind: str
) -> None:
    broker = serve(*all_kinds)
    context = certificates.client() if kind in ("ssl", "wss") else None
    with connected(broker.listener(kind), context=context) as client:
        (channel,) = broker.call(lambda: list(broker.app.engine.channels))
        broker.call(lambda: (channel.link.close(), channel.link.close(), channel.link.unsent_bytes()))
        assert client.left.wait(DEADLINE)
        wait_for(lambda: broker.call(lambda: channel.closed), "the end of the connection")
        assert broker.call(channel.link.unsent_bytes) == 0


def test_many_come_at_once(
    serve: Serve, all_kinds: list[ListenerSettings], certificates: Certificates
) -> None:
    broker = serve(*all_kinds)
    failures: list[BaseException] = []

    def come(kind: str, number: int) -> None:
        context = certificates.client() if kind in ("ssl", "wss") else None
        try:
            with connected(broker.listener(kind), f"{kind}-{number}", context=context) as client:
                client.publish_and_wait("t", b"x", 1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=come, args=(kind, n)) for kind in KINDS for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    wait_for(lambda: broker.call(lambda: not broker.app.engine.channels), "no channel left")
