"""A receiver of webhooks that prints the requests."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pybroker.broker.bad_requests import server_logger
from pybroker.broker.printable import printable

from ..body.signature import check

if TYPE_CHECKING:
    from aiohttp import web


class Listener:
    """Answers every request with ``status`` and prints it through ``show``."""

    def __init__(self, secrets: Sequence[str], status: int, show: Callable[[str], None]) -> None:
        self._secrets = secrets
        self._status = status
        self._show = show
        self._count = 0
        self.bad_signatures = 0

    async def run(self, host: str, port: int, started: Callable[[int], None]) -> None:
        """Serve until cancelled. ``started`` is told the port. Raises OSError where it cannot be bound."""
        from aiohttp import web

        runner = web.ServerRunner(
            web.Server(self._handle, access_log=None, logger=server_logger("pybroker.webhook.listen")),
            shutdown_timeout=1.0,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            started(runner.addresses[0][1])
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        body = await request.content.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self._count += 1
        self._show(self._described(request.method, request.raw_path, headers, body))
        return web.Response(status=self._status, text="ok\n" if self._status < 300 else "as you asked\n")

    def _described(self, method: str, path: str, headers: dict[str, str], body: bytes) -> str:
        lines = [f"--- {self._count}  {time.strftime('%H:%M:%S')}  {method} {path}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if self._secrets:
            wrong = check(self._secrets, headers, body, time.time())
            self.bad_signatures += wrong is not None
            lines.append(f"signature: {'good' if wrong is None else f'NOT GOOD: {wrong}'}")
        return printable("\n".join([*lines, "", pretty(body), ""]), keep="\n\t")


def pretty(body: bytes) -> str:
    """JSON, one value or one a line, indented; any other text as it is."""
    text = body.decode(errors="backslashreplace")
    try:
        values = [json.loads(text)]
    except (ValueError, RecursionError):
        try:
            values = [json.loads(line) for line in text.splitlines()]
        except (ValueError, RecursionError):
            return text
    return "\n".join(json.dumps(value, indent=2, ensure_ascii=False) for value in values)
