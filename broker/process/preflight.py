"""Finds the errors that would prevent a start, without starting: nothing is bound or written."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pybroker.webhook.settings import WebhookSettings
from pybroker.webhook.sink import Sink

from ..app import START_ERRORS, App
from ..config.settings import AuthSettings, Settings
from ..transport.errors import ListenError
from ..transport.tls import server_context
from .log import SYSLOG


def preflight(settings: Settings) -> list[str]:
    """A line for each error that would prevent a start: certificates and their keys, password hashes, keys of
    tokens, plugins, filters and transforms of webhooks, folders that cannot be written. Plugins and filters
    are imported, and plugins are created. Ports are not tried, because a broker that is to be replaced still
    uses them."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return [*unfit_files(settings), *asyncio.run(_parts(settings))]
    finally:
        logging.disable(before)


def unfit_files(settings: Settings) -> list[str]:
    """A line for each certificate, key and folder that would prevent a start. Nothing is imported or created,
    so a running broker may call it in a thread."""
    return [*_certificates(settings), *_places(settings)]


def _certificates(settings: Settings) -> Iterator[str]:
    named = [(f"listener {one.name}", one.tls) for one in settings.listeners]
    if settings.http_server is not None:
        named.append(("http_server", settings.http_server.tls))
    for name, tls in named:
        try:
            if tls is not None:
                server_context(name, tls)
        except ListenError as error:
            yield f"{name}: {error}"


async def _parts(settings: Settings) -> list[str]:
    """Create the parts without starting them: access control, each plugin and each endpoint by itself."""
    alone = replace(settings, webhooks=(), event_pushers=(), plugins={}, sqlite=None)
    apps = [alone] + [
        replace(alone, auth=AuthSettings(), plugins={path: config})
        for path, config in settings.plugins.items()
    ]
    problems = []
    for one in apps:
        try:
            await App(one).stop(grace=0)
        except START_ERRORS as error:
            problems.append(str(error))
    alone_unfit = [line for endpoint in settings.endpoints for line in _sink_problem((endpoint,))]
    return problems + (alone_unfit or _sink_problem(settings.endpoints))


def _sink_problem(endpoints: tuple[WebhookSettings, ...]) -> list[str]:
    try:
        Sink(endpoints)
    except START_ERRORS as error:
        return [str(error)]
    return []


def _places(settings: Settings) -> Iterator[str]:
    log_file = settings.log.dir / settings.log.file
    if "file" in settings.log.to and not _can_write(log_file):
        yield f"the log cannot be written: {log_file}"
    if "syslog" in settings.log.to and not Path(SYSLOG).is_socket():
        yield f"the log cannot be written: syslog does not listen on {SYSLOG}"
    for endpoint in settings.endpoints:
        if endpoint.spool is not None and not _can_write(endpoint.spool.path):
            yield f"{endpoint.label}: the spool cannot be written: {endpoint.spool.path}"
    if settings.sqlite is not None and not _can_write(settings.sqlite.path):
        yield f"sqlite.mounted_file_path: cannot be written: {settings.sqlite.path}"
    registrations = settings.push_registrations.path
    if registrations is not None and not _can_write(registrations):
        yield f"push_registrations.path: cannot be written: {registrations}"
    for listener in settings.listeners:
        if listener.type == "unix" and not Path(listener.path).absolute().parent.is_dir():
            yield f"listener {listener.name}: there is no folder for the socket {listener.path}"


def _can_write(path: Path) -> bool:
    """Whether the folder exists and is writable, or can be made."""
    if path.exists():
        return os.access(path, os.W_OK)
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
