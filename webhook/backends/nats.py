"""NATS JetStream: each event a message that a stream has stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pybroker.broker import events
from pybroker.broker.outgoing.nats import NatsError, NatsServers

from ..backend import DELIVERED, Outcome, words
from ..body.headers import HeaderTemplates, address_of, own_headers
from ..body.template import compile_template
from ..parcels import Delivery, Headers
from ..settings import SettingsError, WebhookSettings

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

NO_STREAM = Outcome.retry(
    "no stream includes this subject, or the server runs without JetStream (nats-server -js)"
)
_STORED = b'{"stream":'


class NatsBackend:
    """Publishes with ``Nats-Msg-Id``, so that the server drops repeats. The stream's answer is the
    acknowledgement."""

    mark = ":subject"
    """The name of the first value that ``address`` returns."""

    def __init__(self, settings: WebhookSettings) -> None:
        options = settings.options
        credentials = Path(options["credentials"]) if options["credentials"] else None
        urls = settings.url.split() or ["nats://127.0.0.1:4222"]
        try:
            self._servers = NatsServers(urls, settings.label, tls=settings.tls, credentials=credentials)
        except NatsError as error:
            raise SettingsError(str(error)) from None
        self._timeout = settings.cancel_timeout
        self._subject = compile_template(options["subject"], _token)
        self._headers = HeaderTemplates(settings.headers, options["user_properties"])
        self._client: Client | None = None
        self._batches: dict[str, _Acknowledgements] = {}
        self._count = 0

    def address(self, event: events.Event) -> Headers:
        return ((":subject", self._subject(event)), *self._headers(event))

    async def open(self) -> None:
        # The delivery opens a new connection when this one is lost.
        self._client = await self._servers.connect(self._timeout, lost=self._lost)
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*.*", cb=self._answered)

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        from nats import errors

        client = self._client
        assert client is not None
        self._count += 1
        name = str(self._count)
        waiting = self._batches[name] = _Acknowledgements(len(events))
        try:
            for number, event in enumerate(events):
                headers = {"Nats-Msg-Id": event.id}
                headers.update(own_headers(event))
                subject = address_of(event, "subject")
                size = len(event.body) + _header_size(headers)
                if size > client.max_payload:  # the server would close the connection
                    why = f"it takes {size} bytes with its headers; the server allows {client.max_payload}"
                    waiting.answer(number, Outcome.dead(why))
                    continue
                try:
                    await client.publish(subject, event.body, f"{self._inbox}.{name}.{number}", headers)
                except (errors.MaxPayloadError, errors.BadSubjectError, errors.BadHeaderError) as error:
                    waiting.answer(number, Outcome.dead(words(error)))
            await client._flush_pending()
            return await waiting.complete
        finally:
            del self._batches[name]

    async def _answered(self, message: Msg) -> None:
        _, name, number = message.subject.rsplit(".", 2)
        waiting = self._batches.get(name)
        if waiting is not None:
            waiting.answer(int(number), _meaning(message))

    async def _lost(self) -> None:
        for waiting in self._batches.values():
            waiting.fail(ConnectionError("the connection was lost"))

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _header_size(headers: dict[str, str]) -> int:
    """The bytes of the headers, with the version line and the empty line."""
    return 14 + sum([len(name) + len(value.encode()) + 4 for name, value in headers.items()])


class _Acknowledgements:
    """The answers for one batch."""

    def __init__(self, count: int) -> None:
        self._outcomes: list[Outcome] = [DELIVERED] * count
        self._missing = set(range(count))
        self.complete: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()

    def answer(self, number: int, outcome: Outcome) -> None:
        self._outcomes[number] = outcome
        self._missing.discard(number)
        if not self._missing and not self.complete.done():
            self.complete.set_result(self._outcomes)

    def fail(self, error: Exception) -> None:
        if not self.complete.done():
            self.complete.set_exception(error)


def _meaning(message: Msg) -> Outcome:
    """The outcome of one message by JetStream's answer."""
    if message.data.startswith(_STORED):
        return DELIVERED
    if message.headers and message.headers.get("Status") == "503":
        return NO_STREAM
    try:
        error = json.loads(message.data)["error"]
        return Outcome.retry(f"JetStream: {error['description']}")
    except (ValueError, LookupError, TypeError, RecursionError):
        return Outcome.retry("the answer is invalid")


def _token(name: str, value: str) -> str:
    """A value as part of a subject: ``/`` becomes ``.``; characters that have a meaning in a subject, or are
    not allowed in one, are escaped as in a URL."""
    parts = value.split("/") if name == "topic" else [value]
    return ".".join("".join(map(_escaped, part)) or "_" for part in parts)


def _escaped(character: str) -> str:
    if character in ".*>%" or character.isspace() or not character.isprintable():
        return "".join(f"%{byte:02X}" for byte in character.encode())
    return character
