"""What a new configuration changes: by the word of the schema, key by key."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pybroker.broker.config import load
from pybroker.broker.config.changes import compare, reloads, row_of
from pybroker.broker.config.schema import SCHEMA
from pybroker.broker.config.settings import (
    AclRule,
    AuthSettings,
    ClusterSettings,
    HttpAuthSettings,
    HttpRequestSettings,
    HttpServerSettings,
    JwtSettings,
    Limits,
    ListenerSettings,
    LogSettings,
    MqttSettings,
    PresetSession,
    PresetSubscription,
    Settings,
    SqliteSettings,
    SysSettings,
    TlsServer,
)
from pybroker.webhook.settings import Batch, Retry, Rule, Spool, TlsClient, WebhookSettings

REQUEST = HttpRequestSettings(
    "https://ann:pw@host/auth?key=1", "get", (("x", "1"),), (("u", "%u"),), TlsClient()
)
FULL = Settings(
    listeners=(
        ListenerSettings("tcp", "tcp"),
        ListenerSettings("ssl.edge", "ssl", tls=TlsServer(Path("c"), Path("k"))),
    ),
    http_server=HttpServerSettings(),
    sqlite=SqliteSettings(Path("s")),
    cluster=ClusterSettings("a", tls=TlsClient()),
    auth=AuthSettings(
        passwords=MappingProxyType({"ann": "secret"}),
        acl=(AclRule("allow"),),
        http_auth=HttpAuthSettings(REQUEST, REQUEST, REQUEST),
        jwt=JwtSettings(("HS256",), "secret"),
    ),
    webhooks=(
        WebhookSettings("webhook", "http://a/", rules=(Rule("on_client_connected"),), tls=TlsClient()),
        WebhookSettings("two", "http://b/", spool=Spool(Path("s")), batch=Batch(), retry=Retry()),
    ),
    presets=(PresetSession("one", "c", (PresetSubscription("t"),)),),
    plugins=MappingProxyType({"a.B": {}}),
)


def other(value: Any) -> Any:
    """A value of the same kind that is not the same."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case Path():
            return value / "x"
        case None:
            return "new"
        case tuple():
            return (*value, *(value[-1:] or ("new",)))
        case MappingProxyType():
            return MappingProxyType({**value, "new": "value"})
    raise AssertionError(value)


def variants(settings: Any) -> list[tuple[str, Any]]:
    """The settings with one field at a time changed, and the name of the field."""
    found: list[tuple[str, Any]] = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        name = f"{type(settings).__name__}.{field.name}"
        if is_dataclass(value):
            found += [(inner, replace(settings, **{field.name: one})) for inner, one in variants(value)]
        elif isinstance(value, tuple) and value and is_dataclass(value[0]) and field.name in NAMED_LISTS:
            for index, item in enumerate(value):
                for inner, one in variants(item):
                    if not inner.endswith((".name", ".type")):
                        changed = (*value[:index], one, *value[index + 1 :])
                        found.append((inner, replace(settings, **{field.name: changed})))
        elif name not in NOT_IN_THE_FILE:
            found.append((name, replace(settings, **{field.name: other(value)})))
    return found


NAMED_LISTS = {"listeners", "webhooks", "presets"}
NOT_IN_THE_FILE = {
    "Settings.source",
    "Settings.warnings",
    "WebhookSettings.enable",
    "WebhookSettings.section",
    "WebhookSettings.backend",
    "WebhookSettings.options",
}
VARIANTS = variants(FULL)


@pytest.mark.parametrize(("name", "new"), VARIANTS, ids=[name for name, _ in VARIANTS])
def test_every_setting_is_a_key_of_the_schema_and_does_what_it_says(name: str, new: Settings) -> None:
    settings, (change,) = compare(FULL, new)
    row = row_of(change.key)
    if row is not None:
        assert change.applied is row.reload
    assert settings == (new if change.applied else FULL), change
    assert row is not None or name in WHOLE_SECTIONS, change


WHOLE_SECTIONS = {
    "ClusterSettings.tls",
    "Settings.cluster",
    "Settings.bridges",  # those of its keys are tested in tests/bridge/test_config.py
    "Settings.event_pushers",  # what each of its keys does is in tests/pushers/test_config.py
    "HttpAuthSettings.auth_req",
    "HttpRequestSettings.tls",
    "HttpServerSettings.tls",
    "WebhookSettings.spool",
    "WebhookSettings.tls",
    "ListenerSettings.tls",
    "ListenerSettings.peer_cert_as_username",  # on a listener of tcp, which has none
}


def test_no_row_with_a_reload_is_without_a_setting() -> None:
    """So that the documentation promises nothing the code has never heard of."""
    reached = {row.key for _, new in VARIANTS if (row := row_of(compare(FULL, new)[1][0].key))}
    promised = {row.key for row in SCHEMA if row.reload and not row.accepted}
    without = {
        key
        for key in promised - reached
        if not key.startswith(("auth.acl.rules[]", "webhook.events[", "event_pusher.", "bridges."))
    }
    assert {key for key in without if not key.endswith("enable")} <= {
        # of the same fields as those of ssl, tcp
        *(f"listeners.wss.{name}" for name in TLS_KEYS),
        *(f"listeners.{kind}.{name}" for kind in ("ws", "wss", "unix") for name in BOUNDS),
        # of rules, where an entry has none of its own
        "webhook.filter",
        "webhook.transform",
    }


TLS_KEYS = ("keyfile", "certfile", "cacertfile", "key_password", "verify_peer", "fail_if_no_peer_cert")
BOUNDS = ("max_connections", "connect_rate")


def test_nothing_has_changed() -> None:
    assert compare(FULL, FULL) == (FULL, [])


def test_what_takes_a_restart_is_told_again_at_the_next_reload() -> None:
    new = replace(FULL, daemon=True, limits=Limits(max_retained=7))
    once, changes = compare(FULL, new)
    assert sorted(map(str, changes)) == [
        "limits.max_retained: 1000000 -> 7",
        "system.daemon: false -> true (needs a restart)",
    ]
    assert list(map(str, compare(once, new)[1])) == ["system.daemon: false -> true (needs a restart)"]


ROWS = [
    (replace(FULL, mqtt=MqttSettings(retry_interval=2.5)), "mqtt.retry_interval: 10 -> 2.5"),
    (replace(FULL, mqtt=MqttSettings(max_qos=1)), "mqtt.max_qos: 2 -> 1 (needs a restart)"),
    (replace(FULL, sys=SysSettings(1.0)), "sys.interval: 60 -> 1 (needs a restart)"),
    (replace(FULL, log=LogSettings(to=("file", "syslog"))), "log.to: console -> file, syslog"),
    (replace(FULL, log=LogSettings(to=())), "log.to: console -> none"),
    (replace(FULL, listeners=FULL.listeners[:1]), "listeners.ssl.edge: set -> none (needs a restart)"),
    (
        replace(FULL, listeners=(*FULL.listeners, ListenerSettings("ws", "ws"))),
        "listeners.ws: none -> set (needs a restart)",
    ),
    (
        replace(FULL, listeners=(replace(FULL.listeners[0], port=1884), FULL.listeners[1])),
        "listeners.tcp.bind: 1883 -> 1884 (needs a restart)",
    ),
    (replace(FULL, webhooks=FULL.webhooks[:1]), "webhook.two: set -> none"),
    (replace(FULL, webhooks=()), "webhook: set -> none"),
    (replace(FULL, presets=()), "preset.session.one: set -> none (needs a restart)"),
    (replace(FULL, plugins=MappingProxyType({})), "plugins: 1 entry -> 0 entries (needs a restart)"),
    (replace(FULL, auth=replace(FULL.auth, http_auth=None)), "auth.http_auth: set -> none"),
    (replace(FULL, auth=replace(FULL.auth, jwt=None)), "auth.jwt: set -> none"),
    (replace(FULL, auth=replace(FULL.auth, acl=())), "auth.acl.rules: 1 entry -> none"),
]


@pytest.mark.parametrize(("new", "line"), ROWS, ids=[line for _, line in ROWS])
def test_lines(new: Settings, line: str) -> None:
    assert str(compare(FULL, new)[1][0]) == line


def test_nothing_secret_is_told() -> None:
    auth = FULL.auth
    assert auth.http_auth is not None
    assert auth.jwt is not None
    request = replace(REQUEST, url="https://bob:hunter2@host/auth?key=hunter2", params=(("k", "hunter2"),))
    request = replace(request, headers=(("k", "hunter2"),))
    tls = TlsServer(Path("c"), Path("k"), key_password="hunter2")
    new = replace(
        FULL,
        http_server=HttpServerSettings(password="hunter2"),
        auth=replace(
            auth,
            passwords={"ann": "hunter2", "bob": "hunter2"},
            http_auth=replace(auth.http_auth, auth_req=request),
            jwt=replace(auth.jwt, secret="hunter2"),
        ),
        listeners=(FULL.listeners[0], replace(FULL.listeners[1], tls=tls)),
        webhooks=(
            replace(
                FULL.webhooks[0],
                url="https://a:hunter2@a/?hunter2",
                headers=(("k", "hunter2"),),
                secrets=("whsec_hunter2",),
                tls=TlsClient(key_password="hunter2"),
            ),
            FULL.webhooks[1],
        ),
        plugins={"a.B": {"password": "hunter2"}},
    )
    changes = compare(FULL, new)[1]
    assert len(changes) == 13
    assert "hunter2" not in "\n".join(map(str, changes))
    assert "auth.password.ann: (hidden) -> (hidden)" in map(str, changes)
    assert "auth.password.bob: none -> (hidden)" in map(str, changes)


def test_a_section_reloads_where_all_its_keys_do() -> None:
    for key, answer in {
        "auth.http_auth": True,
        "webhook.two": True,
        "webhook.two.spool": True,
        "listeners.tcp.edge": False,
        "preset.session.one": False,
        "http_server": False,
    }.items():
        assert reloads(key) is answer, key


def test_the_changes_between_two_files(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text('webhook { url = "http://a/" }\nauth { password { ann = "x" } }\nlog.level = info\n')
    old = load(conf)
    conf.write_text('webhook { url = "http://b/" }\nauth { allow_anonymous = false }\nlog.level = debug\n')
    assert sorted(str(change) for change in compare(old, load(conf))[1]) == [
        "auth.allow_anonymous: true -> false",
        "auth.password.ann: (hidden) -> none",
        "log.level: info -> debug",
        "webhook.url: http://a/ -> http://b/",
    ]
