"""paho-mqtt with what tests need: connect in any version, and wait for what arrives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.waiting import DEADLINE

from .support import wait_for

VERSIONS = (MQTTProtocolVersion.MQTTv31, MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5)


class Client(paho.Client):
    """Collects what it receives."""

    def __init__(self, client_id: str, version: MQTTProtocolVersion, **options: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, protocol=version, **options)
        self.received: list[paho.MQTTMessage] = []
        self.answered = threading.Event()
        self.left = threading.Event()
        self.reason: Any = None
        """What CONNACK said."""
        self.left_reason: Any = None
        """What DISCONNECT said, or how paho calls the end of the connection."""
        self.session_present = False
        self.granted: list[Any] = []
        self._suback = threading.Event()
        self.on_connect = self._connected_now
        self.on_disconnect = self._left_now
        self.on_message = lambda _client, _userdata, message: self.received.append(message)
        self.on_subscribe = self._subscribed_now

    def _connected_now(self, _c: Any, _u: Any, flags: Any, reason: Any, _p: Any) -> None:
        self.reason = reason
        self.session_present = flags.session_present
        self.answered.set()

    def _left_now(self, _c: Any, _u: Any, _flags: Any, reason: Any, _p: Any) -> None:
        self.left_reason = reason
        self.left.set()

    def _subscribed_now(self, _c: Any, _u: Any, _mid: int, reasons: Any, _p: Any) -> None:
        self.granted = list(reasons)
        self._suback.set()

    def subscribe_and_wait(self, *args: Any, **options: Any) -> list[int]:
        self._suback.clear()
        self.subscribe(*args, **options)
        assert self._suback.wait(DEADLINE), "no SUBACK"
        return [reason.value for reason in self.granted]

    def publish_and_wait(self, *args: Any, **options: Any) -> None:
        self.publish(*args, **options).wait_for_publish(DEADLINE)

    def wait(self, count: int = 1) -> list[paho.MQTTMessage]:
        wait_for(lambda: len(self.received) >= count, f"{count} messages, got {len(self.received)}")
        return self.received


@contextmanager
def connected(
    port: int,
    client_id: str,
    version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311,
    *,
    username: str | None = None,
    password: str | None = None,
    connect: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Client]:
    """A client whose CONNACK has come, whatever it says; it takes its leave in the end."""
    client = Client(client_id, version, **options)
    if username is not None:
        client.username_pw_set(username, password)
    client.connect("127.0.0.1", port, **(connect or {}))
    client.loop_start()
    try:
        assert client.answered.wait(DEADLINE), "no CONNACK"
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
