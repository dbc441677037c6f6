"""What `bridges.mqtt.NAME {}` says, checked. Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..packets.model import Will
from ..packets.primitives import LARGEST_PACKET
from ..session.registry import INSIDE
from .mapping import Mapping


@dataclass(frozen=True, slots=True)
class Address:
    """Where a remote broker is."""

    url: str
    """As the file has it, for people."""
    scheme: str
    """``mqtt-tcp``, ``tls+mqtt-tcp``, ``ws``, ``wss`` or ``unix``."""
    host: str = ""
    port: int = 1883
    path: str = ""
    """The path of ws and wss, the file of unix."""

    @property
    def encrypted(self) -> bool:
        return self.scheme in ("tls+mqtt-tcp", "wss")


@dataclass(frozen=True, slots=True)
class BridgeTls:
    """`ssl {}` of a bridge."""

    cacertfile: Path | None = None
    """None: the certificates that the system trusts."""
    certfile: Path | None = None
    keyfile: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    verify: bool = True
    sni: str | None = None
    """The server name that is sent and checked; None: the host of the address."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Local messages that go to the remote broker."""

    mapping: Mapping
    qos: int | None = None
    """None: that of the message."""
    retain: bool | None = None
    """None: as the message has it."""


@dataclass(frozen=True, slots=True)
class RemoteSubscription:
    """Remote messages that come to this broker."""

    mapping: Mapping
    qos: int = 0
    retain: bool | None = None
    retain_as_published: bool = False
    retain_handling: int = 0
    no_local: bool = True


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """`conn_properties` and `sub_properties`, of MQTT 5.0."""

    session_expiry: int = 0xFFFF_FFFF
    receive_maximum: int = 0xFFFF
    maximum_packet_size: int | None = None
    request_problem_information: int | None = None
    request_response_information: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    subscription_identifier: int | None = None
    subscription_user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """`tcp {}`: options of the socket; None: as the system has it."""

    nodelay: bool = True
    keepalive: bool = False
    quickack: bool | None = None
    keepidle: float | None = None
    keepintvl: float | None = None
    keepcnt: int | None = None
    bind_interface: str | None = None


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """One bridge."""

    name: str
    enable: bool
    """False: it connects once it is switched on; its local session keeps messages meanwhile."""
    servers: tuple[Address, ...]
    """In order: the first that answers is taken, and an earlier one again when it is back."""
    clientid: str
    versions: tuple[tuple[int, bool], ...] = ((4, True), (4, False))
    """Protocol level, and whether the bridge bit is set, in the order in which they are tried."""
    keepalive: int = 60
    backoff_max: float = 60.0
    clean_start: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    forwards: tuple[Forward, ...] = ()
    subscriptions: tuple[RemoteSubscription, ...] = ()
    will: Will | None = None
    options: ConnectionOptions = ConnectionOptions()
    tls: BridgeTls = BridgeTls()
    socket: SocketOptions = SocketOptions()
    max_queue: int = 100_000
    """Messages of QoS 1 and 2 that wait while the link is down."""
    when_full: str = "wait"
    """What becomes of a message of QoS 1 or 2 when that many wait: ``drop``; ``wait``: its publisher waits
    while the link is up; or ``wait_always``."""
    retry_qos_0: bool = False
    """Whether messages of QoS 0 wait, too."""
    transparent: bool = False
    max_qos: int = 2
    max_packet_size: int = LARGEST_PACKET
    """The most that the remote broker takes; it may say less itself."""
    hop_limit: int = 8
    """How many bridges a message may pass, where its path is known."""
    send_retained: bool = True
    """Whether what is retained here is sent when the link comes up."""

    @property
    def ends_with_connection(self) -> bool:
        """Whether the remote broker forgets the session with the connection, whichever version is spoken."""
        return self.clean_start and (self.options.session_expiry == 0 or self.versions[0][0] != 5)

    @property
    def local_client_id(self) -> str:
        return INSIDE + self.name
