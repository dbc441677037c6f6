"""The errors of malformed packets and broken rules, with MQTT 5.0's reason codes."""

from __future__ import annotations

from .reasons import ReasonCode

LONGEST_MESSAGE = 200
"""In characters: a message may quote what was received, which may be long."""


class ProtocolError(Exception):
    """The peer broke a rule of MQTT, or exceeded a limit. ``reason`` is the reason code of a 5.0 CONNACK or
    DISCONNECT. ``limit`` is the limit under which the error is counted; empty if it is none."""

    def __init__(self, message: str, reason: ReasonCode = ReasonCode.PROTOCOL_ERROR, limit: str = "") -> None:
        if len(message) > LONGEST_MESSAGE:
            message = message[: LONGEST_MESSAGE - 3] + "..."
        super().__init__(message)
        self.reason = reason
        self.limit = limit


class MalformedPacket(ProtocolError):  # noqa: N818 - MQTT's own name for it
    """The bytes are not a packet."""

    def __init__(self, message: str, reason: ReasonCode = ReasonCode.MALFORMED_PACKET) -> None:
        super().__init__(message, reason)
