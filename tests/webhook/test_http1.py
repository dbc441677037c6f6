"""Answers are read as they come, in whatever pieces, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from pybroker.broker.outgoing.http import NoAnswerError
from pybroker.broker.outgoing.http1 import (
    MAX_BODY,
    MAX_FRAMING,
    MAX_HEAD,
    AnswerReader,
    BadAnswerError,
    request_head,
)
from pybroker.webhook import SettingsError, Sink, TlsClient
from pybroker.webhook.http.client import open_transport
from pybroker.webhook.http.transport import Request

from .conftest import drained
from .samples import endpoint, published

CASES = [
    # what came, status, body, reusable
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    (b"HTTP/1.1 200 OK\r\ncontent-length:2\r\nConnection: close\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok", 200, b"ok", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 C\r\nContent-Length: 1\r\n\r\nx", 201, b"x", True),
    (
        b"HTTP/1.1 500 E\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        500,
        b"abcde",
        True,
    ),
    (b"HTTP/1.1 200 K\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n", 200, b"", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", 200, b"ok", False),
]


@pytest.mark.parametrize(("came", "status", "body", "reusable"), CASES)
@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_answers(came: bytes, status: int, body: bytes, reusable: bool, size: int) -> None:
    reader = AnswerReader()
    assert not reader.begun
    for start in range(0, len(came), size):
        reader.feed(came[start : start + size])
        if reader.complete:
            break
    assert reader.complete
    assert (reader.status, reader.body) == (status, body)
    assert reader.reusable == reusable or (not reusable and size < 10_000 and came.endswith(b"more"))


def test_an_answer_may_end_with_the_connection() -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 500 E\r\nRetry-After: 7\r\n\r\nall of ")
    reader.feed(b"it")
    assert not reader.complete
    reader.closed()
    assert (reader.complete, reader.body, reader.reusable) == (True, b"all of it", False)
    assert reader.headers == {"retry-after": "7"}


@pytest.mark.parametrize("came", [case[0] for case in CASES[:3]])
def test_an_answer_that_is_cut_off_is_none(came: bytes) -> None:
    for end in range(len(came)):
        reader = AnswerReader()
        reader.feed(came[:end])
        reader.closed()
        assert not reader.complete


@pytest.mark.parametrize(
    ("came", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "it is not HTTP/1.1"),
        (b"HTTP/2 200\r\n\r\n", "it is not HTTP/1.1"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "it is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "a header is malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n", "a header is malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n", "its content length is not a number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n", "its content length is not a number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "its transfer encoding is not understood"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            "its transfer encoding is not understood",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "a chunk is malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "a chunk is malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "a chunk is malformed"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
            "its content length is too large",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n", "a chunk is malf"),
        (b"x" * (MAX_HEAD + 10), "its head is too long"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_HEAD // 25 + 1), "its head is too long"),
    ],
)
def test_what_is_no_answer(came: bytes, why: str) -> None:
    with pytest.raises(BadAnswerError, match=why):
        AnswerReader().feed(came)


@pytest.mark.parametrize("head", [b"Content-Length: 9999999", b"X: y", b"Transfer-Encoding: chunked"])
def test_a_long_body_is_not_waited_for(head: bytes) -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 500 E\r\n" + head + b"\r\n\r\n" + b"20000\r\n" * (b"chunked" in head))
    for _ in range(200):
        if reader.complete:
            break
        reader.feed(b"x" * 1000)
    assert (reader.complete, reader.reusable) == (True, False)
    assert len(reader.body) <= MAX_BODY + 1000


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (CHUNKED + b"0\r\n", b"X-Trailer: 1\r\n"),
        (CHUNKED + b"0\r\n", b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED, b"1;extension=value\r\nx\r\n"),
    ],
)
@pytest.mark.parametrize("size", [1, 65536])
def test_lines_around_chunks_are_bounded(begin: bytes, again: bytes, size: int) -> None:
    reader = AnswerReader()
    came = begin + again * (4 * MAX_BODY // len(again))
    read = 0
    while not reader.complete:
        reader.feed(came[read : read + size])
        read += size
    assert (reader.status, reader.reusable) == (200, False)
    assert read <= len(begin) + 2 * MAX_FRAMING + size
    assert len(reader.body) <= MAX_FRAMING


@given(st.binary(max_size=200), st.lists(st.integers(1, 30), min_size=1, max_size=50))
def test_bytes_at_random_never_break_the_reader(data: bytes, sizes: list[int]) -> None:
    reader = AnswerReader()
    came = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data
    try:
        for size in sizes:
            reader.feed(came[:size])
            came = came[size:]
            if reader.complete:
                return
    except BadAnswerError:
        return


def test_a_request() -> None:
    assert request_head("POST /p?q=1", [("Host", "h:1"), ("x", "é")], 3) == (
        "POST /p?q=1 HTTP/1.1\r\nHost: h:1\r\nx: é\r\nContent-Length: 3\r\n\r\n".encode()
    )
    for bad in ("a\r\nb", "a\nb", "a\rb", "a\r\n"):
        with pytest.raises(ValueError, match="a header must not have a line break"):
            request_head("POST /", [("x", bad)], 0)


# ---- over real connections


class Raw:
    """A server that answers each request with the bytes given."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0

    async def __aenter__(self) -> Raw:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer:
                    writer.write(answer)
                    await writer.drain()
                else:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_one_connection_is_enough(start) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with Raw(OK, chunked, OK) as server:
        sink = await start(endpoint(f"http://user:pass@127.0.0.1:{server.port}/a b?c=é", pool_size=1))
        for _ in range(3):
            sink.offer(published())
        await drained(sink)
        assert server.connections == 1
        lines = server.requests[0].split(b"\r\n")
        assert lines[0] == b"POST /a%20b?c=%C3%A9 HTTP/1.1"
        assert b"Host: 127.0.0.1:%d" % server.port in lines
        assert b"Authorization: Basic " + base64.b64encode(b"user:pass") in lines


async def test_a_connection_that_the_server_closed_meanwhile_is_no_failure(start) -> None:
    async with Raw(OK, b"", OK) as server:
        sink = await start(endpoint(f"http://127.0.0.1:{server.port}/", pool_size=1))
        sink.offer(published(b"1"))
        await drained(sink)
        sink.offer(published(b"2"))
        await drained(sink)
        stats = sink.stats()[0]
        assert (stats.succeeded, stats.tries, server.connections) == (2, 2, 2)


async def test_what_is_not_http_is_reported(start, caplog) -> None:
    async with Raw(*[b"SSH-2.0-OpenSSH_9.6\r\n\r\n"] * 4) as server:
        sink = await start(endpoint(f"http://127.0.0.1:{server.port}/"))
        sink.offer(published())
        await drained(sink)
        assert sink.stats()[0].dead == 1
        assert "the answer is invalid: it is not HTTP/1.1" in caplog.text


@pytest.mark.parametrize(
    ("begin", "again", "outcome"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "the answer is invalid: its head is too long"),
        (CHUNKED + b"0\r\n", b"X-Trailer: 1\r\n", "200"),
        (CHUNKED, b"1\r\nx\r\n", "200"),
    ],
    ids=["continue", "trailer", "chunks"],
)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_an_answer_without_end_is_given_up(
    begin: bytes, again: bytes, outcome: str, secure: bool, tmp_path: Path
) -> None:
    tls = None
    if secure:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(tmp_path / "ca.pem")
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("127.0.0.1").configure_cert(tls)
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begin)
        try:
            while True:
                writer.write(again * 1000)
                await writer.drain()
        except OSError:
            ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    transport = open_transport(
        endpoint(f"http{'s' * secure}://127.0.0.1:{port}/", tls=TlsClient(cacertfile=tmp_path / "ca.pem"))
    )
    async with asyncio.timeout(60):
        try:
            told = str((await transport.post(Request({}, b"x"))).status)
        except NoAnswerError as error:
            told = str(error)
        await ended.wait()  # the connection is given up
    assert told == outcome
    await transport.close()
    server.close()


async def test_a_server_without_tls(start, caplog) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sink = await start(endpoint(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/?token=hidden"))
    sink.offer(published())
    await drained(sink)
    assert sink.stats()[0].dead == 1
    assert "no TLS connection: WRONG_VERSION_NUMBER" in caplog.text
    assert "hidden" not in caplog.text
    server.close()


async def test_a_header_with_a_line_break_is_not_sent(start, caplog) -> None:
    sink = await start(endpoint("http://127.0.0.1:1/", headers=(("x", "a\r\nb: c"),)))
    sink.offer(published())
    await drained(sink)
    assert "a header must not have a line break" in caplog.text


async def test_a_host_that_does_not_exist(start, caplog) -> None:
    sink = await start(endpoint("http://no-such-host.invalid/"))
    sink.offer(published())
    await drained(sink)
    assert sink.stats()[0].dead == 1
    assert "no-such-host.invalid:80 cannot be reached: " in caplog.text


async def test_a_port_that_is_closed(start, caplog, unused_tcp_port: int) -> None:
    sink = await start(endpoint(f"http://127.0.0.1:{unused_tcp_port}/"))
    sink.offer(published())
    await drained(sink)
    assert f"nothing listens at 127.0.0.1:{unused_tcp_port}" in caplog.text


@pytest.mark.parametrize("url", ["http://", "http://h:port/", "h:80", "http://[::1/"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(SettingsError):
        Sink([endpoint(url)])


async def test_the_host_header_may_be_configured(start) -> None:
    async with Raw(OK) as server:
        sink = await start(endpoint(f"http://127.0.0.1:{server.port}/", headers=(("Host", "virtual"),)))
        sink.offer(published())
        await drained(sink)
        assert server.requests[0].lower().count(b"host: ") == 1
        assert b"host: virtual" in server.requests[0]
