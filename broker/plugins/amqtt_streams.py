"""Clients that connect through amqtt's reader and writer adapters instead of our own transports."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from amqtt.adapters import ReaderAdapter, WriterAdapter

from ..engine import handlers
from ..engine.channel import Channel
from ..engine.engine import Engine

HIGH_WATER = 256 * 1024
"""Unsent bytes above which a client counts as reading too slowly."""
LOW_WATER = 64 * 1024
CLOSE_TIMEOUT = 5.0
"""Seconds an adapter may take to close its connection."""

Read = Callable[[], Awaitable[bytes]]
"""The next bytes; empty at the end."""

log = logging.getLogger("pybroker.plugins")


async def serve(
    engine: Engine,
    read: Read,
    writer: WriterAdapter,
    listener: str,
    abort: Callable[[], None] | None = None,
) -> None:
    """Serve one client until its connection is over. ``abort`` drops the connection at once, where there is
    a way to."""
    link = StreamLink(writer, abort)
    tls = writer.get_ssl_info()
    channel = Channel(
        engine,
        handlers,
        link,
        listener=listener,
        peer=_peer(writer.get_peer_info()),
        certificate=(tls.getpeercert() or None) if tls is not None else None,
        tls=tls,
    )
    link.start(channel)
    reading = asyncio.create_task(_feed(channel, link, read))
    try:
        await link.sent()
    finally:
        reading.cancel()
        channel.lost()
        link.abort()


async def packet(reader: ReaderAdapter, max_size: int) -> bytes:
    """The next packet. Of a packet larger than ``max_size`` bytes it is only the fixed header, which is
    enough to refuse it. amqtt's readers return exactly as many bytes as requested, so the packet's length is
    read first."""
    try:
        head = await reader.read(1)
        length = 0
        for shift in (0, 7, 14, 21):
            byte = await reader.read(1) if head else b""
            if not byte:
                return b""
            head += byte
            length |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                break
        if not length or len(head) + length > max_size:
            return head
        body = b""
        while len(body) < length:
            part = await reader.read(length - len(body))
            if not part:
                return b""
            body += part
    except (EOFError, OSError):
        return b""
    return head + body


class StreamLink:
    """A channel's transport over a writer that must be waited for."""

    def __init__(self, writer: WriterAdapter, abort: Callable[[], None] | None = None) -> None:
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._channel: Channel | None = None
        self._sending: asyncio.Task[None] | None = None
        self._writer = writer
        self._abort = abort
        self._chunks: list[bytes] = []
        self._unsent = 0
        self._paused = False
        self._closing = False
        self._wake = asyncio.Event()

    def start(self, channel: Channel) -> None:
        """Begin to send what is written."""
        self._channel = channel
        self._sending = asyncio.create_task(self._send_all())

    async def sent(self) -> None:
        """Wait until the connection is closed."""
        assert self._sending is not None
        await asyncio.wait([self._sending])

    def write(self, data: bytes) -> None:
        if self._closing:
            return
        self._chunks.append(data)
        self._unsent += len(data)
        self._wake.set()
        if self._unsent > HIGH_WATER and not self._paused and self._channel is not None:
            self._paused = True
            self._channel.paused()

    def close(self) -> None:
        self._closing = True
        self._wake.set()

    def abort(self) -> None:
        self._closing = True
        if self._sending is None or self._sending.done():
            return
        if self._abort is not None:
            self._abort()
        self._sending.cancel()

    def pause_reading(self) -> None:
        self.may_read.clear()

    def resume_reading(self) -> None:
        self.may_read.set()

    def unsent_bytes(self) -> int:
        return self._unsent

    async def _send_all(self) -> None:
        """Send until everything is sent after :meth:`close`, or the connection is lost."""
        try:
            while not self._closing or self._chunks:
                await self._wake.wait()
                self._wake.clear()
                await self._send()
        except Exception as error:  # whatever an adapter raises when its peer has closed the connection
            log.debug("a connection broke: %r", error)
        finally:
            try:
                await asyncio.wait_for(self._writer.close(), CLOSE_TIMEOUT)
            except Exception as error:
                log.debug("a connection did not close in order: %r", error)

    async def _send(self) -> None:
        data = b"".join(self._chunks)
        self._chunks.clear()
        if data:
            self._writer.write(data)
            await self._writer.drain()
        self._unsent -= len(data)
        if self._paused and self._unsent < LOW_WATER and self._channel is not None:
            self._paused = False
            self._channel.resumed()


async def _feed(channel: Channel, link: StreamLink, read: Read) -> None:
    try:
        while not channel.closed:
            await link.may_read.wait()
            data = await read()
            if not data:
                break
            channel.received(data)
    except OSError as error:
        log.debug("a connection broke: %r", error)
    except Exception:
        log.exception("the connection of %s failed and is closed", channel.peer)
    finally:
        channel.lost()
        link.close()


def _peer(peer: tuple[str, int] | None) -> str:
    if peer is None:
        return ""
    host, port = peer
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
