"""The interface between a webhook and the connections that carry its requests. Tests replace it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pybroker.broker.outgoing.http import Answer

from ..settings import WebhookSettings


@dataclass(slots=True)
class Request:
    """One POST, complete except for what HTTP itself adds."""

    headers: Mapping[str, str]
    body: bytes
    below: str = ""
    """The rest of the path after that of the endpoint's URL, percent-encoded."""


class Transport(Protocol):
    """Posts to one endpoint. A caller bounds each ``post`` in time by cancelling it."""

    async def post(self, request: Request) -> Answer:
        """Send and wait for the answer. Raises NoAnswerError."""

    async def close(self) -> None:
        """Close all connections."""


MakeTransport = Callable[[WebhookSettings], Transport]
