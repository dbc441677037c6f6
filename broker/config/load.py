"""Reads a file into `Settings`, and reports all errors at once."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .auth import auth
from .bridges import bridges
from .cluster import cluster, refuse_with_cluster
from .environment import fill, put_keys
from .errors import ConfigError
from .event_pushers import event_pushers
from .faults import faults
from .hocon import parse
from .http_server import http_server
from .listeners import listeners
from .old.recognise import refuse_lines, refuse_tree
from .reader import Report, Values, read
from .schema import ROWS
from .settings import (
    AuthSettings,
    Limits,
    ListenerSettings,
    LogSettings,
    MqttSettings,
    PresetSession,
    PresetSubscription,
    PushRegistrations,
    Settings,
    SysSettings,
)
from .sqlite import sqlite
from .tree import Items, Node, Place, Section, describe, to_python
from .webhooks import webhooks

_TOP = list(dict.fromkeys(key.split(".")[0] for key in ROWS))


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] = MappingProxyType({}),
    keys_of_environment: bool = False,
) -> Settings:
    """The settings of a file, or the defaults if there is none.

    ``overrides`` are dotted keys that override the file, such as command-line flags; a None is skipped. With
    ``keys_of_environment``, variables such as ``PYBROKER__MQTT__MAX_PACKET_SIZE`` override the file too, and
    those of NanoMQ, such as ``NANOMQ_BROKER_URL``, set keys that the file does not name. Raises `ConfigError`
    with every problem found; warnings are in ``warnings``.
    """
    report = Report(environ)
    root = Section(Place(path))
    if path is not None:
        root = _parse(path, report)
    if keys_of_environment:
        fill(root, environ, report)
        put_keys(root, environ)
    for key, value in overrides.items():
        if value is not None:
            root.put(key, value, Place())
    settings = _settings(root, path, report)
    if report.errors:
        raise ConfigError(report.errors)
    return settings


def _parse(path: Path, report: Report) -> Section:
    try:
        root, cut_short = parse(path, report.environ)
    except ConfigError:
        refuse_lines(path)
        raise
    refuse_tree(path, root)
    for text in cut_short:
        report.warn(
            text.place, "", f'"{text.text}" ends where the comment # begins; quote the value to keep both'
        )
    return root


def _settings(root: Section, path: Path | None, report: Report) -> Settings:
    _check_sections(root, report)
    system = read(_section(root, "system"), "system", report)
    found_listeners = listeners(root, report)
    access = auth(_section(root, "auth"), report)
    plugins = _plugins(_section(root, "plugins"), report)
    _warn_about_access(found_listeners, access, bool(plugins), root.place, report)
    settings = {
        "source": path,
        "daemon": system["daemon"],
        "workers": system["workers"],
        "mqtt": MqttSettings(**_fields(read(_section(root, "mqtt"), "mqtt", report))),
        "listeners": tuple(listener for listener, _ in found_listeners),
        "http_server": http_server(root, report),
        "log": _log(read(_section(root, "log"), "log", report), report),
        "sqlite": sqlite(root, report),
        "cluster": cluster(root, report),
        "auth": access,
        "limits": Limits(**_fields(read(_section(root, "limits"), "limits", report))),
        "webhooks": webhooks(root, report, system["drain_timeout"]),
        "event_pushers": event_pushers(root, report, system["drain_timeout"]),
        "push_registrations": _registrations(_section(root, "push_registrations"), report),
        "bridges": bridges(root, report),
        "presets": _presets(_section(root, "preset"), report),
        "sys": SysSettings(**_fields(read(_section(root, "sys"), "sys", report))),
        "plugins": plugins,
        "faults": faults(root, report),
        "drain_timeout": system["drain_timeout"],
    }
    found = Settings(**settings)
    refuse_with_cluster(found, root.place, report)
    return replace(found, warnings=report.warnings)


def _check_sections(root: Section, report: Report) -> None:
    report.missing(root, "")
    for key, node in root.values.items():
        row = ROWS.get(key)
        if key not in _TOP:
            report.unknown(node, key, _TOP)
        elif row is not None and row.accepted:
            report.without_effect(node.place, key)
            _refuse_what_may_guard(key, node, report)
        elif not isinstance(node, Section):
            report.error(node.place, key, f"found {describe(node)}; allowed: a section {{ }}")


def _refuse_what_may_guard(key: str, node: Node, report: Report) -> None:
    """Access rules, or pybroker's plugins, in a section whose name means something else in NanoMQ."""
    if key == "rules" and isinstance(node, Items):
        report.error(node.place, key, "access rules have no effect here; write auth.acl.rules = [ ... ]")
    elif key == "plugin" and isinstance(node, Section) and node.values.keys() - {"libs"}:
        report.error(node.place, key, "plugins have no effect here; write plugins { ... }")


def _section(root: Section, key: str) -> Section:
    return root.section(key) or Section(root.place)


def _fields(values: Values) -> dict[str, Any]:
    """The values of a section whose keys are the fields of its settings."""
    prefix = f"{values.schema}."
    rows = (row for row in ROWS.values() if row.key.startswith(prefix) and not row.accepted)
    return {row.key[len(prefix) :]: values[row.key[len(prefix) :]] for row in rows}


def _registrations(section: Section, report: Report) -> PushRegistrations:
    values = read(section, "push_registrations", report)
    path = Path(values["path"]) if values["path"] else None
    return PushRegistrations(path, values["max"], values["max_per_client"], values["max_bytes"])


def _log(values: Values, report: Report) -> LogSettings:
    places = tuple(dict.fromkeys(place for place in values["to"] if place != "uds"))
    if "uds" in values["to"]:
        instead = "" if places else "; the log goes to the console"
        report.warn(values.place_of("to"), "log.to", f"uds is accepted, without effect{instead}")
        places = places or ("console",)
    return LogSettings(
        to=places,
        level=values["level"],
        dir=Path(values["dir"]),
        file=values["file"],
        rotation_size=values["rotation.size"],
        rotation_count=values["rotation.count"],
        format=values["format"],
    )


def _presets(section: Section, report: Report) -> tuple[PresetSession, ...]:
    report.missing(section, "preset")
    for key, node in section.values.items():
        if key != "session":
            report.unknown(node, f"preset.{key}", ["preset.session"])
    found = []
    sessions = _section(section, "session")
    report.missing(sessions, "preset.session")
    for name, node in sessions.values.items():
        key = f"preset.session.{name}"
        if not isinstance(node, Section):
            report.error(node.place, key, f"found {describe(node)}; allowed: a section {{ }}")
            continue
        values = read(node, "preset.session.NAME", report, key)
        if "clientid" not in values:
            report.error(node.place, f"{key}.clientid", "missing: the client identifier of the session")
        topics = tuple(_preset_topic(topic, report) for topic in values["topic"])
        found.append(PresetSession(name, values["clientid"] or "", topics))
    return tuple(found)


def _preset_topic(values: Values, report: Report) -> PresetSubscription:
    if "remote_topic" not in values:
        report.error(values.place, f"{values.name}.remote_topic", "missing: the topic filter")
    return PresetSubscription(
        values["remote_topic"] or "", values["qos"], values["retain_as_published"], values["retain_handling"]
    )


def _plugins(section: Section, report: Report) -> Mapping[str, Mapping[str, Any]]:
    """Dotted paths of classes to their settings, the path quoted as one key or written with plain dots."""
    found: dict[str, Mapping[str, Any]] = {}

    def visit(section: Section, path: str) -> None:
        report.missing(section, f"plugins.{path}".rstrip("."))
        for key, node in section.values.items():
            name = f"{path}.{key}" if path else key
            if not isinstance(node, Section):
                report.error(
                    node.place, f"plugins.{name}", 'write a plugin as "package.module.Class" { its settings }'
                )
            elif "." in key or key.lstrip("_")[:1].isupper():
                report.missing(node, f"plugins.{name}", deep=True)
                found[name] = MappingProxyType({key: to_python(value) for key, value in node.values.items()})
            elif node.values or node.missing:
                visit(node, name)
            else:
                report.error(node.place, f"plugins.{name}", 'quote the path: "package.module.Class" { }')

    visit(section, "")
    return MappingProxyType(found)


def _warn_about_access(
    found: tuple[tuple[ListenerSettings, Place], ...],
    access: AuthSettings,
    has_plugins: bool,
    place: Place,
    report: Report,
) -> None:
    if not access.allow_anonymous:
        by_certificate = any(listener.peer_cert_as_username for listener, _ in found)
        if not (access.passwords or access.http_auth or access.jwt or has_plugins or by_certificate):
            report.warn(
                place, "auth", "allow_anonymous is false and there are no users, so no client can connect"
            )
        return
    reachable = [(listener, where) for listener, where in found if _is_reachable(listener)]
    if reachable:
        names = ", ".join(f"{listener.name} ({listener.host}:{listener.port})" for listener, _ in reachable)
        report.warn(
            reachable[0][1],
            "auth.allow_anonymous",
            f"every client that reaches {names} may connect without a user name; set it to false, "
            "or bind 127.0.0.1",
        )


def _is_reachable(listener: ListenerSettings) -> bool:
    """Whether other machines can reach it without a certificate of their own."""
    if listener.type == "unix" or listener.host == "localhost":
        return False
    if listener.tls is not None and listener.tls.verify_peer and listener.tls.fail_if_no_peer_cert:
        return False
    try:
        return not ipaddress.ip_address(listener.host.partition("%")[0]).is_loopback
    except ValueError:
        return True
