"""The wire types of packets (MQTT 5.0, section 1.5).

A reader takes the bytes, the position of the value and the end of the packet. It returns the value and the
position behind it, or raises MalformedPacket. A writer returns the bytes, or raises ValueError if the value
does not fit.
"""

from __future__ import annotations

from .errors import MalformedPacket

MAX_VARIABLE_BYTE_INTEGER = 268_435_455
LARGEST_PACKET = 5 + MAX_VARIABLE_BYTE_INTEGER
"""In bytes: the fixed header, and the largest remaining length."""


def read_byte(data: bytes, pos: int, end: int) -> tuple[int, int]:
    if pos >= end:
        raise MalformedPacket("the packet ends before a byte it needs")
    return data[pos], pos + 1


def read_two(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """Two Byte Integer, big-endian."""
    if pos + 2 > end:
        raise MalformedPacket("the packet ends inside a two byte integer")
    return data[pos] << 8 | data[pos + 1], pos + 2


def read_four(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """Four Byte Integer, big-endian."""
    if pos + 4 > end:
        raise MalformedPacket("the packet ends inside a four byte integer")
    return int.from_bytes(data[pos : pos + 4]), pos + 4


def read_variable(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """Variable Byte Integer: seven bits in each byte, the lowest first, at most four bytes."""
    value = 0
    for shift in (0, 7, 14, 21):
        if pos >= end:
            raise MalformedPacket("the packet ends inside a variable byte integer")
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:  # [MQTT-1.5.5-1]
                raise MalformedPacket("a variable byte integer takes more bytes than it needs")
            return value, pos
    raise MalformedPacket("a variable byte integer is longer than four bytes")


def read_binary(data: bytes, pos: int, end: int) -> tuple[bytes, int]:
    """Binary Data: two bytes with the length, then the data."""
    length, pos = read_two(data, pos, end)
    stop = pos + length
    if stop > end:
        raise MalformedPacket(f"a field of {length} bytes does not fit into the packet")
    return data[pos:stop], stop


def read_string(data: bytes, pos: int, end: int) -> tuple[str, int]:
    """UTF-8 Encoded String."""
    raw, pos = read_binary(data, pos, end)
    return text(raw), pos


def read_pair(data: bytes, pos: int, end: int) -> tuple[tuple[str, str], int]:
    """UTF-8 String Pair."""
    name, pos = read_string(data, pos, end)
    value, pos = read_string(data, pos, end)
    return (name, value), pos


def text(raw: bytes) -> str:
    """The string in ``raw``. Python itself refuses surrogates and over-long forms [MQTT-1.5.4-1]."""
    try:
        string = raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedPacket(f"a string is not UTF-8: {error.reason} at byte {error.start}") from None
    if "\0" in string:  # [MQTT-1.5.4-2]
        raise MalformedPacket("a string holds the null character U+0000")
    return string


def write_byte(value: int) -> bytes:
    return _fixed(value, 1)


def write_two(value: int) -> bytes:
    return _fixed(value, 2)


def write_four(value: int) -> bytes:
    return _fixed(value, 4)


def _fixed(value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size)
    except OverflowError:
        raise ValueError(f"{value} does not fit into {size} bytes") from None


def write_variable(value: int) -> bytes:
    if 0 <= value < 0x80:
        return value.to_bytes(1)
    if not 0 <= value <= MAX_VARIABLE_BYTE_INTEGER:
        raise ValueError(f"{value} is not between 0 and {MAX_VARIABLE_BYTE_INTEGER:,}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_binary(value: bytes) -> bytes:
    if len(value) > 0xFFFF:
        raise ValueError(f"a field of {len(value):,} bytes is longer than 65,535 bytes")
    return len(value).to_bytes(2) + value


def write_string(value: str) -> bytes:
    if "\0" in value:  # [MQTT-1.5.4-2]
        raise ValueError("a string holds the null character U+0000")
    return write_binary(value.encode())  # [MQTT-1.5.4-1] a lone surrogate is a UnicodeEncodeError


def write_pair(value: tuple[str, str]) -> bytes:
    return write_string(value[0]) + write_string(value[1])
