"""Rows of `bridges.mqtt.NAME`, and of `bridges.aws.NAME`, which has the same."""

from __future__ import annotations

from collections.abc import Iterator

from ...packets.primitives import LARGEST_PACKET
from ..units import any_text, bridge_server, choice, flag, path, text, time, topic_filter, whole
from .row import ANYTHING, Row, ignored, under

PREFIX = "bridges.mqtt"

_QUIC = (
    "quic_keepalive",
    "quic_idle_timeout",
    "quic_discon_timeout",
    "quic_handshake_timeout",
    "quic_send_idle_timeout",
    "quic_initial_rtt_ms",
    "quic_max_ack_delay_ms",
    "quic_multi_stream",
    "quic_qos_priority",
    "quic_0rtt",
    "congestion_control",
)


def rows() -> Iterator[Row]:
    yield from under(
        PREFIX, *_connection(), *_messages(), *_will(), *_properties(), *_tls(), *_socket(), reload=True
    )
    for key in _QUIC:
        yield ignored(f"{PREFIX}.{key}", "QUIC.")
    for key in ("max_parallel_processes", "max_recv_queue_len", "resend_interval", "resend_wait"):
        yield ignored(f"{PREFIX}.{key}")
    yield ignored(f"{PREFIX}.cancel_timeout")
    yield ignored(f"{PREFIX}.cache", "NanoMQ's disk cache of all bridges; here `sqlite {}` keeps them.")


def _connection() -> Iterator[Row]:
    versions = "Version of MQTT. Without it, 5.0 is tried first, then 3.1.1."
    yield Row("enable", flag(), "true", "False: the bridge connects only when it is switched on.")
    yield Row(
        "server",
        bridge_server(),
        "",
        "The remote broker: `mqtt-tcp://`, `tls+mqtt-tcp://`, `ws://`, `wss://`, `unix://`.",
        environ=True,
        differs="`mqtt-quic://` is refused; `ws`, `wss` and `unix` are ours.",
    )
    yield Row("proto_ver", choice("3", "4", "5"), "", versions, differs="NanoMQ: 4.")
    yield Row(
        "clientid",
        text(),
        "",
        "The client identifier there; without it, `HOST.NAME`.",
        environ=True,
        differs="NanoMQ: a random one.",
    )
    yield Row("keepalive", time(0, 65535), "60s", "The keepalive of the connection.")
    yield Row(
        "backoff_max",
        time(1, 86400),
        "60s",
        "The longest wait between two tries; waits grow, with jitter.",
        differs="NanoMQ: 5s.",
    )
    yield Row(
        "clean_start",
        flag(),
        "false",
        "Whether the remote broker forgets the session with the connection.",
        differs="NanoMQ: true, which loses what comes while the link is down.",
    )
    yield Row("username", any_text(), "", "User name there.", environ=True)
    yield Row("password", any_text(secret=True), "", "Password there.", environ=True)
    yield Row(
        "no_local_v4",
        flag(),
        "true",
        "3.1 and 3.1.1: set the bridge bit in CONNECT, if the remote broker accepts it.",
    )
    yield Row(
        "hybrid_servers",
        bridge_server(),
        "",
        "Further servers, tried in order; an earlier one is taken again when it is back.",
        "list",
        environ=True,
        differs="NanoMQ: with `hybrid_bridging` and QUIC only, round and round.",
    )
    yield ignored("hybrid_bridging", "No effect: `hybrid_servers` are always used.")


def _messages() -> Iterator[Row]:
    yield Row(
        "max_send_queue_len",
        whole(0, 100_000_000),
        "0",
        "Messages that may wait while the link is down; 0: 100,000.",
        differs="NanoMQ: those that wait for a busy context.",
    )
    yield Row(
        "when_full",
        choice("wait", "drop", "wait_always"),
        "wait",
        "If the queue is full: `wait`, publishers of QoS 1 and 2 wait while the link is up; `wait_always`, "
        "also while it is down; `drop`, the message is dropped.",
        ours=True,
    )
    yield Row(
        "retry_qos_0",
        flag(),
        "false",
        "Whether messages of QoS 0 are queued too, and then sent at QoS 1; retained ones always are.",
    )
    yield Row(
        "transparent", flag(), "false", "Repeat the subscriptions of local clients at the remote broker."
    )
    yield Row(
        "send_retained",
        flag(),
        "true",
        "Send local retained messages when the link comes up for the first time.",
        ours=True,
    )
    yield Row(
        "hop_limit", whole(1, 100), "8", "5.0: the number of bridges that a message may pass.", ours=True
    )
    yield Row("forwards", ANYTHING, "", "The messages to send to the remote broker.", "objects")
    yield Row("forwards[].local_topic", topic_filter(), "", "A topic filter.")
    mapped = 'Its topic there: `""` keeps it, one with wildcards keeps the levels they match.'
    yield Row("forwards[].remote_topic", any_text(), "", mapped)
    yield Row("subscription", ANYTHING, "", "The subscriptions at the remote broker.", "objects")
    yield Row("subscription[].remote_topic", topic_filter(), "", "A topic filter.")
    yield Row("subscription[].local_topic", any_text(), "", mapped.replace("there", "here"))
    for one in ("forwards[]", "subscription[]"):
        yield Row(f"{one}.retain", whole(0, 2), "2", "The RETAIN flag: 0 cleared, 1 set, 2 kept.")
        yield Row(f"{one}.prefix", any_text(), "", "A text before the topic.")
        yield Row(f"{one}.suffix", any_text(), "", "A text after the topic.")
    yield Row("forwards[].qos", whole(0, 2), "", "The QoS there; without it, that of the message.")
    yield Row("subscription[].qos", whole(0, 2), "0", "The highest QoS of received messages.")
    yield Row("subscription[].retain_as_published", whole(0, 1), "0", "5.0: keep the RETAIN flag.")
    yield Row("subscription[].retain_handling", whole(0, 2), "0", "5.0: 0 sent, 1 sent if new, 2 never.")
    yield Row(
        "subscription[].nolocal",
        flag(),
        "true",
        "5.0: the remote broker does not send back the bridge's own messages.",
    )
    yield ignored("subscription[].stream_id", "A stream of QUIC.")


def _will() -> Iterator[Row]:
    yield from under(
        "will",
        Row("topic", any_text(), "", "The topic of the will at the remote broker."),
        Row("payload", any_text(), "", "Its payload; without topic and payload there is none."),
        Row("qos", whole(0, 2), "0", "Its QoS."),
        Row("retain", flag(), "false", "Whether it is retained."),
        *under(
            "properties",
            Row("payload_format_indicator", whole(0, 1), "", "5.0: 1 if the payload is text."),
            Row("message_expiry_interval", whole(0, 0xFFFFFFFF), "", "5.0: seconds."),
            Row("content_type", any_text(), "", "5.0."),
            Row("response_topic", any_text(), "", "5.0."),
            Row("correlation_data", any_text(), "", "5.0."),
            Row("will_delay_interval", whole(0, 0xFFFFFFFF), "", "5.0: seconds."),
            Row("user_property", any_text(), "", "5.0.", "map"),
        ),
    )


def _properties() -> Iterator[Row]:
    spelled = "NanoMQ spells it `{}`; both work."
    yield from under(
        "conn_properties",
        Row(
            "maximum_packet_size", whole(1, LARGEST_PACKET), "", "5.0: the largest packet accepted, in bytes."
        ),
        Row("receive_maximum", whole(1, 65535), "65535", "5.0: unacknowledged messages accepted at a time."),
        Row("topic_alias_maximum", whole(0, 65535), "0", "5.0.", accepted=True),
        Row(
            "session_expiry_interval",
            whole(0, 0xFFFFFFFF),
            "4294967295",
            "5.0: seconds that the session outlives the connection.",
            differs="NanoMQ: 0, which loses what comes while the link is down.",
        ),
        Row(
            "request_problem_information",
            whole(0, 1),
            "",
            "5.0; without it, 1.",
            differs=spelled.format("request_problem_infomation"),
        ),
        Row(
            "request_response_information",
            whole(0, 1),
            "",
            "5.0; without it, 0.",
            differs=spelled.format("request_response_infomation"),
        ),
        Row("request_problem_infomation", whole(0, 1), "", "As `request_problem_information`."),
        Row("request_response_infomation", whole(0, 1), "", "As `request_response_information`."),
        Row("user_property", any_text(), "", "5.0: user properties of CONNECT.", "map"),
    )
    yield Row("sub_properties.identifier", whole(1, 268_435_455), "", "5.0: the subscription identifier.")
    yield Row("sub_properties.user_property", any_text(), "", "5.0: user properties of SUBSCRIBE.", "map")


def _tls() -> Iterator[Row]:
    yield from under(
        "ssl",
        Row("enable", flag(), "true", "False: ignore the section."),
        Row("cacertfile", path(), "", "CA certificates for the server's certificate."),
        Row("certfile", path(), "", "The client certificate."),
        Row("keyfile", path(), "", "The private key of `certfile`."),
        Row("key_password", text(secret=True), "", "The password of an encrypted private key.", environ=True),
        Row(
            "verify_peer",
            flag(),
            "true",
            "Check the server's certificate and its name.",
            differs="NanoMQ: never checked.",
        ),
        Row("sni", text(), "", "The server's name, if it is not the host of `server`.", ours=True),
        ignored("fail_if_no_peer_cert", "For listeners."),
    )


def _socket() -> Iterator[Row]:
    yield from under(
        "tcp",
        Row("nodelay", flag(), "true", "TCP_NODELAY."),
        Row("keepalive", flag(), "false", "SO_KEEPALIVE."),
        Row("quickack", flag(), "", "TCP_QUICKACK."),
        Row("keepidle", time(1, 86400), "", "TCP_KEEPIDLE."),
        Row("keepintvl", time(1, 86400), "", "TCP_KEEPINTVL."),
        Row("keepcnt", time(1, 127), "", "TCP_KEEPCNT, a number; NanoMQ's files write it as a time."),
        Row("bind_interface", text(), "", "The network interface to use."),
        ignored("sendtimeo"),
        ignored("recvtimeo"),
    )
