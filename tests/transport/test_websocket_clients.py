"""WebSocket over real connections: what only shows with a socket underneath."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Close, Opcode
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from pybroker.broker.commands.main import parser
from pybroker.broker.commands.start import _overrides
from pybroker.broker.config import load
from pybroker.broker.config.settings import Limits, ListenerSettings, MqttSettings
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import Subscribe, SubscribeFilter, Will
from tests.waiting import DEADLINE

from ..integration.support import wait_for
from .support import DISCONNECT, PINGREQ, PINGRESP, BrokerThread, Wire, connect_packet, connected
from .test_websocket import frame, request

Serve = Callable[..., BrokerThread]
WS = ListenerSettings("ws", "ws", port=0, path="/mqtt")
TCP = ListenerSettings("tcp", "tcp", port=0)
CONNACK = b"\x20\x02\x00\x00"


def shaken(broker: BrokerThread) -> Wire:
    """A bare connection after its WebSocket handshake."""
    wire = Wire.to(broker.port("ws"))
    wire.send(request())
    assert wire.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
    return wire


def framed(data: bytes) -> bytes:
    """As the broker sends it."""
    return frame(data, mask=False)


def subscribe(topic: str, qos: int = 0) -> bytes:
    return encode(Subscribe(1, [SubscribeFilter(topic, qos)]), 4)


@pytest.mark.mqtt("3.1.1:MQTT-6.0.0-2", "5.0:MQTT-6.0.0-2", "3.1.1:MQTT-6.0.0-1", "5.0:MQTT-6.0.0-1")
def test_packets_and_frames_need_not_begin_together(serve: Serve) -> None:
    broker = serve(WS)
    stream = connect_packet() + subscribe("t") + encode(make_publish("t", b"hello"), 4) + PINGREQ
    with shaken(broker) as wire:
        wire.send(frame(stream[:5]) + frame(stream[5:30], fin=False) + frame(b"?", Opcode.PING))
        wire.send(frame(stream[30:31], Opcode.CONT, fin=False) + frame(stream[31:], Opcode.CONT))
        assert b"hello" in wire.read_until(PINGRESP)
        (channel,) = broker.call(lambda: list(broker.app.engine.channels))
        assert channel.client.client_id == "wire"


def test_what_one_read_brings_is_answered_in_one_frame(serve: Serve) -> None:
    with shaken(serve(WS)) as wire:
        wire.send(frame(connect_packet() + PINGREQ) + frame(PINGREQ))
        answer = framed(CONNACK + PINGRESP + PINGRESP)
        assert wire.read(len(answer)) == answer


def test_another_client_library_connects(serve: Serve) -> None:
    port = serve(WS).port("ws")
    with connect(f"ws://127.0.0.1:{port}/mqtt", subprotocols=[Subprotocol("mqtt")]) as client:
        assert client.subprotocol == "mqtt"
        client.send(connect_packet())
        assert client.recv(DEADLINE) == CONNACK
        assert client.ping().wait(DEADLINE)
        client.send([PINGREQ[:1], PINGREQ[1:]])
        assert client.recv(DEADLINE) == PINGRESP
        client.send("text")
        with pytest.raises(Exception, match="MQTT is sent in binary frames"):
            client.recv(DEADLINE)
        assert client.close_code == 1003
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{port}/other", subprotocols=[Subprotocol("mqtt")])
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize(
    ("bind", "paths"),
    [
        ("127.0.0.1:0", {"": 101, "/": 101, "/mqtt": 101, "/x": 404}),
        ("127.0.0.1:0/ws", {"": 404, "/ws": 101}),
    ],
)
@pytest.mark.parametrize("where", ["file", "--url"])
def test_the_paths_of_an_address(
    serve: Serve, tmp_path: Path, where: str, bind: str, paths: dict[str, int]
) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(f'listeners.ws.bind = "{bind}"\n' if where == "file" else "")
    flags = [] if where == "file" else ["--url", f"nmq-ws://{bind}"]
    overrides = _overrides(parser().parse_args(["start", *flags]))
    (listener,) = [one for one in load(conf, overrides=overrides).listeners if one.type == "ws"]
    port = serve(listener).port("ws")
    assert {path: status(port, path) for path in paths} == paths


def status(port: int, path: str) -> int:
    """Of the answer to a handshake at ``path``."""
    try:
        with connect(f"ws://127.0.0.1:{port}{path}", subprotocols=[Subprotocol("mqtt")]):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def test_a_browser_is_told_what_this_is(serve: Serve) -> None:
    with Wire.to(serve(WS).port("ws")) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = wire.read_to_end()
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"MQTT over WebSocket" in answer


def test_disconnect_is_followed_by_close_1000(serve: Serve) -> None:
    with shaken(serve(WS)) as wire:
        wire.send(frame(connect_packet()) + frame(DISCONNECT))
        expected = framed(CONNACK) + b"\x88\x02\x03\xe8"
        assert wire.read(len(expected)) == expected
        wire.send(frame(Close(1000, "").serialize(), Opcode.CLOSE))
        assert wire.read_to_end() == b""


def test_a_client_that_does_not_answer_our_close_is_cut_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pybroker.broker.transport.websocket.LINGER", 0.1)
    with shaken(serve(WS)) as wire:
        wire.send(frame(connect_packet()) + frame(DISCONNECT))
        assert wire.read_to_end().endswith(b"\x88\x02\x03\xe8")


def test_close_without_disconnect_sets_off_the_will(serve: Serve) -> None:
    broker = serve(WS, TCP)
    with connected(broker.listener("tcp")) as watcher, shaken(broker) as wire:
        watcher.subscribe_and_wait("will", 1)
        wire.send(frame(connect_packet(will=Will("will", b"gone"))))
        wire.read(len(framed(CONNACK)))
        wire.send(frame(Close(1001, "").serialize(), Opcode.CLOSE))
        assert wire.read_to_end() == b"\x88\x02\x03\xe9"
        assert watcher.wait()[0].payload == b"gone"


def test_a_client_that_reads_slowly_misses_nothing(serve: Serve) -> None:
    """More than the kernel and the transport hold: the rest waits in the session."""
    broker = serve(WS, TCP, mqtt=MqttSettings(max_mqueue_len=1000))
    size, count = 100_000, 200
    with shaken(broker) as slow, connected(broker.listener("tcp")) as publisher:
        slow.send(frame(connect_packet()) + frame(subscribe("t", 1)))
        assert slow.read(len(framed(CONNACK + b"\x90\x03\x00\x01\x01"))).endswith(b"\x01")
        for number in range(count):
            publisher.publish_and_wait("t", number.to_bytes(4) + bytes(size), 1)
        (session,) = broker.call(
            lambda: [one.session for one in broker.app.engine.channels if one.client.client_id == "wire"]
        )
        wait_for(lambda: broker.call(lambda: session.outbox is None), "a paused session")
        received = b""
        while received.count(b"\x00\x01t") < count:
            more = slow.socket.recv(1 << 20)
            assert more, f"the broker closed after {len(received)} bytes"
            received += more
        wait_for(lambda: broker.call(lambda: session.outbox is not None), "a session that goes on")


def test_a_flood_of_pings_that_reads_no_pong_is_cut_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pybroker.broker.engine.channel.LINGER", 0.1)
    broker = serve(WS)
    with shaken(broker) as wire:
        wire.send(frame(connect_packet()))
        flood = frame(bytes(125), Opcode.PING) * 1000
        with pytest.raises(ConnectionError):
            send_for_ever(wire, flood)
    wait_for(lambda: broker.call(lambda: not broker.app.engine.channels), "no channel left")


def send_for_ever(wire: Wire, data: bytes) -> None:
    while True:
        wire.send(data)


def test_a_large_message_is_not_taken_before_connect(serve: Serve) -> None:
    broker = serve(WS, limits=Limits(connect_timeout=3600))
    with shaken(broker) as wire:
        with contextlib.suppress(ConnectionError):
            wire.send(frame(bytes(8 << 20))[: 4 << 20])
        assert wire.read_to_end() == b""
    with shaken(broker) as wire:
        wire.send(frame(connect_packet()))
        assert wire.read(len(framed(CONNACK))) == framed(CONNACK)
        wire.send(frame(encode(make_publish("t", bytes(8 << 20)), 4)) + frame(PINGREQ))
        assert wire.read(len(framed(PINGRESP))) == framed(PINGRESP)


def test_a_packet_may_be_as_large_as_is_allowed(serve: Serve) -> None:
    broker = serve(WS, mqtt=MqttSettings(max_packet_size=200_000))
    publish = encode(make_publish("t", bytes(199_990)), 4)
    assert 199_990 < len(publish) <= 200_000
    with shaken(broker) as wire:
        wire.send(frame(connect_packet()) + frame(publish + PINGREQ[:0]) + frame(PINGREQ))
        assert wire.read(len(framed(CONNACK))) == framed(CONNACK)
        assert wire.read(len(framed(PINGRESP))) == framed(PINGRESP)
    with shaken(broker) as wire:
        wire.send(frame(connect_packet()) + frame(bytes(200_001)))
        assert b"\x03\xf1" in wire.read_to_end(), "1009"
