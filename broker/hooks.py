"""The observers of each event: for each event type a tuple of plain callables.

Observers run on the event loop, in the order they were added, and must return at once: they queue,
count or log. An observer that raises is logged and harms nobody else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from . import events

E = TypeVar("E", bound=events.Event)
Observer = Callable[[Any], None]
TopicTest = Callable[[str], bool]

log = logging.getLogger("pybroker.hooks")


class Hooks:
    """A tuple of observers for each event; an empty one is false, so asking costs one truth test."""

    __slots__ = (
        "client_connack",
        "client_connect",
        "client_connected",
        "client_disconnected",
        "client_subscribe",
        "client_unsubscribe",
        "message_acked",
        "message_delivered",
        "message_dropped",
        "message_published",
        "message_queued",
        "message_retained",
        "session_subscribed",
        "session_terminated",
        "session_unsubscribed",
    )

    SLOT_OF: ClassVar[dict[type[events.Event], str]] = {
        events.ClientConnect: "client_connect",
        events.ClientConnack: "client_connack",
        events.ClientConnected: "client_connected",
        events.ClientDisconnected: "client_disconnected",
        events.ClientSubscribe: "client_subscribe",
        events.ClientUnsubscribe: "client_unsubscribe",
        events.SessionSubscribed: "session_subscribed",
        events.SessionUnsubscribed: "session_unsubscribed",
        events.SessionTerminated: "session_terminated",
        events.MessagePublished: "message_published",
        events.MessageRetained: "message_retained",
        events.MessageQueued: "message_queued",
        events.MessageDelivered: "message_delivered",
        events.MessageAcked: "message_acked",
        events.MessageDropped: "message_dropped",
    }

    def __init__(self) -> None:
        self.client_connect: tuple[Observer, ...] = ()
        self.client_connack: tuple[Observer, ...] = ()
        self.client_connected: tuple[Observer, ...] = ()
        self.client_disconnected: tuple[Observer, ...] = ()
        self.client_subscribe: tuple[Observer, ...] = ()
        self.client_unsubscribe: tuple[Observer, ...] = ()
        self.session_subscribed: tuple[Observer, ...] = ()
        self.session_unsubscribed: tuple[Observer, ...] = ()
        self.session_terminated: tuple[Observer, ...] = ()
        self.message_retained: tuple[Observer, ...] = ()
        self.message_queued: tuple[Observer, ...] = ()
        self.message_delivered: tuple[Observer, ...] = ()
        self.message_acked: tuple[Observer, ...] = ()
        self.message_dropped: tuple[Observer, ...] = ()
        # Each with the topics it wants: the engine asks once for a topic and keeps the answer.
        self.message_published: tuple[tuple[Observer, TopicTest | None], ...] = ()

    def observe(
        self, event: type[E], observer: Callable[[E], None], *, topics: TopicTest | None = None
    ) -> None:
        """Tell ``observer`` of each ``event``. ``topics`` narrows MessagePublished to the topics it is
        true for; it is asked once for a topic, so it must always give the same answer."""
        if event is events.MessagePublished:
            self.message_published = (*self.message_published, (observer, topics))
            return
        slot = self.SLOT_OF[event]
        setattr(self, slot, (*getattr(self, slot), observer))

    def forget(self, observer: Callable[[Any], None]) -> None:
        """Remove ``observer`` from every event; unknown ones are ignored."""
        for slot in self.SLOT_OF.values():
            if slot == "message_published":
                self.message_published = tuple(o for o in self.message_published if o[0] != observer)
            else:
                setattr(self, slot, tuple(o for o in getattr(self, slot) if o != observer))

    def published_observers(self, topic: str) -> tuple[Observer, ...]:
        """The observers of MessagePublished that want ``topic``."""
        return tuple([o for o, wants in self.message_published if wants is None or wants(topic)])


def tell(observers: tuple[Observer, ...], event: events.Event) -> None:
    """Hand ``event`` to each observer; one that raises is logged with its name and skipped."""
    for observer in observers:
        try:
            observer(event)
        except Exception:
            log.exception(
                "hook %s failed on %s", getattr(observer, "__qualname__", observer), type(event).__name__
            )
