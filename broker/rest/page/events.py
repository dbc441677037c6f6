"""`/events`: live events, as server-sent events.

The query narrows it: ``topic`` is a topic filter (``#``), ``client`` and ``text`` must be contained in the
client identifier and the payload. Events: ``message``, ``client``, ``left_out`` (how many were not sent),
``worker`` (another process of the broker does not answer, or does so again).
"""

from __future__ import annotations

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from ...events import ClientConnected, ClientDisconnected, Event, MessagePublished
from ...live.feed import Entry
from ...live.shown import properties_of, text_of
from ...routing.topics import filter_error
from ..answers import Code, Refused
from ..calls import Call
from .relays import Relays

EVENTS = "/events"
PAYLOAD_SHOWN = 16 << 10
"""The bytes of a payload that are sent. Its size is always sent."""
GATHER = 0.1
"""Seconds for which events are gathered, to be sent together."""
GATHER_FOR_EACH = 0.002
"""The same for each watcher, if there are many: writing to each takes time."""
PING = 15.0
WRITE_TIMEOUT = 30.0
"""Seconds that a reader may leave its connection full."""


async def watch(
    call: Call, most: int, stopping: asyncio.Event, headers: Mapping[str, str], others: Mapping[int, Path]
) -> web.StreamResponse:
    """Send events until the client goes, or the broker stops. ``others`` are the numbers of the other
    processes of the broker, and where their servers are. Raises Refused where ``most`` others watch."""
    query = call.request.rel_url.query
    topic_filter = query.get("topic") or "#"
    if error := filter_error(topic_filter):
        raise Refused(400, Code.BAD_REQUEST, f"topic: {error}")
    feed = call.served.feed
    if feed.readers >= most:
        raise Refused(503, Code.BAD_REQUEST, f"http_server.max_streams = {most} pages are open already")
    woken = asyncio.Event()
    reader = feed.open(topic_filter, woken.set)
    response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
    wanted = _Wanted(query.get("client", ""), query.get("text", ""))
    passed = feed.passed
    relays = Relays(others, EVENTS, query)
    try:
        await relays.open()
        await response.prepare(call.request)
        relays.start(partial(_write, response), partial(_break_off, call, response))
        await _write(response, b"retry: 1000\n\n")
        while not stopping.is_set():
            try:
                async with asyncio.timeout(PING):
                    await woken.wait()
            except TimeoutError:
                await _write(response, b": ping\n\n")
                continue
            apart = random.uniform(0.5, 1.5)  # noqa: S311 - so that many do not write at the same time
            await asyncio.sleep(max(GATHER, feed.readers * GATHER_FOR_EACH * apart))
            woken.clear()
            lines = [_line(entry) for entry in reader.take() if wanted(entry.event)]
            left_out, reader.left_out = reader.left_out + feed.passed - passed, 0
            passed = feed.passed
            if left_out or feed.sampling:
                lines.append(_event("left_out", {"count": left_out, "sampling": feed.sampling}))
            await _write(response, "".join(lines).encode())
    except TimeoutError:
        _break_off(call, response)
    finally:
        feed.close(reader)
        await relays.close()
    return response


def _break_off(call: Call, response: web.StreamResponse) -> None:
    response.force_close()
    if call.request.transport is not None:
        call.request.transport.abort()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Raises TimeoutError if the reader reads nothing."""
    async with asyncio.timeout(WRITE_TIMEOUT):
        await response.write(data)


class _Wanted:
    """The conditions of the query for an event, besides its topic."""

    def __init__(self, client: str, text: str) -> None:
        self._client = client
        self._text = text.encode()

    def __call__(self, event: Event) -> bool:
        if isinstance(event, MessagePublished):
            client = event.publisher.client_id if event.publisher else ""
            return self._client in client and self._text in event.payload
        if isinstance(event, ClientConnected | ClientDisconnected):
            return self._client in event.client.client_id
        return False


def _line(entry: Entry) -> str:
    if entry.text is None:
        event = entry.event
        if isinstance(event, MessagePublished):
            entry.text = _event("message", message_of(event))
        elif isinstance(event, ClientConnected | ClientDisconnected):
            entry.text = _event("client", _client_of(event))
        else:
            entry.text = ""
    return entry.text


def _event(kind: str, value: Any) -> str:
    # JSON has no line break of its own: what a client sent cannot begin another event.
    return f"event: {kind}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n"


def message_of(event: MessagePublished) -> dict[str, Any]:
    """A message as the page expects it: ``payload`` is text, or base64 if ``binary`` is true."""
    shown = event.payload[:PAYLOAD_SHOWN]
    found: dict[str, Any] = {
        "at": event.at,
        "topic": event.topic,
        "client": event.publisher.client_id if event.publisher else None,
        "username": event.publisher.username if event.publisher else None,
        "qos": event.qos,
        "retain": event.retain,
        "size": len(event.payload),
    }
    try:
        found["payload"] = text_of(shown, cut=len(shown) < len(event.payload))
    except UnicodeDecodeError:
        found["payload"] = b64encode(shown).decode()
        found["binary"] = True
    if event.properties is not None:
        found["properties"] = properties_of(event.properties)
    return found


def _client_of(event: ClientConnected | ClientDisconnected) -> dict[str, Any]:
    client = event.client
    connected = isinstance(event, ClientConnected)
    return {
        "at": event.at,
        "client": client.client_id,
        "username": client.username,
        "peer": client.peer,
        "version": client.protocol_version,
        "connected": connected,
        "reason": None if isinstance(event, ClientConnected) else event.reason,
    }
