"""The seam between a webhook and the connections that carry its requests. Tests put one of their own here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..settings import WebhookSettings


@dataclass(slots=True)
class Request:
    """One POST, complete but for what HTTP itself adds."""

    headers: Mapping[str, str]
    body: bytes
    below: str = ""
    """What follows the path of the endpoint's URL, percent-encoded."""


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case names; none where the answer is a success."""
    body: bytes = b""
    """The first ANSWER_BYTES of it."""


class NoAnswerError(Exception):
    """The request got no answer; the message says why, in a few words."""


class Transport(Protocol):
    """Posts to one endpoint. A caller bounds each ``post`` in time by cancelling it."""

    async def post(self, request: Request) -> Answer:
        """Send and wait for the answer. Raises NoAnswerError."""

    async def close(self) -> None:
        """Close all connections."""


MakeTransport = Callable[[WebhookSettings], Transport]
