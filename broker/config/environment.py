"""Keys from environment variables. The file overrides NanoMQ's variables. pybroker's variables, one for every
key, override the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from .guard import may_guard
from .listener_url import listener_of_url
from .reader import Report
from .tree import Node, Place, Section, Text, from_python
from .units import flag

KEY_VARIABLE = "PYBROKER__"
"""The prefix of variables for keys; two underscores stand for a dot."""

NANOMQ_VARIABLES: dict[str, str] = {
    "NANOMQ_DAEMON": "system.daemon",
    "NANOMQ_NUM_TASKQ_THREAD": "system.num_taskq_thread",
    "NANOMQ_MAX_TASKQ_THREAD": "system.max_taskq_thread",
    "NANOMQ_PARALLEL": "system.parallel",
    "NANOMQ_PROPERTY_SIZE": "mqtt.property_size",
    "NANOMQ_MAX_PACKET_SIZE": "mqtt.max_packet_size",
    "NANOMQ_CLIENT_MAX_PACKET_SIZE": "mqtt.client_max_packet_size",
    "NANOMQ_MSQ_LEN": "mqtt.max_mqueue_len",
    "NANOMQ_QOS_DURATION": "mqtt.retry_interval",
    "NANOMQ_ALLOW_ANONYMOUS": "auth.allow_anonymous",
    "NANOMQ_BROKER_URL": "listeners.tcp.bind",
    "NANOMQ_TCP_ENABLE": "listeners.tcp.enable",
    "NANOMQ_WEBSOCKET_ENABLE": "listeners.ws.enable",
    "NANOMQ_WEBSOCKET_URL": "listeners.ws.bind",
    "NANOMQ_WEBSOCKET_TLS_ENABLE": "listeners.wss.enable",
    "NANOMQ_WEBSOCKET_TLS_URL": "listeners.wss.bind",
    "NANOMQ_TLS_ENABLE": "listeners.ssl.enable",
    "NANOMQ_TLS_URL": "listeners.ssl.bind",
    "NANOMQ_TLS_CA_CERT_PATH": "listeners.ssl.cacertfile",
    "NANOMQ_TLS_CERT_PATH": "listeners.ssl.certfile",
    "NANOMQ_TLS_KEY_PATH": "listeners.ssl.keyfile",
    "NANOMQ_TLS_KEY_PASSWORD": "listeners.ssl.key_password",
    "NANOMQ_TLS_VERIFY_PEER": "listeners.ssl.verify_peer",
    "NANOMQ_TLS_FAIL_IF_NO_PEER_CERT": "listeners.ssl.fail_if_no_peer_cert",
    "NANOMQ_HTTP_SERVER_ENABLE": "http_server.enable",
    "NANOMQ_HTTP_SERVER_URL": "http_server.ip_addr",
    "NANOMQ_HTTP_SERVER_PORT": "http_server.port",
    "NANOMQ_HTTP_SERVER_PARALLEL": "http_server.limit_conn",
    "NANOMQ_HTTP_SERVER_USERNAME": "http_server.username",
    "NANOMQ_HTTP_SERVER_PASSWORD": "http_server.password",
    "NANOMQ_HTTP_SERVER_AUTH_TYPE": "http_server.auth_type",
    "NANOMQ_HTTP_SERVER_JWT_PUBLIC_KEYFILE": "http_server.jwt.public.keyfile",
    "NANOMQ_HTTP_SERVER_JWT_PRIVATE_KEYFILE": "http_server.jwt.private.keyfile",
    "NANOMQ_LOG_TO": "log.to",
    "NANOMQ_LOG_LEVEL": "log.level",
    "NANOMQ_LOG_DIR": "log.dir",
    "NANOMQ_LOG_FILE": "log.file",
    "NANOMQ_LOG_ROTATION_SIZE": "log.rotation.size",
    "NANOMQ_LOG_ROTATION_COUNT": "log.rotation.count",
    "NANOMQ_LOG_UDS_ADDR": "log.uds_addr",
}
"""The variables, and the keys that they stand for."""

_OTHERS = {"NANOMQ_CONF_PATH"}
_WITHOUT_EFFECT = {"NANOMQ_MSG_PERSISTENCE", "NANOMQ_EXCHANGER_URL", "NANOMQ_VIN", "NANOMQ_PID_FILE"}
_SWITCHES = {
    "listeners.ssl": "NANOMQ_TLS_ENABLE",
    "listeners.wss": "NANOMQ_WEBSOCKET_TLS_ENABLE",
    "http_server": "NANOMQ_HTTP_SERVER_ENABLE",
}
"""Sections that NanoMQ's variables fill, and the variable that switches each of them on."""


def put_keys(root: Section, environ: Mapping[str, str]) -> None:
    """Set the keys of pybroker's variables, which override the file."""
    for name, text in environ.items():
        if name.startswith(KEY_VARIABLE):
            key = name.removeprefix(KEY_VARIABLE).lower().replace("__", ".")
            root.put(key, text, _place(name))


def fill(root: Section, environ: Mapping[str, str], report: Report) -> None:
    """Set the keys of NanoMQ's variables that the file does not name. Warns if the file has another value,
    and for variables that are spelled nearly like NanoMQ's."""
    variables = {name: text for name, text in environ.items() if name.startswith("NANOMQ_") and text}
    for name in variables:
        if name in _WITHOUT_EFFECT:
            report.warn(_place(name), "", "accepted, without effect")
        elif name not in NANOMQ_VARIABLES and name not in _OTHERS:
            _unknown(name, report)
    named = "listeners" in root.values
    for name, key, node in list(_keys(variables, root, report)):
        _fill_one(root, name, key, node, report)
    listeners = root.section("listeners")
    if listeners and not named and "tcp" not in listeners.values and "NANOMQ_BROKER_URL" not in variables:
        # As in NanoMQ, TLS and WebSockets are served beside TCP.
        listeners.values["tcp"] = Section(root.place)


def _keys(variables: Mapping[str, str], root: Section, report: Report) -> Iterator[tuple[str, str, Node]]:
    for name, key in NANOMQ_VARIABLES.items():
        text = variables.get(name)
        if text is None:
            continue
        section = next((section for section in _SWITCHES if key.startswith(f"{section}.")), None)
        if section and _is_off(section, variables) and not _at(root, section):
            if name != _SWITCHES[section]:
                report.warn(_place(name), key, f"has no effect without {_SWITCHES[section]}=true")
            continue
        value: object = text
        if name == "NANOMQ_LOG_TO":
            value = [word.strip() for word in text.replace(",", "|").split("|") if word.strip()]
        elif name.endswith("_URL") and key.startswith("listeners."):
            try:
                kind, value = listener_of_url(text)
            except ValueError as error:
                report.error(_place(name), "", str(error))
                continue
            key = f"listeners.{kind}.bind"
        yield name, key, from_python(value, _place(name))


def _is_off(section: str, variables: Mapping[str, str]) -> bool:
    switch = variables.get(_SWITCHES[section])
    if switch is None and section == "listeners.wss" and "NANOMQ_WEBSOCKET_TLS_URL" in variables:
        switch = variables.get("NANOMQ_TLS_ENABLE")  # without its own it follows TLS, as in older versions
    try:
        return not flag().parse(switch or "false")
    except ValueError:
        return False  # an error, reported when the value is read


def _fill_one(root: Section, name: str, key: str, node: Node, report: Report) -> None:
    there = _at(root, key)
    parent = _at(root, key.rpartition(".")[0])
    if (
        there is None
        and key.startswith("listeners.")
        and isinstance(parent, Section)
        and _has_only_named(parent)
    ):
        there = parent
    if there is None:
        root.put(key, _value(node), node.place)
    elif _value(there) != _value(node):
        report.warn(node.place, key, f"has no effect, because {there.place} says otherwise")


def _has_only_named(kind: Section) -> bool:
    """Whether a section such as `listeners.tcp` has only listeners with names of their own."""
    return bool(kind.values) and all(isinstance(node, Section) for node in kind.values.values())


def _at(root: Section, key: str) -> Node | None:
    node: Node | None = root
    for part in key.split("."):
        node = node.values.get(part) if isinstance(node, Section) else None
    return node


def _value(node: Node) -> object:
    if isinstance(node, Text):
        return node.text
    if isinstance(node, Section):
        return {key: _value(below) for key, below in node.values.items()}
    return [_value(item) for item in node.items]


def _unknown(name: str, report: Report) -> None:
    """Many variables with NANOMQ_ belong to others, such as Kubernetes. Only near misses are reported."""
    near = difflib.get_close_matches(name, [*NANOMQ_VARIABLES, *_OTHERS], 1, 0.9)
    if not near:
        return
    guards = may_guard(NANOMQ_VARIABLES.get(near[0], "zzz"), Text("", _place(name)))
    tell = report.error if guards else report.warn
    tell(_place(name), "", f"unknown variable; did you mean {near[0]}?")


def _place(name: str) -> Place:
    return Place(Path(f"environment variable {name}"))
