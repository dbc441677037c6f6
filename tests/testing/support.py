"""Real clients for the tests of the test broker."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho

from pybroker.broker.commands.main import parser
from pybroker.broker.packets.encoder import encode
from pybroker.broker.packets.model import Connect
from pybroker.broker.packets.properties import Properties
from pybroker.testing import TestBroker
from tests.waiting import DEADLINE


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """What `pybroker` makes of its arguments; SystemExit where it knows them not."""
    return parser(arguments).parse_args(arguments)


@contextmanager
def paho_client(
    broker: TestBroker, name: str = "dev", *, version: int = paho.MQTTv5, wait: bool = True, **options: Any
) -> Iterator[paho.Client]:
    """A connected client with its thread running."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, protocol=version, **options)
    client.reconnect_delay_set(1, 1)
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        if wait:
            broker.wait_for_client(name)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def dial(
    broker: TestBroker, name: str = "dev", keepalive: int = 0, *, clean_start: bool = True, **properties: Any
) -> Iterator[socket.socket]:
    """A connection that has sent CONNECT and got its CONNACK, and does nothing by itself."""
    connect = Connect("MQTT", 5, clean_start, keepalive, name, properties=Properties(**properties))
    with socket.create_connection((broker.host, broker.port), timeout=DEADLINE) as connection:
        connection.sendall(encode(connect, 5))
        assert connection.recv(1024)[0] == 0x20
        yield connection
