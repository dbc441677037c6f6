"""How a connection ends that the broker ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pybroker.broker.config.settings import ListenerSettings
from pybroker.broker.packets.encoder import encode
from pybroker.broker.packets.model import Connect
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.transport import tcp

from ..integration.support import wait_for
from .support import PINGREQ, BrokerThread, Wire

Serve = Callable[..., BrokerThread]
TCP = ListenerSettings("tcp", "tcp", port=0)
LOUD = 50


def admitted(broker: BrokerThread) -> Wire:
    wire = Wire.to(broker.port("tcp"))
    wire.send(encode(Connect("MQTT", 5, True, 0, "c"), 5))
    first, length = wire.read(2)
    assert first == 0x20
    wire.read(length)
    return wire


def gone(broker: BrokerThread) -> None:
    wait_for(lambda: broker.call(lambda: not broker.app.engine.channels), "the broker to close")


@pytest.mark.mqtt("5.0:MQTT-4.13.2-1")
def test_a_client_that_still_sends_can_read_why(serve: Serve) -> None:
    """A socket closed with unread bytes resets the connection, and takes the DISCONNECT with it."""
    broker = serve(TCP)
    with admitted(broker) as wire:
        wire.send(b"\x00\x00")  # there is no such packet
        gone(broker)
        for _ in range(LOUD):
            wire.send(PINGREQ * 1000)  # a reset would raise here
        last_words = wire.read_to_end()
    assert last_words[:1] == b"\xe0"
    assert last_words[2] == ReasonCode.MALFORMED_PACKET


def test_a_client_that_never_closes_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "LINGER", 0.05)
    broker = serve(TCP)
    with admitted(broker) as wire:
        wire.send(b"\x00\x00")
        assert wire.read_to_end()[:1] == b"\xe0"

        def reset() -> bool:
            try:
                wire.send(PINGREQ)
            except (BrokenPipeError, ConnectionResetError):
                return True
            return False

        wait_for(reset, "the broker to give up the connection")


def test_a_stopping_broker_waits_for_nobody(serve: Serve) -> None:
    broker = serve(TCP)
    with admitted(broker) as wire:
        wire.send(b"\x00\x00")
        gone(broker)
        assert broker.call(lambda: len(broker.app.engine.parting)) == 1
        broker.stop()
        assert broker.app.engine.parting == set()
        wire.read_to_end()


def test_a_client_that_has_read_why_is_forgotten(serve: Serve) -> None:
    broker = serve(TCP)
    with admitted(broker) as wire:
        wire.send(b"\x00\x00")
        wire.read_to_end()
    wait_for(lambda: broker.call(lambda: not broker.app.engine.parting), "the connection to be over")
