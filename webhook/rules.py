"""The rules that decide which endpoints want an event. Compiled once; the answer for a topic is cached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from re import Pattern, compile
from typing import Any, Generic, TypeVar

from pybroker.broker import events
from pybroker.broker.outgoing.http1 import check_header
from pybroker.broker.routing.topics import filter_error, matches

from .body.encode import EVENTS
from .loading import LoadError, load
from .parcels import Headers
from .settings import Rule, SettingsError

T = TypeVar("T")

Filter = Callable[[Any], object]
"""``filter(event)``: whether to send the event."""
Transform = Callable[[Any, dict[str, str], bytes], tuple[Mapping[str, str], bytes]]
"""``transform(event, headers, body)`` gives the headers and the body to send."""

CACHED_TOPICS = 10_000


class CompiledRule:
    """A compiled rule."""

    __slots__ = ("_clientid", "_username", "event", "filter", "label", "plain", "topic", "transform")

    def __init__(self, label: str, rule: Rule) -> None:
        self.label = label
        """The rule's name in log lines."""
        if rule.event not in EVENTS:
            raise SettingsError(f'{label}: "{rule.event}" is not an event; there are {", ".join(EVENTS)}')
        self.event = EVENTS[rule.event]
        self.topic = rule.topic
        if rule.topic is not None:
            if "topic" not in self.event.__dataclass_fields__:
                raise SettingsError(f"{label}: {rule.event} has no topic to narrow")
            if error := filter_error(rule.topic):
                raise SettingsError(f'{label}: topic "{rule.topic}": {error}')
        self._clientid = _pattern(rule.clientid)
        self._username = _pattern(rule.username)
        try:
            self.filter: Filter | None = load(rule.filter) if rule.filter else None
            self.transform: Transform | None = load(rule.transform) if rule.transform else None
        except LoadError as error:
            raise SettingsError(f"{label}: {error}") from error
        self.plain = self._clientid is None and self._username is None and self.filter is None
        """Whether only event type and topic decide."""

    def wants_topic(self, topic: str) -> bool:
        """A rule without a topic wants every subscription, shared ones too, and messages to all but ``$``
        topics, as the filter ``#`` does."""
        if self.topic is None:
            return not issubclass(self.event, events.MessageEvent) or matches("#", topic)
        return matches(self.topic, topic)

    def wants_client(self, event: events.Event) -> bool:
        client = _about(event)
        return _fits(self._clientid, client.client_id if client else "") and _fits(
            self._username, (client.username if client else None) or ""
        )


class Rules(Generic[T]):
    """The targets that may want an event, each with its rules in the order of the configuration."""

    def __init__(self, rules: Iterable[tuple[T, CompiledRule]]) -> None:
        self._of_event: dict[type[events.Event], list[tuple[T, CompiledRule]]] = {}
        for target, rule in rules:
            self._of_event.setdefault(rule.event, []).append((target, rule))
        self._found: dict[
            tuple[type[events.Event], str | None], tuple[tuple[T, tuple[CompiledRule, ...]], ...]
        ] = {}

    def wants(self, event_type: type[events.Event]) -> bool:
        """Whether any rule has the type ``event_type``."""
        return event_type in self._of_event

    def find(
        self, event_type: type[events.Event], topic: str | None
    ) -> tuple[tuple[T, tuple[CompiledRule, ...]], ...]:
        """The targets for an event of that type and topic; patterns and filters are checked later."""
        key = event_type, topic
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= CACHED_TOPICS:
                self._found.clear()  # many topics are used once: starting over is cheaper than bookkeeping
            found = self._found[key] = self._look_up(event_type, topic)
        return found

    def _look_up(
        self, event_type: type[events.Event], topic: str | None
    ) -> tuple[tuple[T, tuple[CompiledRule, ...]], ...]:
        of_target: dict[T, list[CompiledRule]] = {}
        for target, rule in self._of_event.get(event_type, ()):
            if topic is None or rule.wants_topic(topic):
                of_target.setdefault(target, []).append(rule)
        return tuple((target, tuple(rules)) for target, rules in of_target.items())


def transformed(
    event: events.Event, transform: Transform, headers: Headers, body: bytes
) -> tuple[Headers, bytes]:
    """Call ``transform`` with headers and body. Raises its exceptions, and an error for a result that cannot
    be sent."""
    shaped_headers, shaped_body = transform(event, dict(headers), body)
    if not isinstance(shaped_body, bytes):
        raise TypeError(
            f"a transform must return (headers, body) with bytes as body, not {type(shaped_body).__name__}"
        )
    shaped = tuple((name.lower(), str(value)) for name, value in shaped_headers.items())
    for name, value in shaped:
        check_header(name, value)
    return shaped, shaped_body


def _about(event: events.Event) -> events.Client | None:
    """The client that a rule's patterns match: the receiver if the event has one, otherwise the publisher."""
    client: events.Client | None = getattr(event, "client", None)
    return client if client is not None else getattr(event, "publisher", None)


def _pattern(glob: str | None) -> Pattern[str] | None:
    return None if glob is None else compile(translate(glob))


def _fits(pattern: Pattern[str] | None, text: str) -> bool:
    return pattern is None or pattern.match(text) is not None
