"""RabbitMQ: each event a message that the server has confirmed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from pybroker.broker import events
from pybroker.broker.outgoing.tls import client_context

from ..backend import Outcome
from ..body.headers import HeaderTemplates, address_of, content_type, own_headers
from ..parcels import Delivery, Headers
from ..settings import SettingsError, WebhookSettings
from .confirms import Message, publish
from .exchanges import Exchange, exchanges

if TYPE_CHECKING:
    from aiormq.abc import AbstractConnection
    from aiormq.channel import Channel

PERSISTENT, TRANSIENT = 2, 1


class RabbitBackend:
    """One connection and one channel with publisher confirms, and a write for each batch."""

    mark = ":exchange"
    """The name of the first value that ``address`` returns."""

    def __init__(self, settings: WebhookSettings) -> None:
        options = settings.options
        self._settings = settings
        self._nodes = settings.url.split() or ["amqp://guest:guest@127.0.0.1:5672/"]
        for url in self._nodes:
            if not url.startswith(("amqp://", "amqps://")):
                raise SettingsError(
                    f"{settings.label}: url must be of the form amqp://USER:PASSWORD@HOST/VHOST"
                )
        self._tls = None
        if any(url.startswith("amqps:") for url in self._nodes):
            self._tls = client_context(settings.tls, settings.label)
        self._exchanges, self._route = exchanges(settings)
        self._headers = HeaderTemplates(settings.headers, options["user_properties"])
        self._mandatory: bool = options["mandatory"]
        self._mode = PERSISTENT if options["persistent"] else TRANSIENT
        self._heartbeat: float = options["heartbeat"]
        self._connection: AbstractConnection | None = None
        self._channel: Channel | None = None

    def address(self, event: events.Event) -> Headers:
        exchange, key = self._route(event)
        return ((":exchange", exchange), (":routing-key", key), *self._headers(event))

    async def open(self) -> None:
        self._connection = await self._connect()
        self._channel = cast("Channel", await self._connection.channel(publisher_confirms=True))
        for exchange in self._exchanges:
            await self._declare(self._channel, exchange)

    async def _connect(self) -> AbstractConnection:
        """Connect to the first node that accepts the connection. Raises the last node's error."""
        import aiormq

        logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # what fails is told by the delivery
        for number, url in enumerate(self._nodes, 1):
            try:
                return await aiormq.connect(
                    _with_heartbeat(url, self._heartbeat), context=self._tls if url[:6] == "amqps:" else None
                )
            except Exception as error:
                if number == len(self._nodes):
                    raise _in_words(error, url) from error
        raise AssertionError("there is a node")

    async def _declare(self, channel: Channel, exchange: Exchange) -> None:
        await channel.exchange_declare(
            exchange.name, exchange_type=exchange.type, durable=exchange.durable, passive=not exchange.declare
        )

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        channel = self._channel
        if channel is None or channel.is_closed:
            raise ConnectionError("the channel was closed")
        try:
            return await publish(channel, [self._message(event) for event in events], self._mandatory)
        except BaseException:
            self._channel = None  # what it counts is no longer what the server counts
            raise

    def _message(self, event: Delivery) -> Message:
        from pamqp.commands import Basic

        headers = own_headers(event)
        properties = Basic.Properties(
            content_type=content_type(headers),
            delivery_mode=self._mode,
            message_id=event.id,
            timestamp=datetime.fromtimestamp(event.at, UTC),
            headers={name: value for name, value in headers if name != "content-type"},
        )
        exchange, key = address_of(event, "exchange"), address_of(event, "routing-key")
        return Message(exchange, key, properties, event.body)

    async def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await connection.close()


def _in_words(error: Exception, url: str) -> Exception:
    """aiormq does not tell why the server closes the connection in place of opening the virtual host."""
    if "Connection.OpenOk" not in str(error):
        return error
    host = unquote(urlsplit(url).path.removeprefix("/")) or "/"
    return ConnectionError(
        f'the virtual host "{host}" is refused: it does not exist, or the user may not use it'
    )


def _with_heartbeat(url: str, seconds: float) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query.setdefault("heartbeat", str(max(1, round(seconds / 3))))
    return parts._replace(query=urlencode(query)).geturl()
