"""A client that waits for an answer is sent away where the answer fails."""

from __future__ import annotations

from pybroker.broker.engine.access import Credentials
from pybroker.broker.engine.auth_method import Outcome
from pybroker.broker.packets.model import Connack
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker


class Broken:
    """An authentication method that fails while its client waits."""

    def __init__(self, credentials: Credentials) -> None: ...

    async def step(self, data: bytes | None) -> Outcome:
        raise RuntimeError("no such table")


def test_a_client_does_not_wait_for_ever() -> None:
    broker = Broker()
    broker.engine.auth_methods["BROKEN"] = Broken
    client = broker.dial()
    client.send_connect("c", authentication_method="BROKEN", authentication_data=b"")
    broker.answer()
    assert client.next(Connack).reason == ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR
    assert client.link.closed
