"""The listeners of a configuration file, in a broker as a user starts it."""

from __future__ import annotations

from pathlib import Path

from tests.waiting import DEADLINE

from ..integration.clients import Client
from ..integration.support import RunningBroker
from .conftest import Certificates

CONF = """
listeners.tcp {{ bind = "127.0.0.1:0" }}
listeners.ssl {{ bind = "127.0.0.1:0", certfile = "{certfile}", keyfile = "{keyfile}" }}
listeners.ws {{ bind = "127.0.0.1:0/mqtt" }}
listeners.wss {{ bind = "127.0.0.1:0/secure" }}
listeners.unix {{ path = "{socket}" }}
"""
TRANSPORTS = {"tcp": "tcp", "ssl": "tcp", "ws": "websockets", "wss": "websockets", "unix": "unix"}


def test_all_listeners_of_a_file_are_served(tmp_path: Path, certificates: Certificates) -> None:
    file = tmp_path / "mqtt.sock"
    tls = certificates.server
    conf = CONF.format(certfile=tls.certfile, keyfile=tls.keyfile, socket=file)
    broker = RunningBroker(tmp_path, conf)
    clients = []
    try:
        for facts in broker.facts["listeners"]:
            client = Client(facts["name"], 4, transport=TRANSPORTS[facts["type"]])  # type: ignore[arg-type]
            clients.append(client)
            if facts["type"] in ("ssl", "wss"):
                client.tls_set_context(certificates.client())
            if facts["type"] in ("ws", "wss"):
                client.ws_set_options(path=facts["path"])
            if facts["type"] == "unix":
                client.connect(facts["path"])
            else:
                client.connect(facts["host"], facts["port"])
            client.loop_start()
            assert client.answered.wait(DEADLINE)
            client.subscribe_and_wait("to/all", 1)
        assert {client._client_id.decode() for client in clients} == set(TRANSPORTS)
        clients[0].publish_and_wait("to/all", b"hello", 1)
        for client in clients:
            assert client.wait()[0].payload == b"hello"
    finally:
        for client in clients:
            client.disconnect()
            client.loop_stop()
        assert broker.stop() == 0
    assert not file.exists()
    assert f"unix:{file}" in broker.output
