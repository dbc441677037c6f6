"""Access control over HTTP, and protection from other web sites."""

from __future__ import annotations

import binascii
import hmac
import ipaddress
from base64 import b64decode
from urllib.parse import urlsplit

from aiohttp import web

from ..config.settings import HttpServerSettings
from .answers import Code, Refused
from .jwt import Tokens

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Server": "pybroker",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Headers of every answer: a page shows data from devices, and must not execute any of it."""


class Gate:
    """Lets a request in, or raises Refused."""

    def __init__(self, settings: HttpServerSettings) -> None:
        """Raises AccessError if the key of the tokens cannot be used."""
        self._settings = settings
        self._tokens = None
        if settings.auth_type == "jwt" and settings.jwt_public_keyfile is not None:
            self._tokens = Tokens(settings.jwt_public_keyfile)

    def cors(self, request: web.BaseRequest) -> dict[str, str]:
        """The headers by which a page of an origin in `cors_origins` may read the answer. Cookies and the
        passwords that a browser remembers are not allowed: such a page sends ``Authorization`` itself."""
        origins = self._settings.cors_origins
        if not origins:
            return {}
        origin = request.headers.get("Origin", "")
        return {"Vary": "Origin"} | ({"Access-Control-Allow-Origin": origin} if origin in origins else {})

    def preflight(self, request: web.BaseRequest) -> dict[str, str] | None:
        """The headers of the answer to a CORS preflight request, by which a browser asks whether a page of
        another site may send a request. None if the request is no preflight, or the page is not allowed."""
        asked = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asked or request.headers.get("Origin") not in self._settings.cors_origins:
            return None
        self._check_host(request)
        found = {
            "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": "600",
        }
        if request.headers.get("Access-Control-Request-Private-Network") == "true":
            found["Access-Control-Allow-Private-Network"] = "true"
        return found

    def check(self, request: web.BaseRequest) -> bool:
        """Whether the sender may also change something. Host and Origin are checked first: a web page of
        another site gets no answer, whatever it sends."""
        self._check_host(request)
        self._check_origin(request)
        if self._settings.is_open:
            return True
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if self._settings.auth_type == "jwt":
            return self._by_token(scheme, value)
        if scheme == "Bearer" and (self._settings.token or self._settings.read_only_token):
            return self._by_fixed_token(value)
        return self._by_password(scheme, value)

    def _check_host(self, request: web.BaseRequest) -> None:
        """Refuse unknown host names: an attacker's DNS name for this machine would make his page same-origin.
        With a password this is not needed, because his page does not know it."""
        if not self._settings.is_open:
            return
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
        if host != "localhost" and not host.endswith(".localhost") and not _is_address(host):
            raise Refused(
                403, Code.BAD_REQUEST, f'the host "{host}" is not served; ask for 127.0.0.1 or localhost'
            )

    def _check_origin(self, request: web.BaseRequest) -> None:
        origin = request.headers.get("Origin")
        if origin in self._settings.cors_origins:
            return
        if origin is not None and origin != f"{request.scheme}://{request.headers.get('Host', '')}":
            raise Refused(403, Code.BAD_REQUEST, "requests from web pages of other sites are refused")
        if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise Refused(403, Code.BAD_REQUEST, "requests from web pages of other sites are refused")

    def _by_token(self, scheme: str, token: str) -> bool:
        if scheme != "Bearer" or not token:
            raise Refused(401, Code.NO_CREDENTIALS)
        if self._tokens is None:
            raise Refused(401, Code.WRONG_CREDENTIALS)
        return self._tokens.check(token)

    def _by_fixed_token(self, token: str) -> bool:
        may_change = _same(token, self._settings.token)
        if not (_same(token, self._settings.read_only_token) or may_change):
            raise Refused(401, Code.WRONG_CREDENTIALS)
        return may_change

    def _by_password(self, scheme: str, encoded: str) -> bool:
        if scheme != "Basic" or not encoded:
            raise Refused(401, Code.NO_CREDENTIALS)
        try:
            username, _, password = b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise Refused(401, Code.WRONG_CREDENTIALS) from None
        settings = self._settings
        may_change = _same(username, settings.username or "") & _same(password, settings.password)
        may_read = _same(username, settings.read_only_username or "") & _same(
            password, settings.read_only_password
        )
        if not (may_change or may_read):
            raise Refused(401, Code.WRONG_CREDENTIALS)
        return may_change


def _same(shown: str, wanted: str | None) -> bool:
    """Compare in constant time. None equals no text."""
    return wanted is not None and hmac.compare_digest(shown.encode(), wanted.encode())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
