"""The settings of the broker, checked and frozen. Times are in seconds, sizes in bytes.

A leaf: every other part may import this module, and it imports nothing. The defaults are NanoMQ's unless
docs/configuration.md says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pybroker.webhook.settings import TlsClient, WebhookSettings

from ..bridge.settings import BridgeSettings
from ..faults.fault import Fault


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """A warning: something in the file may not have the intended effect."""

    where: str
    """``file:line``, or the file alone if no line is known."""
    key: str
    """The dotted key; empty if the text itself is meant."""
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """`mqtt {}`: the limits of the protocol."""

    max_packet_size: int = 10 << 20
    max_mqueue_len: int = 1024
    """Messages that wait for a session, offline or behind a full window."""
    max_inflight_window: int = 2048
    """Unacknowledged QoS 1 and 2 messages towards one client; its receive maximum may lower it."""
    receive_maximum: int = 1024
    """Unacknowledged QoS 1 and 2 messages taken from one client at a time (5.0: announced in CONNACK)."""
    max_topic_alias: int = 1024
    """Topic aliases a client may set (5.0: announced in CONNACK)."""
    retry_interval: float = 10.0
    """A 3.1 or 3.1.1 message is sent again after this time without an acknowledgement; 0: never."""
    keepalive_multiplier: float = 1.5
    max_session_expiry: float = 4294967295.0
    """An upper bound for the session expiry interval; 0xFFFFFFFF: no bound."""
    session_expiry: float = 4294967295.0
    """The time for which the session of a 3.x client with clean session 0 is kept after it disconnects."""
    retain_available: bool = True
    wildcard_subscription: bool = True
    shared_subscription: bool = True
    max_qos: int = 2


@dataclass(frozen=True, slots=True)
class TlsServer:
    """The certificate side of an ssl or wss listener."""

    certfile: Path
    keyfile: Path
    cacertfile: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    verify_peer: bool = False
    fail_if_no_peer_cert: bool = False


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One address that accepts clients."""

    name: str
    """The key in the file, such as ``tcp`` or ``ssl.edge``."""
    type: str
    """``tcp``, ``ssl``, ``ws``, ``wss`` or ``unix``."""
    host: str = "127.0.0.1"
    port: int = 1883
    """0 picks a free port."""
    path: str = ""
    """The URL path of ws and wss (empty: ``/mqtt`` and ``/``; ``*``: any), the file of unix."""
    tls: TlsServer | None = None
    proxy_protocol: bool = False
    peer_cert_as_username: str | None = None
    """``cn``: the certificate's common name is the user name."""
    max_connections: int | None = None
    """For this listener alone, beside `limits.max_connections`."""
    connect_rate: float | None = None
    """Replaces `limits.connect_rate`; 0: no bound."""
    backlog: int = 1024
    """Connections that the system holds until they are accepted."""


@dataclass(frozen=True, slots=True)
class AclRule:
    """One entry of `auth.acl.rules`."""

    permit: str
    """``allow`` or ``deny``."""
    action: str = "pubsub"
    """``publish``, ``subscribe`` or ``pubsub``."""
    topics: tuple[str, ...] = ()
    """None: every topic. ``@topic`` is literal; ``${clientid}`` and ``${username}`` are replaced."""
    username: str | None = None
    """None: everyone, also clients without one (`#` in the file)."""
    clientid: str | None = None
    ipaddrs: tuple[str, ...] = ()
    all_of: tuple[AclRule, ...] = ()
    """`and`: conditions that must all hold. Their permit, action and topics are not read."""
    any_of: tuple[AclRule, ...] = ()
    """`or`: conditions of which one must hold."""


@dataclass(frozen=True, slots=True)
class HttpRequestSettings:
    """One of `auth_req`, `super_req`, `acl_req`."""

    url: str
    method: str = "post"
    """``post`` or ``get``."""
    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    """Values may hold the placeholders ``%u %c %a %P %p %C %d %t %A %r %m``."""
    tls: TlsClient | None = None


@dataclass(frozen=True, slots=True)
class HttpAuthSettings:
    """`auth.http_auth`: a server over HTTP decides."""

    auth_req: HttpRequestSettings | None = None
    super_req: HttpRequestSettings | None = None
    acl_req: HttpRequestSettings | None = None
    timeout: float = 5.0
    connect_timeout: float = 5.0
    pool_size: int = 32
    cache_ttl: float = 0.0


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """`auth.jwt`: the password is a token. Exactly one of the keys is set."""

    algorithms: tuple[str, ...]
    """The only algorithms accepted, such as ``("RS256",)``."""
    secret: str | None = field(default=None, repr=False)
    public_keyfile: Path | None = None
    username_claim: str = "sub"
    audience: str | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """`auth {}`: who may connect, and who may do what."""

    allow_anonymous: bool = True
    no_match: str = "allow"
    """The decision when no rule matches: ``allow`` or ``deny``."""
    deny_action: str = "ignore"
    """What happens to a client whose publish is denied: ``ignore`` or ``disconnect``."""
    passwords: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """User name to password: plain, or an argon2 hash (``$argon2...``)."""
    acl_enable: bool = True
    acl: tuple[AclRule, ...] = ()
    acl_partial: str = "grant"
    """What to do with a subscription of which only a part is allowed: ``grant`` that part, or ``refuse`` the
    subscription."""
    cache_max_size: int = 1024
    """Access decisions remembered for one client."""
    http_auth: HttpAuthSettings | None = None
    jwt: JwtSettings | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """`limits {}`: the limits of one client, or of all of them."""

    max_connections: int = 100_000
    connect_timeout: float = 10.0
    """Seconds a connection may take to send its CONNECT."""
    connect_rate: float = 0.0
    """New connections per second and listener; 0: no bound."""
    max_keepalive: float = 0.0
    """Seconds. A 5.0 client that asks for more, or for no keepalive, gets this value. 0: no bound."""
    max_subscriptions: int = 1000
    """Topic filters of one session."""
    max_topic_levels: int = 128
    max_retained: int = 1_000_000
    message_rate: float = 0.0
    """PUBLISH packets per second from one client; 0: no bound."""
    byte_rate: float = 0.0
    """Bytes per second from one client; 0: no bound."""
    max_queued_bytes: int = 64 << 20
    """Bytes that wait for one client that reads too slowly."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`log {}`."""

    to: tuple[str, ...] = ("console",)
    """Of ``console``, ``file``, ``syslog``."""
    level: str = "info"
    """``trace``, ``debug``, ``info``, ``warn``, ``error`` or ``fatal``."""
    dir: Path = Path("/tmp")  # noqa: S108 - NanoMQ's default
    file: str = "pybroker.log"
    rotation_size: int = 10 << 20
    rotation_count: int = 5
    format: str = "text"
    """``text`` or ``json``."""


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """`sqlite {}`: sessions and retained messages on disk."""

    path: Path
    """The directory."""
    sync: str = "interval"
    """``interval``: an acknowledged message is safe from a crash of the broker; ``always``: also from a loss
    of power."""
    interval: float = 1.0
    """Seconds until a commit to the database begins."""
    max_size: int = 4 << 30
    """The largest size of the database in bytes; 0: no bound."""
    disk_cache_size: int = 1000
    """The number of messages of one session's queue that are in memory too."""


@dataclass(frozen=True, slots=True)
class HttpServerSettings:
    """`http_server {}`: the REST API and the page."""

    host: str = "127.0.0.1"
    port: int = 8081
    limit_conn: int = 32
    max_body: int = 1 << 20
    max_streams: int = 16
    """The number of streams of events at a time."""
    cors_origins: tuple[str, ...] = ()
    """The origins of pages of other sites that may send requests, as browsers write them in ``Origin``."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    auth_type: str = "basic"
    jwt_public_keyfile: Path | None = None
    token: str | None = field(default=None, repr=False)
    """With ``basic``: the bearer token that allows everything."""
    read_only_username: str | None = None
    read_only_password: str | None = field(default=None, repr=False)
    read_only_token: str | None = field(default=None, repr=False)
    tls: TlsServer | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests need no credentials."""
        secrets = (self.password, self.token, self.read_only_password, self.read_only_token)
        return self.auth_type == "no_auth" or (self.auth_type == "basic" and not any(secrets))


@dataclass(frozen=True, slots=True)
class PresetSubscription:
    """One topic of a preset session."""

    topic: str
    qos: int = 0
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(frozen=True, slots=True)
class PresetSession:
    """`preset.session.NAME`: a session that exists, and queues messages, before its client first connects."""

    name: str
    clientid: str
    subscriptions: tuple[PresetSubscription, ...] = ()


@dataclass(frozen=True, slots=True)
class SysSettings:
    """`sys {}`: the $SYS topics."""

    interval: float = 60.0
    """Seconds between two rounds of $SYS/brokers/...; 0: no such topics."""
    presence: str = "retained"
    """$SYS/brokers/client_status/...: ``retained``, ``live`` or ``off``."""
    presence_events: bool = False
    """Whether to publish $SYS/brokers/connected and disconnected too."""


@dataclass(frozen=True, slots=True)
class PushRegistrations:
    """`push_registrations {}`: the devices that clients register for notifications."""

    path: Path | None = None
    """The directory; None: that of `sqlite`, or else that of a spool of push."""
    max: int = 100_000
    max_per_client: int = 10
    max_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """`cluster {}`: this node, and how it reaches the others."""

    node: str
    """The name of this node."""
    name: str = "pybroker"
    """The name of the cluster."""
    servers: tuple[str, ...] = ("nats://127.0.0.1:4222",)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials: Path | None = None
    nkey: Path | None = None
    tls: TlsClient | None = None
    sessions: str = "move"
    """``move`` to the node that their client connects to, or ``stay``."""
    replicas: int = 1
    """Servers that keep the directory of sessions."""
    when_alone: str = "serve"
    """``serve`` or ``refuse``: new clients while the others cannot be reached."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file."""

    source: Path | None = None
    daemon: bool = False
    workers: int = 1
    """`system.workers`: processes that are one broker."""
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    listeners: tuple[ListenerSettings, ...] = (ListenerSettings("tcp", "tcp"),)
    http_server: HttpServerSettings | None = None
    sqlite: SqliteSettings | None = None
    cluster: ClusterSettings | None = None
    log: LogSettings = field(default_factory=LogSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    limits: Limits = field(default_factory=Limits)
    webhooks: tuple[WebhookSettings, ...] = ()
    event_pushers: tuple[WebhookSettings, ...] = ()
    push_registrations: PushRegistrations = field(default_factory=PushRegistrations)
    bridges: tuple[BridgeSettings, ...] = ()
    presets: tuple[PresetSession, ...] = ()
    sys: SysSettings = field(default_factory=SysSettings)
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    """amqtt plugins: dotted path of the class to its settings."""
    faults: tuple[Fault, ...] | None = None
    """`faults {}`: faults on purpose; None: they cannot be switched on."""
    drain_timeout: float = 5.0
    """`system.drain_timeout`: the time for which a stop waits for webhooks that set no other time."""
    warnings: tuple[ConfigWarning, ...] = ()

    @property
    def endpoints(self) -> tuple[WebhookSettings, ...]:
        """All receivers of events."""
        return self.webhooks + self.event_pushers
