"""The errors of malformed packets and broken rules, with MQTT 5.0's reason codes."""

from __future__ import annotations

from .reasons import ReasonCode

LONGEST_MESSAGE = 200
"""Characters: a message may quote what came, and that may be long."""


class ProtocolError(Exception):
    """The peer broke a rule of MQTT, or went beyond a bound. ``reason`` is what a 5.0 CONNACK or DISCONNECT
    tells it, ``limit`` the bound by which that is counted, empty where it is none."""

    def __init__(self, message: str, reason: ReasonCode = ReasonCode.PROTOCOL_ERROR, limit: str = "") -> None:
        if len(message) > LONGEST_MESSAGE:
            message = message[: LONGEST_MESSAGE - 3] + "..."
        super().__init__(message)
        self.reason = reason
        self.limit = limit


class MalformedPacket(ProtocolError):  # noqa: N818 - MQTT's own name for it
    """The bytes cannot be read as a packet."""

    def __init__(self, message: str, reason: ReasonCode = ReasonCode.MALFORMED_PACKET) -> None:
        super().__init__(message, reason)
