"""`/reload`, `/configuration` and `/config_update`: the settings, with NanoMQ's keys and without secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from aiohttp import web

from ...config.errors import ConfigError
from ...config.load import load
from ...config.replace_file import replace_file
from ...config.settings import HttpAuthSettings, Settings
from ..answers import Code, Refused, as_json, data, done
from ..calls import Call, Route, Where

KIB = 1024
HIDDEN = "******"
"""The placeholder for a secret; to send it back keeps the secret."""
NOT_HERE = {"property_size": 32, "enable_mqtt_stream": False, "bridge_mode": False}
"""Keys of NanoMQ without a counterpart, with the values that are shown."""
LARGEST_PACKET = 260 * KIB


# ---- what can be changed by NanoMQ's keys


def reloadable(settings: Settings) -> dict[str, Any]:
    mqtt = settings.mqtt
    kib = mqtt.max_packet_size // KIB
    return {
        "property_size": NOT_HERE["property_size"],
        "max_packet_size": kib,
        "client_max_packet_size": kib,
        "msq_len": mqtt.max_mqueue_len,
        "qos_duration": _short(mqtt.retry_interval),
        "keepalive_backoff": _short(mqtt.keepalive_multiplier),
        "allow_anonymous": settings.auth.allow_anonymous,
        "enable_mqtt_stream": NOT_HERE["enable_mqtt_stream"],
        "bridge_mode": NOT_HERE["bridge_mode"],
    }


def _short(value: float) -> float | int:
    return int(value) if value == int(value) else value


def changed(settings: Settings, wanted: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """The settings changed by ``wanted``, and the keys without effect: unknown ones, and those whose value
    has a wrong type or is out of bounds."""
    mqtt, auth, ignored = settings.mqtt, settings.auth, []
    for key, value in wanted.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key == "max_packet_size" and number and 1 <= value <= LARGEST_PACKET:
            mqtt = replace(mqtt, max_packet_size=int(value) * KIB)
        elif key == "msq_len" and number and 1 <= value < 1 << 31:
            mqtt = replace(mqtt, max_mqueue_len=int(value))
        elif key == "qos_duration" and number and 0 <= value < 1 << 31:
            mqtt = replace(mqtt, retry_interval=float(value))
        elif key == "keepalive_backoff" and number and 1 <= value <= 10:
            mqtt = replace(mqtt, keepalive_multiplier=float(value))
        elif key == "allow_anonymous" and isinstance(value, bool):
            auth = replace(auth, allow_anonymous=value)
        else:
            ignored.append(key)
    return replace(settings, mqtt=mqtt, auth=auth), ignored


async def get_reload(call: Call) -> web.Response:
    return data(reloadable(call.served.settings()))


async def post_reload(call: Call) -> web.Response:
    """Change settings until the broker stops or the file is read again."""
    body = await call.object()
    wanted = body.get("data")
    settings, ignored = changed(call.served.settings(), wanted if isinstance(wanted, dict) else {})
    await call.served.reload(settings)
    return _done(ignored)


def _done(ignored: list[str]) -> web.Response:
    if not ignored:
        return done()
    return as_json({"code": Code.SUCCESS, "message": f"without effect: {', '.join(ignored)}"})


# ---- the sections


def _secret(value: str | None) -> str | None:
    return HIDDEN if value else None


def _basic(settings: Settings) -> dict[str, Any]:
    tcp = next((one for one in settings.listeners if one.type == "tcp"), None)
    found = {key: value for key, value in reloadable(settings).items() if key not in NOT_HERE}
    return {
        "url": f"nmq-tcp://{tcp.host}:{tcp.port}" if tcp is not None else None,
        "property_size": NOT_HERE["property_size"],
        "daemon": settings.daemon,
        **found,
    }


def _tls(settings: Settings) -> dict[str, Any]:
    one = next((one for one in settings.listeners if one.type == "ssl" and one.tls is not None), None)
    files = one.tls if one is not None else None
    return {
        "enable": files is not None,
        "url": f"tls+nmq-tcp://{one.host}:{one.port}" if one is not None else None,
        "key_password": _secret(files.key_password) if files else None,
        "key": str(files.keyfile) if files else None,
        "cert": str(files.certfile) if files else None,
        "cacert": str(files.cacertfile) if files and files.cacertfile else None,
        "verify_peer": files.verify_peer if files else False,
        "fail_if_no_peer_cert": files.fail_if_no_peer_cert if files else False,
    }


def _websocket(settings: Settings) -> dict[str, Any]:
    plain, secure = (
        next((one for one in settings.listeners if one.type == kind), None) for kind in ("ws", "wss")
    )
    return {
        "enable": plain is not None,
        "tls_enable": secure is not None,
        "url": f"nmq-ws://{plain.host}:{plain.port}{plain.path}" if plain is not None else None,
        "tls_url": f"nmq-wss://{secure.host}:{secure.port}{secure.path}" if secure is not None else None,
    }


def _auth(settings: Settings) -> list[dict[str, Any]]:
    return [{"login": name, "password": HIDDEN} for name in settings.auth.passwords]


def _auth_http(settings: Settings) -> dict[str, Any]:
    found: HttpAuthSettings | None = settings.auth.http_auth
    return {"enable": found is not None}


def _http_server(settings: Settings) -> dict[str, Any]:
    http = settings.http_server
    assert http is not None  # it answers this very request
    return {
        "enable": True,
        "port": http.port,
        "addr": http.host,
        "username": http.username,
        "password": _secret(http.password),
        "auth_type": http.auth_type,
    }


SECTIONS: dict[str, Callable[[Settings], Any]] = {
    "basic": _basic,
    "tls": _tls,
    "auth": _auth,
    "auth_http": _auth_http,
    "websocket": _websocket,
    "http_server": _http_server,
    "sqlite": lambda settings: {"enable": settings.sqlite is not None},
    "bridge": lambda settings: {"nodes": []},
}


async def configuration(call: Call) -> web.Response:
    settings = call.served.settings()
    return data({name: read(settings) for name, read in SECTIONS.items()})


async def section(call: Call) -> web.Response:
    name = call.arguments[0]
    if name not in SECTIONS:
        return as_json({"code": Code.RPC_ERROR, "data": {}}, 404)
    return data({name: SECTIONS[name](call.served.settings())})


async def configure(call: Call) -> web.Response:
    """Change ``basic``, ``auth`` and the user of ``http_server``, in memory only. Other sections need the
    file."""
    body = await call.object()
    wanted = body.get("data")
    sections = wanted if isinstance(wanted, dict) else {}
    if call.arguments:
        sections = {key: value for key, value in sections.items() if key == call.arguments[0]}
    settings, ignored = call.served.settings(), []
    for name, value in sections.items():
        if name == "basic" and isinstance(value, dict):
            settings, more = changed(settings, value)
            ignored += more
        elif name == "auth":
            settings = _with_users(settings, value)
        elif name == "http_server" and isinstance(value, dict):
            settings = _with_access(settings, value)
        elif value:
            raise Refused(
                400, Code.BAD_REQUEST, f"{name} is not changed while running: change the file and reload it"
            )
    await call.served.reload(settings)
    return _done(ignored)


def _with_users(settings: Settings, users: Any) -> Settings:
    """Change the users of `auth`. Takes what GET returns, and ``username`` for ``login``. Raises Refused."""
    before, found = settings.auth.passwords, {}
    for user in users if isinstance(users, list) else [None]:
        name = user.get("username", user.get("login")) if isinstance(user, dict) else None
        password = user.get("password") if isinstance(user, dict) else None
        if not isinstance(name, str) or not isinstance(password, str) or not name:
            raise Refused(400, Code.BAD_REQUEST, "auth is a list of {username, password}")
        if password == HIDDEN and name not in before:
            raise Refused(400, Code.BAD_REQUEST, f'"{name}" is new and needs a password')
        found[name] = before[name] if password == HIDDEN else password
    return replace(settings, auth=replace(settings.auth, passwords=MappingProxyType(found)))


def _with_access(settings: Settings, wanted: Mapping[str, Any]) -> Settings:
    http = settings.http_server
    assert http is not None
    changes: dict[str, Any] = {
        key: value
        for key, value in wanted.items()
        if key in ("username", "password") and isinstance(value, str) and value and value != HIDDEN
    }
    return replace(settings, http_server=replace(http, **changes))


# ---- the file


async def config_update(call: Call) -> web.Response:
    """The body is the new file. It is checked and then replaces the old file; a restart or a reload applies
    it. Only for requests with credentials."""
    settings = call.served.settings()
    if settings.http_server is None or settings.http_server.is_open:
        raise Refused(403, Code.BAD_REQUEST, "set http_server.password first: this writes the configuration")
    if settings.source is None:
        raise Refused(400, Code.BAD_REQUEST, "this broker was started without a file")
    body = await call.body()
    if not body.strip():
        raise Refused(400, Code.NO_CONFIGURATION, "the body is empty; it has to be the whole file")
    try:
        await asyncio.to_thread(_replace_file, settings.source, body)
    except OSError as error:
        raise Refused(500, Code.WRITE_FAILED, f"{settings.source}: {error.strerror}") from None
    return done()


def _replace_file(path: Path, body: bytes) -> None:
    def check(new: Path) -> None:
        try:
            load(new, keys_of_environment=True)
        except ConfigError as error:
            why = str(error).replace(str(new), str(path))
            raise Refused(400, Code.NO_CONFIGURATION, why) from None

    replace_file(path, body, check)


ROUTES = (
    Route("GET", "/reload", get_reload, "get_hot_updatable_configuration", "What /reload changes"),
    Route(
        "POST",
        "/reload",
        post_reload,
        "set_hot_updatable_configuration",
        "Change it, in memory",
        True,
        where=Where.EACH,
    ),
    Route("GET", "/configuration", configuration, "get_broker_configuration", "The settings, no secrets"),
    Route("GET", "/configuration/:section", section, "get_configuration", "One section of them"),
    Route(
        "POST",
        "/configuration",
        configure,
        "set_broker_configuration",
        "Change some, in memory",
        True,
        where=Where.EACH,
    ),
    Route(
        "POST",
        "/configuration/:section",
        configure,
        "set_configuration",
        "Change one section",
        True,
        where=Where.EACH,
    ),
    Route(
        "POST",
        "/config_update",
        config_update,
        "update_configuration_file",
        "Replace the file",
        True,
        where=Where.EACH,
    ),
)
