"""The rows of `system`, `mqtt`, `limits`, `log`, `sys`, `preset` and `plugins`, and of sections that are not
served."""

from __future__ import annotations

from collections.abc import Iterator

from ..units import GB, MB, choice, flag, number, path, size, text, time, topic_filter, whole
from .row import ANYTHING, Row, ignored, under

_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


def rows() -> Iterator[Row]:
    yield from _system()
    yield from _mqtt()
    yield from _limits()
    yield from _log()
    yield from under(
        "sys",
        Row(
            "interval",
            time(),
            "60s",
            "Time between two updates of $SYS/brokers/...; 0 turns all of $SYS off.",
        ),
        Row(
            "presence",
            choice("retained", "live", "off"),
            "retained",
            "Whether `$SYS/brokers/client_status/CLIENTID` messages are retained, sent once, or off.",
        ),
        Row("presence_events", flag(), "false", "Also publish `$SYS/brokers/connected` and `disconnected`."),
        ours=True,
    )
    yield from _preset()
    yield Row(
        "plugins", ANYTHING, "", 'amqtt plugins: `"package.module.Class" { settings }`.', "section", ours=True
    )


def _system() -> Iterator[Row]:
    yield from under(
        "system",
        Row("daemon", flag(), "false", "Detach from the terminal and run in the background."),
        Row("workers", whole(1, 64), "1", "Processes that are one broker: see cluster.md.", ours=True),
        Row(
            "drain_timeout",
            time(),
            "5s",
            "How long a stop waits for the webhooks' queues.",
            ours=True,
            reload=True,
        ),
        ignored("num_taskq_thread"),
        ignored("max_taskq_thread"),
        ignored("parallel"),
        ignored("hook_ipc_url"),
        ignored("cmd_ipc_url"),
        ignored("enable_ipc_internal"),
        ignored("exchange_ipc_url"),
    )


def _mqtt() -> Iterator[Row]:
    no_ack = "A message that a 3.x client does not acknowledge is sent again after this time; 0: never."
    yield from under(
        "mqtt",
        Row("max_packet_size", size(16, 260 * MB), "10MB", "The largest packet accepted from a client."),
        Row("max_mqueue_len", whole(1), "1024", "Messages queued for one session, offline or slow."),
        Row("max_topic_alias", whole(0, 65535), "1024", "Topic aliases that a 5.0 client may set."),
        Row("retry_interval", time(), "10s", no_ack),
        Row(
            "keepalive_multiplier",
            number(0.5, 100),
            "1.5",
            "A silent client is disconnected after keepalive times this factor.",
        ),
        reload=True,
    )
    yield Row(
        "mqtt.max_inflight_window",
        whole(1, 65535),
        "2048",
        "Unacknowledged QoS 1 and 2 messages to one client.",
        differs="NanoMQ reads it and does not use it.",
    )
    left = "How long the session of a 3.x client with clean session 0 is kept after its connection."
    yield from under(
        "mqtt",
        Row(
            "receive_maximum", whole(1, 65535), "1024", "Unacknowledged QoS 1 and 2 messages from one client."
        ),
        Row(
            "max_session_expiry",
            time(never=True),
            "never",
            "The longest session expiry that a client may ask for.",
        ),
        Row("session_expiry", time(never=True), "never", left),
        Row("retain_available", flag(), "true", "Support retained messages."),
        Row("wildcard_subscription", flag(), "true", "Support topic filters with + and #."),
        Row("shared_subscription", flag(), "true", "Support $share/GROUP/FILTER."),
        Row("max_qos", whole(0, 2), "2", "The highest QoS that a client may publish with."),
        ours=True,
    )
    yield from under(
        "mqtt",
        ignored("property_size"),
        ignored("max_awaiting_rel"),
        ignored("await_rel_timeout"),
        ignored("batch_resend"),
        ignored("client_max_packet_size"),
    )


def _limits() -> Iterator[Row]:
    yield from under(
        "limits",
        Row("max_connections", whole(1), "100000", "Connected clients."),
        Row("connect_timeout", time(0.001), "10s", "How long a new connection may take to send CONNECT."),
        Row("connect_rate", number(), "0", "New connections per second for each listener; 0: no limit."),
        Row("max_keepalive", time(0, 65_535), "0", "The longest keepalive of a 5.0 client; 0: no limit."),
        Row("max_subscriptions", whole(1), "1000", "Subscriptions of one session."),
        Row("max_topic_levels", whole(1), "128", "Levels of a topic or topic filter."),
        Row("max_retained", whole(0), "1000000", "Retained messages in all."),
        Row("message_rate", number(), "0", "PUBLISH packets per second from one client; 0: no limit."),
        Row("byte_rate", size(), "0", "Bytes per second from one client; 0: no limit."),
        Row("max_queued_bytes", size(1024), "64MB", "Bytes queued for one client that reads too slowly."),
        ours=True,
        reload=True,
    )


def _log() -> Iterator[Row]:
    places = choice("console", "file", "syslog", "uds")
    uds = "NanoMQ: file and console. `uds`, a socket, is accepted without effect."
    folder = "/tmp"  # noqa: S108 - NanoMQ's default
    yield from under(
        "log",
        Row(
            "to",
            places,
            "console",
            "Where log lines go, one place or more.",
            "list",
            differs=uds,
        ),
        Row("level", choice(*_LEVELS), "info", "The lowest level that is logged.", differs="NanoMQ: warn."),
        Row("dir", path(), folder, "The folder of the log file."),
        Row("file", path(), "pybroker.log", "The name of the log file.", differs="NanoMQ: nanomq.log."),
        Row("rotation.size", size(1024, 1024 * GB), "10MB", "A log file of this size is rotated."),
        Row("rotation.count", whole(0, 100_000), "5", "How many rotated files are kept."),
        Row("format", choice("text", "json"), "text", "Plain lines, or one JSON object per line.", ours=True),
        reload=True,
    )
    yield ignored("log.uds_addr", "The socket of `uds`.")


def _preset() -> Iterator[Row]:
    yield from under(
        "preset.session.NAME",
        Row("clientid", text(), "", "The client identifier of the session."),
        Row("topic", ANYTHING, "", "The subscriptions of the session.", "objects"),
        Row("topic[].remote_topic", topic_filter(), "", "The topic filter."),
        Row("topic[].qos", whole(0, 2), "0", "The highest QoS of delivered messages."),
        Row("topic[].retain_as_published", flag(), "false", "Keep the RETAIN flag on delivery."),
        Row(
            "topic[].retain_handling",
            whole(0, 2),
            "0",
            "Retained messages are sent: 0 always, 1 for a new subscription, 2 never.",
        ),
        ignored("topic[].retain", "Has no effect on a subscription."),
        ignored("topic[].stream_id", "A stream of QUIC."),
    )


def rows_without_effect() -> Iterator[Row]:
    yield ignored("rules", "The rule engine.")
    yield ignored("plugin", "Shared libraries; `plugins` is ours.")
    yield ignored("parquet", "Parquet files.")
    yield ignored("exchange_client", "The message exchange.")
    yield ignored("dds", "The DDS gateway.")
    yield ignored("forward_rules", "The DDS gateway.")
    yield ignored("gateway", "The ZeroMQ and SOME/IP gateways.")
