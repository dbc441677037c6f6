"""A bus over NATS, for nodes on several hosts: each node has a subject for its frames, and all have one for
signs of life.

NATS delivers what one connection publishes in order, and drops it where a receiver is away or slow. That is
what `link.py` expects of a bus.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..outgoing.nats import NatsServers
from ..outgoing.urls import shown_url
from .bus import Node
from .pieces import Cutter, Joiner, PieceError, read_piece
from .presence import Presence, Present

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

log = logging.getLogger("pybroker.cluster")

PROTOCOL = 1
"""What nodes say to each other. Nodes of another number are not understood."""
MAX_PIECE = 256 << 10
SIGN_OF_LIFE = 1.0
PING, UNANSWERED = 1, 3
"""Seconds between the questions to the server, and how many it may leave unanswered."""
CONNECT_TIMEOUT = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two tries to connect."""
PROBE = 0.2
"""Seconds in which another process with this node's name has to answer."""
REFUSED_PAUSE = 5.0
"""Seconds until a node that cannot join tries again."""
MAX_NODES = 256
"""Names that a node learns from NATS; more are ignored."""
REPEATED_AFTER = 60.0
"""Seconds until the same complaint is logged again."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class JoinError(Exception):
    """The node is connected and cannot join; the message says why."""


class NatsBus:
    """One node's end. It connects again when the connection is lost, and to another server if need be."""

    def __init__(
        self,
        servers: NatsServers,
        cluster: str,
        name: str,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``cluster`` keeps brokers apart that use the same NATS. It and ``name`` are a token of a subject:
        no dots, spaces or wildcards. ``prepare`` is called with each new connection, before the node joins;
        it raises JoinError where the node cannot."""
        self._servers = servers
        self._prepare = prepare
        self._cluster = cluster
        self.name = name
        self._everyone = b"pybroker.%b.nodes" % cluster.encode()
        self._instance = time.time_ns()
        self._node: Node | None = None
        self._presence = Presence(self._up, self._down)
        self._ways: dict[str, _Way] = {}
        self._running: asyncio.Task[None] | None = None
        self._client: Client | None = None
        self._joined = False
        self._early: dict[str, int] = {}
        """Nodes that answered before this one has joined, and their instances."""
        self._taken = False
        """Whether another process has this node's name."""
        self.is_refused = False
        """Whether the node is connected and cannot join."""
        self._lost = asyncio.Event()
        self._said: dict[str, float] = {}
        """Complaints, and when each was logged."""
        self.first_try = asyncio.Event()
        """Set when the node has joined, or cannot for now."""
        self.trouble = ""
        """Why this node cannot reach the others, if it cannot."""

    @property
    def is_joined(self) -> bool:
        return self._joined

    @property
    def client(self) -> Client | None:
        """The connection to NATS, while there is one."""
        client = self._client
        return client if client is not None and client.is_connected else None

    @property
    def server(self) -> str:
        """The URL of the server that this node is connected to, without secrets; empty if there is none."""
        client = self._client
        url = client.connected_url if client is not None else None
        return shown_url(url.geturl()) if url is not None else ""

    async def open(self, node: Node) -> None:
        """Return at once: the connection is made in the background, and again when it is lost."""
        self._node = node
        node.alone(True)
        self._running = asyncio.create_task(self._keep_connected())

    async def close(self) -> None:
        from nats.errors import Error

        if self._running is not None:
            self._running.cancel()
        client, self._node = self._client, None
        if self._joined:
            self._leave()
            assert client is not None
            self._write(self._everyone, self._words("leave"))
            with suppress(Error, TimeoutError):
                await client.flush(1)
        if client is not None:
            await self._end(client)

    # The connection.

    async def _keep_connected(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._connect()
            except JoinError as error:
                pause = REFUSED_PAUSE
                self.is_refused = True
                self._cannot(str(error), logging.ERROR)
            except ConnectionError as error:
                self._cannot(str(error))
            else:
                pause = FIRST_PAUSE
                await self._serve()
            client, self._client = self._client, None
            if client is not None:
                await self._end(client)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _end(self, client: Client) -> None:
        try:
            await client.close()
        except Exception:  # whatever it was, the next connection is a new one
            log.debug("the connection to NATS did not end well", exc_info=True)

    async def _connect(self) -> None:
        """Return as a node that may join. Raises ConnectionError and JoinError."""
        from nats.errors import Error

        self._lost.clear()
        try:
            client = self._client = await self._servers.connect(
                CONNECT_TIMEOUT,
                lost=self._connection_lost,
                error=self._complain,
                name=f"pybroker {self._cluster} {self.name}",
                ping_interval=PING,
                max_outstanding_pings=UNANSWERED,
                no_echo=True,
            )
        except ConnectionError as error:
            urls = shown_url(" ".join(self._servers.urls))
            raise ConnectionError(f"no connection to NATS at {urls}: {error}") from error
        self._size = min(MAX_PIECE, client.max_payload)
        self._taken = False
        self._early.clear()
        try:
            # Without a limit: the windows of links bound what is under way.
            await client.subscribe(self._everyone.decode(), cb=self._heard, pending_bytes_limit=0)
            await client.subscribe(self._subject(self.name).decode(), cb=self._frame, pending_bytes_limit=0)
            await client.flush(round(CONNECT_TIMEOUT))
        except (Error, TimeoutError) as error:
            raise ConnectionError(self._lost_words()) from error
        self._write(self._everyone, self._words("probe"))
        try:
            async with asyncio.timeout(PROBE):
                await self._lost.wait()
        except TimeoutError:
            pass
        else:
            raise JoinError(self._taken_words) if self._taken else ConnectionError(self._lost_words())
        if self._prepare is not None:
            await self._prepare()

    async def _serve(self) -> None:
        """Be one of the nodes until the connection is lost, or the name is taken."""
        assert self._node is not None
        self._joined = True
        self.is_refused = False
        self.trouble = ""
        self._said.clear()
        now = asyncio.get_running_loop().time()
        log.info("node %s has joined the cluster %s by NATS at %s", self.name, self._cluster, self.server)
        self._node.alone(False)
        for name, instance in self._early.items():
            self._presence.heard(name, instance, now)
        self._early.clear()
        self.first_try.set()
        while not self._lost.is_set():
            now = asyncio.get_running_loop().time()
            self._presence.look(now)
            self._write(self._everyone, self._words("here"))
            try:
                async with asyncio.timeout(SIGN_OF_LIFE):
                    await self._lost.wait()
            except TimeoutError:
                continue
        why = self._taken_words if self._taken else self._lost_words()
        self.is_refused = self._taken
        self._leave()
        self._cannot(why, logging.ERROR if self._taken else logging.WARNING)

    def _leave(self) -> None:
        if self._joined:
            self._joined = False
            self._presence.clear()
            if self._node is not None:
                self._node.alone(True)

    def _cannot(self, why: str, level: int = logging.WARNING) -> None:
        self.trouble = why
        self._log(level, f"{why}; node {self.name} is alone until this is mended")
        self.first_try.set()

    def _lost_words(self) -> str:
        error = self._client.last_error if self._client is not None else None
        why = _words(error) if error is not None else "the server has closed it"
        return f"the connection to NATS is lost: {why}"

    @property
    def _taken_words(self) -> str:
        return (
            f"another process is the node {self.name} of the cluster {self._cluster}; give each node its own "
            "cluster.node"
        )

    async def _connection_lost(self) -> None:
        self._lost.set()

    async def _complain(self, error: Exception) -> None:
        """What does not end the connection. Else that is said, with the reason, when it has ended."""
        from nats.errors import Error, SlowConsumerError

        if not isinstance(error, Error | OSError):
            log.error("a message of another node was not handled", exc_info=error)
        elif isinstance(error, SlowConsumerError) or "permissions" in str(error).lower():
            self._log(logging.ERROR, f"NATS at {self.server}: {_words(error)}")

    def _log(self, level: int, text: str) -> None:
        """Once a minute at most."""
        now = asyncio.get_running_loop().time()
        if now - self._said.get(text, -REPEATED_AFTER) >= REPEATED_AFTER:
            if len(self._said) > 100:
                self._said.clear()
            self._said[text] = now
            log.log(level, "%s", text)

    # Signs of life.

    def _words(self, kind: str, **more: Any) -> bytes:
        who = {"kind": kind, "node": self.name, "instance": self._instance, "protocol": PROTOCOL}
        return json.dumps({**who, **more}).encode()

    async def _heard(self, message: Msg) -> None:
        try:
            words = json.loads(message.data)
            kind, name, instance = str(words["kind"]), str(words["node"]), int(words["instance"])
            protocol, whom = int(words["protocol"]), int(words.get("whom", 0))
        except (ValueError, LookupError, TypeError):
            return
        if protocol != PROTOCOL:
            text = f"node {name} has another version of pybroker (protocol {protocol}, here {PROTOCOL})"
            self._log(logging.ERROR, f"{text}; messages are not exchanged with it")
        elif not self._may_be_node(name, instance):
            return
        elif name == self.name:
            self._own_name(kind, instance, whom)
        elif kind == "here":
            if self._joined:
                self._presence.heard(name, instance, asyncio.get_running_loop().time())
            else:
                self._early[name] = instance
        elif kind == "probe" and self._joined:
            self._write(self._everyone, self._words("here"))
        elif kind == "leave":
            self._early.pop(name, None)
            self._presence.left(name, instance)

    def _may_be_node(self, name: str, instance: int) -> bool:
        """Names become parts of subjects, and each takes memory."""
        if name in self._ways:
            return 0 < instance < 1 << 64
        if max(len(self._ways), len(self._early)) >= MAX_NODES:
            self._log(logging.ERROR, f"there are more than {MAX_NODES} nodes; {name[:64]!r} is ignored")
            return False
        return 0 < instance < 1 << 64 and _NAME.fullmatch(name) is not None

    def _own_name(self, kind: str, instance: int, whom: int) -> None:
        """Another process says that it is the node of our name. One that asks first is told; of two that
        have joined, the one that began later stays."""
        if kind == "taken" and whom == self._instance:
            self._taken = True
            self._lost.set()
        elif self._joined and (kind == "probe" or (kind == "here" and instance < self._instance)):
            self._write(self._everyone, self._words("taken", whom=instance))

    def _up(self, present: Present) -> None:
        assert self._node is not None
        cutter = Cutter(self.name, self._instance, present.instance, self._size)
        way = self._ways[present.name] = _Way(self._write, self._subject(present.name), cutter)
        log.info("node %s is there", present.name)
        self._node.up(present.name, way.transmit)

    def _down(self, present: Present, why: str) -> None:
        self._ways.pop(present.name).is_open = False
        if why:
            log.warning("node %s is not there any more: %s", present.name, why)
        if self._node is not None:
            self._node.down(present.name)

    # Frames.

    def _subject(self, name: str) -> bytes:
        return f"pybroker.{self._cluster}.node.{name}".encode()

    def _write(self, subject: bytes, data: bytes) -> None:
        """Publish at once. ``Client.publish`` would leave that to two tasks, one after the other. The windows
        of links bound what the socket does not take."""
        client = self.client
        if client is not None and client._transport is not None:
            client._transport.write(b"".join((b"PUB %b %d\r\n" % (subject, len(data)), data, b"\r\n")))

    async def _frame(self, message: Msg) -> None:
        try:
            piece = read_piece(message.data)
        except PieceError:
            return
        if piece.receiver != self._instance or not self._joined or piece.name == self.name:
            return
        if not self._may_be_node(piece.name, piece.sender):
            return
        if self._presence.heard(piece.name, piece.sender, asyncio.get_running_loop().time()) is None:
            return
        frame = self._ways[piece.name].joiner.take(piece)
        if frame is not None and self._node is not None:
            self._node.received(piece.name, frame)


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).removeprefix("nats: ")[:300] or type(error).__name__


class _Way:
    """The way to one process."""

    def __init__(self, write: Callable[[bytes, bytes], None], subject: bytes, cutter: Cutter) -> None:
        self._write = write
        self._subject = subject
        self._cutter = cutter
        self.joiner = Joiner()
        self.is_open = True

    def transmit(self, frame: bytes) -> None:
        if self.is_open:
            for piece in self._cutter.cut(frame):
                self._write(self._subject, piece)
