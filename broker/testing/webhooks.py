"""Webhooks without an HTTP server: an endpoint in memory, which answers as a test says."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from pybroker.webhook.http.transport import MakeTransport, Request, Transport
from pybroker.webhook.settings import WebhookSettings

from ..clock import Clock
from ..outgoing.http import Answer, NoAnswerError
from ..printable import printable

REFUSED = "refused"
"""An answer: the connection is refused."""
HANG = "hang"
"""An answer: it never comes."""

Reply = int | str | Answer
"""A status, ``"refused"``, ``"hang"``, or an answer with headers and body."""


@dataclass(frozen=True, slots=True)
class Try:
    """One request."""

    at: float
    """Seconds since the epoch, by the broker's clock."""
    status: int | None = None
    """The status of the answer; None without an answer, or before it."""
    error: str = ""
    """Why there was no answer."""

    def __str__(self) -> str:
        return str(self.status) if self.status is not None else self.error or "not answered yet"


@dataclass(slots=True)
class Webhook:
    """One event (or batch of them) on its way to an endpoint, with all its tries."""

    endpoint: str
    """The name of the endpoint: ``webhook``, or NAME of ``webhook.NAME``."""
    url: str
    id: str
    """``webhook-id``: the same on every try."""
    headers: dict[str, str]
    """The headers of the last try, by lower-case names."""
    body: bytes
    tries: list[Try] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        """Whether a try was answered 2xx."""
        return any(one.status is not None and 200 <= one.status < 300 for one in self.tries)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def action(self) -> str:
        """NanoMQ's name of the event, such as ``message_publish``; empty if the body does not contain it."""
        try:
            said = self.json()
        except (ValueError, RecursionError):
            return ""
        return str(said.get("action", "")) if isinstance(said, dict) else ""

    def json(self) -> Any:
        """The body. Raises ValueError."""
        return json.loads(self.body)

    def __str__(self) -> str:
        answers = ", ".join(str(one) for one in self.tries)
        body = self.body.decode(errors="backslashreplace")
        beginning = body[:200] + ("..." if len(body) > 200 else "")
        return printable(f"{self.endpoint} {self.id}: {beginning}  [{answers}]")


class Webhooks(Sequence[Webhook]):
    """All webhooks since the start or the last reset, in the order of their first tries."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str], Webhook] = {}
        self._answers: deque[Reply] = deque()
        self._then: Reply = 200
        self.tries = 0
        self.changed: Callable[[Webhook], None] = lambda _: None
        """Called on the broker's event loop after each try."""

    def answer_with(self, *answers: Reply, then: Reply = 200) -> None:
        """Answer the next tries with these answers, one each, and all later tries with ``then``."""
        for one in (*answers, then):
            if isinstance(one, str) and one not in (REFUSED, HANG):
                raise ValueError(f'"{one}" is not an answer; write a status, "{REFUSED}" or "{HANG}"')
        self._answers = deque(answers)
        self._then = then

    def of(self, action: str) -> list[Webhook]:
        """The webhooks for one event: ``message_publish``, or ``on_message_publish``."""
        return [one for one in list(self) if one.action == action.removeprefix("on_")]

    def clear(self) -> None:
        self._all = {}
        self.tries = 0
        self.answer_with()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Webhook]:
        return iter(list(self._all.values()))

    @overload
    def __getitem__(self, index: int) -> Webhook: ...
    @overload
    def __getitem__(self, index: slice) -> list[Webhook]: ...
    def __getitem__(self, index: int | slice) -> Webhook | list[Webhook]:
        return list(self._all.values())[index]

    # ---- the broker's side

    def transport(self, clock: Clock, real: MakeTransport | None = None) -> MakeTransport:
        """What the broker's webhooks post through; with ``real`` the requests go out as well."""
        return lambda settings: _Recorded(self, clock, settings, real(settings) if real else None)

    def begin(self, settings: WebhookSettings, request: Request) -> Webhook:
        """A try starts."""
        id = request.headers.get("webhook-id", "")
        hook = self._all.get((settings.name, id))
        if hook is None:
            hook = self._all[settings.name, id] = Webhook(settings.name, settings.url, id, {}, b"")
        hook.headers = dict(request.headers)
        hook.body = request.body
        self.tries += 1
        return hook

    def next_answer(self) -> Reply:
        return self._answers.popleft() if self._answers else self._then


class _Recorded:
    """The transport of one endpoint."""

    def __init__(
        self, hooks: Webhooks, clock: Clock, settings: WebhookSettings, real: Transport | None
    ) -> None:
        self._hooks = hooks
        self._clock = clock
        self._settings = settings
        self._real = real

    async def post(self, request: Request) -> Answer:
        hook = self._hooks.begin(self._settings, request)
        at = self._clock.time()
        hook.tries.append(Try(at))
        number = len(hook.tries) - 1
        self._hooks.changed(hook)
        try:
            answer = await (self._real.post(request) if self._real else self._answer())
        except NoAnswerError as error:
            hook.tries[number] = Try(at, None, str(error))
            raise
        except asyncio.CancelledError:
            hook.tries[number] = Try(at, None, "given up")
            raise
        else:
            hook.tries[number] = Try(at, answer.status)
            return answer
        finally:
            self._hooks.changed(hook)

    async def close(self) -> None:
        if self._real is not None:
            await self._real.close()

    async def _answer(self) -> Answer:
        reply = self._hooks.next_answer()
        if reply == HANG:
            await asyncio.Event().wait()
        if isinstance(reply, str):
            raise NoAnswerError("cannot connect: connection refused")
        return reply if isinstance(reply, Answer) else Answer(reply)
