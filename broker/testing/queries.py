"""The conditions of a wait, beside its first argument and ``count``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypedDict, TypeVar

from ..faults.seen import SeenPacket
from .messages import Message
from .webhooks import Webhook

T = TypeVar("T")


class Query(TypedDict, Generic[T], total=False):
    """Common to all."""

    where: Callable[[T], object]
    """Only items for which this is true; an exception counts as false."""


class MessageQuery(Query[Message], total=False):
    client: str
    """The identifier of the client that published it."""
    since: Message | float
    """Only messages after this one, or at this time (seconds since the epoch) or later."""
    own: bool
    """Whether messages that the test itself has published count too."""


class PacketQuery(Query[SeenPacket], total=False):
    client: str
    """The client identifier."""
    direction: str
    """``in``: from the client; ``out``: to it."""


class WebhookQuery(Query[Webhook], total=False):
    delivered: bool
    """Whether only webhooks that were answered 2xx count; true by default."""
