"""Frames in pieces that a server takes, with the processes that they go from and to. Pure."""

from __future__ import annotations

from struct import Struct, error
from typing import NamedTuple

_HEAD = Struct("<QQIBB")  # sender and receiver as instances, number, flags, length of the sender's name
_FIRST, _LAST = 1, 2
_NUMBERS = 1 << 32


class PieceError(Exception):
    """What came is no piece of a frame."""


class Piece(NamedTuple):
    name: str
    """Of the node that sends."""
    sender: int
    receiver: int
    number: int
    flags: int
    body: bytes


class Cutter:
    """Cuts frames for one receiver."""

    def __init__(self, name: str, sender: int, receiver: int, size: int) -> None:
        """``size``: the most bytes of a piece, with its head."""
        self._name = name.encode()
        self._ends = sender, receiver
        self._room = size - _HEAD.size - len(self._name)
        self._number = 0

    def cut(self, frame: bytes) -> list[bytes]:
        room = self._room
        if len(frame) <= room:
            return [self._head(_FIRST | _LAST) + frame]
        starts = range(0, len(frame), room)
        return [
            self._head((_FIRST if at == 0 else 0) | (_LAST if at == starts[-1] else 0))
            + frame[at : at + room]
            for at in starts
        ]

    def _head(self, flags: int) -> bytes:
        number = self._number
        self._number = (number + 1) % _NUMBERS
        return _HEAD.pack(*self._ends, number, flags, len(self._name)) + self._name


def read_piece(data: bytes) -> Piece:
    """Raises PieceError."""
    try:
        sender, receiver, number, flags, length = _HEAD.unpack_from(data)
        end = _HEAD.size + length
        return Piece(data[_HEAD.size : end].decode(), sender, receiver, number, flags, data[end:])
    except (error, ValueError) as unfit:
        raise PieceError(str(unfit)) from unfit


class Joiner:
    """Makes frames of the pieces of one sender. A frame of which a piece is missing is dropped."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._next: int | None = None
        """The number of the piece that a begun frame waits for."""

    def take(self, piece: Piece) -> bytes | None:
        """The frame that is whole with this piece."""
        if piece.flags == _FIRST | _LAST:
            self._next = None
            self._parts.clear()
            return piece.body
        if piece.flags & _FIRST:
            self._parts = [piece.body]
        elif piece.number != self._next:
            self._parts.clear()
            self._next = None
            return None
        else:
            self._parts.append(piece.body)
        if piece.flags & _LAST:
            frame = b"".join(self._parts)
            self._parts = []
            self._next = None
            return frame
        self._next = (piece.number + 1) % _NUMBERS
        return None
