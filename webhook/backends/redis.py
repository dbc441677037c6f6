"""Redis: each event an entry of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pybroker.broker import events
from pybroker.broker.outgoing.tls import client_context

from ..backend import DELIVERED, Outcome, words
from ..body.headers import HeaderTemplates, address_of, own_headers
from ..body.template import compile_template
from ..parcels import Delivery, Headers
from ..settings import SettingsError, WebhookSettings

if TYPE_CHECKING:
    from redis.asyncio import Redis


class RedisBackend:
    """XADD for each event, one pipeline for each batch. The server's reply is the acknowledgement."""

    mark = ":stream"
    """The name of the first value that ``address`` returns."""

    def __init__(self, settings: WebhookSettings) -> None:
        options = settings.options
        self._settings = settings
        self._url = settings.url or "redis://127.0.0.1:6379/0"
        if " " in self._url or not self._url.startswith(("redis://", "rediss://")):
            raise SettingsError(f"{settings.label}: url must be one of the form redis://HOST:PORT/DB")
        self._tls: dict[str, Any] = {}
        if self._url.startswith("rediss://"):
            client_context(settings.tls, settings.label)  # raises where a file cannot be used
            self._tls = _tls_options(settings)
        self._stream = compile_template(options["stream"])
        self._headers = HeaderTemplates(settings.headers, options["user_properties"])
        self._bound = ("MAXLEN", "~", options["maxlen"]) if options["maxlen"] else ()
        self._client: Redis | None = None

    def address(self, event: events.Event) -> Headers:
        return ((":stream", self._stream(event)), *self._headers(event))

    async def open(self) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        once: Any = Retry(NoBackoff(), 0)  # trying again is the delivery's business
        self._client = Redis.from_url(self._url, retry=once, **self._tls)
        await self._client.ping()

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        assert self._client is not None
        pipeline = self._client.pipeline(transaction=False)
        for event in events:
            pipeline.execute_command("XADD", *self._entry(event))
        replies = await pipeline.execute(raise_on_error=False)
        return [
            Outcome.retry(words(reply)) if isinstance(reply, Exception) else DELIVERED for reply in replies
        ]

    def _entry(self, event: Delivery) -> tuple[Any, ...]:
        own = own_headers(event)
        fields: tuple[Any, ...] = ("id", event.id, "at", f"{event.at:.3f}", "event", event.event)
        if event.topic is not None:
            fields += ("topic", event.topic)
        if event.client:
            fields += ("clientid", event.client)
        for name, value in own:
            fields += (name, value)
        return (address_of(event, "stream"), *self._bound, "*", *fields, "body", event.body)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _tls_options(settings: WebhookSettings) -> dict[str, Any]:
    tls = settings.tls
    if tls is None:
        return {}
    named = {"ssl_ca_certs": tls.cacertfile, "ssl_certfile": tls.certfile, "ssl_keyfile": tls.keyfile}
    options: dict[str, Any] = {name: str(file) for name, file in named.items() if file is not None}
    if tls.key_password is not None:
        options["ssl_password"] = tls.key_password
    if not tls.verify:
        options.update(ssl_cert_reqs="none", ssl_check_hostname=False)
    return options
