"""Logs what clients do: subscriptions and messages at `log.level` debug, every packet at trace."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..config.settings import Settings
from ..engine.channel import Channel
from ..engine.engine import Engine
from ..events import (
    Event,
    MessageDropped,
    MessagePublished,
    SessionSubscribed,
    SessionTerminated,
    SessionUnsubscribed,
)
from ..faults.frames import Frames, topics_of
from ..faults.seen import told
from ..packets.model import Connect, Packet
from ..part import Apply, Part

log = logging.getLogger("pybroker.clients")

TRACE = logging.DEBUG - 5


class Activity(Part):
    """Observes the engine only at debug and trace. At other levels it costs nothing."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._level = settings.log.level
        self._told: dict[type[Event], Callable[[Any], None]] = {
            SessionSubscribed: self._subscribed,
            SessionUnsubscribed: self._unsubscribed,
            SessionTerminated: self._terminated,
            MessagePublished: self._published,
            MessageDropped: self._dropped,
        }

    async def start(self) -> None:
        self._watch(self._level)

    async def prepare(self, settings: Settings) -> Apply:
        return lambda: self._watch(settings.log.level)

    def _watch(self, level: str) -> None:
        self._level = level
        engine = self._engine
        for event, observer in self._told.items():
            engine.hooks.forget(observer)
            if level in ("debug", "trace"):
                topics = _is_a_clients if event is MessagePublished else None
                engine.hooks.observe(event, observer, topics=topics)
        engine.router.forget_all_routes()
        others = tuple(tap for tap in engine.taps if tap is not self)
        engine.taps = (*others, self) if level == "trace" else others
        for channel in engine.channels:
            channel.watch()

    # ---- debug

    def _subscribed(self, event: SessionSubscribed) -> None:
        log.debug("client %s subscribed to %s, QoS %d", event.client.client_id, event.topic, event.qos)

    def _unsubscribed(self, event: SessionUnsubscribed) -> None:
        log.debug("client %s unsubscribed from %s", event.client.client_id, event.topic)

    def _terminated(self, event: SessionTerminated) -> None:
        log.debug("the session of client %s ended: %s", event.client.client_id, event.reason)

    def _published(self, event: MessagePublished) -> None:
        log.debug(
            "%s published to %s, QoS %d%s, %d bytes",
            f"client {event.publisher.client_id}" if event.publisher is not None else "the broker",
            event.topic,
            event.qos,
            ", retain" if event.retain else "",
            len(event.payload),
        )

    def _dropped(self, event: MessageDropped) -> None:
        if event.client is None and not _is_a_clients(event.topic):
            return
        receiver = f"client {event.client.client_id}" if event.client is not None else "everybody"
        log.debug("a message to %s is dropped for %s: %s", event.topic, receiver, event.reason)

    # ---- trace: a tap of the engine

    def sees(self, channel: Channel) -> bool:
        return True

    def received(self, channel: Channel, packets: Sequence[Packet]) -> None:
        for packet in packets:
            self._trace("from", channel, packet)

    def sent(self, channel: Channel, data: bytes) -> None:
        frames = Frames()
        frames.speak(channel.connection.version or 4)
        for _, packet in frames.feed(data):
            if packet is not None:
                self._trace("to", channel, packet)

    def _trace(self, direction: str, channel: Channel, packet: Packet) -> None:
        who = channel.client.client_id if channel.client is not None else channel.peer or channel.listener
        name = type(packet).__name__.upper()
        if isinstance(packet, Connect):
            name += f" {packet.client_id or '(no client identifier)'}:"
        words = told(packet, ", ".join(topics_of(packet, {})), payloads=False)
        log.log(TRACE, "%s %s %s", direction, who, f"{name} {words}".rstrip())


def _is_a_clients(topic: str) -> bool:
    """The broker's own topics would fill the log."""
    return not topic.startswith("$SYS/")
