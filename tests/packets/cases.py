"""One table of raw bytes and what they are: it drives all tests of the codec.

Each row holds whole packets as the specification lays them out, typed in or put together here, never
by the encoder under test. ``[MQTT-x.y.z-n]`` is MQTT 5.0's statement, ``[3.1.1: ...]`` is 3.1.1's.
"""
# ruff: noqa: E501 - a row a line, as far as it goes

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from pybroker.broker.packets.encoder import make_publish
from pybroker.broker.packets.model import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsuback,
    Unsubscribe,
    Will,
)
from pybroker.broker.packets.packet_type import PacketType
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode


class Fault(NamedTuple):
    reason: ReasonCode
    says: str
    """Part of the message, so that a row fails for its own fault and not for a typing error in it."""


@dataclass(frozen=True)
class Case:
    name: str
    raw: bytes
    version: int
    """What the connection speaks; what CONNECT is going to say."""
    expected: Packet | Fault
    canonical: bool = True
    """Whether the encoder writes the packet just so."""

    @property
    def good(self) -> bool:
        return not isinstance(self.expected, Fault)

    def __str__(self) -> str:
        return f"{self.name} ({self.version})"


def malformed(says: str) -> Fault:
    return Fault(ReasonCode.MALFORMED_PACKET, says)


def broken(says: str) -> Fault:
    return Fault(ReasonCode.PROTOCOL_ERROR, says)


def unsupported() -> Fault:
    return Fault(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, "there is no protocol")


def wildcards() -> Fault:
    return Fault(ReasonCode.MALFORMED_PACKET, "has wildcards")


def framed(first: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((first, len(body))) + body


R = ReasonCode
EVERY = (3, 4, 5)
OLD = (3, 4)
MQTT3 = b"\0\6MQIsdp\3"
MQTT4 = b"\0\4MQTT\4"
MQTT5 = b"\0\4MQTT\5"

# fmt: off
CONNECT_CASES = [
    Case("connect", b"\x10\x10" + MQTT3 + b"\x02\x00\x3c\x00\x02c1", 3, Connect("MQIsdp", 3, True, 60, "c1")),
    Case("connect", b"\x10\x0e" + MQTT4 + b"\x02\x00\x3c\x00\x02c1", 4, Connect("MQTT", 4, True, 60, "c1")),
    Case("connect", b"\x10\x0f" + MQTT5 + b"\x02\x00\x3c\0\x00\x02c1", 5, Connect("MQTT", 5, True, 60, "c1")),
    Case("connect, session kept, keepalive at its highest", b"\x10\x0e" + MQTT4 + b"\x00\xff\xff\x00\x02c1", 4,
         Connect("MQTT", 4, False, 65535, "c1")),
    Case("connect without an id", b"\x10\x0c" + MQTT4 + b"\x02\x00\x00\x00\x00", 4,
         Connect("MQTT", 4, True, 0, "")),
    Case("connect with everything", b"\x10\x1f" + MQTT4 + b"\xee\x00\x3c\x00\x02c1\x00\x03w/t\x00\x03bye\x00\x02me\x00\x01p", 4,
         Connect("MQTT", 4, True, 60, "c1", "me", b"p", Will("w/t", b"bye", 1, True))),
    Case("connect with everything", b"\x10\x21" + MQTT3 + b"\xee\x00\x3c\x00\x02c1\x00\x03w/t\x00\x03bye\x00\x02me\x00\x01p", 3,
         Connect("MQIsdp", 3, True, 60, "c1", "me", b"p", Will("w/t", b"bye", 1, True))),
    Case("connect with everything",
         b"\x10\x2b" + MQTT5 + b"\xf6\x00\x3c\x05\x11\x00\x00\x00\x0a\x00\x02c1"
         b"\x05\x18\x00\x00\x00\x05\x00\x03w/t\x00\x03bye\x00\x02me\x00\x01p", 5,
         Connect("MQTT", 5, True, 60, "c1", "me", b"p",
                 Will("w/t", b"bye", 2, True, Properties(will_delay_interval=5)),
                 Properties(session_expiry_interval=10))),
    Case("connect with an empty will payload, at QoS 0", b"\x10\x13" + MQTT4 + b"\x06\x00\x3c\x00\x02c1\x00\x01w\x00\x00", 4,
         Connect("MQTT", 4, True, 60, "c1", will=Will("w", b""))),
    Case("connect with a user name, no password", b"\x10\x12" + MQTT4 + b"\x82\x00\x3c\x00\x02c1\x00\x02me", 4,
         Connect("MQTT", 4, True, 60, "c1", "me")),
    Case("connect with an empty user name and password", b"\x10\x12" + MQTT4 + b"\xc2\x00\x3c\x00\x02c1\x00\x00\x00\x00", 4,
         Connect("MQTT", 4, True, 60, "c1", "", b"")),
    Case("connect with a password that is not text", b"\x10\x14" + MQTT4 + b"\xc2\x00\x3c\x00\x02c1\x00\x00\x00\x02\xff\x00", 4,
         Connect("MQTT", 4, True, 60, "c1", "", b"\xff\0")),
    Case("connect with a password, no user name", b"\x10\x12" + MQTT5 + b"\x42\x00\x3c\0\x00\x02c1\x00\x01p", 5,
         Connect("MQTT", 5, True, 60, "c1", None, b"p")),
    Case("connect with non-ASCII text", b"\x10\x12" + MQTT4 + "\x02\0\x3c\0\6é🚀".encode(), 4,
         Connect("MQTT", 4, True, 60, "é🚀")),
    Case("connect with a byte order mark [MQTT-1.5.4-3]", b"\x10\x10" + MQTT4 + b"\x02\x00\x3c\x00\x04\xef\xbb\xbfc", 4,
         Connect("MQTT", 4, True, 60, "\ufeffc")),
    Case("connect with control and non characters", b"\x10\x10" + MQTT4 + b"\x02\x00\x3c\x00\x04\x01\xef\xbf\xbf", 4,
         Connect("MQTT", 4, True, 60, "\x01\uffff")),
    Case("connect whose flags promise more than there is", b"\x10\x10" + MQTT3 + b"\xc2\x00\x3c\x00\x02c1", 3,
         Connect("MQIsdp", 3, True, 60, "c1"), canonical=False),
    Case("connect with unused flags set", b"\x10\x10" + MQTT3 + b"\x2b\x00\x3c\x00\x02c1", 3,
         Connect("MQIsdp", 3, True, 60, "c1"), canonical=False),
    Case("connect with a remaining length longer than needed", b"\x10\x8e\x00" + MQTT4 + b"\x02\x00\x3c\x00\x02c1", 4,
         Connect("MQTT", 4, True, 60, "c1"), canonical=False),

    Case("connect to another protocol", b"\x10\x0e\0\4HTTP\4\x02\x00\x3c\x00\x02c1", 4, broken("there is no protocol 'HTTP'")),  # [MQTT-3.1.2-1]
    Case("connect with the name in lower case", b"\x10\x0e\0\4mqtt\4\x02\x00\x3c\x00\x02c1", 4, broken("there is no protocol 'mqtt'")),
    Case("connect with level 6", b"\x10\x0e\0\4MQTT\6\x02\x00\x3c\x00\x02c1", 4, unsupported()),  # [MQTT-3.1.2-2]
    Case("connect with level 2", b"\x10\x10\0\6MQIsdp\2\x02\x00\x3c\x00\x02c1", 3, unsupported()),
    Case("connect with 3.1's name, 3.1.1's level", b"\x10\x10\0\6MQIsdp\4\x02\x00\x3c\x00\x02c1", 3, unsupported()),
    Case("connect with 3.1.1's name, 3.1's level", b"\x10\x0e\0\4MQTT\3\x02\x00\x3c\x00\x02c1", 4, unsupported()),
    Case("connect of a bridge", b"\x10\x0e\0\4MQTT\x84\x02\x00\x3c\x00\x02c1", 4,
         Connect("MQTT", 4, True, 60, "c1", bridge=True)),
    Case("connect of a bridge", b"\x10\x10\0\6MQIsdp\x83\x02\x00\x3c\x00\x02c1", 3,
         Connect("MQIsdp", 3, True, 60, "c1", bridge=True)),
    Case("connect of a bridge of 5.0", b"\x10\x0f\0\4MQTT\x85\x02\x00\x3c\0\x00\x02c1", 5, unsupported()),
    Case("connect with flags in the fixed header", b"\x11\x0e" + MQTT4 + b"\x02\x00\x3c\x00\x02c1", 4,
         malformed("wrong flags")),  # [MQTT-2.1.3-1]
    Case("connect with the reserved flag", b"\x10\x0e" + MQTT4 + b"\x03\x00\x3c\x00\x02c1", 4,
         malformed("reserved flag")),  # [MQTT-3.1.2-3]
    Case("connect with the reserved flag", b"\x10\x0f" + MQTT5 + b"\x03\x00\x3c\0\x00\x02c1", 5, malformed("reserved flag")),
    Case("connect with a will at QoS 3", b"\x10\x13" + MQTT4 + b"\x1e\x00\x3c\x00\x02c1\x00\x01w\x00\x00", 4,
         malformed("will has QoS 3")),  # [MQTT-3.1.2-12]
    Case("connect with a will's QoS but no will", b"\x10\x0e" + MQTT4 + b"\x0a\x00\x3c\x00\x02c1", 4,
         malformed("has no will")),  # [MQTT-3.1.2-11]
    Case("connect with a will's retain but no will", b"\x10\x0f" + MQTT5 + b"\x22\x00\x3c\0\x00\x02c1", 5,
         malformed("has no will")),  # [MQTT-3.1.2-13]
    Case("connect with a password, no user name", b"\x10\x11" + MQTT4 + b"\x42\x00\x3c\x00\x02c1\x00\x01p", 4,
         malformed("password without a user name")),  # [3.1.1: MQTT-3.1.2-22]
    Case("connect with a password, no user name", b"\x10\x13" + MQTT3 + b"\x42\x00\x3c\x00\x02c1\x00\x01p", 3,
         malformed("password without a user name")),
    Case("connect without the user name it promises", b"\x10\x0e" + MQTT4 + b"\x82\x00\x3c\x00\x02c1", 4,
         malformed("ends inside a two byte integer")),  # [3.1.1: MQTT-3.1.2-19]
    Case("connect with a user name it does not promise", b"\x10\x12" + MQTT4 + b"\x02\x00\x3c\x00\x02c1\x00\x02me", 4,
         malformed("4 bytes follow the end")),  # [3.1.1: MQTT-3.1.2-18]
    Case("connect with a will topic with wildcards", b"\x10\x13" + MQTT4 + b"\x06\x00\x3c\x00\x02c1\x00\x01#\x00\x00", 4, wildcards()),
    Case("connect with an empty will topic", b"\x10\x12" + MQTT4 + b"\x06\x00\x3c\x00\x02c1\x00\x00\x00\x00", 4,
         broken("topic name is empty")),  # [MQTT-4.7.3-1]
    Case("connect without anything", b"\x10\x00", 4, malformed("ends inside a two byte integer")),
    Case("connect that ends after the level", b"\x10\x07" + MQTT4, 4, malformed("ends before a byte it needs")),
    Case("connect that ends inside the keepalive", b"\x10\x09" + MQTT4 + b"\x02\x00", 4,
         malformed("ends inside a two byte integer")),
    Case("connect that ends inside the id", b"\x10\x0d" + MQTT4 + b"\x02\x00\x3c\x00\x02c", 4,
         malformed("a field of 2 bytes does not fit")),
    Case("connect with a surrogate", b"\x10\x0f" + MQTT4 + b"\x02\x00\x3c\x00\x03\xed\xa0\x80", 4,
         malformed("not UTF-8")),  # [MQTT-1.5.4-1]
    Case("connect with an over-long form", b"\x10\x0e" + MQTT4 + b"\x02\x00\x3c\x00\x02\xc0\xaf", 4, malformed("not UTF-8")),
    Case("connect with a code point above U+10FFFF", b"\x10\x10" + MQTT4 + b"\x02\x00\x3c\x00\x04\xf4\x90\x80\x80", 4,
         malformed("not UTF-8")),
    Case("connect with the null character", b"\x10\x0e" + MQTT4 + b"\x02\x00\x3c\x00\x02c\x00", 4,
         malformed("null character")),  # [MQTT-1.5.4-2]
    Case("connect with the null character in the user name", b"\x10\x11" + MQTT4 + b"\x82\x00\x3c\x00\x02c1\x00\x01\x00", 4,
         malformed("null character")),
    Case("connect with properties that do not end", b"\x10\x0f" + MQTT5 + b"\x02\x00\x3c\x20\x00\x02c1", 5,
         malformed("properties of 32 bytes do not fit")),
]

CONNACK_CASES = [
    *(Case("connack", b"\x20\x02\x00\x00", v, Connack(False)) for v in OLD),
    Case("connack", b"\x20\x03\x00\x00\x00", 5, Connack(False)),
    Case("connack, session present", b"\x20\x02\x01\x00", 4, Connack(True)),
    Case("connack, session present", b"\x20\x03\x01\x00\x00", 5, Connack(True)),
    Case("connack 1", b"\x20\x02\x00\x01", 4, Connack(False, R.UNSUPPORTED_PROTOCOL_VERSION)),
    Case("connack 2", b"\x20\x02\x00\x02", 3, Connack(False, R.CLIENT_IDENTIFIER_NOT_VALID)),
    Case("connack 3", b"\x20\x02\x00\x03", 4, Connack(False, R.SERVER_UNAVAILABLE)),
    Case("connack 4", b"\x20\x02\x00\x04", 4, Connack(False, R.BAD_USER_NAME_OR_PASSWORD)),
    Case("connack 5", b"\x20\x02\x00\x05", 4, Connack(False, R.NOT_AUTHORIZED)),
    *(Case(f"connack {reason.name}", bytes((0x20, 3, 0, reason, 0)), 5, Connack(False, reason))
      for reason in (
          R.UNSPECIFIED_ERROR, R.MALFORMED_PACKET, R.PROTOCOL_ERROR, R.IMPLEMENTATION_SPECIFIC_ERROR,
          R.UNSUPPORTED_PROTOCOL_VERSION, R.CLIENT_IDENTIFIER_NOT_VALID, R.BAD_USER_NAME_OR_PASSWORD,
          R.NOT_AUTHORIZED, R.SERVER_UNAVAILABLE, R.SERVER_BUSY, R.BANNED, R.BAD_AUTHENTICATION_METHOD,
          R.TOPIC_NAME_INVALID, R.PACKET_TOO_LARGE, R.QUOTA_EXCEEDED, R.PAYLOAD_FORMAT_INVALID,
          R.RETAIN_NOT_SUPPORTED, R.QOS_NOT_SUPPORTED, R.USE_ANOTHER_SERVER, R.SERVER_MOVED,
          R.CONNECTION_RATE_EXCEEDED,
      )),
    Case("connack with reserved flags", b"\x20\x02\x02\x00", 4, malformed("reserved flags")),  # [MQTT-3.2.2-1]
    Case("connack with a reserved return code", b"\x20\x02\x00\x06", 4, malformed("reserved return code 6")),
    Case("connack with a reason of another packet", b"\x20\x03\x00\x8e\x00", 5,
         broken("must not have the reason code 0x8e")),  # [MQTT-3.2.2-8]
    Case("connack refuses, session present", b"\x20\x02\x01\x05", 4, broken("its session is present")),  # [MQTT-3.2.2-6]
    Case("connack with more", b"\x20\x03\x00\x00\x00", 4, malformed("1 bytes follow")),
    Case("connack with less", b"\x20\x01\x00", 4, malformed("ends before a byte")),
    Case("connack without properties", b"\x20\x02\x00\x00", 5, malformed("ends inside a variable byte integer")),
    Case("connack with flags", b"\x21\x02\x00\x00", 4, malformed("wrong flags")),
]

PUBLISH_CASES = [
    *(Case("publish at QoS 0", b"\x30\x07\x00\x03a/bhi", v, make_publish("a/b", b"hi")) for v in OLD),
    Case("publish at QoS 0", b"\x30\x08\x00\x03a/b\x00hi", 5, make_publish("a/b", b"hi", version=5)),
    *(Case("publish at QoS 1", b"\x32\x09\x00\x03a/b\x00\x07hi", v, make_publish("a/b", b"hi", qos=1, packet_id=7)) for v in OLD),
    Case("publish at QoS 1", b"\x32\x0a\x00\x03a/b\x00\x07\x00hi", 5,
         make_publish("a/b", b"hi", qos=1, packet_id=7, version=5)),
    Case("publish at QoS 2", b"\x34\x09\x00\x03a/b\xff\xffhi", 4, make_publish("a/b", b"hi", qos=2, packet_id=65535)),
    Case("publish at QoS 2", b"\x34\x0a\x00\x03a/b\x01\x00\x00hi", 5,
         make_publish("a/b", b"hi", qos=2, packet_id=256, version=5)),
    Case("publish, retain", b"\x31\x07\x00\x03a/bhi", 4, make_publish("a/b", b"hi", retain=True)),
    Case("publish, dup", b"\x3a\x09\x00\x03a/b\x00\x07hi", 4, make_publish("a/b", b"hi", qos=1, packet_id=7, dup=True)),
    Case("publish, dup and retain at QoS 2", b"\x3d\x09\x00\x03a/b\x00\x07hi", 4,
         make_publish("a/b", b"hi", qos=2, retain=True, packet_id=7, dup=True)),
    *(Case("publish without a payload", b"\x31\x05\x00\x03a/b", v, make_publish("a/b", b"", retain=True)) for v in OLD),
    Case("publish without a payload", b"\x31\x06\x00\x03a/b\x00", 5, make_publish("a/b", b"", retain=True, version=5)),
    Case("publish to $SYS", b"\x30\x07\x00\x04$SYSx", 4, make_publish("$SYS", b"x")),
    Case("publish to a space", b"\x30\x03\x00\x01 ", 4, make_publish(" ", b"")),
    Case("publish with non-ASCII text", b"\x30\x08\x00\x06" + "é🚀".encode(), 4, make_publish("é🚀", b"")),
    Case("publish of 200 bytes", b"\x30\xcb\x01\x00\x01a" + bytes(200), 4, make_publish("a", bytes(200))),
    Case("publish of 16,381 bytes", b"\x30\x80\x80\x01\x00\x01a" + bytes(16381), 4, make_publish("a", bytes(16381))),
    Case("publish of 2,097,149 bytes", b"\x30\x80\x80\x80\x01\x00\x01a" + bytes(2097149), 4, make_publish("a", bytes(2097149))),
    Case("publish with the longest topic", b"\x30\x81\x80\x04\xff\xff" + b"t" * 65535, 4, make_publish("t" * 65535, b"")),
    Case("publish with an alias, no topic", b"\x30\x08\x00\x00\x03\x23\x00\x05hi", 5,
         make_publish("", b"hi", properties=Properties(topic_alias=5), version=5)),
    Case("publish with alias 0", b"\x30\x09\x00\x01a\x03\x23\x00\x00hi", 5,  # refused where aliases are counted
         make_publish("a", b"hi", properties=Properties(topic_alias=0), version=5)),
    Case("publish with two user properties of one name", b"\x30\x12\x00\x01a\x0e\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w", 5,
         make_publish("a", b"", properties=Properties(user_properties=(("k", "v"), ("k", "w"))), version=5)),
    Case("publish with two subscription identifiers", b"\x30\x09\x00\x01a\x05\x0b\x05\x0b\x80\x01", 5,
         make_publish("a", b"", properties=Properties(subscription_identifiers=(5, 128)), version=5)),
    Case("publish with properties in another order", b"\x30\x0b\x00\x01a\x07\x23\x00\x05\x03\x00\x01t", 5,
         make_publish("a", b"", properties=Properties(content_type="t", topic_alias=5), version=5), canonical=False),

    *(Case("publish at QoS 3", b"\x36\x09\x00\x03a/b\x00\x07hi", v, malformed("QoS 3")) for v in EVERY),  # [MQTT-3.3.1-4]
    *(Case("publish, dup at QoS 0", b"\x38\x07\x00\x03a/bhi", v, malformed("DUP at QoS 0")) for v in EVERY),  # [MQTT-3.3.1-2]
    *(Case("publish with packet identifier 0", b"\x32\x09\x00\x03a/b\x00\x00hi", v,
           broken("packet identifier is 0")) for v in EVERY),  # [MQTT-2.2.1-3]
    *(Case("publish with +", b"\x30\x05\x00\x03a/+", v, wildcards()) for v in EVERY),  # [MQTT-3.3.2-2]
    *(Case("publish with #", b"\x30\x05\x00\x03a/#", v, wildcards()) for v in EVERY),
    *(Case("publish without a topic", b"\x30\x04\x00\x00hi", v, broken("topic name is empty")) for v in OLD),  # [MQTT-4.7.3-1]
    Case("publish without a topic or a payload", b"\x30\x02\x00\x00", 4, broken("topic name is empty")),
    Case("publish without topic or alias", b"\x30\x05\x00\x00\x00hi", 5, broken("neither a topic name nor a topic alias")),
    Case("publish without topic or alias, with a property", b"\x30\x07\x00\x00\x02\x01\x01hi", 5,
         broken("neither a topic name nor a topic alias")),
    Case("publish with a topic that is not UTF-8", b"\x30\x05\x00\x03a/\xff", 4, malformed("not UTF-8")),  # [MQTT-3.3.2-1]
    Case("publish with a null character", b"\x30\x05\x00\x03a/\x00", 4, malformed("null character")),
    Case("publish without anything", b"\x30\x00", 4, malformed("ends before its topic name")),
    Case("publish with one byte", b"\x30\x01\x00", 4, malformed("ends before its topic name")),
    Case("publish with a topic too long", b"\x30\x04\x00\x03ab", 4, malformed("does not fit")),
    Case("publish that ends before the packet identifier", b"\x32\x05\x00\x03a/b", 4, malformed("before its packet identifier")),
    Case("publish that ends inside the packet identifier", b"\x32\x06\x00\x03a/b\x00", 4, malformed("before its packet identifier")),
    Case("publish that ends before the properties", b"\x30\x05\x00\x03a/b", 5, malformed("ends inside a variable byte integer")),
    Case("publish with properties too long", b"\x30\x07\x00\x03a/b\x05\x01", 5, malformed("properties of 5 bytes do not fit")),
    Case("publish with a property cut off", b"\x30\x08\x00\x03a/b\x02\x02\x00", 5, malformed("inside a four byte integer")),
]


def _acknowledgement_cases() -> list[Case]:
    cases = []
    for first, packet, refusal in (
        (0x40, Puback, R.QUOTA_EXCEEDED),
        (0x50, Pubrec, R.NOT_AUTHORIZED),
        (0x62, Pubrel, R.PACKET_IDENTIFIER_NOT_FOUND),
        (0x70, Pubcomp, R.PACKET_IDENTIFIER_NOT_FOUND),
    ):
        name = packet.__name__.lower()
        cases += [
            *(Case(name, bytes((first, 2, 1, 2)), v, packet(0x0102)) for v in EVERY),
            Case(f"{name} with a reason", bytes((first, 3, 0, 7, refusal)), 5, packet(7, refusal)),
            Case(f"{name} with a reason and properties", bytes((first, 9, 0, 7, refusal, 5, 0x1F, 0, 2)) + b"no", 5,
                 packet(7, refusal, Properties(reason_string="no"))),
            Case(f"{name} with properties", bytes((first, 9, 0, 7, 0, 5, 0x1F, 0, 2)) + b"no", 5,
                 packet(7, R.SUCCESS, Properties(reason_string="no"))),
            Case(f"{name} with reason 0", bytes((first, 3, 0, 7, 0)), 5, packet(7), canonical=False),
            Case(f"{name} with no properties", bytes((first, 4, 0, 7, refusal, 0)), 5, packet(7, refusal), canonical=False),
            Case(f"{name} with unused flags", bytes((first ^ 8, 2, 0, 7)), 3, packet(7), canonical=False),
            *(Case(f"{name} with wrong flags", bytes((first ^ flag, 2, 0, 7)), v, malformed("wrong flags"))  # [MQTT-3.6.1-1]
              for flag in (1, 2, 4, 8) for v in (4, 5)),
            *(Case(f"{name} with packet identifier 0", bytes((first, 2, 0, 0)), v, broken("packet identifier is 0"))
              for v in EVERY),  # [MQTT-2.2.1-3]
            *(Case(f"{name} without a packet identifier", bytes((first, 0)), v, malformed("inside a two byte")) for v in EVERY),
            Case(f"{name} with half a packet identifier", bytes((first, 1, 0)), 4, malformed("inside a two byte")),
            *(Case(f"{name} with more", bytes((first, 3, 0, 7, 0)), v, malformed("1 bytes follow")) for v in OLD),
            Case(f"{name} with more", bytes((first, 5, 0, 7, 0, 0, 0)), 5, malformed("1 bytes follow")),
            Case(f"{name} with a reason that is not its own", bytes((first, 3, 0, 7, 0x8E)), 5,
                 broken("must not have the reason code 0x8e")),  # [MQTT-3.4.2-1]
        ]
    return cases


SUBSCRIBE_CASES = [
    *(Case("subscribe", b"\x82\x08\x00\x07\x00\x03a/b\x01", v, Subscribe(7, [SubscribeFilter("a/b", 1)])) for v in OLD),
    Case("subscribe", b"\x82\x09\x00\x07\x00\x00\x03a/b\x01", 5, Subscribe(7, [SubscribeFilter("a/b", 1)])),
    *(Case("subscribe to three", b"\x82\x0e\x00\x07\x00\x01#\x00\x00\x01+\x01\x00\x01a\x02", v,
           Subscribe(7, [SubscribeFilter("#", 0), SubscribeFilter("+", 1), SubscribeFilter("a", 2)])) for v in OLD),
    Case("subscribe with all options", b"\x82\x07\x00\x07\x00\x00\x01a\x2e", 5,
         Subscribe(7, [SubscribeFilter("a", 2, True, True, 2)])),
    Case("subscribe with retain handling 1", b"\x82\x07\x00\x07\x00\x00\x01a\x10", 5,
         Subscribe(7, [SubscribeFilter("a", 0, False, False, 1)])),
    Case("subscribe with an identifier", b"\x82\x0a\x00\x07\x03\x0b\x80\x01\x00\x01a\x00", 5,
         Subscribe(7, [SubscribeFilter("a", 0)], Properties(subscription_identifiers=(128,)))),
    Case("subscribe, shared", b"\x82\x10\x00\x07\x00\x00\x0a$share/g/a\x09", 5,
         Subscribe(7, [SubscribeFilter("$share/g/a", 1, False, True)])),
    # Whether a filter is one is answered in SUBACK, filter by filter.
    Case("subscribe to nonsense", b"\x82\x08\x00\x07\x00\x03#/#\x00", 4, Subscribe(7, [SubscribeFilter("#/#", 0)])),
    Case("subscribe to nothing", b"\x82\x05\x00\x07\x00\x00\x00", 4, Subscribe(7, [SubscribeFilter("", 0)])),
    Case("subscribe, dup", b"\x8a\x08\x00\x07\x00\x03a/b\x01", 3, Subscribe(7, [SubscribeFilter("a/b", 1)]), canonical=False),
    Case("subscribe with unused bits", b"\x82\x08\x00\x07\x00\x03a/b\xfd", 3, Subscribe(7, [SubscribeFilter("a/b", 1)]),
         canonical=False),

    *(Case("subscribe with wrong flags", b"\x80\x08\x00\x07\x00\x03a/b\x01", v, malformed("wrong flags")) for v in (4, 5)),
    # [MQTT-3.8.1-1]
    *(Case("subscribe without filters", b"\x82\x02\x00\x07", v, broken("no topic filter")) for v in OLD),  # [MQTT-3.8.3-2]
    Case("subscribe without filters", b"\x82\x03\x00\x07\x00", 5, broken("no topic filter")),
    *(Case("subscribe with packet identifier 0", b"\x82\x08\x00\x00\x00\x03a/b\x01", v, broken("packet identifier is 0")) for v in EVERY),
    *(Case("subscribe at QoS 3", b"\x82\x08\x00\x07\x00\x03a/b\x03", v, malformed("QoS 3")) for v in OLD),
    Case("subscribe at QoS 3", b"\x82\x09\x00\x07\x00\x00\x03a/b\x03", 5, malformed("QoS 3")),
    Case("subscribe with reserved options", b"\x82\x08\x00\x07\x00\x03a/b\x04", 4, malformed("reserved options")),  # [3.1.1: MQTT-3-8.3-4]
    Case("subscribe with reserved options", b"\x82\x08\x00\x07\x00\x03a/b\x80", 4, malformed("reserved options")),
    Case("subscribe with reserved options", b"\x82\x09\x00\x07\x00\x00\x03a/b\x40", 5, malformed("reserved options")),  # [MQTT-3.8.3-5]
    Case("subscribe with reserved options", b"\x82\x09\x00\x07\x00\x00\x03a/b\x80", 5, malformed("reserved options")),
    Case("subscribe with retain handling 3", b"\x82\x09\x00\x07\x00\x00\x03a/b\x30", 5, broken("retain handling 3")),
    Case("subscribe, shared and no local", b"\x82\x10\x00\x07\x00\x00\x0a$share/g/a\x05", 5, broken("no local")),  # [MQTT-3.8.3-4]
    Case("subscribe without options", b"\x82\x07\x00\x07\x00\x03a/b", 4, malformed("ends before a byte")),
    Case("subscribe cut off", b"\x82\x06\x00\x07\x00\x03a/", 4, malformed("does not fit")),
    Case("subscribe with a null character", b"\x82\x06\x00\x07\x00\x01\x00\x01", 4, malformed("null character")),
    Case("subscribe that is not UTF-8", b"\x82\x06\x00\x07\x00\x01\xff\x01", 4, malformed("not UTF-8")),  # [MQTT-3.8.3-1]
    Case("subscribe with identifier 0", b"\x82\x09\x00\x07\x02\x0b\x00\x00\x01a\x00", 5,
         broken("subscription_identifiers must not be 0")),
    Case("subscribe with two identifiers", b"\x82\x0b\x00\x07\x04\x0b\x01\x0b\x02\x00\x01a\x00", 5, broken("more than once")),
    Case("subscribe without anything", b"\x82\x00", 4, malformed("inside a two byte")),

    *(Case("suback", b"\x90\x05\x00\x07\x00\x01\x02", v, Suback(7, [R.GRANTED_QOS_0, R.GRANTED_QOS_1, R.GRANTED_QOS_2])) for v in OLD),
    Case("suback", b"\x90\x06\x00\x07\x00\x00\x01\x02", 5, Suback(7, [R.GRANTED_QOS_0, R.GRANTED_QOS_1, R.GRANTED_QOS_2])),
    Case("suback, failure", b"\x90\x03\x00\x07\x80", 4, Suback(7, [R.UNSPECIFIED_ERROR])),
    Case("suback, failures", b"\x90\x0c\x00\x07\x00\x80\x83\x87\x8f\x91\x97\x9e\xa1\xa2", 5,
         Suback(7, [R.UNSPECIFIED_ERROR, R.IMPLEMENTATION_SPECIFIC_ERROR, R.NOT_AUTHORIZED, R.TOPIC_FILTER_INVALID,
                    R.PACKET_IDENTIFIER_IN_USE, R.QUOTA_EXCEEDED, R.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
                    R.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, R.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED])),
    Case("suback with a reserved code", b"\x90\x03\x00\x07\x03", 4, broken("must not have the reason code 0x03")),
    Case("suback with 5.0's code", b"\x90\x03\x00\x07\x87", 4, malformed("reserved return code")),  # [3.1.1: MQTT-3.9.3-2]
    Case("suback without codes", b"\x90\x02\x00\x07", 4, broken("no return code")),
    Case("suback with packet identifier 0", b"\x90\x03\x00\x00\x00", 4, broken("packet identifier is 0")),
    Case("suback with wrong flags", b"\x92\x03\x00\x07\x00", 4, malformed("wrong flags")),

    *(Case("unsubscribe", b"\xa2\x0a\x00\x07\x00\x03a/b\x00\x01#", v, Unsubscribe(7, ["a/b", "#"])) for v in OLD),
    Case("unsubscribe", b"\xa2\x08\x00\x07\x00\x00\x03a/b", 5, Unsubscribe(7, ["a/b"])),
    Case("unsubscribe with wrong flags", b"\xa0\x07\x00\x07\x00\x03a/b", 4, malformed("wrong flags")),  # [MQTT-3.10.1-1]
    *(Case("unsubscribe without filters", b"\xa2\x02\x00\x07", v, broken("no topic filter")) for v in OLD),  # [MQTT-3.10.3-2]
    Case("unsubscribe without filters", b"\xa2\x03\x00\x07\x00", 5, broken("no topic filter")),
    Case("unsubscribe with packet identifier 0", b"\xa2\x07\x00\x00\x00\x03a/b", 4, broken("packet identifier is 0")),
    Case("unsubscribe cut off", b"\xa2\x06\x00\x07\x00\x03a/", 4, malformed("does not fit")),
    Case("unsubscribe that is not UTF-8", b"\xa2\x05\x00\x07\x00\x01\xff", 4, malformed("not UTF-8")),  # [MQTT-3.10.3-1]

    *(Case("unsuback", b"\xb0\x02\x00\x07", v, Unsuback(7, [])) for v in OLD),
    Case("unsuback", b"\xb0\x05\x00\x07\x00\x00\x11", 5, Unsuback(7, [R.SUCCESS, R.NO_SUBSCRIPTION_EXISTED])),
    Case("unsuback, failures", b"\xb0\x08\x00\x07\x00\x80\x83\x87\x8f\x91", 5,
         Unsuback(7, [R.UNSPECIFIED_ERROR, R.IMPLEMENTATION_SPECIFIC_ERROR, R.NOT_AUTHORIZED, R.TOPIC_FILTER_INVALID,
                      R.PACKET_IDENTIFIER_IN_USE])),
    Case("unsuback with more", b"\xb0\x03\x00\x07\x00", 4, malformed("1 bytes follow")),
    Case("unsuback without reasons", b"\xb0\x03\x00\x07\x00", 5, broken("no reason code")),
    Case("unsuback with a reason of another packet", b"\xb0\x04\x00\x07\x00\x01", 5, broken("reason code 0x01")),
    Case("unsuback with packet identifier 0", b"\xb0\x02\x00\x00", 4, broken("packet identifier is 0")),
]

OTHER_CASES = [
    *(Case("pingreq", b"\xc0\x00", v, Pingreq()) for v in EVERY),
    *(Case("pingresp", b"\xd0\x00", v, Pingresp()) for v in EVERY),
    *(Case("pingreq with a body", b"\xc0\x01\x00", v, malformed("1 bytes follow")) for v in EVERY),
    *(Case("pingreq with two bytes", b"\xc0\x02\x00\x01", v, malformed("2 bytes follow")) for v in EVERY),
    Case("pingresp with a body", b"\xd0\x01\x00", 4, malformed("1 bytes follow")),
    Case("pingreq with flags", b"\xc1\x00", 4, malformed("wrong flags")),
    Case("pingresp with flags", b"\xd8\x00", 5, malformed("wrong flags")),

    *(Case("disconnect", b"\xe0\x00", v, Disconnect()) for v in EVERY),
    Case("disconnect with will", b"\xe0\x01\x04", 5, Disconnect(R.DISCONNECT_WITH_WILL_MESSAGE)),
    Case("disconnect with properties", b"\xe0\x07\x00\x05\x11\x00\x00\x00\x0a", 5,
         Disconnect(R.SUCCESS, Properties(session_expiry_interval=10))),
    *(Case(f"disconnect {reason.name}", bytes((0xE0, 1, reason)), 5, Disconnect(reason)) for reason in (
        R.UNSPECIFIED_ERROR, R.MALFORMED_PACKET, R.PROTOCOL_ERROR, R.IMPLEMENTATION_SPECIFIC_ERROR, R.NOT_AUTHORIZED,
        R.SERVER_BUSY, R.SERVER_SHUTTING_DOWN, R.KEEP_ALIVE_TIMEOUT, R.SESSION_TAKEN_OVER, R.TOPIC_FILTER_INVALID,
        R.TOPIC_NAME_INVALID, R.RECEIVE_MAXIMUM_EXCEEDED, R.TOPIC_ALIAS_INVALID, R.PACKET_TOO_LARGE,
        R.MESSAGE_RATE_TOO_HIGH, R.QUOTA_EXCEEDED, R.ADMINISTRATIVE_ACTION, R.PAYLOAD_FORMAT_INVALID,
        R.RETAIN_NOT_SUPPORTED, R.QOS_NOT_SUPPORTED, R.USE_ANOTHER_SERVER, R.SERVER_MOVED,
        R.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, R.CONNECTION_RATE_EXCEEDED, R.MAXIMUM_CONNECT_TIME,
        R.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, R.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
    )),
    Case("disconnect with reason 0", b"\xe0\x01\x00", 5, Disconnect(), canonical=False),
    Case("disconnect with no properties", b"\xe0\x02\x04\x00", 5, Disconnect(R.DISCONNECT_WITH_WILL_MESSAGE), canonical=False),
    *(Case("disconnect with a body", b"\xe0\x01\x00", v, malformed("1 bytes follow")) for v in OLD),
    Case("disconnect with more", b"\xe0\x03\x00\x00\x00", 5, malformed("1 bytes follow")),
    Case("disconnect with a reason of another packet", b"\xe0\x01\x01", 5, broken("reason code 0x01")),  # [MQTT-3.14.2-1]
    *(Case("disconnect with flags", b"\xe1\x00", v, malformed("wrong flags")) for v in (4, 5)),  # [MQTT-3.14.1-1]
    Case("disconnect with unused flags", b"\xe1\x00", 3, Disconnect(), canonical=False),

    Case("auth", b"\xf0\x00", 5, Auth()),
    Case("auth, continue", b"\xf0\x0c\x18\x0a\x15\x00\x03SCR\x16\x00\x01\x00", 5,
         Auth(R.CONTINUE_AUTHENTICATION, Properties(authentication_method="SCR", authentication_data=b"\0"))),
    Case("auth, again", b"\xf0\x08\x19\x06\x15\x00\x03SCR", 5, Auth(R.RE_AUTHENTICATE, Properties(authentication_method="SCR"))),
    Case("auth without a method", b"\xf0\x02\x18\x00", 5, broken("does not name its authentication method")),
    Case("auth with a reason alone", b"\xf0\x01\x18", 5, broken("does not name its authentication method")),
    Case("auth with a reason of another packet", b"\xf0\x08\x01\x06\x15\x00\x03SCR", 5, broken("reason code 0x01")),  # [MQTT-3.15.2-1]
    Case("auth with flags", b"\xf1\x00", 5, malformed("wrong flags")),  # [MQTT-3.15.1-1]
    *(Case("auth", b"\xf0\x00", v, malformed("no packet of type 15")) for v in OLD),

    *(Case("type 0", b"\x00\x00", v, malformed("no packet of type 0")) for v in EVERY),
    *(Case("remaining length of five bytes", b"\xc0\x80\x80\x80\x80\x01", v, malformed("longer than four bytes")) for v in EVERY),
    *(Case("remaining length of five bytes", b"\x30\xff\xff\xff\xff\x7f", v, malformed("longer than four bytes")) for v in EVERY),
    Case("remaining length longer than needed", b"\xc0\x80\x00", 5, malformed("more bytes than it needs")),  # [MQTT-1.5.5-1]
    *(Case("remaining length longer than needed", b"\xc0\x80\x00", v, Pingreq(), canonical=False) for v in OLD),
]


class Carried(NamedTuple):
    """A property as bytes, and the packets that may carry it (MQTT 5.0, table 2-4)."""

    properties: Properties
    raw: bytes
    packets: str


MESSAGES = "PUBLISH WILL"
ANSWERS = "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"
EVERYWHERE = f"{ANSWERS} {MESSAGES} CONNECT SUBSCRIBE UNSUBSCRIBE"
AUTHENTICATION = "CONNECT CONNACK AUTH"

CARRIED = [
    Carried(Properties(payload_format_indicator=0), b"\x01\x00", MESSAGES),
    Carried(Properties(payload_format_indicator=1), b"\x01\x01", MESSAGES),
    Carried(Properties(message_expiry_interval=0xFFFFFFFF), b"\x02\xff\xff\xff\xff", MESSAGES),
    Carried(Properties(content_type="t"), b"\x03\x00\x01t", MESSAGES),
    Carried(Properties(response_topic="r/t"), b"\x08\x00\x03r/t", MESSAGES),
    Carried(Properties(correlation_data=b"\xff\x00"), b"\x09\x00\x02\xff\x00", MESSAGES),
    Carried(Properties(subscription_identifiers=(1,)), b"\x0b\x01", "PUBLISH SUBSCRIBE"),
    Carried(Properties(subscription_identifiers=(268435455,)), b"\x0b\xff\xff\xff\x7f", "PUBLISH SUBSCRIBE"),
    Carried(Properties(session_expiry_interval=1), b"\x11\x00\x00\x00\x01", "CONNECT CONNACK DISCONNECT"),
    Carried(Properties(assigned_client_identifier="id"), b"\x12\x00\x02id", "CONNACK"),
    Carried(Properties(server_keep_alive=0x0102), b"\x13\x01\x02", "CONNACK"),
    Carried(Properties(authentication_method="m"), b"\x15\x00\x01m", AUTHENTICATION),
    Carried(Properties(authentication_method="m", authentication_data=b""), b"\x15\x00\x01m\x16\x00\x00", AUTHENTICATION),
    Carried(Properties(request_problem_information=0), b"\x17\x00", "CONNECT"),
    Carried(Properties(will_delay_interval=256), b"\x18\x00\x00\x01\x00", "WILL"),
    Carried(Properties(request_response_information=1), b"\x19\x01", "CONNECT"),
    Carried(Properties(response_information="r"), b"\x1a\x00\x01r", "CONNACK"),
    Carried(Properties(server_reference="s"), b"\x1c\x00\x01s", "CONNACK DISCONNECT"),
    Carried(Properties(reason_string="why"), b"\x1f\x00\x03why", ANSWERS),
    Carried(Properties(receive_maximum=1), b"\x21\x00\x01", "CONNECT CONNACK"),
    Carried(Properties(topic_alias_maximum=0), b"\x22\x00\x00", "CONNECT CONNACK"),
    Carried(Properties(topic_alias=65535), b"\x23\xff\xff", "PUBLISH"),
    Carried(Properties(maximum_qos=1), b"\x24\x01", "CONNACK"),
    Carried(Properties(retain_available=0), b"\x25\x00", "CONNACK"),
    Carried(Properties(user_properties=(("k", "v"),)), b"\x26\x00\x01k\x00\x01v", EVERYWHERE),
    Carried(Properties(user_properties=(("", ""), ("k", ""), ("", ""))),
            b"\x26\x00\x00\x00\x00\x26\x00\x01k\x00\x00\x26\x00\x00\x00\x00", EVERYWHERE),
    Carried(Properties(maximum_packet_size=1), b"\x27\x00\x00\x00\x01", "CONNECT CONNACK"),
    Carried(Properties(wildcard_subscription_available=0), b"\x28\x00", "CONNACK"),
    Carried(Properties(subscription_identifier_available=1), b"\x29\x01", "CONNACK"),
    Carried(Properties(shared_subscription_available=0), b"\x2a\x00", "CONNACK"),
]


def carry(packet_type: PacketType, raw: bytes, properties: Properties) -> tuple[bytes, Packet]:
    """A small packet of the type, as bytes and as a value, with these properties."""
    T = PacketType  # noqa: N806
    if packet_type is T.AUTH and b"\x15" not in raw[:1]:
        raw = b"\x15\x00\x01m" + raw
        properties = replace(properties, authentication_method="m")
    section = bytes((len(raw),)) + raw
    match packet_type:
        case T.CONNECT:
            body = MQTT5 + b"\x02\x00\x00" + section + b"\x00\x01c"
            return framed(0x10, body), Connect("MQTT", 5, True, 0, "c", properties=properties)
        case T.WILL:
            body = MQTT5 + b"\x06\x00\x00\x00\x00\x01c" + section + b"\x00\x01w\x00\x01p"
            return framed(0x10, body), Connect("MQTT", 5, True, 0, "c", will=Will("w", b"p", properties=properties))
        case T.CONNACK:
            return framed(0x20, b"\x00\x00" + section), Connack(False, properties=properties)
        case T.PUBLISH:
            return framed(0x30, b"\x00\x01t" + section + b"p"), make_publish("t", b"p", properties=properties, version=5)
        case T.SUBSCRIBE:
            return framed(0x82, b"\x00\x01" + section + b"\x00\x01a\x00"), Subscribe(1, [SubscribeFilter("a", 0)], properties)
        case T.SUBACK:
            return framed(0x90, b"\x00\x01" + section + b"\x00"), Suback(1, [R.GRANTED_QOS_0], properties)
        case T.UNSUBSCRIBE:
            return framed(0xA2, b"\x00\x01" + section + b"\x00\x01a"), Unsubscribe(1, ["a"], properties)
        case T.UNSUBACK:
            return framed(0xB0, b"\x00\x01" + section + b"\x00"), Unsuback(1, [R.SUCCESS], properties)
        case T.DISCONNECT:
            return framed(0xE0, b"\x00" + section), Disconnect(R.SUCCESS, properties)
        case T.AUTH:
            return framed(0xF0, b"\x18" + section), Auth(R.CONTINUE_AUTHENTICATION, properties)
        case T.PUBACK | T.PUBREC | T.PUBREL | T.PUBCOMP:
            packet = {T.PUBACK: Puback, T.PUBREC: Pubrec, T.PUBREL: Pubrel, T.PUBCOMP: Pubcomp}[packet_type]
            first = packet_type << 4 | (2 if packet_type is T.PUBREL else 0)
            return framed(first, b"\x00\x01\x00" + section), packet(1, R.SUCCESS, properties)
    raise AssertionError(packet_type)


def _property_cases() -> list[Case]:
    cases = []
    for properties, raw, packets in CARRIED:
        for name in EVERYWHERE.split():
            carrier, packet = carry(PacketType[name], raw, properties)
            where = f"property {raw.hex()} in {name.lower()}"
            expected = packet if name in packets.split() else malformed(f"does not belong in {name}")
            cases.append(Case(where, carrier, 5, expected))
    return cases


def _bad_property(name: str, packet: str, raw: bytes, fault: Fault) -> Case:
    carrier, _ = carry(PacketType[packet], raw, Properties())
    return Case(name, carrier, 5, fault)


BAD_PROPERTY_CASES = [
    *(_bad_property(f"property {packet.lower()} does not know", packet, b"\x7e\x00", malformed("no property 0x7e"))
      for packet in EVERYWHERE.split()),
    _bad_property("property identifier of two bytes", "PUBLISH", b"\x80\x01\x00", malformed("no property 0x80")),
    _bad_property("property identifier 0", "PUBLISH", b"\x00", malformed("no property 0x00")),
    *(_bad_property(f"flag {identifier:#x} is 2", packet, bytes((identifier, 2)), broken("must not be 2"))
      for identifier, packet in (
          (0x01, "PUBLISH"), (0x01, "WILL"), (0x17, "CONNECT"), (0x19, "CONNECT"), (0x24, "CONNACK"), (0x25, "CONNACK"),
          (0x28, "CONNACK"), (0x29, "CONNACK"), (0x2A, "CONNACK"),
      )),
    _bad_property("receive maximum 0", "CONNECT", b"\x21\x00\x00", broken("receive_maximum must not be 0")),
    _bad_property("maximum packet size 0", "CONNECT", b"\x27\x00\x00\x00\x00", broken("maximum_packet_size must not be 0")),
    _bad_property("subscription identifier 0", "PUBLISH", b"\x0b\x00", broken("subscription_identifiers must not be 0")),
    _bad_property("subscription identifier of five bytes", "PUBLISH", b"\x0b\x80\x80\x80\x80\x01", malformed("longer than four")),
    _bad_property("subscription identifier longer than needed", "PUBLISH", b"\x0b\x81\x00", malformed("more bytes than it needs")),
    *(_bad_property(f"property {raw.hex()} twice in {packets.split()[0].lower()}", packets.split()[0], raw + raw, broken("more than once"))
      for properties, raw, packets in CARRIED
      if properties.user_properties == () and properties.subscription_identifiers == ()),
    _bad_property("authentication data without a method", "CONNECT", b"\x16\x00\x01d", broken("without an authentication method")),
    _bad_property("response topic with wildcards", "PUBLISH", b"\x08\x00\x01+", broken("wildcards")),  # [MQTT-3.3.2-14]
    _bad_property("response topic without a name", "WILL", b"\x08\x00\x00", broken("is empty")),
    _bad_property("user property that is not UTF-8", "PUBLISH", b"\x26\x00\x01k\x00\x01\xff", malformed("not UTF-8")),
    _bad_property("user property with a null character", "PUBLISH", b"\x26\x00\x01\x00\x00\x00", malformed("null character")),
    _bad_property("user property without a value", "PUBLISH", b"\x26\x00\x01k", malformed("inside a two byte")),
    # A property ends where the properties end, though the packet goes on.
    _bad_property("byte cut off", "PUBLISH", b"\x01", malformed("before a byte")),
    _bad_property("two byte integer cut off", "PUBLISH", b"\x23\x00", malformed("inside a two byte")),
    _bad_property("four byte integer cut off", "PUBLISH", b"\x02\x00\x00\x00", malformed("inside a four byte")),
    _bad_property("variable byte integer cut off", "PUBLISH", b"\x0b\x80", malformed("inside a variable byte")),
    _bad_property("string cut off", "PUBLISH", b"\x03\x00\x02t", malformed("does not fit")),
    Case("property length longer than needed", b"\x30\x05\x00\x01t\x80\x00", 5, malformed("more bytes than it needs")),
    Case("property length of five bytes", b"\x30\x08\x00\x01t\x80\x80\x80\x80\x01", 5, malformed("longer than four bytes")),
]

# fmt: on
CASES = [
    *CONNECT_CASES,
    *CONNACK_CASES,
    *PUBLISH_CASES,
    *_acknowledgement_cases(),
    *SUBSCRIBE_CASES,
    *OTHER_CASES,
    *_property_cases(),
    *BAD_PROPERTY_CASES,
]
GOOD = [case for case in CASES if case.good]
BAD = [case for case in CASES if not case.good]
