"""`/webhooks`: the endpoints, their counters and their dead letters."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from aiohttp import web

from pybroker.webhook.delivery.deadletters import DeadLetterError, DeadLetters, Selection
from pybroker.webhook.delivery.endpoint import Endpoint
from pybroker.webhook.delivery.tries import Try
from pybroker.webhook.settings import WebhookSettings
from pybroker.webhook.spool.store import DeadLetter

from ...live.shown import text_of
from ..answers import Code, Refused, data, done
from ..calls import Call, Route, Where
from ..listing import number

MOST_SHOWN = 500
"""The most dead letters in one answer. If there are more, the newest are left out."""
RETRY_PATIENCE = 600.0
"""Seconds that another worker may take to send its dead letters again."""


async def webhooks(call: Call) -> web.Response:
    return data([stats.to_dict() for stats in call.served.webhook_stats()])


async def webhook(call: Call) -> web.Response:
    name = _endpoint(call).stats().name
    return data(next(one for one in call.served.webhook_stats() if one.name == name).to_dict())


def _endpoint(call: Call) -> Endpoint:
    name = call.arguments[0]
    endpoint = call.served.webhooks().endpoint(name)
    if endpoint is None:
        raise Refused(404, Code.BAD_REQUEST, f'there is no webhook or event pusher "{name}"')
    return endpoint


async def deliveries(call: Call) -> web.Response:
    """The last tries, oldest first. Failures are always kept, other tries from the first such request on."""
    endpoint = _endpoint(call)
    return data([_try(endpoint, one) for one in endpoint.last_tries(_after(call))])


def _after(call: Call) -> int:
    """Of ``after`` in the query, a number for each worker, the one that is for this process. Raises
    Refused."""
    workers = call.served.workers
    index = 0 if workers is None else workers.index
    texts = call.request.rel_url.query.get("after", "").split(",")
    own = texts[index] if index < len(texts) else ""
    return number({"after": own}, "after", 0) if own.strip("0") else 0


async def _tries_of_all(call: Call, lists: Sequence[list[dict[str, Any]]]) -> web.Response:
    return data(sorted(_with_worker(lists), key=lambda one: one["at"]))


def _with_worker(lists: Sequence[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Each with the number of its worker, from 1 on."""
    return ({**one, "worker": worker} for worker, found in enumerate(lists, 1) for one in found)


def _try(endpoint: Endpoint, one: Try) -> dict[str, Any]:
    outcome = one.outcome
    body: dict[str, Any]
    try:
        body = {"body": text_of(one.body, cut=len(one.body) < one.body_size)}
    except UnicodeDecodeError:
        body = {"body": b64encode(one.body).decode(), "binary": True}
    return {
        "number": one.number,
        "at": one.at,
        "seconds": one.seconds,
        "try": one.tries,
        "events": one.events,
        "id": one.id,
        "event": one.event,
        "topic": one.topic,
        "client": one.client,
        "verdict": outcome.verdict.value,
        "why": outcome.why,
        "status": outcome.status,
        "request": {"headers": endpoint.shown_headers(one), **body, "size": one.body_size},
        "answer": outcome.body.decode(errors="replace"),
    }


def _dead(call: Call) -> DeadLetters:
    name = call.arguments[0]
    settings: WebhookSettings | None = next(
        (one for one in call.served.settings().endpoints if one.name == name), None
    )
    if settings is None:
        raise Refused(404, Code.BAD_REQUEST, f'there is no webhook or event pusher "{name}"')
    try:
        return DeadLetters(settings)
    except DeadLetterError as error:
        raise Refused(404, Code.BAD_REQUEST, str(error)) from None


def _selection(call: Call) -> Selection:
    """``number`` in the query, several with commas; without it, all of them."""
    text = call.request.rel_url.query.get("number")
    if not text:
        return Selection()
    try:
        return Selection(seqs=frozenset(int(one) for one in text.split(",")))
    except ValueError:
        raise Refused(
            400, Code.BAD_REQUEST, f'number: "{text}" is neither a number nor a list of numbers'
        ) from None


def _element(letter: DeadLetter) -> dict[str, Any]:
    item = letter.delivery
    found: dict[str, Any] = {
        "number": item.seq,
        "id": item.id,
        "event": item.event,
        "topic": item.topic,
        "client": item.client,
        "at": item.at,
        "died_at": letter.died_at,
        "why": letter.why,
        "status": letter.status,
        "answer": letter.answer.decode(errors="replace"),
    }
    try:
        found["body"] = json.loads(item.body)
    except (ValueError, RecursionError):
        found["body"] = b64encode(item.body).decode()
    return found


async def dead_letters(call: Call) -> web.Response:
    dead, selection = _dead(call), _selection(call)

    def read() -> list[dict[str, Any]]:
        return [_element(letter) for letter in islice(dead.find(selection), MOST_SHOWN)]

    try:
        return data(await asyncio.to_thread(read))
    except DeadLetterError as error:
        raise Refused(500, Code.RPC_ERROR, str(error)) from None


async def _dead_letters_of_all(call: Call, lists: Sequence[list[dict[str, Any]]]) -> web.Response:
    return data(sorted(_with_worker(lists), key=lambda one: one["at"])[:MOST_SHOWN])


async def retry(call: Call) -> web.Response:
    """Send dead letters again. Those that are delivered are removed."""
    dead = _dead(call)
    try:
        found = await dead.retry(_selection(call), call.served.webhooks().make_sender)
    except DeadLetterError as error:
        raise Refused(500, Code.RPC_ERROR, str(error)) from None
    return data({"delivered": found.delivered, "failed": found.failed, "stopped": found.stopped})


async def _retried_by_all(call: Call, results: Sequence[dict[str, Any]]) -> web.Response:
    found: dict[str, Any] = {key: sum(one[key] for one in results) for key in ("delivered", "failed")}
    return data({**found, "stopped": next((one["stopped"] for one in results if one["stopped"]), None)})


async def purge(call: Call) -> web.Response:
    dead, selection = _dead(call), _selection(call)
    if selection == Selection() and call.request.rel_url.query.get("all") != "true":
        raise Refused(400, Code.BAD_REQUEST, "select some by ?number=, or all by ?all=true")
    try:
        await asyncio.to_thread(dead.purge, selection)
    except DeadLetterError as error:
        raise Refused(500, Code.RPC_ERROR, str(error)) from None
    return done()


async def _purged_by_all(call: Call, results: Sequence[Any]) -> web.Response:
    return done()


ROUTES = (
    Route("GET", "/webhooks", webhooks, "list_webhooks", "Each endpoint with its counters"),
    Route("GET", "/webhooks/:name", webhook, "get_webhook", "One endpoint with its counters"),
    Route(
        "GET",
        "/webhooks/:name/deliveries",
        deliveries,
        "list_deliveries",
        "Its last tries, while asked for",
        where=Where.ALL,
        join=_tries_of_all,
    ),
    Route(
        "GET",
        "/webhooks/:name/dead",
        dead_letters,
        "list_dead_letters",
        "Its dead letters, oldest first",
        where=Where.ALL,
        join=_dead_letters_of_all,
    ),
    Route(
        "POST",
        "/webhooks/:name/dead/retry",
        retry,
        "retry_dead_letters",
        "Send them again",
        True,
        where=Where.NAMED,
        join=_retried_by_all,
        patience=RETRY_PATIENCE,
    ),
    Route(
        "DELETE",
        "/webhooks/:name/dead",
        purge,
        "purge_dead_letters",
        "Throw them away",
        True,
        where=Where.NAMED,
        join=_purged_by_all,
    ),
)
