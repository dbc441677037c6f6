"""Kafka: each event a record that all in-sync replicas have."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pybroker.broker import events

from ..backend import DELIVERED, Outcome, words
from ..body.headers import HeaderTemplates, address_of, own_headers
from ..body.template import compile_template
from ..parcels import Delivery, Headers
from ..settings import SettingsError, WebhookSettings

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

LOOKS = 0.001, 0.02
"""Seconds between two polls for acknowledgements, at first and at most."""

CONNECTING = 3.0
"""Seconds that a search for a server may take. It cannot be interrupted: a stop of the broker waits for
it."""


class KafkaBackend:
    """librdkafka's idempotent producer: it orders the records of a key, and drops its own repeats."""

    mark = ":topic"
    """The name of the first value that ``address`` returns."""

    def __init__(self, settings: WebhookSettings) -> None:
        options = settings.options
        servers = [urlsplit(url) for url in settings.url.split() or ["kafka://127.0.0.1:9092"]]
        if any(one.scheme != "kafka" or "@" in one.netloc for one in servers):
            raise SettingsError(
                f"{settings.label}: url must be kafka://HOST:PORT; credentials go into client {{}}"
            )
        if not options["topic"]:
            raise SettingsError(f"{settings.label}: topic is missing: the topic to publish to")
        self._label = settings.label
        self._topic = compile_template(options["topic"], _topic)
        self._key = compile_template(options["key"])
        self._headers = HeaderTemplates(settings.headers, options["user_properties"])
        self._timeout = settings.cancel_timeout
        self._settings: dict[str, Any] = {
            "bootstrap.servers": ",".join(one.netloc for one in servers),
            "enable.idempotence": True,
            "linger.ms": 0,  # a batch is handed over at once
            "message.timeout.ms": max(1, round(settings.cancel_timeout * 1000)),
            **_tls(settings),
            **dict(options["client"]),
        }
        self._producer: Producer | None = None

    def address(self, event: events.Event) -> Headers:
        return ((":topic", self._topic(event)), (":key", self._key(event)), *self._headers(event))

    async def open(self) -> None:
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        """Blocking. Raises if no server answers."""
        from confluent_kafka import KafkaError, KafkaException, Producer

        quiet = logging.getLogger("pybroker.librdkafka")
        quiet.setLevel(logging.CRITICAL)  # what fails is told by the delivery
        trouble: deque[KafkaError] = deque(maxlen=8)
        producer = None
        try:
            producer = Producer({**self._settings, "error_cb": trouble.append}, logger=quiet)
            producer.list_topics(timeout=min(self._timeout / 2, CONNECTING))
        except KafkaException as error:
            if producer is not None:
                producer.poll(0)  # tells of its trouble, such as a certificate
            reasons = [one for one in trouble if one.code() != KafkaError._ALL_BROKERS_DOWN]
            raise ConnectionError(_said(reasons[0] if reasons else error.args[0])) from error
        self._producer = producer

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        from confluent_kafka import KafkaException

        producer = self._producer
        if producer is None:
            raise ConnectionError("the producer was closed")
        outcomes: list[Outcome | None] = [None] * len(events)
        for number, event in enumerate(events):
            try:
                producer.produce(
                    address_of(event, "topic"),
                    event.body,
                    address_of(event, "key") or None,
                    headers=[("id", event.id), *own_headers(event)],
                    timestamp=round(event.at * 1000),
                    on_delivery=partial(_delivered, outcomes, number),
                )
            except KafkaException as error:
                _delivered(outcomes, number, error.args[0], None)
            except BufferError:
                outcomes[number] = Outcome.retry("the producer's queue is full")
        pause, longest = LOOKS
        producer.poll(0)
        while None in outcomes:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, longest)
            producer.poll(0)
        return [outcome or DELIVERED for outcome in outcomes]

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()  # an event that was given up must not be sent later
            await asyncio.to_thread(producer.flush, 0.5)


def _delivered(
    outcomes: list[Outcome | None], number: int, error: KafkaError | None, record: Message | None
) -> None:
    from confluent_kafka import KafkaError

    if error is None:
        outcomes[number] = DELIVERED
    elif error.code() in (
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_RECORD,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError._INVALID_ARG,
    ):
        outcomes[number] = Outcome.dead(_said(error))
    else:
        outcomes[number] = Outcome.retry(_said(error))


def _said(error: Any) -> str:
    return f"{error.name()}: {error.str()}" if hasattr(error, "name") else words(error)


def _tls(settings: WebhookSettings) -> dict[str, Any]:
    tls = settings.tls
    if tls is None:
        return {}
    files = {
        "ssl.ca.location": tls.cacertfile,
        "ssl.certificate.location": tls.certfile,
        "ssl.key.location": tls.keyfile,
    }
    found: dict[str, Any] = {name: str(file) for name, file in files.items() if file is not None}
    if tls.key_password is not None:
        found["ssl.key.password"] = tls.key_password
    if not tls.verify:
        found["enable.ssl.certificate.verification"] = False
    return {"security.protocol": "ssl", **found}


def _topic(name: str, value: str) -> str:
    """Kafka's topics have letters, digits, ``.``, ``_`` and ``-``."""
    value = value.replace("/", ".") if name == "topic" else value
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in value)
