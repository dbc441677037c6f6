"""`auth.http_auth`: an HTTP server decides; status 200 allows."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..config.settings import HttpAuthSettings, HttpRequestSettings
from ..engine.access import Action, Credentials
from ..events import Client
from ..packets.reasons import ReasonCode
from .http_client import HttpClient

PortOf = Callable[[str], int]
"""The port of a listener, by its name."""

_PLACEHOLDER = re.compile(r"%[ucaPpCdtArm]")
_ACCESS = {Action.SUBSCRIBE: "1", Action.PUBLISH: "2"}


class HttpAuth:
    """Asks for each login (`auth_req`, `super_req`) and each topic of a client (`acl_req`). Raises
    UnavailableError if the server cannot be reached or answers with 5xx; then the client is refused."""

    def __init__(self, settings: HttpAuthSettings, client: HttpClient, port_of: PortOf) -> None:
        self._settings = settings
        self._client = client
        self._port_of = port_of

    def authenticate(self, credentials: Credentials) -> Awaitable[ReasonCode | None]:
        """An authenticator. It makes `super_req` for the clients that are accepted."""
        return self._authenticate(credentials)

    def authorize(self, client: Client, topic: str, action: Action) -> bool | Awaitable[bool] | None:
        """An authorizer."""
        request = self._settings.acl_req
        access = _ACCESS.get(action)
        if request is None or access is None:
            return None
        values = self._values(client) | {"%t": topic, "%A": access}
        answer = self._client.ask("acl_req", request, _filled(request, values))
        return answer == 200 if isinstance(answer, int) else _is_200(answer)

    async def _authenticate(self, credentials: Credentials) -> ReasonCode | None:
        settings = self._settings
        values = self._values(credentials.client) | {
            "%P": (credentials.password or b"").decode(errors="replace"),
            "%C": _subject(credentials.certificate).get("commonName", ""),
            "%d": ",".join(f"{name}={value}" for name, value in _subject(credentials.certificate).items()),
        }
        verdict = None
        if settings.auth_req is not None:
            status = await self._ask("auth_req", settings.auth_req, values)
            if status == 401:
                return ReasonCode.BAD_USER_NAME_OR_PASSWORD
            if status != 200:
                return ReasonCode.NOT_AUTHORIZED
            verdict = ReasonCode.SUCCESS
        if settings.super_req is not None:
            credentials.superuser |= await self._ask("super_req", settings.super_req, values) == 200
        return verdict

    async def _ask(self, name: str, request: HttpRequestSettings, values: Mapping[str, str]) -> int:
        answer = self._client.ask(name, request, _filled(request, values))
        return answer if isinstance(answer, int) else await answer

    def _values(self, client: Client) -> dict[str, str]:
        """The values of the placeholders, except those of a login or a topic."""
        return {
            "%u": client.username or "",
            "%c": client.client_id,
            "%a": client.host,
            "%p": str(self._port_of(client.listener)),
            "%r": "mqtt",
        }


async def _is_200(answer: Awaitable[int]) -> bool:
    return await answer == 200


def _filled(request: HttpRequestSettings, values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The parameters with their placeholders filled in. A placeholder without a value here is empty."""
    return tuple(
        (name, _PLACEHOLDER.sub(lambda match: values.get(match[0], ""), text))
        for name, text in request.params
    )


def _subject(certificate: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: value for parts in (certificate or {}).get("subject", ()) for name, value in parts}
