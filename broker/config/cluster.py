"""`cluster {}` to settings."""

from __future__ import annotations

import re
import socket

from pybroker.webhook.settings import TlsClient

from .reader import Report, Values, existing_file, is_off, read
from .settings import ClusterSettings, Settings
from .tree import Place, Section
from .units import subject_token

LOGINS = ("username", "token", "credentials", "nkey")


def cluster(root: Section, report: Report) -> ClusterSettings | None:
    """The settings; None without such a section, or if it is off."""
    section = root.section("cluster")
    if section is None or is_off(section):
        return None
    values = read(section, "cluster", report)
    named = [key for key in LOGINS if key in values]
    if len(named) > 1:
        text = f"{' and '.join(named)} are both set; NATS takes one way to log in"
        report.error(values.place_of(named[1]), f"cluster.{named[1]}", text)
    if ("username" in values) != ("password" in values):
        given, missing = ("username", "password") if "username" in values else ("password", "username")
        report.error(values.place_of(given), f"cluster.{missing}", f"missing: it belongs to cluster.{given}")
    if values.is_empty("servers"):
        report.error(values.place_of("servers"), "cluster.servers", "missing: the servers of NATS")
    return ClusterSettings(
        name=values["name"],
        node=values["node"] or _host_name(values, report),
        servers=values["servers"],
        username=values["username"],
        password=values["password"],
        token=values["token"],
        credentials=existing_file(values, "credentials", report),
        nkey=existing_file(values, "nkey", report),
        tls=_tls(section, values, report),
        sessions=values["sessions"],
        replicas=values["replicas"],
        when_alone=values["when_alone"],
    )


def refuse_with_cluster(settings: Settings, place: Place, report: Report) -> None:
    """Report settings that nodes of a cluster cannot share."""
    if settings.cluster is None:
        return
    if settings.workers > 1:
        text = "a node of a cluster is one process: set system.workers = 1, and start more nodes"
        report.error(place, "system.workers", text)
    for one in settings.event_pushers:
        if one.backend == "push":
            text = "push is not served in a cluster: each node knows only the devices registered at it"
            report.error(place, f"event_pusher.{one.name}", text)
    for preset in settings.presets:
        text = "sessions cannot be preset in a cluster: each node with this file would have one"
        report.error(place, f"preset.session.{preset.name}", text)
    for bridge in settings.bridges:
        text = "each node that has this bridge passes every message on; configure it on one node"
        report.warn(place, f"bridges.mqtt.{bridge.name}", text)


def _host_name(values: Values, report: Report) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64]
    try:
        parsed: str = subject_token().parse(name)
    except ValueError:
        report.error(values.place, "cluster.node", "missing: the host has no name to take instead")
        return ""
    return parsed


def _tls(section: Section, values: Values, report: Report) -> TlsClient | None:
    tls = section.section("tls")
    if tls is None or is_off(tls):
        return None
    keyfile, certfile, cacertfile = (
        existing_file(values, f"tls.{name}file", report) for name in ("key", "cert", "cacert")
    )
    return TlsClient(keyfile, certfile, cacertfile, values["tls.key_password"], values["tls.verify"])
