"""A minimal HTTP/1.1 client: writes requests, reads answers. Pure: bytes in, bytes out. [RFC 9112].

[RFC 9112]. An answer that is not understood raises BadAnswerError; the connection is of no use after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum, auto

MAX_HEAD = 32 << 10
"""Bytes of the answer's head, with those of all interim answers (100 Continue) before it."""
MAX_BODY = 64 << 10
MAX_FRAMING = 32 << 10
"""Bytes of the lines around the chunks of a body, and of the trailer. What exceeds this or MAX_BODY is not
waited for: the answer is taken as complete and the connection given up."""
MAX_LENGTH_DIGITS = 18
"""The most digits of Content-Length: an exabyte."""


class BadAnswerError(Exception):
    """The answer is not valid HTTP/1.1. The message says why."""


def request_head(method_and_target: str, headers: Iterable[tuple[str, str]], length: int) -> bytes:
    """The head of a request with a body of ``length`` bytes. Raises ValueError where a header has a line
    break: it would end the header and begin another."""
    lines = [f"{name}: {value}" for name, value in headers]
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("a header must not have a line break")
    return f"{method_and_target} HTTP/1.1\r\n{text}\r\nContent-Length: {length}\r\n\r\n".encode()


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def check_header(name: str, value: str) -> None:
    """Raise ValueError where this cannot be a header. [RFC 9110, 5.1 and 5.5]"""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a header")
    if _CONTROL.search(value):
        raise ValueError(f"the header {name} must not have a line break or another control character")
    value.encode()


_HEX = re.compile(rb"[0-9A-Fa-f]{1,16}")


class _Body(Enum):
    LENGTH = auto()
    CHUNKS = auto()
    UNTIL_CLOSE = auto()


class AnswerReader:
    """Reads one answer. Feed it what comes until ``complete``."""

    __slots__ = (
        "_body_kind",
        "_buffer",
        "_line_bytes",
        "_missing",
        "_searched",
        "_trailers",
        "body",
        "complete",
        "headers",
        "reusable",
        "status",
    )

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        """The bytes of the buffer that have been searched for the end of a line, or of the head."""
        self._line_bytes = 0
        """The bytes so far of heads, later of the lines around chunks."""
        self._missing = -1
        """The missing bytes of the body, or of the chunk and its line break; -1: none is open."""
        self._body_kind: _Body | None = None
        """None until the head is complete."""
        self._trailers = False
        """Whether the last chunk has come; trailer fields may follow."""
        self.status = 0
        self.headers: dict[str, str] = {}
        """By lower-case names. Of several with the same name, the last counts."""
        self.body = bytearray()
        self.complete = False
        self.reusable = False
        """Whether another request may follow on this connection."""

    def feed(self, data: bytes) -> None:
        """Take what was received. Raises BadAnswerError."""
        self._buffer += data
        if self._body_kind is None and not self._read_head():
            return
        if self._body_kind is _Body.CHUNKS:
            self._read_chunks()
        else:
            self._read_plain()
        if self.complete and self._buffer:
            self.reusable = False  # more than was asked for
        elif len(self.body) > MAX_BODY:
            self.complete, self.reusable = True, False

    def closed(self) -> None:
        """The server has closed the connection, which may be the end of the answer."""
        if self._body_kind is _Body.UNTIL_CLOSE:
            self.complete = True

    @property
    def begun(self) -> bool:
        """Whether any byte has come."""
        return bool(self._buffer or self.status)

    def _read_head(self) -> bool:
        """Whether the head of the final answer is complete."""
        while True:
            head = self._take_to(b"\r\n\r\n")
            if self._line_bytes > MAX_HEAD:
                raise BadAnswerError("its head is too long")
            if head is None:
                return False
            self._parse_head(head)
            if self.status >= 200 or self.status == 101:
                break
        self._line_bytes = 0
        self._begin_body()
        return True

    def _take_to(self, end: bytes) -> bytes | None:
        """The bytes before the next ``end``; None if it has not come. Counts the searched bytes."""
        buffer = self._buffer
        found = buffer.find(end, self._searched)
        if found < 0:
            before, self._searched = self._searched, max(0, len(buffer) - len(end) + 1)
            self._line_bytes += self._searched - before
            return None
        self._line_bytes += found + len(end) - self._searched
        self._searched = 0
        taken = bytes(buffer[:found])
        del buffer[: found + len(end)]
        return taken

    def _parse_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        code = rest[:3]
        known = version in ("HTTP/1.1", "HTTP/1.0")
        if not known or not (len(code) == 3 and code.isascii() and code.isdigit()):
            raise BadAnswerError("it is not HTTP/1.1")
        self.status = int(code)
        self.headers = headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name[-1] in " \t":
                raise BadAnswerError("a header is malformed")
            headers[name.lower()] = value.strip(" \t")
        connection = headers.get("connection", "").lower()
        self.reusable = "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection

    def _begin_body(self) -> None:
        headers = self.headers
        if self.status in (204, 304):
            self._body_kind, self._missing = _Body.LENGTH, 0
        elif "transfer-encoding" in headers:
            if headers["transfer-encoding"].lower() != "chunked" or "content-length" in headers:
                raise BadAnswerError("its transfer encoding is not understood")
            self._body_kind = _Body.CHUNKS
        elif "content-length" in headers:
            length = headers["content-length"]
            if not (length.isascii() and length.isdigit()):
                raise BadAnswerError("its content length is not a number")
            if len(length) > MAX_LENGTH_DIGITS:
                raise BadAnswerError("its content length is too large")
            self._body_kind, self._missing = _Body.LENGTH, int(length)
        else:
            self._body_kind, self.reusable = _Body.UNTIL_CLOSE, False

    def _read_plain(self) -> None:
        if self._body_kind is _Body.UNTIL_CLOSE:
            self._take_into_body(len(self._buffer))
            return
        taken = min(self._missing, len(self._buffer))
        self._take_into_body(taken)
        self._missing -= taken
        self.complete = self._missing == 0

    def _take_into_body(self, count: int) -> None:
        self.body += self._buffer[:count]
        del self._buffer[:count]

    def _read_chunks(self) -> None:
        while not self.complete:
            if self._missing >= 0 and not self._read_chunk():
                return
            line = self._take_to(b"\r\n")
            if self._line_bytes > MAX_FRAMING:
                self.complete, self.reusable = True, False
            elif line is None:
                return
            elif self._trailers:
                self.complete = not line
            else:
                self._begin_chunk(line)

    def _read_chunk(self) -> bool:
        """Whether the chunk is complete, which is then in the body."""
        if len(self._buffer) < self._missing:
            return False
        if self._buffer[self._missing - 2 : self._missing] != b"\r\n":
            raise BadAnswerError("a chunk is malformed")
        self._take_into_body(self._missing - 2)
        del self._buffer[:2]
        self._missing = -1
        return True

    def _begin_chunk(self, line: bytes) -> None:
        size = line.partition(b";")[0].strip()
        if not _HEX.fullmatch(size):
            raise BadAnswerError("a chunk is malformed")
        length = int(size, 16)
        if length:
            self._missing = length + 2
        else:
            self._trailers = True
        if len(self.body) > MAX_BODY or length > MAX_BODY:
            self.complete, self.reusable = True, False
