"""`bridges.mqtt.NAME {}` and `bridges.aws.NAME {}` to settings."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..bridge import mapping as topics
from ..bridge.settings import (
    Address,
    BridgeSettings,
    BridgeTls,
    ConnectionOptions,
    Forward,
    RemoteSubscription,
    SocketOptions,
)
from ..packets.model import Will
from ..packets.primitives import LARGEST_PACKET
from ..packets.properties import Properties
from ..routing.topics import topic_error
from .errors import ConfigError
from .reader import Report, Values, existing_file, is_off, read
from .schema.bridge import PREFIX
from .tree import Place, Section, describe, from_python
from .units import QUIC

KINDS = ("mqtt", "aws")
CACHE = "cache"
"""NanoMQ's section for all bridges; no bridge can have this name."""
VERSIONS: dict[str | None, tuple[int, ...]] = {None: (5, 4), "5": (5,), "4": (4,), "3": (3,)}
DEFAULT_QUEUE = 100_000
NNG = "nng"
"""NanoMQ's bridges to NNG sockets."""
AWS_PACKET = 128 * 1024
"""AWS IoT Core accepts no larger packets, and no QoS 2."""


def bridges(root: Section, report: Report) -> tuple[BridgeSettings, ...]:
    """Every bridge, also those that are off."""
    section = root.section("bridges")
    if section is None or is_off(section):
        return ()
    found: dict[str, BridgeSettings] = {}
    for kind, node in section.values.items():
        key = f"bridges.{kind}"
        if kind == "enable":
            continue
        if kind == NNG:
            report.without_effect(node.place, key)
            continue
        if kind not in KINDS:
            report.unknown(node, key, [f"bridges.{one}" for one in KINDS])
            continue
        if not isinstance(node, Section):
            report.error(node.place, key, f"found {describe(node)}; allowed: a section {{ NAME {{ ... }} }}")
            continue
        report.missing(node, key)
        for name, one in node.values.items():
            where = f"{key}.{name}"
            if name == CACHE and kind == "mqtt":
                report.without_effect(one.place, where)
            elif not isinstance(one, Section):
                report.error(
                    one.place, where, f"found {describe(one)}; allowed: a section {{ server = ... }}"
                )
            elif name in found:
                report.error(one.place, where, "there is another bridge of this name")
            elif not _NAME.fullmatch(name):
                report.error(one.place, where, "allowed in a bridge's name: letters, digits, - _ and .")
            else:
                bridge = _bridge(name, read(one, PREFIX, report, where), one, report, aws=kind == "aws")
                if bridge is not None:
                    _check_clientid(bridge, found, f"{where}.clientid", one, report)
                    found[name] = bridge
    return tuple(found.values())


def bridge_of(name: str, values: Mapping[str, object], environ: Mapping[str, str]) -> BridgeSettings:
    """The bridge of a section with this name and these values. Raises ConfigError."""
    report = Report(environ)
    root = Section(Place())
    root.values["bridges"] = from_python({"mqtt": {name: values}}, Place())
    if name == CACHE:
        report.error(Place(), f"bridges.mqtt.{name}", "a bridge cannot have the name of NanoMQ's disk cache")
    found = bridges(root, report)
    if report.errors:
        raise ConfigError(report.errors)
    return found[0]


def _check_clientid(
    bridge: BridgeSettings, others: Mapping[str, BridgeSettings], key: str, section: Section, report: Report
) -> None:
    servers = {address.url for address in bridge.servers}
    for other in others.values():
        if other.clientid == bridge.clientid and servers & {address.url for address in other.servers}:
            message = (
                f'"{bridge.clientid}" is that of bridge {other.name} too, at the same server: each '
                "of the two disconnects the other"
            )
            report.warn(section.place, key, message)


_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)


def _bridge(
    name: str, values: Values, section: Section, report: Report, *, aws: bool
) -> BridgeSettings | None:
    if values["server"] is None:
        if "server" not in values:
            report.error(values.place, f"{values.name}.server", "missing: mqtt-tcp://HOST:PORT")
        return None
    servers = tuple(_servers(values, section, report, aws=aws))
    if not servers:
        return None
    forwards = tuple(_forwards(values, report))
    subscriptions = tuple(_subscriptions(values, report))
    if not forwards and not subscriptions and not values["transparent"]:
        report.warn(values.place, values.name, "it has no forwards and no subscription, so it does nothing")
    bits = (True, False) if values["no_local_v4"] and not aws else (False,)
    versions = [
        (version, bit)
        for version in VERSIONS[values["proto_ver"]]
        for bit in (bits if version != 5 else (False,))
    ]
    tls = section.section("ssl")
    encrypted = [address for address in servers if address.encrypted]
    if tls is not None and not is_off(tls) and not encrypted:
        message = "has no effect: the server is reached without TLS; write tls+mqtt-tcp:// or wss://"
        report.warn(tls.place, f"{values.name}.ssl", message)
    settings = BridgeSettings(
        name=name,
        enable=values["enable"],
        servers=servers,
        clientid=values["clientid"] or f"{socket.gethostname()}.{name}",
        versions=tuple(versions),
        keepalive=int(values["keepalive"]),
        backoff_max=values["backoff_max"],
        clean_start=values["clean_start"],
        username=values["username"],
        password=values["password"],
        forwards=forwards,
        subscriptions=subscriptions,
        will=_will(values, report),
        options=_options(values),
        tls=_tls(values, report),
        socket=SocketOptions(
            **{field: values[f"tcp.{field}"] for field in SocketOptions.__dataclass_fields__}
        ),
        max_queue=values["max_send_queue_len"] or DEFAULT_QUEUE,
        when_full=values["when_full"],
        retry_qos_0=values["retry_qos_0"],
        transparent=values["transparent"],
        max_qos=1 if aws else 2,
        max_packet_size=AWS_PACKET if aws else LARGEST_PACKET,
        hop_limit=values["hop_limit"],
        send_retained=values["send_retained"],
    )
    if encrypted and not settings.tls.verify:
        message = "false: whoever answers at the address of the server is trusted"
        report.warn(values.place_of("ssl.verify_peer"), f"{values.name}.ssl.verify_peer", message)
    if settings.password is not None and settings.username is None and 5 not in dict(versions):
        message = "3.1 and 3.1.1 allow a password only with a user name"  # [MQTT-3.1.2-22]
        report.error(values.place_of("password"), f"{values.name}.username", f"missing: {message}")
    return settings


def _servers(values: Values, section: Section, report: Report, *, aws: bool) -> Iterator[Address]:
    tls = section.section("ssl")
    for key, address in [
        ("server", values["server"]),
        *(("hybrid_servers", a) for a in values["hybrid_servers"]),
    ]:
        place, name = values.place_of(key), f"{values.name}.{key}"
        if address.scheme in QUIC:
            message = f"{address.url}: QUIC is not served; write tls+mqtt-tcp://HOST:PORT"
            if key == "server":
                report.error(place, name, message)
                return
            report.warn(place, name, f"{message}. This server is left out")
        elif address.scheme:
            yield address
        elif aws:
            encrypted = tls is not None and not is_off(tls)
            yield replace(address, scheme="tls+mqtt-tcp" if encrypted else "mqtt-tcp")
        else:
            report.error(place, name, f'found "{address.url}"; write mqtt-tcp://{address.url}')
            return


def _forwards(values: Values, report: Report) -> Iterator[Forward]:
    for one in values["forwards"]:
        mapping = _mapping(one, "local_topic", "remote_topic", report)
        if mapping is not None:
            if mapping.source.startswith("$SYS"):
                report.warn(one.place, one.name, "topics below $SYS are never forwarded")
            yield Forward(mapping, one["qos"], _retain(one))


def _subscriptions(values: Values, report: Report) -> Iterator[RemoteSubscription]:
    for one in values["subscription"]:
        mapping = _mapping(one, "remote_topic", "local_topic", report)
        if mapping is not None:
            yield RemoteSubscription(
                mapping,
                one["qos"],
                _retain(one),
                bool(one["retain_as_published"]),
                one["retain_handling"],
                one["nolocal"],
            )


def _retain(values: Values) -> bool | None:
    return {0: False, 1: True, 2: None}[values["retain"]]


def _mapping(values: Values, source: str, target: str, report: Report) -> topics.Mapping | None:
    if values[source] is None:
        if source not in values:
            report.error(values.place, f"{values.name}.{source}", "missing: a topic filter")
        return None
    if target not in values:
        report.error(values.place, f"{values.name}.{target}", 'missing: a topic, or "" to keep the topic')
        return None
    try:
        return topics.Mapping.of(
            values[source], values[target] or "", values["prefix"] or "", values["suffix"] or ""
        )
    except topics.MappingError as error:
        report.error(values.place_of(target), f"{values.name}.{target}", str(error))
        return None


def _will(values: Values, report: Report) -> Will | None:
    topic, payload = values["will.topic"], values["will.payload"]
    if topic is None or payload is None:
        return None
    if error := topic_error(topic):
        report.error(values.place_of("will.topic"), f"{values.name}.will.topic", error)
        return None
    given: dict[str, Any] = {
        name: values[f"will.properties.{name}"]
        for name in (
            "payload_format_indicator",
            "message_expiry_interval",
            "content_type",
            "response_topic",
            "will_delay_interval",
        )
    }
    correlation = values["will.properties.correlation_data"]
    properties = Properties(
        **given,
        correlation_data=correlation.encode() if correlation is not None else None,
        user_properties=values["will.properties.user_property"],
    )
    return Will(topic, payload.encode(), values["will.qos"], values["will.retain"], properties)


def _options(values: Values) -> ConnectionOptions:
    def spelled(right: str, wrong: str) -> int | None:
        if f"conn_properties.{wrong}" in values:
            right = wrong
        value: int | None = values[f"conn_properties.{right}"]
        return value

    return ConnectionOptions(
        session_expiry=values["conn_properties.session_expiry_interval"],
        receive_maximum=values["conn_properties.receive_maximum"],
        maximum_packet_size=values["conn_properties.maximum_packet_size"],
        request_problem_information=spelled("request_problem_information", "request_problem_infomation"),
        request_response_information=spelled("request_response_information", "request_response_infomation"),
        user_properties=values["conn_properties.user_property"],
        subscription_identifier=values["sub_properties.identifier"],
        subscription_user_properties=values["sub_properties.user_property"],
    )


def _tls(values: Values, report: Report) -> BridgeTls:
    files: dict[str, Path | None] = {
        key: existing_file(values, f"ssl.{key}", report) for key in ("cacertfile", "certfile", "keyfile")
    }
    if files["certfile"] is not None and "ssl.keyfile" not in values:
        report.error(
            values.place_of("ssl.certfile"), f"{values.name}.ssl.keyfile", "missing: its private key"
        )
    return BridgeTls(
        **files,
        key_password=values["ssl.key_password"],
        verify=values["ssl.verify_peer"],
        sni=values["ssl.sni"],
    )
