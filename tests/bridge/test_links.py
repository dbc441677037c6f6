"""Links over TLS, WebSocket and unix sockets."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from pybroker.broker.testing.certificates import certificate
from pybroker.testing import TestBroker

from .support import (
    bridge,
    bridged,
    comes,
    forward,
    forwards,
    mosquitto,
    needs_mosquitto,
    status,
    subscription,
    wait_for_state,
    wait_until,
)

BOTH = forwards(forward("out/#")), subscription(comes("in/#"))
LARGE = "x" * 1_000_000


def both_ways(broker: TestBroker, remote: TestBroker) -> None:
    for number in range(50):
        broker.publish("out/x", str(number), qos=number % 3)
        remote.publish("in/x", str(number), qos=number % 3)
    broker.publish("out/large", LARGE, qos=1)
    remote.publish("in/large", LARGE, qos=1)
    assert remote.wait_for("out/large").text == LARGE
    assert broker.wait_for("in/large").text == LARGE
    wanted = {str(number) for number in range(50)}
    wait_until(lambda: {one.text for one in remote.messages("out/x")} == wanted, "all are there")
    wait_until(lambda: {one.text for one in broker.messages("in/x")} == wanted, "all are here")


def test_tls() -> None:
    with TestBroker(tls=True) as remote:
        server = f"tls+mqtt-tcp://localhost:{remote.tls.port}"
        ssl = f'ssl {{ cacertfile = "{remote.tls.cafile}" }}'
        with bridged(bridge(server, ssl, *BOTH)) as broker:
            both_ways(broker, remote)


def test_a_certificate_that_is_not_trusted() -> None:
    with TestBroker(tls=True) as remote:
        server = f"tls+mqtt-tcp://localhost:{remote.tls.port}"
        with TestBroker(conf_text=bridge(server, *BOTH)) as broker:
            wait_for_state(broker, "disconnected")
            assert "its certificate is not trusted" in status(broker).last_error
        with bridged(bridge(server, "ssl { verify_peer = false }", *BOTH)) as broker:
            assert status(broker).state == "connected"


def test_a_certificate_of_another_name() -> None:
    with TestBroker(tls=True) as remote:
        server = f"tls+mqtt-tcp://localhost:{remote.tls.port}"
        for name, trusted in (("elsewhere.example", False), ("localhost", True)):
            ssl = f'ssl {{ cacertfile = "{remote.tls.cafile}", sni = "{name}" }}'
            with TestBroker(conf_text=bridge(server, ssl, *BOTH)) as broker:
                wait_for_state(broker, "connected" if trusted else "disconnected")


def test_websocket() -> None:
    with TestBroker(ws=True) as remote:
        section = bridge(f"ws://127.0.0.1:{remote.ws.port}/mqtt", *BOTH)
        with bridged(section) as broker:
            both_ways(broker, remote)
            with remote.outage():
                wait_for_state(broker, "disconnected")
                broker.publish("out/late", "1", qos=1)
            remote.wait_for("out/late")


def test_no_websocket_there() -> None:
    with TestBroker() as remote:
        section = bridge(f"ws://127.0.0.1:{remote.port}/mqtt", *BOTH)
        with TestBroker(conf_text=section) as broker:
            wait_for_state(broker, "disconnected")


def test_websocket_over_tls() -> None:
    with TestBroker(tls=True, ws=True) as remote:
        server = f"wss://localhost:{remote.wss.port}"
        ssl = f'ssl {{ cacertfile = "{remote.wss.cafile}" }}'
        with bridged(bridge(server, ssl, *BOTH)) as broker:
            both_ways(broker, remote)


def test_a_unix_socket() -> None:
    with TestBroker(conf_text="listeners.unix.path = any") as remote:
        section = bridge(f"unix://{remote.listeners['unix'].path}", *BOTH)
        with bridged(section) as broker:
            both_ways(broker, remote)
    with TestBroker(conf_text=section) as broker:
        wait_for_state(broker, "disconnected")
        assert status(broker).last_error == "there is no such socket"


@needs_mosquitto
def test_a_client_certificate_for_mosquitto(tmp_path: Path) -> None:
    made = certificate("localhost")
    lines = [
        f"cafile {made.cafile}",
        f"certfile {made.certfile}",
        f"keyfile {made.keyfile}",
        "require_certificate true",
        f"user {getpass.getuser()}",  # it reads the key as that user
    ]
    with mosquitto(tmp_path, *lines) as port:
        server = f"tls+mqtt-tcp://localhost:{port}"
        ca = f'cacertfile = "{made.cafile}"'
        with TestBroker(conf_text=bridge(server, f"ssl {{ {ca} }}", *BOTH)) as broker:
            wait_for_state(broker, "disconnected")
        ssl = f'ssl {{ {ca}, certfile = "{made.certfile}", keyfile = "{made.keyfile}" }}'
        with bridged(bridge(server, ssl, *BOTH)) as broker:
            assert status(broker).state == "connected"


def test_a_key_that_is_none_keeps_the_broker_from_starting(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    text = bridge("tls+mqtt-tcp://localhost:1", f'ssl {{ cacertfile = "{bad}" }}', *BOTH)
    with pytest.raises(Exception, match=r"bridge up: ssl: cacertfile .*bad\.pem"):
        TestBroker(conf_text=text).start()
