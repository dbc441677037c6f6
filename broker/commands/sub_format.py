"""The formats of `pybroker sub -F`, which are those of mosquitto_sub(1)."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ..packets.model import Publish

SEQUENCE = re.compile(
    r"%(?P<flags>[-0]*)(?P<width>\d*)(?:\.(?P<most>\d+))?(?P<what>.)|@(?P<time>.)|\\(?P<escape>.)|(?P<alone>[%@\\])",
    re.DOTALL,
)
ESCAPES = {"\\": "\\", "0": "\0", "a": "\a", "e": "\033", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
NUMBERS = "AEFlmSxX"
"""These may be padded with zeros."""
LONGEST = 10_000
"""The largest width of a field, in characters."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message, and when it arrived."""

    message: Publish
    at: int
    """Nanoseconds since the epoch."""

    @property
    def time(self) -> datetime:
        """The local time."""
        return datetime.fromtimestamp(self.at // 1_000_000_000).astimezone()

    def property(self, name: str) -> Any:
        """A property of the message; None if it has none of this name."""
        properties = self.message.properties
        return None if properties is None else getattr(properties, name)


Piece: TypeAlias = Callable[[Arrived], bytes]


class Format:
    """A format, ready to be filled in. Raises ValueError if the text has a sequence that is not known."""

    def __init__(self, text: str) -> None:
        self._pieces: list[Piece] = []
        end = 0
        for found in SEQUENCE.finditer(text):
            self._add(text[end : found.start()])
            end = found.end()
            if found["alone"]:
                raise ValueError(
                    f"{found[0]} at the end begins nothing; write {found[0] * 2} for the character"
                )
            if found["escape"]:
                if found["escape"] not in ESCAPES:
                    raise ValueError(f"{found[0]} is not known; known are {_listed(chr(92), ESCAPES)}")
                self._add(ESCAPES[found["escape"]])
            elif found["time"]:
                self._pieces.append(_of_time(found["time"]))
            else:
                self._pieces.append(_of_message(found))
        self._add(text[end:])

    def line(self, message: Publish) -> bytes:
        """The message in this format, without a line break."""
        arrived = Arrived(message, time.time_ns())
        return b"".join([piece(arrived) for piece in self._pieces])

    def _add(self, text: str) -> None:
        if text:
            data = text.encode(errors="surrogateescape")
            self._pieces.append(lambda arrived: data)


def _of_time(letter: str) -> Piece:
    """``@`` and a letter of strftime(3)."""
    if letter == "@":
        return lambda arrived: b"@"
    if letter == "N":
        return lambda arrived: b"%09d" % (arrived.at % 1_000_000_000)
    return lambda arrived: arrived.time.strftime(f"%{letter}").encode(errors="surrogateescape")


def _of_message(found: re.Match[str]) -> Piece:
    what = found["what"]
    if what == "%":
        return lambda arrived: b"%"
    value = VALUES.get(what)
    if value is None:
        raise ValueError(f"%{what} is not known; known are {_listed('%', [*VALUES, '%'])}")
    width, most = int(found["width"] or 0), None if found["most"] is None else int(found["most"])
    if max(width, most or 0) > LONGEST:
        raise ValueError(f"{found[0]} is wider than {LONGEST} characters")
    left = "-" in found["flags"]
    fill = b"0" if "0" in found["flags"] and not left and what in NUMBERS else b" "

    def piece(arrived: Arrived) -> bytes:
        text = value(arrived)
        if isinstance(text, str):
            text = text[:most].encode(errors="surrogateescape")
            missing = width - len(text.decode(errors="replace"))
        else:
            text = text[: width or None] if what == "p" else text
            missing = width - len(text)
        blank = fill * max(0, missing)
        return text + blank if left else blank + text

    return piece


def _listed(sign: str, letters: Any) -> str:
    return " ".join(sign + letter for letter in letters)


def _number(name: str) -> Callable[[Arrived], str]:
    def read(arrived: Arrived) -> str:
        value = arrived.property(name)
        return "" if value is None else str(value)

    return read


def _identifiers(arrived: Arrived) -> str:
    return " ".join(map(str, arrived.property("subscription_identifiers") or ()))


def _user_properties(arrived: Arrived) -> str:
    return " ".join(f"{name}:{value}" for name, value in arrived.property("user_properties") or ())


def _as_json(arrived: Arrived) -> bytes:
    """With the payload as a string; as a list of its bytes where it is no text."""
    payload = arrived.message.payload
    try:
        return _object(arrived, payload.decode() if payload else None)
    except UnicodeDecodeError:
        return _object(arrived, list(payload))


def _as_json_with_json(arrived: Arrived) -> bytes:
    payload = arrived.message.payload
    try:
        return _object(arrived, json.loads(payload) if payload else None)
    except (ValueError, RecursionError):
        print(f"pybroker: the payload on topic {arrived.message.topic} is not JSON", file=sys.stderr)
        return b""


def _object(arrived: Arrived, payload: Any) -> bytes:
    message = arrived.message
    found: dict[str, Any] = {
        "tst": f"{arrived.time:%Y-%m-%dT%H:%M:%S}.{arrived.at // 1000 % 1_000_000:06}{arrived.time:%z}",
        "topic": message.topic,
        "qos": message.qos,
        "retain": int(message.retain),
        "payloadlen": len(message.payload),
    }
    if message.qos:
        found["mid"] = message.packet_id
    if properties := _properties(arrived):
        found["properties"] = properties
    found["payload"] = payload
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogateescape")


def _properties(arrived: Arrived) -> dict[str, Any]:
    """By the names of the specification."""
    names = ("payload_format_indicator", "message_expiry_interval", "content_type", "response_topic")
    found = {name.replace("_", "-"): arrived.property(name) for name in names}
    correlation = arrived.property("correlation_data")
    found["correlation-data"] = None if correlation is None else correlation.decode(errors="replace")
    if identifiers := arrived.property("subscription_identifiers"):
        found["subscription-identifier"] = identifiers[0]
    if pairs := arrived.property("user_properties"):
        found["user-properties"] = dict(pairs)
    return {name: value for name, value in found.items() if value is not None}


VALUES: dict[str, Callable[[Arrived], str | bytes]] = {
    "A": _number("topic_alias"),
    "C": _number("content_type"),
    "D": lambda arrived: arrived.property("correlation_data") or b"",
    "E": _number("message_expiry_interval"),
    "F": _number("payload_format_indicator"),
    "I": lambda arrived: arrived.time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    "j": _as_json,
    "J": _as_json_with_json,
    "l": lambda arrived: str(len(arrived.message.payload)),
    "m": lambda arrived: str(arrived.message.packet_id),
    "P": _user_properties,
    "p": lambda arrived: arrived.message.payload,
    "q": lambda arrived: str(arrived.message.qos),
    "R": _number("response_topic"),
    "r": lambda arrived: str(int(arrived.message.retain)),
    "S": _identifiers,
    "t": lambda arrived: arrived.message.topic,
    "U": lambda arrived: f"{arrived.at // 1_000_000_000}.{arrived.at % 1_000_000_000:09}",
    "x": lambda arrived: arrived.message.payload.hex(),
    "X": lambda arrived: arrived.message.payload.hex().upper(),
}
"""The letters after %."""
