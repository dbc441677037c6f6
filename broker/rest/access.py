"""Who may ask over HTTP, and from which web pages."""

from __future__ import annotations

import binascii
import hmac
import ipaddress
from base64 import b64decode
from urllib.parse import urlsplit

from aiohttp import web

from ..config.settings import HttpServerSettings
from .answers import Code, Refused

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Server": "pybroker",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""On every answer: a page shows what devices sent, and nothing of it may run."""


class Gate:
    """Lets a request in, or raises Refused."""

    def __init__(self, settings: HttpServerSettings) -> None:
        self._settings = settings
        self._open = settings.auth_type == "no_auth" or settings.password is None

    def check(self, request: web.BaseRequest) -> None:
        """Host and Origin first: a web page of another site gets no answer, whatever it sends."""
        self._check_host(request)
        self._check_origin(request)
        if not self._open:
            self._check_credentials(request.headers.get("Authorization", ""))

    def _check_host(self, request: web.BaseRequest) -> None:
        """A name that an attacker's DNS points to this machine would make his page ours; where a password
        is asked for, that page does not know it."""
        if not self._open:
            return
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
        if host != "localhost" and not host.endswith(".localhost") and not _is_address(host):
            raise Refused(
                403, Code.BAD_REQUEST, f'the host "{host}" is not served; ask for 127.0.0.1 or localhost'
            )

    def _check_origin(self, request: web.BaseRequest) -> None:
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"{request.scheme}://{request.headers.get('Host', '')}":
            raise Refused(403, Code.BAD_REQUEST, "requests of other web sites are refused")
        if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise Refused(403, Code.BAD_REQUEST, "requests of other web sites are refused")

    def _check_credentials(self, authorization: str) -> None:
        scheme, _, encoded = authorization.partition(" ")
        if scheme != "Basic" or not encoded:
            raise Refused(401, Code.NO_CREDENTIALS)
        try:
            username, _, password = b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise Refused(401, Code.WRONG_CREDENTIALS) from None
        settings = self._settings
        if settings.password is None:  # tokens are asked for
            raise Refused(401, Code.WRONG_CREDENTIALS)
        right_user = hmac.compare_digest(username.encode(), (settings.username or "").encode())
        right_password = hmac.compare_digest(password.encode(), settings.password.encode())
        if not (right_user and right_password):
            raise Refused(401, Code.WRONG_CREDENTIALS)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
