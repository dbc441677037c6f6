"""`http_server {}` to settings."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path

from .listeners import tls_server
from .reader import Report, Values, is_off, read
from .settings import HttpServerSettings
from .tree import Section

LOOPBACK = "127.0.0.1"
WELL_KNOWN = ("admin", "public")
"""NanoMQ's default user and password, which are public."""


def http_server(root: Section, report: Report) -> HttpServerSettings | None:
    """The settings; None without such a section, or if it is off."""
    section = root.section("http_server")
    if section is None or is_off(section):
        return None
    values = read(section, "http_server", report)
    keyfile = values["jwt.public.keyfile"]
    nested = section.section("tls")
    tls = None
    if nested is not None and not is_off(nested):
        tls = tls_server(read(nested, "http_server.tls", report), report)
    settings = HttpServerSettings(
        host=values["ip_addr"],
        port=values["port"],
        limit_conn=values["parallel"] or values["limit_conn"],
        max_body=values["max_body"],
        max_streams=values["max_streams"],
        cors_origins=values["cors_origins"],
        username=values["username"],
        password=values["password"],
        auth_type=values["auth_type"],
        jwt_public_keyfile=Path(keyfile) if keyfile else None,
        token=values["token"],
        read_only_username=values["read_only.username"],
        read_only_password=values["read_only.password"],
        read_only_token=values["read_only.token"],
        tls=tls,
    )
    _check_credentials(settings, values, report)
    return _guarded(settings, values, report)


def _check_credentials(settings: HttpServerSettings, values: Values, report: Report) -> None:
    if settings.auth_type == "jwt" and settings.jwt_public_keyfile is None:
        key = "http_server.jwt.public.keyfile"
        report.error(values.place, key, "missing: auth_type = jwt needs the public key of the tokens")
    for key in ("password", "token", "read_only.password", "read_only.token"):
        if values[key] == "":
            report.error(values.place_of(key), f"http_server.{key}", "empty; leave the key out to have none")
    if settings.read_only_username is not None and settings.read_only_username == settings.username:
        place = values.place_of("read_only.username")
        report.error(place, "http_server.read_only.username", "the same as http_server.username")


def _guarded(settings: HttpServerSettings, values: Values, report: Report) -> HttpServerSettings:
    """Without a password, serve the loopback address only. Warn of other settings that let others in."""
    place = values.place_of("ip_addr") if "ip_addr" in values else values.place
    if _is_loopback(settings.host):
        return settings
    if settings.auth_type == "basic" and settings.is_open:
        report.warn(
            place,
            "http_server.ip_addr",
            f"it is served at {LOOPBACK} only, because there is no http_server.password",
        )
        return replace(settings, host=LOOPBACK)
    if settings.auth_type == "no_auth":
        report.warn(
            place,
            "http_server.auth_type",
            f"no_auth at {settings.host}: every client that reaches it can read and change everything",
        )
    elif (settings.username, settings.password) == WELL_KNOWN:
        report.warn(
            place,
            "http_server.password",
            f"everybody knows admin and public, and other machines can reach {settings.host}",
        )
    return settings


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
