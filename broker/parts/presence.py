"""The part for `$SYS/brokers/client_status/...`: publishes which clients are connected, with NanoMQ's
keys."""

from __future__ import annotations

import json
from typing import Any

from ..config.settings import SysSettings
from ..engine.engine import Engine
from ..engine.publish import broadcast, retain
from ..events import Client, ClientConnected, ClientDisconnected, SessionTerminated
from ..packets.encoder import make_publish
from ..packets.reasons import ReasonCode, reason_name
from ..part import Part
from ..routing.topics import topic_error

ROOT = "$SYS/brokers"

_CODES: dict[str, int] = {reason_name(code): code for code in ReasonCode} | {
    "normal": 0,
    "tcp_closed": 0x8B,  # as NanoMQ has it
    "server_shutdown": 0x8B,
    "slow_receiver": 0x97,
}
"""The reason code for each reason of a disconnect in events."""


class Presence(Part):
    """Publishes for each client whether it is online or offline. The last message about a client is retained
    as long as the client has a session, so that later subscribers get it, and clients that never come back
    leave nothing behind."""

    def __init__(self, engine: Engine, settings: SysSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._retains = settings.presence == "retained"

    async def start(self) -> None:
        if not self._settings.interval or self._settings.presence == "off":
            return
        hooks = self._engine.hooks
        hooks.observe(ClientConnected, self._connected)
        hooks.observe(ClientDisconnected, self._disconnected)
        if self._retains:
            hooks.observe(SessionTerminated, self._terminated)

    def _connected(self, event: ClientConnected) -> None:
        client = event.client
        facts = {
            "username": client.username or "",
            "ts": int(event.at * 1000),
            "proto_name": "MQIsdp" if client.protocol_version == 3 else "MQTT",
            "keepalive": client.keepalive,
            "return_code": "0",
            "proto_ver": client.protocol_version,
            "client_id": client.client_id,
            "clean_start": int(client.clean_start),
            "IPv4": client.host,
            "peer": client.peer,
        }
        self._say(client, "online", facts, lasts=True)

    def _disconnected(self, event: ClientDisconnected) -> None:
        if not event.admitted:
            return
        client = event.client
        facts = {
            "username": client.username or "",
            "ts": int(event.at * 1000),
            "reason_code": f"{_CODES.get(event.reason, ReasonCode.UNSPECIFIED_ERROR):x}",
            "client_id": client.client_id,
            "IPv4": client.host,
            "peer": client.peer,
            "reason": event.reason,
        }
        self._say(client, "offline", facts, lasts=client.client_id in self._engine.sessions)

    def _terminated(self, event: SessionTerminated) -> None:
        topic = _topic_of(event.client)
        if (
            event.client.client_id not in self._engine.sessions
            and self._engine.retained.get(topic) is not None
        ):
            retain(self._engine, make_publish(topic, b"", retain=True))

    def _say(self, client: Client, status: str, facts: dict[str, Any], *, lasts: bool) -> None:
        """``lasts``: the client has a session, and the message is retained as long as the session exists."""
        self._publish(_topic_of(client), {"status": status, **facts}, self._retains and lasts)
        if self._settings.presence_events:
            event = "connected" if status == "online" else "disconnected"
            self._publish(f"{ROOT}/{event}", facts, False)

    def _publish(self, topic: str, facts: dict[str, Any], retained: bool) -> None:
        engine = self._engine
        wanted = engine.router.is_wanted(topic)
        if not (wanted or retained) or topic_error(topic):  # it may be too long
            return
        payload = json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()
        if wanted:
            broadcast(engine, topic, payload, retain=retained)
        else:
            retain(engine, make_publish(topic, payload, retain=True))


def _topic_of(client: Client) -> str:
    # A wildcard has no place in a topic name, whatever the client calls itself.
    return f"{ROOT}/client_status/" + client.client_id.replace("+", "%2B").replace("#", "%23")
