"""`/events`: what goes on, as server-sent events.

The query narrows it: ``topic`` is a topic filter (``#``), ``client`` and ``text`` must be contained in the
client identifier and the payload. Events: ``message``, ``client``, ``left_out`` (how many were not sent).
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ...events import ClientConnected, ClientDisconnected, Event, MessagePublished
from ...live.shown import properties_of, text_of
from ...routing.topics import filter_error
from ..answers import Code, Refused
from ..calls import Call

EVENTS = "/events"
MAX_WATCHERS = 16
"""Streams at a time; each costs work for every event."""
PAYLOAD_SHOWN = 16 << 10
"""Bytes of a payload that are sent; its size is always told."""
GATHER = 0.1
"""Seconds for which events are gathered, to be sent at one go."""
PING = 15.0


async def watch(call: Call, stopping: asyncio.Event, headers: Mapping[str, str]) -> web.StreamResponse:
    """Send events until the client goes, or the broker stops."""
    query = call.request.rel_url.query
    topic_filter = query.get("topic") or "#"
    if error := filter_error(topic_filter):
        raise Refused(400, Code.BAD_REQUEST, f"topic: {error}")
    feed = call.served.feed
    if feed.readers >= MAX_WATCHERS:
        raise Refused(503, Code.BAD_REQUEST, f"{MAX_WATCHERS} others watch already")
    woken = asyncio.Event()
    reader = feed.open(topic_filter, woken.set)
    response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
    wanted = _Wanted(query.get("client", ""), query.get("text", ""))
    passed = feed.passed
    try:
        await response.prepare(call.request)
        await response.write(b"retry: 1000\n\n")
        while not stopping.is_set():
            if not await _any_of(woken, stopping):
                await response.write(b": ping\n\n")
                continue
            await asyncio.sleep(GATHER)
            woken.clear()
            lines = [_line(event) for event in reader.take() if wanted(event)]
            left_out, reader.left_out = reader.left_out + feed.passed - passed, 0
            passed = feed.passed
            if left_out or feed.sampling:
                lines.append(_event("left_out", {"count": left_out, "sampling": feed.sampling}))
            await response.write("".join(lines).encode())
    finally:
        feed.close(reader)
    return response


class _Wanted:
    """Whether an event is asked for, beside its topic."""

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


async def _any_of(*events: asyncio.Event) -> bool:
    """Wait for one of them, at most PING seconds; whether any is set."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(tasks, timeout=PING, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in tasks:
            task.cancel()


def _line(event: Event) -> str:
    if isinstance(event, MessagePublished):
        return _event("message", message_of(event))
    if isinstance(event, ClientConnected | ClientDisconnected):
        return _event("client", _client_of(event))
    return ""


def _event(kind: str, value: Any) -> str:
    # JSON has no line break of its own: what a client sent cannot begin another event.
    return f"event: {kind}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n"


def message_of(event: MessagePublished) -> dict[str, Any]:
    """A message as the page takes it: ``payload`` is text, or base64 where ``binary`` is true."""
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
