"""Makes the settings of a test's broker from the test's arguments."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypedDict

from pybroker.webhook.settings import Rule, WebhookSettings

from ..config.settings import (
    AuthSettings,
    HttpServerSettings,
    ListenerSettings,
    Settings,
    SqliteSettings,
    SysSettings,
    TlsServer,
)
from .folder import folder

_numbers = count(1)
MEMORY_URL = "memory://webhooks"

Conf: TypeAlias = str | Path | Settings | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The arguments of `TestBroker`, of the fixture `make_mqtt_broker`, and of the marker."""

    conf: Conf = None
    """A nanomq.conf, or settings; without it the defaults, and no ``$SYS`` topics."""
    conf_text: str = ""
    """The text of a nanomq.conf, instead of ``conf``."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Dotted keys of the configuration that override the file: ``{"mqtt.max_packet_size": "1KB"}``."""
    host: str = "127.0.0.1"
    """The address that every listener binds, whatever the file says."""
    port: int = 0
    """The port of the tcp listener; 0 picks a free one, as for all other listeners."""
    tls: bool = False
    """Add an ssl listener (with ``ws`` also a wss listener), with a new certificate."""
    ws: bool = False
    """Add a ws listener."""
    users: Mapping[str, str] | None = None
    """A mapping of user names to passwords; no other client may connect."""
    plugins: Iterable[str] | Mapping[str, Mapping[str, Any]] = ()
    """amqtt plugins by dotted path: a list, or a mapping to their settings."""
    webhooks: Iterable[str | Rule] = ()
    """Events to record in `broker.webhooks`, in addition to those of the file's endpoints."""
    post: bool = False
    """Also post webhooks to their real URLs; otherwise they stay in memory."""
    page: bool | int = False
    """Serve the page and the REST API, at ``page_url``; a number is the port, True a free one."""
    state: str | Path | None = None
    """A directory that keeps sessions and retained messages; the next broker with it continues with them."""
    virtual_clock: bool = False
    """Time moves only by `broker.clock.advance`."""


class SetupOptions(TypedDict, total=False):
    """The fields of `Setup` but ``conf``, as keyword arguments."""

    conf_text: str
    options: Mapping[str, object]
    host: str
    port: int
    tls: bool
    ws: bool
    users: Mapping[str, str] | None
    plugins: Iterable[str] | Mapping[str, Mapping[str, Any]]
    webhooks: Iterable[str | Rule]
    post: bool
    page: bool | int
    state: str | Path | None
    virtual_clock: bool


def settings_for(setup: Setup) -> Settings:
    """Raises ConfigError, OSError, and ImportError if ``tls`` lacks a package that makes certificates."""
    _check_options(setup)
    settings = _read(setup)
    listeners = [_on_free_port(one, setup) for one in settings.listeners]
    listeners += _extra_listeners(setup, {one.type for one in listeners})
    changes: dict[str, Any] = {
        "listeners": tuple(listeners),
        "daemon": False,
        "workers": 1,
        "cluster": None,
        "http_server": _page(setup),
    }
    if setup.users is not None:
        changes["auth"] = replace(
            settings.auth, allow_anonymous=False, passwords=MappingProxyType(dict(setup.users))
        )
    if setup.plugins:
        changes["plugins"] = MappingProxyType({**settings.plugins, **_plugins(setup)})
    # A test must not write into the spool or the state of the broker whose file it borrows.
    webhooks = tuple(replace(one, spool=None) for one in settings.webhooks)
    rules = tuple(
        Rule(f"on_{one.removeprefix('on_')}") if isinstance(one, str) else one for one in setup.webhooks
    )
    if rules:
        webhooks = (*webhooks, WebhookSettings(_unused_name(webhooks), MEMORY_URL, rules=rules))
    changes["webhooks"] = webhooks
    pushers = settings.event_pushers if setup.post else ()
    changes["event_pushers"] = tuple(replace(one, spool=None) for one in pushers)
    changes["sqlite"] = None if setup.state is None else SqliteSettings(Path(setup.state))
    return replace(settings, **changes)


def _page(setup: Setup) -> HttpServerSettings | None:
    """Whatever the file says of it: a test must not take the port of a broker that really serves it."""
    if setup.page is False:
        return None
    return HttpServerSettings(host=setup.host, port=0 if setup.page is True else setup.page)


def _read(setup: Setup) -> Settings:
    if isinstance(setup.conf, Settings):
        return setup.conf
    if setup.conf is None and not setup.conf_text and not setup.options:
        return Settings(sys=SysSettings(interval=0), auth=AuthSettings())
    from ..config import load

    if setup.conf_text:
        path: Path | None = folder() / f"{next(_numbers)}.conf"
        assert path is not None
        path.write_text(setup.conf_text, encoding="utf-8")
    else:
        path = None if setup.conf is None else Path(setup.conf)
    quiet = {} if path is not None else {"sys.interval": 0}
    return load(path, overrides={**quiet, **setup.options})


def _check_options(setup: Setup) -> None:
    """A key that nobody knows would change nothing, in silence."""
    from ..config.changes import row_of
    from ..config.schema import ROWS

    if setup.conf is not None and setup.conf_text:
        raise ValueError("conf and conf_text: a broker has one configuration, give one of them")
    for key in setup.options:
        if row_of(key) is None and not any(one.startswith(f"{key}.") for one in ROWS):
            near = difflib.get_close_matches(key, ROWS, 1, 0.6)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise ValueError(f'options: there is no key "{key}"{hint}')


def _on_free_port(listener: ListenerSettings, setup: Setup) -> ListenerSettings:
    if listener.type == "unix":
        # Not the file that a broker which really serves this configuration has.
        return replace(listener, path=str(folder() / f"{next(_numbers)}.sock"))
    port = setup.port if listener.name == "tcp" else 0
    return replace(listener, host=setup.host, port=port)


def _extra_listeners(setup: Setup, there: set[str]) -> list[ListenerSettings]:
    wanted = {
        "ssl": setup.tls,
        "ws": setup.ws,
        "wss": setup.tls and setup.ws,
    }
    found = []
    for kind, asked in wanted.items():
        if asked and kind not in there:
            tls = _certificate(setup.host) if kind in ("ssl", "wss") else None
            found.append(ListenerSettings(kind, kind, setup.host, 0, tls=tls))
    return found


def _certificate(host: str) -> TlsServer:
    from .certificates import certificate

    made = certificate(host)
    return TlsServer(made.certfile, made.keyfile)


def _plugins(setup: Setup) -> Mapping[str, Mapping[str, Any]]:
    if isinstance(setup.plugins, Mapping):
        return setup.plugins
    return {path: {} for path in setup.plugins}


def _unused_name(webhooks: Iterable[WebhookSettings]) -> str:
    names = {one.name for one in webhooks}
    return next(name for name in ("webhook", "memory", "memory_") if name not in names)
