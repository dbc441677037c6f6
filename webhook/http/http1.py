"""HTTP/1.1 as a client of plain POSTs needs it: requests written, answers read. Pure: bytes in, bytes out.

[RFC 9112]. An answer that is not understood raises BadAnswerError; the connection is of no use after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum, auto

MAX_HEAD = 32 << 10
MAX_BODY = 64 << 10
"""A longer body is not waited for: the answer is taken as complete and the connection given up."""


class BadAnswerError(Exception):
    """What came is no answer in HTTP/1.1; the message says why."""


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


class _Body(Enum):
    LENGTH = auto()
    CHUNKS = auto()
    UNTIL_CLOSE = auto()


class AnswerReader:
    """Reads one answer. Feed it what comes until ``complete``."""

    __slots__ = (
        "_body_kind",
        "_buffer",
        "_missing",
        "_trailers",
        "body",
        "complete",
        "headers",
        "reusable",
        "status",
    )

    def __init__(self) -> None:
        self._buffer = b""
        self._missing = -1
        """Bytes of the body, or of the chunk and its line break, still to come; -1: none is open."""
        self._body_kind: _Body | None = None
        """None until the head is complete."""
        self._trailers = False
        """The last chunk has come; fields may follow."""
        self.status = 0
        self.headers: dict[str, str] = {}
        """By lower-case names; of several with one name, the last."""
        self.body = b""
        self.complete = False
        self.reusable = False
        """Another request may follow on this connection."""

    def feed(self, data: bytes) -> None:
        """Take what was received. Raises BadAnswerError."""
        self._buffer = self._buffer + data if self._buffer else data
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
        """The server closed the connection, which may be how the answer ends."""
        if self._body_kind is _Body.UNTIL_CLOSE:
            self.complete = True

    @property
    def begun(self) -> bool:
        """Anything has come."""
        return bool(self._buffer or self.status)

    def _read_head(self) -> bool:
        """Whether the head of the final answer is complete."""
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    raise BadAnswerError("its head is too long")
                return False
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            self._parse_head(head)
            if self.status >= 200 or self.status == 101:
                break
        self._begin_body()
        return True

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
            self._body_kind, self._missing = _Body.LENGTH, int(length)
        else:
            self._body_kind, self.reusable = _Body.UNTIL_CLOSE, False

    def _read_plain(self) -> None:
        if self._body_kind is _Body.UNTIL_CLOSE:
            self.body, self._buffer = self.body + self._buffer, b""
            return
        taken = self._buffer[: self._missing]
        self.body += taken
        self._buffer = self._buffer[len(taken) :]
        self._missing -= len(taken)
        self.complete = self._missing == 0

    def _read_chunks(self) -> None:
        while not self.complete:
            if self._missing >= 0:
                if len(self._buffer) < self._missing:
                    return
                chunk, self._buffer = self._buffer[: self._missing], self._buffer[self._missing :]
                if not chunk.endswith(b"\r\n"):
                    raise BadAnswerError("a chunk is malformed")
                self.body += chunk[:-2]
                self._missing = -1
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                if len(self._buffer) > MAX_HEAD:
                    raise BadAnswerError("a chunk is malformed")
                return
            self._buffer = rest
            if self._trailers:
                self.complete = not line
                continue
            size = line.partition(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError:
                length = -1
            if length < 0 or b"_" in size or length > 1 << 40:
                raise BadAnswerError("a chunk is malformed")
            if length:
                self._missing = length + 2
            else:
                self._trailers = True
            if len(self.body) > MAX_BODY or length > MAX_BODY:
                self.complete, self.reusable = True, False
