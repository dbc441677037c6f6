"""MongoosePush, API v3: one server in front of FCM and APNs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any
from urllib.parse import quote

from pybroker.broker.outgoing.http import Answer

from ..backend import Outcome
from ..clock import Clock
from ..http.answers import retry_after
from ..http.transport import MakeTransport, Request
from ..settings import WebhookSettings
from .notification import Notification
from .provider import again, gone, refused
from .registration import Registration


class MongoosePush:
    """Sends to MongoosePush. Raises SettingsError or TlsError if the URL or a certificate cannot be used."""

    def __init__(self, settings: WebhookSettings, clock: Clock, make_transport: MakeTransport) -> None:
        url = f"{settings.url.rstrip('/')}/v3/notification/"
        self._transport = make_transport(dataclasses.replace(settings, url=url))
        self._headers = {"content-type": "application/json"}
        self._headers.update((name.lower(), value) for name, value in settings.headers)
        self._clock = clock

    async def push(self, device: Registration, note: Notification) -> Outcome:
        body = json.dumps(payload(device, note), ensure_ascii=False, separators=(",", ":")).encode()
        answer = await self._transport.post(
            Request(self._headers, body, below=quote(device.device_id, safe=""))
        )
        return outcome(answer, self._clock.time())

    async def close(self) -> None:
        await self._transport.close()


def payload(device: Registration, note: Notification) -> dict[str, Any]:
    """The body of the request. Empty values are left out, because MongoosePush refuses them."""
    found: dict[str, Any] = {"service": device.service, "mode": note.mode, "priority": note.priority}
    if not note.silent:
        alert: dict[str, Any] = {"title": note.title, "body": note.body}
        alert |= _said(badge=note.badge, sound=note.sound, click_action=note.click_action)
        if device.service == "fcm":
            alert |= _said(tag=note.tag or None)
        found["alert"] = alert
    found["data"] = note.data
    if device.service == "fcm":
        found |= _said(time_to_live=note.time_to_live)
    else:
        found |= _said(topic=note.topic)
        if note.mutable_content:
            found["mutable_content"] = True
    return found


def _said(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def outcome(answer: Answer, now: float) -> Outcome:
    """The outcome by the status."""
    status = answer.status
    if 200 <= status < 300:
        return Outcome.delivered(f"answered {status}", status)
    why = f"answered {status}" + _reason(answer.body)
    if status == 410:
        return gone(status, why)
    if status == 429 or status >= 500:
        return again(status, why, retry_after(answer.headers.get("retry-after"), now) or 0.0)
    return refused(status, why)


def _reason(body: bytes) -> str:
    """``reason`` of the answer, or the place of the error that its validation names."""
    try:
        said = json.loads(body)
        if "reason" in said:
            return f", {said['reason']}"[:200]
        first = said["errors"][0]
        return f", {first['source']['pointer']}: {first['message']}"[:200]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
