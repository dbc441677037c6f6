"""A webhook receiver that counts POSTs cheaply and misbehaves on demand.

Speaks HTTP/1.1 with keep-alive. GET /stats answers with the counts since the start or the last GET /reset:
posts, events (of batches each one), failed, connections, and the times of the first and the last POST.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

EVENT_MARK = b'"action":'
"""Occurs once in each event of NanoMQ's bodies."""


@dataclass
class Counts:
    posts: int = 0
    events: int = 0
    failed: int = 0
    connections: int = 0
    first: float = 0.0
    last: float = 0.0


class Receiver:
    """The state that all connections share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.counts = Counts()
        self.delay = options.delay_ms / 1000
        self.hang: bool = options.hang
        self._status: int = options.status
        self._fail_every: int = options.fail_every
        self._record: BinaryIO | None = (
            Path(options.record).open("ab", buffering=0) if options.record else None  # noqa: SIM115
        )

    def post(self, body: bytes) -> bytes:
        """The answer to one POST."""
        counts = self.counts
        counts.posts += 1
        counts.events += body.count(EVENT_MARK)
        counts.last = time.time()
        counts.first = counts.first or counts.last
        failing = self._fail_every and counts.posts % self._fail_every == 0
        status = 503 if failing else self._status
        if status >= 300:
            counts.failed += 1
        elif self._record:
            self._record.write(body + b"\n")
        return answer(b"ok", status)

    def get(self, path: bytes) -> bytes:
        facts = json.dumps(asdict(self.counts)).encode()
        if path.startswith(b"/reset"):
            self.counts = Counts()
        return answer(facts)


class Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._receiver.counts.connections += 1

    def data_received(self, data: bytes) -> None:
        data = self._unread + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head, body_at = data[:end], end + 4
            after = body_at + content_length(head)
            if len(data) < after:
                break
            self._request(head, data[body_at:after])
            data = data[after:]
        self._unread = data

    def _request(self, head: bytes, body: bytes) -> None:
        method, path = head.split(b" ", 2)[:2]
        receiver = self._receiver
        if method == b"GET":
            self._transport.write(receiver.get(path))
            return
        reply = receiver.post(body)
        if receiver.hang:
            return
        if receiver.delay:
            asyncio.get_running_loop().call_later(receiver.delay, self._transport.write, reply)
        else:
            self._transport.write(reply)


def content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    return int(lower[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0


def answer(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


async def serve(options: argparse.Namespace) -> None:
    receiver = Receiver(options)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(receiver), "127.0.0.1", options.port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def run(options: argparse.Namespace) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(options))
    else:
        uvloop.run(serve(options))


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.hooksink", description=__doc__)
    parser.add_argument("port", type=int, help="0 picks a free one; the port is printed once it accepts")
    parser.add_argument("--delay-ms", type=float, default=0, help="answer that late")
    parser.add_argument("--hang", action="store_true", help="never answer a POST")
    parser.add_argument("--status", type=int, default=200, help="answer with this code")
    parser.add_argument("--fail-every", type=int, default=0, metavar="N", help="every Nth POST gets 503")
    parser.add_argument("--record", metavar="FILE", help="append each body as one line")
    options = parser.parse_args()
    try:
        run(options)
    except OSError as error:
        print(f"hooksink: port {options.port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
