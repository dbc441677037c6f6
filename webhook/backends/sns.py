"""Amazon SNS: each event a message of a topic, sent by botocore in threads."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from pybroker.broker import events

from ..backend import DELIVERED, Outcome, Verdict, words
from ..body.encode import ACTIONS
from ..body.headers import HeaderTemplates, address_of, own_headers
from ..body.template import compile_template
from ..parcels import Delivery, Headers
from ..settings import SettingsError, WebhookSettings

T = TypeVar("T")

BATCH, BATCH_BYTES = 10, 256 << 10
"""The most events, and bytes, of one PublishBatch."""
MAX_NAME = 256
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]")
_PERIODS = re.compile(r"\.{2,}")
_NOT_IN_VALUES = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
FINAL = {"InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid", "BatchRequestTooLong"}
"""Error codes of events that SNS will never accept. Throttling, refused credentials and a missing topic may
pass."""


class SnsBackend:
    """PublishBatch for up to ten events. On a FIFO topic SNS drops repeats by the event's id."""

    mark = ":topic-arn"
    """The name of the first value that ``address`` returns."""

    def __init__(self, settings: WebhookSettings) -> None:
        options = settings.options
        self._settings = settings
        self._options = options
        self._arn: str = options["topic_arn"] or ""
        self._arns = {event.removeprefix("on_"): arn for event, arn in options["topic_arns"]}
        self._check()
        arn = self._arn or next(iter(self._arns.values()))
        self._region = options["region"] or arn.split(":")[3]
        self._group = compile_template(options["group_id"])
        self._attributes = HeaderTemplates(
            (*settings.headers, *options["attributes"]), options["user_properties"]
        )
        self._client: Any = None
        self._threads: ThreadPoolExecutor | None = None

    def _check(self) -> None:
        label = self._settings.label
        for arn in (*filter(None, [self._arn]), *self._arns.values()):
            if not arn.startswith("arn:") or arn.count(":") != 5:
                raise SettingsError(f'{label}: "{arn}" is not a topic ARN, arn:aws:sns:REGION:ACCOUNT:TOPIC')
        actions = {rule.event.removeprefix("on_") for rule in self._settings.rules}
        if unknown := sorted(self._arns.keys() - set(ACTIONS.values())):
            raise SettingsError(f"{label}: topic_arns.{unknown[0]}: there is no such event")
        if not self._arn and (without := sorted(actions - self._arns.keys()) or not self._arns):
            event = f"of on_{without[0]}" if isinstance(without, list) else "of the events"
            raise SettingsError(f"{label}: topic_arn is missing: the topic {event}")
        if bool(self._options["access_key_id"]) != bool(self._options["secret_access_key"]):
            raise SettingsError(f"{label}: access_key_id and secret_access_key go together")

    def address(self, event: events.Event) -> Headers:
        arn = self._arns.get(ACTIONS[type(event)], self._arn)
        return ((":topic-arn", arn), (":group", self._group(event)), *self._attributes(event))

    async def open(self) -> None:
        # Threads of its own: those of a server that hangs must not keep others waiting.
        self._threads = ThreadPoolExecutor(self._settings.pool_size, thread_name_prefix="sns")
        self._client = await self._in_thread(self._connect)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _connect(self) -> Any:
        """Blocking: credentials may have to be fetched."""
        from botocore.config import Config
        from botocore.session import Session

        options = self._options
        session = Session(profile=options["profile"])
        if options["access_key_id"]:
            session.set_credentials(
                options["access_key_id"], options["secret_access_key"], options["session_token"]
            )
        if options["role_arn"]:
            _assume(session, options["role_arn"], self._region)
        if session.get_credentials() is None:
            raise ConnectionError("no credentials in the file, in the environment or from a role")
        tls = self._settings.tls
        verify: Any = None if tls is None else (str(tls.cacertfile) if tls.cacertfile else tls.verify)
        return session.create_client(
            "sns",
            region_name=self._region,
            endpoint_url=self._settings.url or None,
            verify=verify,
            config=Config(
                retries={"total_max_attempts": 1},  # trying again is the delivery's business
                connect_timeout=self._settings.cancel_timeout,
                read_timeout=self._settings.cancel_timeout,
                max_pool_connections=self._settings.pool_size,
            ),
        )

    async def send(self, events: Sequence[Delivery]) -> Sequence[Outcome]:
        client = self._client
        if client is None:
            raise ConnectionError("it is closed")
        outcomes: list[Outcome] = [DELIVERED] * len(events)
        for arn, numbers in _batches(events):
            batch = [events[number] for number in numbers]
            found = await self._in_thread(partial(self._publish, client, arn, batch))
            for number, outcome in zip(numbers, found, strict=True):
                outcomes[number] = outcome
        return outcomes

    def _publish(self, client: Any, arn: str, events: Sequence[Delivery]) -> list[Outcome]:
        """Blocking. One request."""
        from botocore.exceptions import ClientError

        entries = [self._entry(str(n), event, arn) for n, event in enumerate(events)]
        try:
            answer = client.publish_batch(TopicArn=arn, PublishBatchRequestEntries=entries)
        except ClientError as error:
            failure = _failure(error.response.get("Error", {}))
            if failure.verdict is Verdict.DEAD and len(events) > 1:  # which of them is it?
                return [self._publish(client, arn, [event])[0] for event in events]
            return [failure] * len(events)
        except Exception as error:  # no connection, no answer, a certificate
            return [Outcome.retry(words(error))] * len(events)
        failed = {one["Id"]: _failure(one) for one in answer.get("Failed", ())}
        arrived = {one["Id"] for one in answer.get("Successful", ())}
        silent = Outcome.retry("SNS did not answer for this event")
        return [DELIVERED if entry["Id"] in arrived else failed.get(entry["Id"], silent) for entry in entries]

    def _entry(self, id: str, event: Delivery, arn: str) -> dict[str, Any]:
        attributes = {attribute_name(name): _text(value) for name, value in own_headers(event) if value}
        attributes["webhook-id"] = event.id
        entry: dict[str, Any] = {
            "Id": id,
            "Message": event.body.decode(errors="replace"),
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        }
        if arn.endswith(".fifo"):
            entry["MessageGroupId"] = address_of(event, "group") or "pybroker"
            entry["MessageDeduplicationId"] = event.id
        return entry

    async def close(self) -> None:
        client, self._client = self._client, None
        threads, self._threads = self._threads, None
        if client is not None:
            client.close()
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)


def _batches(events: Sequence[Delivery]) -> Iterator[tuple[str, list[int]]]:
    """The topic of each request, and the numbers of its events, in order."""
    taken: list[int] = []
    size, current = 0, ""
    for number, event in enumerate(events):
        attributes = sum(len(name) + len(value.encode()) for name, value in own_headers(event))
        arn, length = address_of(event, "topic-arn"), len(event.body) + attributes + 1024
        if taken and (arn != current or len(taken) == BATCH or size + length > BATCH_BYTES):
            yield current, taken
            taken, size = [], 0
        taken.append(number)
        size += length
        current = arn
    if taken:
        yield current, taken


def attribute_name(name: str) -> str:
    """A name that SNS takes for an attribute."""
    found = _PERIODS.sub(".", _NOT_IN_NAMES.sub("_", name)).strip(".")
    return f"_{found}"[:MAX_NAME] if found.lower().startswith(("aws.", "amazon.")) else found[:MAX_NAME]


def _text(value: str) -> str:
    """A value that SNS takes: characters that XML does not have become U+FFFD. A client chooses them, and the
    event would be refused with them."""
    return _NOT_IN_VALUES.sub("\ufffd", value)


def _failure(error: dict[str, Any]) -> Outcome:
    code, message = error.get("Code", "unknown"), error.get("Message", "")
    said = f"{code}: {message}"[:300]
    return Outcome.dead(said) if code in FINAL else Outcome.retry(said)


def _assume(session: Any, role: str, region: str) -> None:
    """Make the session assume the role, and renew it in time."""
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    source = session.get_credentials()
    if source is None:
        raise ConnectionError("no credentials to assume the role")
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=session.create_client,
        source_credentials=source,
        role_arn=role,
        extra_args={"RoleSessionName": "pybroker"},
    )
    session._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
