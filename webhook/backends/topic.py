"""Topics of the broker itself: events as messages, for its own clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pybroker.broker import events
from pybroker.broker.routing.topics import topic_error

from ..backend import DELIVERED, Outcome
from ..body.headers import address_of
from ..body.template import compile_template
from ..parcels import Delivery, Headers
from ..settings import SettingsError, WebhookSettings

DEFAULT = "$events/{action}/{clientid}"
AT_ONCE = 10
"""After so many messages the event loop runs other work."""

PUBLISHER = events.Client("$event_pusher")
"""The publisher of events. Events about its messages are ignored: otherwise they would never end."""

Publish = Callable[[str, bytes, int, bool], None]
"""``publish(topic, payload, qos, retain)`` gives a message to the broker, in the name of PUBLISHER."""


class TopicBackend:
    """An event counts as delivered when the broker has routed it. ``publish`` is None outside a broker."""

    ignores = PUBLISHER

    def __init__(self, settings: WebhookSettings, publish: Publish | None) -> None:
        options = settings.options
        topic = options["topic"] or DEFAULT
        if topic.startswith("$SYS/"):
            raise SettingsError(f"{settings.label}: topic: those below $SYS/ are the broker's own")
        self._topic = compile_template(topic, _level)
        self._qos: int = options["qos"]
        self._retain: bool = options["retain"]
        self._publish = publish

    def address(self, event: events.Event) -> Headers:
        return ((":topic", self._topic(event)),)

    async def send(self, events: Sequence[Delivery]) -> Outcome | list[Outcome]:
        if self._publish is None:
            return Outcome.retry("only a running broker can publish to its topics")
        outcomes = []
        for number, event in enumerate(events, 1):
            outcomes.append(self._send(self._publish, event))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return outcomes

    def _send(self, publish: Publish, event: Delivery) -> Outcome:
        topic = address_of(event, "topic")
        if error := topic_error(topic):
            return Outcome.dead(f'"{topic}": {error}')
        publish(topic, event.body, self._qos, self._retain)
        return DELIVERED

    async def close(self) -> None:
        """There is nothing to close."""


def _level(name: str, value: str) -> str:
    """A topic is used unchanged; any other value becomes one level without wildcards."""
    if name != "topic":
        value = value.replace("/", "_")
    return value.replace("+", "_").replace("#", "_")
