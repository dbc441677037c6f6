"""Apple's push notification service, HTTP/2, with a token of our key.

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt

from pybroker.broker.outgoing.http import Answer
from pybroker.broker.outgoing.tls import client_context

from ..backend import Outcome
from ..clock import Clock
from ..http.answers import retry_after
from ..settings import SettingsError, WebhookSettings
from .http2 import Client, said
from .notification import Notification
from .provider import again, gone, refused
from .registration import Registration

HOSTS = {"prod": "https://api.push.apple.com", "dev": "https://api.sandbox.push.apple.com"}
TOKEN_AGE = 2400.0
"""Seconds after which a token is renewed: Apple refuses those of an hour, and more than one in 20 minutes."""
TOKEN_KEPT = 1200.0
"""Seconds for which a token is kept even if Apple calls it expired: another one would be refused, too."""
_GONE = ("ExpiredToken", "Unregistered")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
"""A device token. Apple calls it bad if it is none, and also if it is one of the other environment (`mode`):
then all devices would be forgotten because of one wrong setting."""


class Apns:
    """Sends to APNs. Raises SettingsError if the key cannot be used."""

    def __init__(self, settings: WebhookSettings, clock: Clock) -> None:
        options = settings.options
        for name in ("apns.key_id", "apns.team_id"):
            if not options[name]:
                raise SettingsError(f"{settings.label}: {name} is missing; it goes with apns.keyfile")
        self._key = _key(Path(options["apns.keyfile"]), settings.label)
        self._key_id, self._team = options["apns.key_id"], options["apns.team_id"]
        url: str | None = options["apns.url"]
        self._bases = HOSTS if url is None else dict.fromkeys(HOSTS, url.rstrip("/"))
        self._client = Client(client_context(settings.tls, settings.label), settings.cancel_timeout)
        self._clock = clock
        self._token, self._token_at = "", -TOKEN_AGE

    async def push(self, device: Registration, note: Notification) -> Outcome:
        if note.topic is None:
            return Outcome.dead("apns.topic is missing: the app's bundle identifier")
        now, token = self._clock.time(), self._valid_token()
        body = json.dumps(payload(note), ensure_ascii=False, separators=(",", ":")).encode()
        url = f"{self._bases[note.mode]}/3/device/{quote(device.device_id, safe='')}"
        answer = await self._client.post(
            url, {**headers(note, now), "authorization": f"bearer {token}"}, body
        )
        if said(answer).get("reason") == "ExpiredProviderToken" and token == self._token:
            self._drop_token()
        return outcome(answer, device, self._clock.time())

    def _valid_token(self) -> str:
        now = self._clock.monotonic()
        if not self._token or now - self._token_at >= TOKEN_AGE:
            claims = {"iss": self._team, "iat": int(self._clock.time())}
            self._token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
            self._token_at = now
        return self._token

    def _drop_token(self) -> None:
        if self._clock.monotonic() - self._token_at >= TOKEN_KEPT:
            self._token = ""

    async def close(self) -> None:
        await self._client.close()


def _key(path: Path, label: str) -> str:
    where = f"{label}: apns.keyfile: {path}"
    try:
        key = path.read_text()
        jwt.encode({}, key, algorithm="ES256")
    except OSError as error:
        raise SettingsError(f"{where}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, jwt.PyJWTError):
        raise SettingsError(f"{where} cannot be used; it is the .p8 file that Apple gives out") from None
    return key


def headers(note: Notification, now: float) -> dict[str, str]:
    """The headers for APNs; ``now`` is seconds since the epoch."""
    high = note.priority == "high" and not note.silent  # a silent notification must not have a high priority
    found = {
        "apns-topic": note.topic or "",
        "apns-push-type": "background" if note.silent else "alert",
        "apns-priority": "10" if high else "5",
    }
    if note.time_to_live is not None:
        found["apns-expiration"] = str(int(now) + note.time_to_live if note.time_to_live else 0)
    if note.tag:
        found["apns-collapse-id"] = quote(note.tag, safe=" /.:")[:64]
    return found


def payload(note: Notification) -> dict[str, Any]:
    """The body of the request."""
    if note.silent:
        return {"aps": {"content-available": 1}, **note.data}
    aps: dict[str, Any] = {"alert": {"title": note.title, "body": note.body}}
    shown = {"badge": note.badge, "sound": note.sound, "category": note.click_action}
    aps |= {name: value for name, value in shown.items() if value is not None}
    if note.mutable_content:
        aps["mutable-content"] = 1
    return {"aps": aps, **note.data}


def outcome(answer: Answer, device: Registration, now: float) -> Outcome:
    """The outcome by Apple's reason, .../usernotifications/handling-notification-responses-from-apns"""
    status = answer.status
    if status == 200:
        return Outcome.delivered("answered 200", status)
    found = said(answer)
    reason = str(found.get("reason", ""))[:60]
    why = f"answered {status}" + (f", {reason}" if reason else "")
    if reason == "BadDeviceToken":
        if not _HEX.fullmatch(device.device_id):
            return gone(status, why)
        return refused(status, f"{why}; perhaps the device is one of the other mode, prod or dev")
    if status == 410 or reason in _GONE:
        since = found.get("timestamp")
        anew = isinstance(since, int | float) and device.at * 1000 > since
        return refused(status, f"{why}; the device was registered anew") if anew else gone(status, why)
    # 403 is about the key, the team or the environment, which can be mended; Forbidden is not.
    of_configuration = status == 403 and reason != "Forbidden"
    if status == 429 or status >= 500 or of_configuration or reason == "IdleTimeout":
        return again(status, why, retry_after(answer.headers.get("retry-after"), now) or 0.0)
    return refused(status, why)
