"""Connections to NATS: URLs, TLS and login, for event pushers and for the cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tls import Files, client_context

if TYPE_CHECKING:
    from nats.aio.client import Client

SOCKETS = ("nats://", "tls://")
WEBSOCKETS = ("ws://", "wss://")


class NatsError(Exception):
    """The settings of a connection cannot be used; the message names what is wrong."""


class NatsServers:
    """The servers of one NATS, and how to log in."""

    def __init__(
        self,
        urls: Sequence[str],
        label: str,
        *,
        url_key: str = "url",
        tls: Files | None = None,
        credentials: Path | None = None,
        nkey: Path | None = None,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        websockets: bool = True,
    ) -> None:
        """``label`` and ``url_key`` stand in errors. ``credentials`` is a .creds file, ``nkey`` a file with
        the seed of a user. ``websockets``: whether ws:// and wss:// are allowed. Raises NatsError
        and TlsError."""
        self.urls = list(urls)
        for url in urls:
            if not url.startswith((*SOCKETS, *WEBSOCKETS) if websockets else SOCKETS):
                raise NatsError(f"{label}: {url_key} must be of the form nats://HOST:PORT or tls://HOST:PORT")
        self._options: dict[str, Any] = {}
        for key, path, option in (
            ("credentials", credentials, "user_credentials"),
            ("nkey", nkey, "nkeys_seed"),
        ):
            if path is not None:
                if not path.is_file():
                    raise NatsError(f"{label}: {key}: there is no file {path}")
                self._options[option] = str(path)
        for option, value in (("user", username), ("password", password), ("token", token)):
            if value is not None:
                self._options[option] = value
        if tls is not None or any(url.startswith(("tls:", "wss:")) for url in urls):
            self._options["tls"] = client_context(tls, label)

    async def connect(
        self,
        patience: float,
        *,
        lost: Callable[[], Awaitable[None]],
        error: Callable[[Exception], Awaitable[None]] | None = None,
        **options: Any,
    ) -> Client:
        """Try each server once. ``lost`` is called when the connection ends; it is not made again. ``error``
        is told what the server complains about. ``patience`` is in seconds, for each server. ``options`` are
        those of nats-py. Raises ConnectionError, with the last reason."""
        import nats

        trouble: list[Exception] = []

        async def note(reason: Exception) -> None:
            trouble.append(reason)
            del trouble[:-1]
            if error is not None:
                await error(reason)

        try:
            return await nats.connect(
                servers=self.urls,
                allow_reconnect=False,
                max_reconnect_attempts=1,  # else it tries forever
                reconnect_time_wait=0,
                connect_timeout=max(1, round(patience)),
                error_cb=note,
                closed_cb=lost,
                **self._options,
                **options,
            )
        except (nats.errors.Error, OSError, TimeoutError) as reason:
            last = trouble[0] if trouble else reason
            text = " ".join(str(last).split()).removeprefix("nats: ")[:300]
            raise ConnectionError(text or type(last).__name__) from reason
