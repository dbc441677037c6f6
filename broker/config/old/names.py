"""The keys of NanoMQ before 0.19, and those that replace them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


def _same(value: str) -> str:
    return value


def _kilobytes(value: str) -> str:
    return f"{value}KB" if value.isdigit() else value


def seconds(value: str) -> str:
    return f"{value}s" if value.isdigit() else value


def _thousandths(value: str) -> str:
    return f"{int(value) / 1000:g}" if value.isdigit() else value


@dataclass(frozen=True, slots=True)
class Renamed:
    """An old key whose value is kept, or written in another unit."""

    new: str
    convert: Callable[[str], str] = _same


_TLS = {
    "enable": "enable",
    "key_password": "key_password",
    "keypass": "key_password",
    "keyfile": "keyfile",
    "key": "keyfile",
    "certfile": "certfile",
    "cert": "certfile",
    "cacertfile": "cacertfile",
    "cacert": "cacertfile",
    "verify_peer": "verify_peer",
    "fail_if_no_peer_cert": "fail_if_no_peer_cert",
}

SESSION: dict[str, Renamed] = {
    "max_packet_size": Renamed("mqtt.max_packet_size", _kilobytes),
    "msq_len": Renamed("mqtt.max_mqueue_len"),
    "qos_duration": Renamed("mqtt.retry_interval", seconds),
    "keepalive_backoff": Renamed("mqtt.keepalive_multiplier", _thousandths),
    "allow_anonymous": Renamed("auth.allow_anonymous"),
}
"""Top keys of the flat format, and keys of `mqtt.session` in 0.14 to 0.18."""

RENAMED: dict[str, Renamed] = {
    "enable": Renamed("listeners.tcp.enable"),
    "daemon": Renamed("system.daemon"),
    **SESSION,
    "auth_enable": Renamed("auth.password.enable"),
    "acl_enable": Renamed("auth.acl.enable"),
    "acl_nomatch": Renamed("auth.no_match"),
    "acl_deny_action": Renamed("auth.deny_action"),
    "acl_cache_max_size": Renamed("auth.cache.max_size"),
    **{f"tls.{old}": Renamed(f"listeners.ssl.{new}") for old, new in _TLS.items()},
    "websocket.enable": Renamed("listeners.ws.enable"),
    "web.hook.enable": Renamed("webhook.enable"),
    "web.hook.url": Renamed("webhook.url"),
    "web.hook.pool_size": Renamed("webhook.pool_size"),
    "web.hook.body.encoding_of_payload_field": Renamed("webhook.body.encoding"),
    **{
        f"web.hook.ssl.{name}": Renamed(f"webhook.tls.{name}")
        for name in ("keyfile", "certfile", "cacertfile")
    },
    "web.hook.ssl.verify": Renamed("webhook.tls.verify"),
    **{
        f"auth.http.{name}": Renamed(f"auth.http_auth.{name}", seconds if name != "pool_size" else _same)
        for name in ("timeout", "connect_timeout", "pool_size", "cache_ttl")
    },
    "auth.http.enable": Renamed("auth.http_auth.enable"),
    **{
        f"auth.http.{request}.{name}": Renamed(f"auth.http_auth.{request}.{name}")
        for request in ("auth_req", "super_req", "acl_req")
        for name in ("url", "method")
    },
}
"""Keys of the flat format with one of today's for each."""

WITHOUT_EFFECT = {
    *("num_taskq_thread", "max_taskq_thread", "parallel", "property_size", "client_max_packet_size"),
    *("enable_ipc_internal", "enable_acl_cache", "acl_cache_ttl", "hook_ipc_url", "cmd_ipc_url"),
}
"""Keys of the flat format that tune features which pybroker does not have."""

_PATTERNS = (
    (r"(tls\.)?url", 'listeners.tcp.bind = "HOST:PORT", or listeners.ssl.bind'),
    (r"websocket\.url", 'listeners.ws.bind = "HOST:PORT/PATH"'),
    (r"websocket\.tls_(url|enable)", 'listeners.wss.bind = "HOST:PORT/PATH"'),
    (r"auth(\.\d+(\..*)?)?", 'auth.password { "USER" = "PASSWORD" }'),
    (r"auth_http(\..*)?", "auth.http_auth { }"),
    (r"auth\.http(\..*)?", "auth.http_auth { }"),
    (r"acl\.rule(\..*)?", "auth.acl.rules = [ { permit = ... } ]"),
    (r"authentication|authorization", "auth { password { }, acl { rules = [ ] }, http_auth { } }"),
    (r"(web\.hook|webhook)\.rule(\..*)?", "webhook.events = [ { event = on_... } ]"),
    (r"web\.hook\..*", "webhook { }"),
    (r"bridges\.\w+\.nodes", "bridges.mqtt.NAME { } for each node"),
    (r"bridge\..*", "bridges.mqtt.NAME { }"),
    (r"mqtt\.session(\..*)?", "mqtt { }, and auth.allow_anonymous"),
)
_NOT_SERVED = re.compile(r"aws(\..*)?|rule(_option|_engine_option)?(\..*)?|gateway\..*")

FLAT_TOPS = (
    {key.split(".")[0] for key in RENAMED}
    | WITHOUT_EFFECT
    | {"url", "tls", "websocket", "web", "bridge", "aws", "rule", "rule_option", "rule_engine_option"}
) - {"auth"}
"""First parts of keys that are of the flat format wherever they stand at the top of a file."""


def is_old(key: str) -> bool:
    """Whether the key is written otherwise today, or not at all."""
    return key in WITHOUT_EFFECT or instead(key) is not None or bool(_NOT_SERVED.fullmatch(key))


def is_served(key: str) -> bool:
    """False for the keys of what NanoMQ serves and this broker does not."""
    return not _NOT_SERVED.fullmatch(key) and not key.startswith(("sqlite.", "bridge."))


def instead(key: str) -> str | None:
    """Today's key for an old one, without its value; None if there is none."""
    if renamed := RENAMED.get(key):
        return renamed.new
    return next((words for pattern, words in _PATTERNS if re.fullmatch(pattern, key)), None)


def new_name(key: str) -> str | None:
    """Today's name of the last part of ``key``, which stands in another section than it once did."""
    *above, last = key.split(".")
    if last == "url" and above[:1] == ["listeners"]:
        return ".".join((*above, "bind"))
    renamed = SESSION.get(last) or RENAMED.get(last)
    return renamed.new if renamed and last not in ("enable", "max_packet_size") else None
