"""Firebase Cloud Messaging, HTTP v1, with the key of a service account.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt

from pybroker.broker.outgoing.http import Answer, NoAnswerError
from pybroker.broker.outgoing.tls import client_context

from ..backend import Outcome
from ..clock import Clock
from ..http.answers import retry_after
from ..settings import SettingsError, WebhookSettings
from .http2 import Client, said
from .notification import Notification
from .provider import again, gone, refused
from .registration import Registration

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME = 3600
"""Seconds that a grant is valid; Google allows no more."""
MARGIN = 300.0
"""Seconds before its end at which a token is renewed."""
_NOT_OURS = "THIRD_PARTY_AUTH_ERROR"
"""What APNs or web push do not accept: credentials that the project has there."""
_QUOTA_WAIT = 60.0
"""Seconds to wait after 429, where the answer does not say; Google asks for that."""


class Fcm:
    """Sends to FCM. Raises SettingsError if the service account's file cannot be used."""

    def __init__(self, settings: WebhookSettings, clock: Clock) -> None:
        self._account = _account(Path(settings.options["fcm.credentials"]), settings.label)
        base = (settings.options["fcm.url"] or "https://fcm.googleapis.com").rstrip("/")
        self._url = f"{base}/v1/projects/{self._account['project_id']}/messages:send"
        self._client = Client(client_context(settings.tls, settings.label), settings.cancel_timeout)
        self._clock = clock
        self._token, self._token_until = "", 0.0
        self._renewing = asyncio.Lock()

    async def push(self, device: Registration, note: Notification) -> Outcome:
        body = json.dumps({"message": message(device, note)}, ensure_ascii=False).encode()
        token = await self._valid_token()
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        answer = await self._client.post(self._url, headers, body)
        if answer.status == 401 and token == self._token and _code(_error(answer)) != _NOT_OURS:
            self._token_until = 0.0  # the next try requests another token
        return outcome(answer, self._clock.time())

    async def _valid_token(self) -> str:
        """Raises NoAnswerError."""
        async with self._renewing:
            if self._clock.monotonic() >= self._token_until:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        account, now = self._account, int(self._clock.time())
        claims = {"iss": account["client_email"], "scope": SCOPE, "aud": account["token_uri"]}
        claims |= {"iat": now, "exp": now + LIFETIME}
        kid = {"kid": account["private_key_id"]} if "private_key_id" in account else None
        grant = jwt.encode(claims, account["private_key"], algorithm="RS256", headers=kid)
        form = urlencode({"grant_type": GRANT, "assertion": grant}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = await self._client.post(account["token_uri"], headers, form)
        found = said(answer)
        token, seconds = found.get("access_token"), found.get("expires_in", LIFETIME)
        if answer.status != 200 or not isinstance(token, str) or not isinstance(seconds, int | float):
            why = str(found.get("error_description") or found.get("error") or f"status {answer.status}")
            raise NoAnswerError(f"no access token: {why[:200]}")
        self._token = token
        self._token_until = self._clock.monotonic() + max(seconds - MARGIN, seconds / 2)

    async def close(self) -> None:
        await self._client.close()


def _account(path: Path, label: str) -> dict[str, Any]:
    """The service account's file, as Google's console makes it."""
    where = f"{label}: fcm.credentials: {path}"
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{where}: {error.strerror}") from error
    except ValueError:
        raise SettingsError(f"{where} is not JSON; it is the file of a service account's key") from None
    for key in ("project_id", "client_email", "private_key", "token_uri"):
        if not isinstance(found, dict) or not isinstance(found.get(key), str):
            raise SettingsError(f'{where} has no "{key}"; it is the file of a service account\'s key')
    try:
        jwt.encode({}, found["private_key"], algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):
        raise SettingsError(f"{where}: its private_key cannot be used") from None
    return dict(found)


def message(device: Registration, note: Notification) -> dict[str, Any]:
    """The ``message`` of the request."""
    android: dict[str, Any] = {"priority": note.priority}
    if note.time_to_live is not None:
        android["ttl"] = f"{note.time_to_live}s"
    found: dict[str, Any] = {"token": device.device_id, "data": note.data, "android": android}
    if note.tag:
        android["collapse_key"] = note.tag
    if not note.silent:
        found["notification"] = {"title": note.title, "body": note.body}
        shown = {
            "tag": note.tag or None,
            "sound": note.sound,
            "click_action": note.click_action,
            "notification_count": note.badge,
        }
        android["notification"] = {name: value for name, value in shown.items() if value is not None}
    return found


def outcome(answer: Answer, now: float) -> Outcome:
    """The outcome by FCM's error code, https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode"""
    status = answer.status
    if status == 200:
        return Outcome.delivered("answered 200", status)
    error = _error(answer)
    code = _code(error)
    why = f"answered {status}" + (f", {code}" if code else "")
    if code == "UNREGISTERED" or (code == "INVALID_ARGUMENT" and _is_about_the_token(error)):
        return gone(status, why)
    if status in (400, 413) or code == "SENDER_ID_MISMATCH":
        return refused(status, why)
    # All other errors are temporary, or errors of the configuration: credentials, permissions, the project.
    after = retry_after(answer.headers.get("retry-after"), now)
    return again(status, why, after or (_QUOTA_WAIT if status == 429 else 0.0))


def _error(answer: Answer) -> dict[str, Any]:
    error = said(answer).get("error")
    return error if isinstance(error, dict) else {}


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    return [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []


def _code(error: dict[str, Any]) -> str:
    codes = [detail["errorCode"] for detail in _details(error) if "errorCode" in detail]
    return str(codes[0] if codes else error.get("status", ""))[:60]


def _is_about_the_token(error: dict[str, Any]) -> bool:
    """Whether the device's token is invalid, and not another field of the request: that is named in
    ``fieldViolations``. See https://firebase.google.com/docs/cloud-messaging/error-codes"""
    violations = any("fieldViolations" in detail for detail in _details(error))
    return not violations and "registration token" in str(error.get("message", "")).lower()
