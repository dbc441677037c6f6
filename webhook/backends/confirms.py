"""Publishes a batch of messages to RabbitMQ in one write, and gathers their confirms.

aiormq's ``basic_publish`` takes one message, with a task and two futures each; a batch costs twice as much.
This module sends the same frames through the channel's queue and keeps the channel's records as aiormq does:
it counts the delivery tags, and enters each confirmation under its tag. Tests check this against the version
in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..backend import DELIVERED, Outcome, words

if TYPE_CHECKING:
    from aiormq.channel import Channel
    from pamqp.commands import Basic

UNROUTABLE = Outcome.dead("unroutable: it reaches no queue")
REFUSED = Outcome.retry("the server refused it (basic.nack): is a queue full?")


@dataclass(frozen=True, slots=True)
class Message:
    exchange: str
    routing_key: str
    properties: Basic.Properties
    """A message to publish. Its ``message_id`` is unique among those in flight, so that a returned message is
    recognised."""
    body: bytes


async def publish(channel: Channel, messages: Sequence[Message], mandatory: bool) -> list[Outcome]:
    """Publish and wait for the confirms. If the channel breaks meanwhile, unconfirmed messages are to be
    tried again. After a cancellation the channel cannot be used any more. ``channel`` must be one that raises
    for returned messages (``on_return_raises``, the default)."""
    from aiormq.abc import ChannelFrame

    batch = _Batch(len(messages), channel.create_future())
    async with channel.lock:
        payload = bytearray()
        for number, message in enumerate(messages):
            try:
                frames = _frames(channel, message, mandatory)
            except ValueError as error:  # a name, or headers, too long for AMQP
                batch.settle(number, Outcome.dead(f"AMQP cannot carry it: {words(error)}"))
                continue
            channel.delivery_tag += 1
            tag = channel.delivery_tag
            id = message.properties.message_id
            assert id is not None
            entry: Any = _Confirmation(batch, number, channel, id)
            channel.confirmations[tag] = entry
            channel.message_id_delivery_tag[id] = tag
            payload += frames
        if payload:
            await channel.write_queue.put(ChannelFrame(payload=bytes(payload), should_close=False))
    try:
        await batch.complete
    except asyncio.CancelledError:
        if not channel.is_closed:
            raise
        batch.give_up("the connection was lost")
    except Exception as error:
        batch.give_up(words(error))
    return batch.outcomes


def _frames(channel: Channel, message: Message, mandatory: bool) -> bytes:
    from pamqp.commands import Basic
    from pamqp.frame import marshal
    from pamqp.header import ContentHeader

    number = channel.number
    method = Basic.Publish(
        exchange=message.exchange, routing_key=message.routing_key, mandatory=mandatory, immediate=False
    )
    header = marshal(ContentHeader(properties=message.properties, body_size=len(message.body)), number)
    frame_max = channel.connection.connection_tune.frame_max
    if frame_max and len(header) > frame_max:  # the server would close the connection
        raise ValueError(f"its headers take {len(header)} bytes; the server allows {frame_max}")
    frames = marshal(method, number) + header
    for part in channel._split_body(message.body):
        frames += marshal(part, number)
    return frames


class _Batch:
    def __init__(self, count: int, complete: asyncio.Future[Any]) -> None:
        self._found: list[Outcome | None] = [None] * count
        self._missing = count
        self.complete = complete
        """The channel's own: it fails when the channel is closed."""

    def settle(self, number: int, outcome: Outcome) -> None:
        self._found[number] = outcome
        self._missing -= 1
        if not self._missing and not self.complete.done():
            self.complete.set_result(None)

    def give_up(self, why: str) -> None:
        self._found = [one or Outcome.retry(why) for one in self._found]

    @property
    def outcomes(self) -> list[Outcome]:
        return [one or REFUSED for one in self._found]


class _Confirmation:
    """The channel's record of one message: the part of a future that the channel needs."""

    __slots__ = ("_batch", "_channel", "_done", "_id", "_number")

    def __init__(self, batch: _Batch, number: int, channel: Channel, id: str) -> None:
        self._batch = batch
        self._number = number
        self._channel = channel
        self._id = id
        self._done = False

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return False

    def set_result(self, frame: object) -> None:
        self._end(DELIVERED)

    def set_exception(self, error: BaseException) -> None:
        """The message was returned, or the server refused it."""
        from aiormq.exceptions import PublishError

        self._end(UNROUTABLE if isinstance(error, PublishError) else REFUSED)

    def _end(self, outcome: Outcome) -> None:
        self._done = True
        self._channel.message_id_delivery_tag.pop(self._id, None)
        self._batch.settle(self._number, outcome)
