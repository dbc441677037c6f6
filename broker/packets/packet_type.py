"""The control packet types: the upper four bits of a packet's first byte."""

from __future__ import annotations

from enum import IntEnum


class PacketType(IntEnum):
    WILL = 0
    """Not a packet: the will in CONNECT, which has its own properties."""
    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15
