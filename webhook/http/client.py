"""How a request reaches an HTTP endpoint, over https:// and http://.

aiohttp is imported when the first request needs it: its import costs more than the rest of the start.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..backend import ANSWER_BYTES
from ..settings import SettingsError, TlsClient, WebhookSettings
from .transport import Answer, NoAnswerError, Request, Transport

if TYPE_CHECKING:
    import aiohttp


def open_transport(settings: WebhookSettings) -> Transport:
    """What posts to the endpoint: aiohttp over TLS; connections of our own, which cost less, for plain
    ``http://``. Raises SettingsError or TlsError."""
    try:
        parts = urlsplit(settings.url)
        scheme, host, _ = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f'{settings.label}: url "{settings.url}": {error}') from error
    if scheme not in ("http", "https") or not host:
        raise SettingsError(
            f'{settings.label}: url "{settings.url}" does not begin with http://HOST or https://HOST'
        )
    if scheme == "https":
        return AiohttpTransport(settings)
    from .keepalive import KeepAliveTransport

    return KeepAliveTransport(settings)


class TlsError(Exception):
    """A certificate or key cannot be used; the message names the file."""


def tls_context(tls: TlsClient | None, label: str) -> ssl.SSLContext:
    """How the certificate of the endpoint called ``label`` is checked and what is shown to it. Raises
    TlsError."""
    tls = tls or TlsClient()
    label += ": "
    try:
        context = ssl.create_default_context(cafile=tls.cacertfile)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"{label}cacertfile {tls.cacertfile}: {_ssl_reason(error)}") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certfile is not None:
        try:
            # The empty password keeps OpenSSL from asking on the terminal.
            context.load_cert_chain(tls.certfile, tls.keyfile, tls.key_password or "")
        except (OSError, ssl.SSLError) as error:
            raise TlsError(
                f"{label}certfile {tls.certfile}, keyfile {tls.keyfile}: {_ssl_reason(error)}"
            ) from error
    elif tls.keyfile is not None:
        raise TlsError(f"{label}keyfile {tls.keyfile} needs a certfile beside it")
    return context


def _ssl_reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class AiohttpTransport:
    """Kept-alive connections through aiohttp; the number of workers bounds theirs."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._url = settings.url
        self._tls = (
            tls_context(settings.tls, settings.label) if settings.url[:6].lower() == "https:" else True
        )
        self._session: aiohttp.ClientSession | None = None

    async def post(self, request: Request) -> Answer:
        session = self._session or self._open()
        import aiohttp

        try:
            response = await session.post(
                self._target, data=request.body, headers=request.headers, allow_redirects=False
            )
            try:
                if response.status < 300 and response.content.is_eof():  # the answer is complete
                    return Answer(response.status)
                body = await self._read(response)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, headers, body)
            finally:
                response.release()  # back to the pool, or closed where the answer is not yet complete
        except aiohttp.ClientConnectorCertificateError as error:
            raise NoAnswerError(f"certificate not accepted: {error.certificate_error}") from error
        except aiohttp.ClientConnectorError as error:
            raise NoAnswerError(f"cannot connect: {error.os_error.strerror or error.os_error}") from error
        except aiohttp.ClientResponseError as error:  # its own text has the whole URL in it
            words = error.message.partition(":")[0]
            raise NoAnswerError(f"the answer is not understood: {words}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswerError(f"{type(error).__name__}: {error}".rstrip(": ")) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp
        from yarl import URL

        self._target = URL(self._url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the caller bounds the time
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            auto_decompress=False,
        )
        return self._session

    @staticmethod
    async def _read(response: aiohttp.ClientResponse) -> bytes:
        """The beginning of the body. A rest that is short is read too, so that the connection lives on."""
        kept = b""
        for _ in range(16):
            chunk = await response.content.read(ANSWER_BYTES)
            if not chunk:
                break
            kept = kept or chunk
        return kept
