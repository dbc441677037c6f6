"""The part for `$SYS/brokers/client_status/...`: publishes which clients are connected, with NanoMQ's
keys."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, TypeAlias

from ..config.settings import SysSettings
from ..engine.engine import Engine
from ..engine.publish import broadcast, retain
from ..events import Client, ClientConnected, ClientDisconnected, SessionTerminated
from ..packets.encoder import make_publish
from ..packets.model import Publish
from ..packets.reasons import ReasonCode, reason_name
from ..part import Part
from ..routing.topics import topic_error

ROOT = "$SYS/brokers"

Event: TypeAlias = ClientConnected | ClientDisconnected

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
        self._say(event, lasts=True)

    def _disconnected(self, event: ClientDisconnected) -> None:
        if event.admitted:
            self._say(event, lasts=event.client.client_id in self._engine.sessions)

    def _terminated(self, event: SessionTerminated) -> None:
        engine = self._engine
        if event.client.client_id in engine.sessions:
            return
        topic = _topic_of(event.client)
        if engine.hooks.message_retained and engine.retained.get(topic) is not None:
            retain(engine, make_publish(topic, b"", retain=True))
        else:
            engine.retained.remove(topic)

    def _say(self, event: Event, *, lasts: bool) -> None:
        """``lasts``: the client has a session, and the message is retained as long as the session exists."""
        engine = self._engine
        topic = _topic_of(event.client)
        retained = self._retains and lasts
        if engine.router.is_wanted(topic):
            if not topic_error(topic):  # it may be too long
                broadcast(engine, topic, _status(event), retain=retained)
        elif retained and not topic_error(topic):
            self._retain(topic, event)
        if self._settings.presence_events:
            topic = f"{ROOT}/{'connected' if isinstance(event, ClientConnected) else 'disconnected'}"
            if engine.router.is_wanted(topic):
                broadcast(engine, topic, _json(_facts(event)))

    def _retain(self, topic: str, event: Event) -> None:
        """Retain a message that nobody waits for. It is made when somebody asks for it: most clients have
        gone by then."""
        engine = self._engine
        make = partial(_message, topic, event)
        at_once = engine.hooks.message_retained or topic.count("/") >= engine.limits.max_topic_levels
        if at_once or not engine.retained.promise(topic, make):
            retain(engine, make())  # tells the observers, or counts that there is no room


def _facts(event: Event) -> dict[str, Any]:
    """What is told of the event."""
    client = event.client
    if isinstance(event, ClientConnected):
        return {
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
    return {
        "username": client.username or "",
        "ts": int(event.at * 1000),
        "reason_code": f"{_CODES.get(event.reason, ReasonCode.UNSPECIFIED_ERROR):x}",
        "client_id": client.client_id,
        "IPv4": client.host,
        "peer": client.peer,
        "reason": event.reason,
    }


def _message(topic: str, event: Event) -> Publish:
    return make_publish(topic, _status(event), retain=True)


def _status(event: Event) -> bytes:
    status = "online" if isinstance(event, ClientConnected) else "offline"
    return _json({"status": status, **_facts(event)})


def _json(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()


def _topic_of(client: Client) -> str:
    # A wildcard has no place in a topic name, whatever the client calls itself.
    return f"{ROOT}/client_status/" + client.client_id.replace("+", "%2B").replace("#", "%23")
