"""The protocol of one network connection: it takes bytes, and returns packets that obey the rules. No socket
and no clock.

It has the state that ends with the connection: the order of packets, topic aliases, the receive maximum,
packet sizes. The session has the rest.
"""

from __future__ import annotations

from math import inf

from ..packets.bodies import allowed_reason
from ..packets.decoder import Decoder
from ..packets.encoder import encode
from ..packets.errors import ProtocolError
from ..packets.model import (
    AcknowledgementRun,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    PublishRun,
    Pubrec,
    Pubrel,
    Run,
    Subscribe,
    Unsubscribe,
)
from ..packets.packet_type import PacketType
from ..packets.properties import Properties
from ..packets.reasons import ReasonCode
from ..packets.topic_cache import TopicCache

FROM_CLIENT = frozenset(
    {
        Connect,
        Publish,
        PublishRun,
        Puback,
        Pubrec,
        Pubrel,
        Pubcomp,
        AcknowledgementRun,
        Subscribe,
        Unsubscribe,
        Pingreq,
        Disconnect,
        Auth,
    }
)

MAX_CONNECT = 512 * 1024
"""The largest first packet, in bytes: it is not known yet who sends it. A CONNECT with the longest names,
password and will is smaller, unless it has very many user properties."""

AUTHENTICATING = frozenset({Auth, Disconnect})
"""The packets that a client with an authentication method may send before CONNACK."""


NOTHING: set[int] = set()
"""Shared by all connections on which nothing is unacknowledged, and replaced before something is added: most
never need one, and an empty set takes 200 bytes."""


class Connection:
    """Pass bytes to :meth:`receive`, then look at :attr:`error`."""

    __slots__ = (
        "_aliases",
        "_credit",
        "_decoder",
        "_publishing",
        "_topic_alias_maximum",
        "connect",
        "error",
        "established",
        "max_packet_size",
        "receive_maximum",
        "unacknowledged",
        "version",
    )

    def __init__(
        self, max_packet_size: int, receive_maximum: int, topic_alias_maximum: int, topics: TopicCache
    ) -> None:
        self._decoder = Decoder(max_packet_size, topics, max_first=MAX_CONNECT)
        self._topic_alias_maximum = topic_alias_maximum
        self._aliases: dict[int, str] | None = None
        self.receive_maximum = receive_maximum
        self.version = 0
        """The protocol level; 0 before CONNECT."""
        self.connect: Connect | None = None
        self.established = False
        """Whether a CONNACK that accepts the client was sent."""
        self._publishing = False
        """Whether PUBLISH is allowed: after CONNECT or, if that names an authentication method, after
        CONNACK."""
        self.max_packet_size = inf
        """The largest packet the client accepts, in bytes."""
        self.unacknowledged = NOTHING
        """Identifiers of the QoS 1 and 2 messages of this connection whose last acknowledgement was not sent
        yet. A repeated message counts once."""
        self._credit = 0
        self.error: ProtocolError | None = None
        """The rule that the client broke after the last returned packets. Nothing more is read from it."""

    def receive(self, data: bytes) -> list[Packet | Run]:
        """The packets that ``data`` completes, in order, up to the first that breaks a rule."""
        decoder = self._decoder
        packets = decoder.feed(data)
        self.error = decoder.error
        if self.established and not decoder.special:
            return packets
        return self.checked(packets)

    def checked(self, packets: list[Packet | Run]) -> list[Packet | Run]:
        """``packets``, up to the first that breaks a rule of the connection; :attr:`error` has the rule."""
        decoder = self._decoder
        for index, packet in enumerate(packets):
            if packet.__class__ is PublishRun and packet.qos and self.version == 5:
                if self._count_run(packet):
                    continue
                packets[index : index + 1] = packet
                packet = packets[index]
            try:
                if packet.__class__ is Publish and self._publishing:
                    if packet.properties is not None:
                        self._resolve_alias(packet)
                    if packet.qos and self.version == 5:
                        self._count(packet)
                else:
                    self._check_order(packet)
            except ProtocolError as error:
                self.error = decoder.error = error  # so that it reads no further
                return packets[:index]
        return packets

    def establish(self) -> None:
        """To be called when a CONNACK that accepts the client is sent."""
        self.established = self._publishing = True
        self._decoder.runs = True

    def refusal(self, error: ProtocolError) -> bytes:
        """The packet that tells the client why it is disconnected: CONNACK before it was accepted, DISCONNECT
        after. Empty if its version of the protocol has no such packet."""
        if self.established:
            return self.disconnect(error.reason, str(error))
        if self.connect is None and error.reason == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION:
            # [MQTT-3.1.2-2]; a client that asks for level 6 may understand 5.0 no better than 3.1.1.
            return encode(Connack(False, error.reason), 4)
        version = self.version or self._decoder.version
        if version == 5:
            self.version = 5
            reason = allowed_reason(error.reason, PacketType.CONNACK)  # [MQTT-3.2.2-8]
            return self._shortened(Connack(False, reason, self._explained(str(error))))
        if self.connect is None:
            return b""
        reason = error.reason
        if reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD:
            # Return code 4 is for malformed data, 5 for clients that are not authorized (3.1.1, table 3.1).
            reason = ReasonCode.NOT_AUTHORIZED
        return encode(Connack(False, reason), version)

    def disconnect(self, reason: ReasonCode, text: str = "") -> bytes:
        """A DISCONNECT from the server. It exists only in 5.0, and is sent only after CONNACK
        [MQTT-3.14.0-1]."""
        if self.version != 5 or not self.established:
            return b""
        reason = allowed_reason(reason, PacketType.DISCONNECT)  # [MQTT-3.14.2-1]
        return self._shortened(Disconnect(reason, self._explained(text)))

    def fitting(self, packet: Packet) -> bytes:
        """``packet`` as bytes. Reason string and user properties are left out if the packet would be larger
        than the client accepts [MQTT-3.14.2-3], or if the client turned problem information off
        [MQTT-3.1.2-29]. Raises ProtocolError if the packet is still too large [MQTT-3.1.2-24]."""
        data = self._shortened(packet)
        if not data:
            name = type(packet).__name__.upper()
            text = f"{name} is larger than the {self.max_packet_size} bytes the client accepts"
            raise ProtocolError(text, ReasonCode.PACKET_TOO_LARGE)
        return data

    def _shortened(self, packet: Packet) -> bytes:
        """Like :meth:`fitting`, but returns an empty packet if it is still too large."""
        properties: Properties | None = getattr(packet, "properties", None)
        data = encode(packet, self.version)
        if properties is not None:
            quiet = not isinstance(packet, Connack | Disconnect) and not self.wants_problem_information
            if quiet or len(data) > self.max_packet_size:
                properties.reason_string = None
                properties.user_properties = ()
                data = encode(packet, self.version)
        return data if len(data) <= self.max_packet_size else b""

    @property
    def wants_problem_information(self) -> bool:
        """Whether the client wants problem information."""
        properties = self.connect.properties if self.connect else None
        return properties is None or properties.request_problem_information != 0

    @property
    def _authentication_method(self) -> str | None:
        properties = self.connect.properties if self.connect else None
        return properties.authentication_method if properties is not None else None

    def _explained(self, text: str) -> Properties | None:
        return Properties(reason_string=text) if text and self.wants_problem_information else None

    def _check_order(self, packet: Packet | Run) -> None:
        kind = packet.__class__
        if kind is Connect:
            if self.connect is not None:
                raise ProtocolError("a second CONNECT came on the same connection")  # [MQTT-3.1.0-2]
            assert isinstance(packet, Connect)
            self._accept(packet)
        elif self.connect is None:
            raise ProtocolError(
                f"the first packet was {kind.__name__.upper()}, not CONNECT"
            )  # [MQTT-3.1.0-1]
        elif kind not in FROM_CLIENT:
            raise ProtocolError(f"{kind.__name__.upper()} is only ever sent by a server")
        elif kind is Auth and self._authentication_method is None:
            raise ProtocolError("AUTH came without an authentication method in CONNECT")  # [MQTT-4.12.0-7]
        elif not self.established and self._authentication_method is not None and kind not in AUTHENTICATING:
            raise ProtocolError(f"{kind.__name__.upper()} came before CONNACK")  # [MQTT-3.1.2-30]

    def _accept(self, connect: Connect) -> None:
        self.connect = connect
        self.version = connect.version
        self._publishing = self._authentication_method is None
        if connect.properties is not None and connect.properties.maximum_packet_size:
            self.max_packet_size = float(connect.properties.maximum_packet_size)

    def _resolve_alias(self, publish: Publish) -> None:
        """Replace an alias by its topic [MQTT-3.3.2-7]."""
        properties = publish.properties
        assert properties is not None
        if properties.subscription_identifiers:
            raise ProtocolError("PUBLISH from a client has a subscription identifier")  # [MQTT-3.3.4-6]
        alias = properties.topic_alias
        if alias is None:
            return
        if not 0 < alias <= self._topic_alias_maximum:  # [MQTT-3.3.2-8] [MQTT-3.3.2-9]
            raise ProtocolError(
                f"topic alias {alias} is not between 1 and {self._topic_alias_maximum}",
                ReasonCode.TOPIC_ALIAS_INVALID,
            )
        if self._aliases is None:
            self._aliases = {}
        if publish.topic:
            self._aliases[alias] = publish.topic
        elif alias in self._aliases:
            publish.topic = self._aliases[alias]
        else:
            raise ProtocolError(f"topic alias {alias} was never set on this connection")

    def released(self, packet_id: int) -> None:
        """PUBREL was received and is answered. One for a message of an earlier connection counts too: by
        section 4.9 every PUBCOMP allows the client another message, although this message was not counted
        here."""
        if packet_id in self.unacknowledged:
            self.unacknowledged.discard(packet_id)
        else:
            self._credit += 1

    def _count_run(self, run: PublishRun) -> bool:
        """Returns False, and counts nothing, if there would be too many."""
        if len(self.unacknowledged) + len(run) > self.receive_maximum + self._credit:
            return False
        if self.unacknowledged is NOTHING:
            self.unacknowledged = set()
        self.unacknowledged.update(run.packet_ids)
        return True

    def _count(self, publish: Publish) -> None:
        if self.unacknowledged is NOTHING:
            self.unacknowledged = set()
        self.unacknowledged.add(publish.packet_id)
        if len(self.unacknowledged) > self.receive_maximum + self._credit:  # [MQTT-3.3.4-7]
            raise ProtocolError(
                f"more than {self.receive_maximum} QoS 1 and 2 messages are unacknowledged",
                ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
            )
