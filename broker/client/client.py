"""One connection to a broker as a client: CONNECT, PUBLISH at every QoS, SUBSCRIBE.

It does not reconnect; its user decides about that. Take messages in one task and publish in another: while
too many messages wait to be taken, nothing is read from the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ..packets.decoder import Decoder
from ..packets.encoder import encode, make_publish
from ..packets.model import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscribeFilter,
    Will,
    singly,
)
from ..packets.primitives import LARGEST_PACKET
from ..packets.properties import Properties
from ..packets.reasons import ReasonCode, reason_name
from .stream import Place, Stream

WAITING = 1 << 24
"""Reading stops while the messages that wait to be taken have more bytes than this."""
MESSAGE_COST = 1024
"""About the bytes that a message takes in addition to its payload."""
ANSWER = 30.0
"""Seconds to reach the broker and get the answer to CONNECT."""
REFUSED = 0x80
"""Reason codes from here on are refusals."""


class ClientError(Exception):
    """The broker refused something, or the connection ended. The message is one line."""


@dataclass(frozen=True, slots=True)
class Login:
    """The options of CONNECT."""

    client_id: str = ""
    """Empty: the broker assigns one. A client of 3.1 needs its own."""
    version: int = 4
    """3 (MQTT 3.1), 4 (3.1.1) or 5 (5.0)."""
    clean_start: bool = True
    keepalive: int = 60
    """Seconds. A PINGREQ is sent after half of them without another packet."""
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Will | None = None
    session_expiry: int = 0
    """5.0: seconds that the session is kept after the connection ends."""


class Client:
    """An open connection. Create it with :meth:`connect`."""

    def __init__(self, login: Login, stream: Stream) -> None:
        self._login = login
        self._stream = stream
        self._decoder = Decoder(LARGEST_PACKET)
        self._decoder.version = login.version
        self._packets: list[Packet] = []
        self._last_id = 0
        self._answers: dict[tuple[type, int], asyncio.Future[Packet | None]] = {}
        self._messages: deque[Publish] = deque()
        self.waiting = 0
        """Bytes of the messages that have not been taken yet; see WAITING."""
        self._room = asyncio.Event()
        self._changed = asyncio.Event()
        """A message came, or the connection ended."""
        self._heard = True
        """The broker has sent something since the last PINGREQ."""
        self._received: set[int] = set()
        """Identifiers of QoS 2 messages that are acknowledged and not released yet [MQTT-4.3.3-10]."""
        self._tasks: list[asyncio.Task[None]] = []
        self._ended: ClientError | None = None
        self._closed = False

    @classmethod
    async def connect(cls, place: Place, login: Login) -> Client:
        """Raises ClientError if the broker refuses or does not answer, OSError if it cannot be reached,
        ValueError if ``login`` does not fit into CONNECT."""
        try:
            async with asyncio.timeout(ANSWER):
                stream = await Stream.open(place)
                client = cls(login, stream)
                try:
                    await client._begin()
                except BaseException:
                    stream.abort()
                    raise
                return client
        except TimeoutError:
            raise ClientError(f"the broker does not answer within {ANSWER:.0f} seconds") from None

    async def _begin(self) -> None:
        login = self._login
        properties = None
        if login.version == 5 and login.session_expiry:
            properties = Properties(session_expiry_interval=login.session_expiry)
        name = "MQIsdp" if login.version == 3 else "MQTT"
        await self._send(
            Connect(
                name,
                login.version,
                login.clean_start,
                login.keepalive,
                login.client_id,
                login.username,
                login.password,
                login.will,
                properties,
            )
        )
        answer = await self._next()
        if not isinstance(answer, Connack):
            raise ClientError("the broker answers CONNECT with another packet than CONNACK")
        if answer.reason:
            why = reason_name(answer.reason).replace("_", " ")
            raise ClientError(f"the broker refuses the connection: {why}")
        self._tasks = [asyncio.create_task(self._read())]
        if login.keepalive:
            self._tasks.append(asyncio.create_task(self._ping()))

    async def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        """Returns when the broker has acknowledged the message; at QoS 0 when it is written. Raises
        ClientError, and ValueError if the topic or a property does not fit into PUBLISH."""
        packet_id = self._next_id() if qos else 0
        packet = make_publish(
            topic,
            payload,
            qos=qos,
            retain=retain,
            properties=properties,
            version=self._login.version,
            packet_id=packet_id,
        )
        if qos == 0:
            await self._send(packet)
            return
        self._check(await self._ask(packet, Puback if qos == 1 else Pubrec, packet_id), topic)
        if qos == 2:
            await self._ask(Pubrel(packet_id), Pubcomp, packet_id)

    async def subscribe(self, filters: Sequence[SubscribeFilter]) -> list[int]:
        """Returns the granted QoS of each filter. Raises ClientError if one is refused."""
        packet_id = self._next_id()
        suback = await self._ask(Subscribe(packet_id, list(filters)), Suback, packet_id)
        assert isinstance(suback, Suback)
        for wanted, reason in zip(filters, suback.reasons, strict=True):
            if reason >= REFUSED:
                why = reason_name(reason).replace("_", " ")
                raise ClientError(f'the broker refuses the subscription to "{wanted.topic_filter}": {why}')
        return [int(reason) for reason in suback.reasons]

    async def messages(self) -> AsyncIterator[Publish]:
        """The received messages. Raises ClientError when the connection ends, unless this side has ended it.
        The broker keeps a message of QoS 1 or 2 until it is passed to :meth:`acknowledge`."""
        while True:
            while self._messages:
                message = self._messages.popleft()
                self.waiting -= len(message.payload) + MESSAGE_COST
                self._room.set()
                yield message
            if self._closed:
                return
            if self._ended is not None:
                raise self._ended
            self._changed.clear()
            await self._changed.wait()

    async def acknowledge(self, message: Publish) -> None:
        """Acknowledge ``message``, so that the broker may discard it. Does nothing at QoS 0."""
        if message.qos == 1:
            await self._send(Puback(message.packet_id))
        elif message.qos == 2:
            self._received.add(message.packet_id)
            await self._send(Pubrec(message.packet_id))

    async def disconnect(self) -> None:
        """Send DISCONNECT and close the connection. The will is not published [MQTT-3.14.4-3]."""
        for task in self._tasks:
            task.cancel()
        with suppress(ClientError):
            await self._send(Disconnect())
        self._closed = True
        self._end(ClientError("this side has closed the connection"))
        await self._stream.close()

    # ---- packets

    async def _send(self, packet: Packet) -> None:
        if self._ended is not None:
            raise self._ended
        try:
            await self._stream.write(encode(packet, self._login.version))
        except OSError as error:
            raise ClientError(f"connection lost: {error}") from error

    async def _ask(self, packet: Packet, kind: type, packet_id: int) -> Packet:
        """Send ``packet`` and return its answer."""
        answered: asyncio.Future[Packet | None] = asyncio.get_running_loop().create_future()
        self._answers[kind, packet_id] = answered
        try:
            await self._send(packet)
            answer = await answered
        finally:
            self._answers.pop((kind, packet_id), None)
        if answer is None:
            assert self._ended is not None
            raise self._ended
        return answer

    async def _next(self) -> Packet:
        while not self._packets:
            data = await self._stream.read()
            if not data and self._stream.refusal:
                raise ClientError(f"the broker accepts no WebSocket here: {self._stream.refusal}")
            if not data:
                raise ClientError("the broker has closed the connection")
            self._heard = True
            self._packets = [*singly(self._decoder.feed(data))]
            if self._decoder.error is not None:
                raise ClientError(f"the broker sends something that is not MQTT: {self._decoder.error}")
        return self._packets.pop(0)

    async def _read(self) -> None:
        try:
            while True:
                await self._handle(await self._next())
        except (ClientError, OSError) as error:
            self._end(error if isinstance(error, ClientError) else ClientError(f"connection lost: {error}"))

    async def _handle(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            await self._take(packet)
        elif isinstance(packet, Pubrel):
            self._received.discard(packet.packet_id)
            await self._send(Pubcomp(packet.packet_id))
        elif isinstance(packet, Disconnect):
            raise ClientError(f"the broker disconnects: {reason_name(packet.reason).replace('_', ' ')}")
        elif isinstance(packet, Puback | Pubrec | Pubcomp | Suback):
            answered = self._answers.get((type(packet), packet.packet_id))
            if answered is not None and not answered.done():
                answered.set_result(packet)

    async def _take(self, message: Publish) -> None:
        if message.qos == 2 and message.packet_id in self._received:
            await self._send(Pubrec(message.packet_id))
            return
        self._messages.append(message)
        self.waiting += len(message.payload) + MESSAGE_COST
        self._changed.set()
        while self.waiting > WAITING:
            self._room.clear()
            await self._room.wait()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self._login.keepalive / 2)
            if not self._heard and self.waiting <= WAITING:
                self._end(ClientError("the broker does not answer a PINGREQ"))
                return
            self._heard = False
            with suppress(ClientError):
                await self._send(Pingreq())

    def _end(self, error: ClientError) -> None:
        self._ended = self._ended or error
        for answered in self._answers.values():
            if not answered.done():
                answered.set_result(None)
        self._changed.set()

    def _next_id(self) -> int:
        self._last_id = self._last_id % 65_535 + 1
        return self._last_id

    def _check(self, answer: Packet, topic: str) -> None:
        reason = getattr(answer, "reason", ReasonCode.SUCCESS)
        if reason >= REFUSED:
            why = reason_name(reason).replace("_", " ")
            raise ClientError(f'the broker refuses the message to "{topic}": {why}')
