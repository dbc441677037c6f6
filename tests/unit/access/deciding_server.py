"""An HTTP server that decides who may connect and do what: it says yes, no, nothing, or breaks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType

from aiohttp import web


@dataclass
class Question:
    """One request, as it came."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]
    body: str


@dataclass
class DecidingServer:
    """``async with DecidingServer() as server``: listens on a free port of the loopback."""

    status: int = 200
    statuses: dict[str, int] = field(default_factory=dict)
    """By path, where one is to differ."""
    questions: list[Question] = field(default_factory=list)
    at_a_time: int = 0
    """The most questions that were open at once."""
    _open: int = 0

    async def __aenter__(self) -> DecidingServer:
        self.gate = asyncio.Event()
        """Answers wait for it."""
        self.gate.set()
        self.asked = asyncio.Event()
        """A question came since it was cleared."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.questions.append(
            Question(
                request.method,
                request.path,
                dict(request.query),
                form,
                dict(request.headers),
                await request.text(),
            )
        )
        self.asked.set()
        self._open += 1
        self.at_a_time = max(self.at_a_time, self._open)
        try:
            await self.gate.wait()
        finally:
            self._open -= 1
        status = self.statuses.get(request.path, self.status)
        headers = {"location": f"{self.url}/yes"} if status == 302 else {}
        return web.Response(status=status, headers=headers)
