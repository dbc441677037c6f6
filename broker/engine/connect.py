"""CONNECT: admits clients, and gives each its session."""

from __future__ import annotations

from functools import partial
from math import inf
from secrets import token_hex

from ..events import Client, ClientConnack, ClientConnect, ClientConnected
from ..hooks import tell
from ..packets.encoder import encode
from ..packets.model import Connack, Connect
from ..packets.properties import Properties
from ..packets.reasons import ReasonCode, reason_name
from ..session.registry import INSIDE
from ..session.session import Session
from . import client_log
from .access import Action, Credentials
from .auth_method import Accepted
from .channel import Channel
from .claims import Refusal
from .connection_limits import is_full
from .disconnect import cancel_departure, end_session, expiry_seconds
from .engine import Engine
from .enhanced_auth import Authentication, known_as
from .publish import is_brokers_own

MAX_CLIENT_ID_3_1 = 23
DEFAULT_RECEIVE_MAXIMUM = 65_535
CONNACK, CONNACK_PRESENT = (encode(Connack(present), 4) for present in (False, True))
"""Those that accept a client of 3.x, without its session and with it."""
FAILED_LOGIN = {ReasonCode.BAD_USER_NAME_OR_PASSWORD, ReasonCode.NOT_AUTHORIZED, ReasonCode.BANNED}


def connect(engine: Engine, channel: Channel, packet: Connect) -> None:
    """Decide on the client; access control may answer later."""
    client = channel.client = Client(
        client_id=packet.client_id or _assigned_client_id(engine),
        username=packet.username if channel.certified_username is None else channel.certified_username,
        protocol_version=packet.version,
        keepalive=packet.keepalive,
        clean_start=packet.clean_start,
        peer=channel.peer,
        listener=channel.listener,
    )
    if engine.hooks.client_connect:
        tell(engine.hooks.client_connect, ClientConnect(at=engine.clock.time(), client=client))
    if channel.inside:
        _admit(engine, channel, packet, None)
        return
    reason, text = (
        _no_room(engine, channel, client) or _banned(engine, client) or _unacceptable(engine, packet)
    )
    if channel.certified_username == "":
        reason, text = ReasonCode.BAD_USER_NAME_OR_PASSWORD, "a certificate with a common name is needed"
    if reason:
        _refuse(engine, channel, reason, text)
        return
    credentials = Credentials(
        client,
        packet.password,
        channel.certificate,
        channel.tls,
        proven=channel.certified_username is not None,
    )
    if packet.properties is not None and packet.properties.authentication_method is not None:
        _converse(engine, channel, packet, credentials)
        return
    answer = engine.access.authenticate(credentials)
    if isinstance(answer, int):
        _decided(engine, channel, packet, credentials, answer)
    else:
        channel.suspend(answer, partial(_decided, engine, channel, packet, credentials))


def _converse(engine: Engine, channel: Channel, packet: Connect, credentials: Credentials) -> None:
    """Let the authentication method that CONNECT names decide."""
    assert packet.properties is not None
    name = packet.properties.authentication_method
    assert name is not None

    def admit(accepted: Accepted) -> None:
        authentication.credentials = known_as(credentials, accepted.username)
        channel.client = authentication.credentials.client
        _check_will(engine, channel, packet, authentication.credentials, accepted.data)

    authentication = channel.authentication = Authentication(
        name, engine.auth_methods[name], credentials, admit, partial(_refuse_login, engine, channel)
    )
    authentication.begin(channel, packet.properties.authentication_data)


def _decided(
    engine: Engine, channel: Channel, packet: Connect, credentials: Credentials, reason: ReasonCode
) -> None:
    if reason:
        _refuse_login(engine, channel, reason, "access control refused the client")
    else:
        _check_will(engine, channel, packet, credentials)


def _check_will(
    engine: Engine,
    channel: Channel,
    packet: Connect,
    credentials: Credentials,
    last_words: bytes | None = None,
) -> None:
    """Admit the client, unless it has a will that it may not publish."""
    channel.superuser = credentials.superuser
    will = packet.will
    if will is None:
        _admit(engine, channel, packet, last_words)
        return
    channel.will_generation = engine.access.generation
    if credentials.superuser or not engine.access.checks_topics:
        _admit(engine, channel, packet, last_words)
        return
    answer = engine.access.authorize(credentials.client, will.topic, Action.PUBLISH)
    if answer is None or isinstance(answer, bool):
        _will_decided(engine, channel, packet, last_words, answer)
    else:
        channel.suspend(answer, partial(_will_decided, engine, channel, packet, last_words))


def _will_decided(
    engine: Engine, channel: Channel, packet: Connect, last_words: bytes | None, allowed: bool | None
) -> None:
    if allowed:
        _admit(engine, channel, packet, last_words)
    else:
        assert packet.will is not None
        text = f"the client may not publish to {packet.will.topic}, the topic of its will"
        _refuse(engine, channel, ReasonCode.NOT_AUTHORIZED, text)


def _no_room(engine: Engine, channel: Channel, client: Client) -> tuple[ReasonCode, str] | None:
    """Why no further client can be connected now, or None."""
    if engine.neighbours is not None and engine.neighbours.refuses and not channel.inside:
        text = "this node cannot reach the others of its cluster"
        return ReasonCode.SERVER_UNAVAILABLE, text
    if channel.over_rate:
        return ReasonCode.CONNECTION_RATE_EXCEEDED, "too many new connections per second"
    session = engine.sessions.get(client.client_id)
    if channel.inside or (session is not None and session.connected):
        return None  # it takes its own place
    if text := is_full(channel.listener_limits, engine.connected + engine.connected_elsewhere, engine.limits):
        engine.counters.limited["max_connections"] += 1
        return ReasonCode.QUOTA_EXCEEDED, text
    return None


def _banned(engine: Engine, client: Client) -> tuple[ReasonCode, str] | None:
    ban = engine.bans.of(client, engine.clock.time()) if engine.bans else None
    if ban is None:
        return None
    return ReasonCode.BANNED, f"the {ban.kind} is banned"


def _assigned_client_id(engine: Engine) -> str:
    """A new client identifier for a client that sent none [MQTT-3.1.3-6]."""
    while True:
        client_id = f"pybroker-{token_hex(8)}"
        mine = engine.neighbours is None or engine.neighbours.is_mine(client_id)
        if mine and client_id not in engine.sessions:
            return client_id


def _unacceptable(engine: Engine, packet: Connect) -> tuple[ReasonCode, str]:
    """Why this CONNECT is refused, whatever the client, or SUCCESS."""
    if packet.version == 3 and not 0 < len(packet.client_id) <= MAX_CLIENT_ID_3_1:
        text = f"MQTT 3.1 needs a client identifier of 1 to {MAX_CLIENT_ID_3_1} characters"
        return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, text
    if packet.client_id.startswith(INSIDE):
        text = f"client identifiers that begin with {INSIDE} are the broker's own"
        return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, text
    if not packet.client_id and not packet.clean_start and packet.version == 4:  # [MQTT-3.1.3-8]
        return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "an empty client identifier needs clean session 1"
    method = packet.properties.authentication_method if packet.properties else None
    if method is not None and method not in engine.auth_methods:  # [MQTT-4.12.0-1]
        return ReasonCode.BAD_AUTHENTICATION_METHOD, f"the authentication method {method} is not served"
    if packet.will is not None:
        if packet.will.qos > engine.mqtt.max_qos:  # [MQTT-3.2.2-12]
            return ReasonCode.QOS_NOT_SUPPORTED, f"the highest QoS served is {engine.mqtt.max_qos}"
        if packet.will.retain and not engine.mqtt.retain_available:  # [MQTT-3.2.2-13]
            return ReasonCode.RETAIN_NOT_SUPPORTED, "retained messages are not served"
        if is_brokers_own(packet.will.topic):
            return ReasonCode.NOT_AUTHORIZED, "only the broker publishes to $SYS"
        if packet.will.topic.count("/") >= engine.limits.max_topic_levels:
            engine.counters.limited["max_topic_levels"] += 1
            return ReasonCode.TOPIC_NAME_INVALID, "the topic of the will has too many levels"
    return ReasonCode.SUCCESS, ""


def _refuse_login(engine: Engine, channel: Channel, reason: ReasonCode, text: str) -> None:
    """Refuse a client that is not authenticated, with a delay if its address has failed before."""
    assert channel.client is not None
    delay = 0.0
    if reason in FAILED_LOGIN:
        delay = engine.failures.note(channel.client.host, engine.clock.monotonic())
    if delay:
        engine.counters.limited["failed_logins"] += 1
        channel.wait(delay, partial(_refuse, engine, channel, reason, text))
    else:
        _refuse(engine, channel, reason, text)


def _refuse(engine: Engine, channel: Channel, reason: ReasonCode, text: str) -> None:
    """CONNACK with the reason, then close [MQTT-3.2.2-7]."""
    assert channel.client is not None
    engine.counters.refused[reason_name(reason)] += 1
    client_log.refused(channel.client, reason, text)
    _tell_connack(engine, channel.client, reason)
    channel.refuse_connect(reason, text)


def _tell_connack(engine: Engine, client: Client, reason: ReasonCode) -> None:
    if engine.hooks.client_connack:
        event = ClientConnack(at=engine.clock.time(), client=client, conn_ack=reason_name(reason))
        tell(engine.hooks.client_connack, event)


def _admit(engine: Engine, channel: Channel, packet: Connect, last_words: bytes | None) -> None:
    client = channel.client
    assert client is not None
    if no_room := _no_room(engine, channel, client):  # others may have come while this one was asked about
        _refuse(engine, channel, *no_room)
        return
    claims = engine.claims
    if claims is not None and not channel.inside and not claims.is_here(client.client_id):
        claims.claim(
            client.client_id,
            client.clean_start,
            channel.hold(partial(_claimed, engine, channel, packet, last_words)),
        )
        return
    _enter(engine, channel, packet, last_words)


def _claimed(
    engine: Engine, channel: Channel, packet: Connect, last_words: bytes | None, refusal: Refusal | None
) -> None:
    """It is known whether the client may use its session here."""
    if refusal is not None:
        _refuse(engine, channel, *refusal)
    else:
        _enter(engine, channel, packet, last_words)


def _enter(engine: Engine, channel: Channel, packet: Connect, last_words: bytes | None) -> None:
    """Give the client its session, and tell it so."""
    client = channel.client
    assert client is not None
    session, present = _session_for(engine, channel)
    _bind(engine, channel, packet, session)
    channel.send(_connack(engine, channel, packet, present, last_words))
    channel.connection.establish()
    if engine.loops is not None:
        engine.loops.connected(channel, packet)
    channel.watch_keepalive(_keepalive(engine, packet) * engine.mqtt.keepalive_multiplier)
    _tell_connack(engine, client, ReasonCode.SUCCESS)
    client_log.connected(client, present)
    engine.counters.connects += 1
    engine.counters.clients_maximum = max(engine.counters.clients_maximum, engine.connected)
    if engine.hooks.client_connected:
        event = ClientConnected(at=engine.clock.time(), client=client, session_present=present)
        tell(engine.hooks.client_connected, event)
    if present:
        engine.sender.resume(session)


def _session_for(engine: Engine, channel: Channel) -> tuple[Session, bool]:
    """The client's session, and whether it existed before; a client that uses it now is disconnected."""
    client = channel.client
    assert client is not None
    old = engine.sessions.get(client.client_id)
    if old is not None and old.channel is not None:
        # [MQTT-3.1.4-3] the session ends with this, unless it was to outlive the connection
        old.channel.close(
            ReasonCode.SESSION_TAKEN_OVER, text="another connection uses this client identifier"
        )
        old = engine.sessions.get(client.client_id)
    if old is not None and (client.clean_start or _is_anothers(engine, old, client)):
        end_session(engine, old, "clean_start" if client.clean_start else "takenover")  # [MQTT-3.1.2-4]
        old = None
    if old is not None:
        cancel_departure(old)
        changed = old.version != client.protocol_version or (
            engine.router.may_receive is not None and _was_another(old, channel)
        )
        old.client = client
        old.version = client.protocol_version
        old.superuser = channel.superuser
        old.allowed.clear()
        old.screen = None
        if changed and old.subscriptions:
            engine.router.forget_all_routes()
        return old, True
    session = Session(client)
    session.superuser = channel.superuser
    engine.sessions.add(session)
    return session, False


def _was_another(session: Session, channel: Channel) -> bool:
    """Whether access control may now answer differently about topics that the session may receive."""
    before, now = session.client, channel.client
    assert now is not None
    if not before.listener:  # the session has waited for its first client
        return True
    return (before.username, before.host, session.superuser) != (now.username, now.host, channel.superuser)


def _is_anothers(engine: Engine, session: Session, client: Client) -> bool:
    """Whether the session has messages that the user of ``client`` may not be allowed to receive."""
    return engine.access.checks_topics and session.client.username not in (None, client.username)


def _bind(engine: Engine, channel: Channel, packet: Connect, session: Session) -> None:
    """Connect session and connection, with the options of CONNECT."""
    properties = packet.properties
    if packet.version == 5:
        interval = properties.session_expiry_interval if properties else None
        session.expiry = expiry_seconds(engine, interval or 0)
    else:
        session.expiry = 0.0 if packet.clean_start else engine.mqtt.session_expiry
        if session.expiry >= 0xFFFFFFFF:
            session.expiry = inf
    receive_maximum = (properties.receive_maximum if properties else None) or DEFAULT_RECEIVE_MAXIMUM
    session.full_window = session.window = min(receive_maximum, engine.mqtt.max_inflight_window)
    if session.max_packet_size != channel.connection.max_packet_size:
        session.max_packet_size = channel.connection.max_packet_size
        if session.subscriptions:
            engine.router.forget_all_routes()
    engine.sender.bound(session)
    session.will = packet.will
    session.will_generation = channel.will_generation
    session.channel = channel
    session.outbox = channel.outbox
    channel.session = session
    channel.checks_topics = engine.access.checks_topics and not channel.superuser
    engine.connected += 1
    channel.listener_limits.connected += 1
    if engine.storage is not None:
        engine.storage.bound(session)
    if engine.neighbours is not None:
        engine.neighbours.moved(session)


def _keepalive(engine: Engine, packet: Connect) -> int:
    """The keepalive in force: the client's [MQTT-3.2.2-22], or a shorter one that CONNACK tells a 5.0
    client."""
    longest = int(engine.limits.max_keepalive)
    if packet.version != 5 or not longest:
        return packet.keepalive
    return min(packet.keepalive or longest, longest)


def _connack(
    engine: Engine, channel: Channel, packet: Connect, present: bool, last_words: bytes | None
) -> bytes:
    if packet.version != 5:
        # [MQTT-3.2.2-2]; 3.1 has no session present flag: the byte is reserved there
        return CONNACK_PRESENT if present and packet.version == 4 else CONNACK
    mqtt = engine.mqtt
    session = channel.session
    assert session is not None
    properties = Properties(
        receive_maximum=mqtt.receive_maximum,
        maximum_packet_size=mqtt.max_packet_size,
        topic_alias_maximum=mqtt.max_topic_alias,
    )
    if channel.authentication is not None:  # [MQTT-4.12.0-5] [MQTT-4.12.0-6]
        properties.authentication_method = channel.authentication.name
        properties.authentication_data = last_words
    asked = (packet.properties.session_expiry_interval if packet.properties else None) or 0
    granted = 0xFFFFFFFF if session.expiry == inf else int(session.expiry)
    if granted != asked:
        properties.session_expiry_interval = granted
    if _keepalive(engine, packet) != packet.keepalive:
        properties.server_keep_alive = _keepalive(engine, packet)
    if not packet.client_id:
        properties.assigned_client_identifier = session.client_id  # [MQTT-3.2.2-16]
    if mqtt.max_qos < 2:
        properties.maximum_qos = mqtt.max_qos
    if not mqtt.retain_available:
        properties.retain_available = 0
    if not mqtt.wildcard_subscription:
        properties.wildcard_subscription_available = 0
    if not mqtt.shared_subscription:
        properties.shared_subscription_available = 0
    return channel.connection.fitting(Connack(present, ReasonCode.SUCCESS, properties))
