"""Where the workers keep what outlives a restart: each in a folder of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pybroker.webhook.push.store import NAME as REGISTRATIONS
from pybroker.webhook.settings import WebhookSettings

from ..cluster.owner import owner_of
from ..config.settings import PushRegistrations, Settings
from ..parts.push import registrations_directory, serves_push
from ..state.files import DATABASE


class LayoutError(Exception):
    """The files on disk are those of another number of workers."""


def folder_of(path: Path, index: int) -> Path:
    return path / f"worker-{index + 1}"


def check_layouts(settings: Settings) -> None:
    """Check the state on disk, and the devices that are registered for push. Raises LayoutError."""
    if settings.sqlite is not None:
        check_layout(settings.sqlite.path, settings.workers)
    if serves_push(settings) and (path := registrations_directory(settings)) is not None:
        check_layout(path, settings.workers, REGISTRATIONS, "push_registrations.path: the list of devices")


def check_layout(
    path: Path, workers: int, file: str = DATABASE, what: str = "sqlite.mounted_file_path: the state"
) -> None:
    """Raise LayoutError where the ``file`` in ``path`` is that of another number of workers: clients would be
    looked for elsewhere."""
    found = len([one for one in path.glob("worker-*") if (one / file).exists()]) if path.is_dir() else 0
    if (path / file).exists():
        found = 1
    if found and found != workers:
        was = "one process" if found == 1 else f"{found} workers"
        raise LayoutError(
            f"{what} in {path} is that of {was}, not of {workers} workers; "
            f"start with as many (system.workers = {found}), or name another directory"
        )


def settings_of(settings: Settings, index: int, count: int) -> Settings:
    """What one of the workers goes by: its own files, its share of the rates, and of what is there only once
    nothing but for the first."""
    limits = settings.limits
    first = index == 0
    listeners = tuple(
        replace(one, connect_rate=one.connect_rate / count) if one.connect_rate else one
        for one in settings.listeners
    )
    return replace(
        settings,
        listeners=listeners,
        limits=replace(limits, connect_rate=limits.connect_rate / count),
        http_server=settings.http_server if first else None,
        bridges=settings.bridges if first else (),
        sqlite=settings.sqlite and replace(settings.sqlite, path=folder_of(settings.sqlite.path, index)),
        webhooks=_endpoints(settings.webhooks, index),
        event_pushers=_endpoints(settings.event_pushers, index),
        push_registrations=_registrations(settings.push_registrations, index, count),
        presets=tuple(one for one in settings.presets if owner_of(one.clientid, count) == index),
        sys=settings.sys if first else replace(settings.sys, interval=0.0),
    )


def _endpoints(endpoints: tuple[WebhookSettings, ...], index: int) -> tuple[WebhookSettings, ...]:
    return tuple(
        replace(one, spool=replace(one.spool, path=folder_of(one.spool.path, index))) if one.spool else one
        for one in endpoints
    )


def _registrations(wanted: PushRegistrations, index: int, count: int) -> PushRegistrations:
    """Its share of what may be registered in all."""
    return replace(
        wanted,
        path=wanted.path and folder_of(wanted.path, index),
        max=-(-wanted.max // count),
        max_bytes=wanted.max_bytes // count,
    )
