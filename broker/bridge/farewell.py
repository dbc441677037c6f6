"""Ends the session that a removed bridge has at its remote broker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from ..engine.channel import Link as Transport
from ..outgoing.tls import TlsError
from ..packets.decoder import Decoder
from ..packets.encoder import encode
from ..packets.errors import ProtocolError
from ..packets.model import Connack, Disconnect
from . import greeting
from .opening import Endpoint, in_words, open_transport
from .settings import Address, BridgeSettings

PATIENCE = 10.0
"""Seconds for all of it."""
PACKET = 64 * 1024
"""Bytes of the largest packet that is read."""


async def end_session(
    settings: BridgeSettings, address: Address, version: tuple[int, bool], broker_id: str
) -> str:
    """Connect once more with the same client identifier, for a session that takes the place of the old one
    and ends with its connection. Returns why that has failed; empty: it has not."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    options = replace(settings.options, session_expiry=0)
    last = replace(settings, clean_start=True, will=None, options=options)
    hello = greeting.connect(last, *version, broker_id, 1, PACKET)

    opened: list[Transport] = []

    def accept(transport: Transport, _: Any) -> _Farewell:
        opened.append(transport)
        return _Farewell(transport, hello, version[0], answer)

    try:
        async with asyncio.timeout(PATIENCE):
            await open_transport(settings, address, accept, PACKET)
            return await answer
    except (OSError, TimeoutError, TlsError) as error:
        return in_words(error)
    finally:
        for transport in opened:
            transport.close()


class _Farewell(Endpoint):
    """Disconnects as soon as it is let in."""

    def __init__(self, transport: Transport, hello: bytes, version: int, answer: asyncio.Future[str]) -> None:
        self._transport = transport
        self._version = version
        self._answer = answer
        self._decoder = Decoder(PACKET)
        self._decoder.version = version
        transport.write(hello)

    def received(self, data: bytes) -> None:
        packets = self._decoder.feed(data)
        try:
            if self._decoder.error is not None:
                raise self._decoder.error
            if not packets:
                return
            if not isinstance(packets[0], Connack):
                raise ProtocolError("no CONNACK came")
            greeting.accepted(packets[0], self._version)
            self._transport.write(encode(Disconnect(), self._version))
            self._end("")
        except (greeting.RefusedError, ProtocolError) as error:
            self._end(str(error))

    def lost(self) -> None:
        self._end("the connection is lost")

    def paused(self) -> None: ...
    def resumed(self) -> None: ...

    def _end(self, why: str) -> None:
        if not self._answer.done():
            self._answer.set_result(why)
