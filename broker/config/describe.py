"""Describes a configuration in readable lines: what the broker would serve."""

from __future__ import annotations

from collections.abc import Iterator

from pybroker.webhook.settings import WebhookSettings

from ..bridge.settings import BridgeSettings
from ..outgoing.urls import shown_url
from .settings import (
    AuthSettings,
    ClusterSettings,
    HttpServerSettings,
    ListenerSettings,
    LogSettings,
    Settings,
)

_SCHEMES = {"tcp": "mqtt", "ssl": "mqtts", "ws": "ws", "wss": "wss"}


def describe(settings: Settings) -> list[str]:
    """One line for each listener, endpoint and other part that is on, without secrets."""
    rows = [("configuration", str(settings.source) if settings.source else "the defaults, no file")]
    rows += [(f"listener {listener.name}", address(listener)) for listener in settings.listeners]
    if settings.http_server is not None:
        rows.append(("http_server", _http_server(settings.http_server)))
    if settings.sqlite is not None:
        rows.append(("sqlite", f"sessions and retained messages in {settings.sqlite.path}"))
    if settings.cluster is not None:
        rows.append(("cluster", _cluster(settings.cluster)))
    if settings.workers > 1:
        rows.append(("workers", f"{settings.workers} processes, each with the clients that are its own"))
    rows += [(f"webhook {endpoint.name}", _webhook(endpoint)) for endpoint in settings.webhooks]
    if not settings.webhooks:
        rows.append(("webhook", "none"))
    rows += [(f"event_pusher {one.name}", _pusher(one)) for one in settings.event_pushers]
    rows += [row for one in settings.bridges for row in _bridge(one)]
    rows.append(("access", _access(settings.auth)))
    rows += [
        (
            f"preset {preset.name}",
            f"{preset.clientid}: {', '.join(topic.topic for topic in preset.subscriptions)}",
        )
        for preset in settings.presets
    ]
    rows += [("plugin", path) for path in settings.plugins]
    rows.append(("log", _log(settings.log)))
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {words}" for name, words in rows]


def address(listener: ListenerSettings) -> str:
    """Such as ``mqtt://127.0.0.1:1883`` or ``wss://[::1]:8084/mqtt``."""
    if listener.type == "unix":
        return f"unix:{listener.path}"
    host = f"[{listener.host}]" if ":" in listener.host else listener.host
    words = f"{_SCHEMES[listener.type]}://{host}:{listener.port}{listener.path}"
    if listener.type in ("ws", "wss") and not listener.path:
        words += "/mqtt and /"
    if listener.port == 0:
        words += " (a free port)"
    if listener.tls is not None and listener.tls.verify_peer:
        words += ", client certificates " + ("required" if listener.tls.fail_if_no_peer_cert else "checked")
    return words


def _http_server(http: HttpServerSettings) -> str:
    host = f"[{http.host}]" if ":" in http.host else http.host
    words = f"{'https' if http.tls else 'http'}://{host}:{http.port}/" + (
        " (a free port)" if not http.port else ""
    )
    if http.is_open:
        return f"{words}, without a password"
    return f"{words}, {http.auth_type} authentication"


def _pusher(endpoint: WebhookSettings) -> str:
    where = f" at {shown_url(endpoint.url)}" if endpoint.url else ""
    return "; ".join([f"to {endpoint.backend}{where}", *_sent(endpoint)])


def _bridge(bridge: BridgeSettings) -> Iterator[tuple[str, str]]:
    """The remote broker, and each mapping with an example."""
    servers = ", then ".join(shown_url(address.url) for address in bridge.servers)
    off = "" if bridge.enable else " (off)"
    yield f"bridge {bridge.name}", f"{servers} as {bridge.clientid}{off}"
    for forward in bridge.forwards:
        yield "  local -> remote", forward.mapping.in_words()
    for subscription in bridge.subscriptions:
        yield "  remote -> local", subscription.mapping.in_words()


def _cluster(cluster: ClusterSettings) -> str:
    servers = shown_url(" ".join(cluster.servers))
    alone = "" if cluster.when_alone == "serve" else "; it refuses clients while it is alone"
    return f"node {cluster.node} of {cluster.name}, by NATS at {servers}{alone}"


def _webhook(endpoint: WebhookSettings) -> str:
    return "; ".join([f"POST {shown_url(endpoint.url)}", *_sent(endpoint)])


def _sent(endpoint: WebhookSettings) -> list[str]:
    """The events, and how they are sent."""
    events = ", ".join(
        f"{rule.event} ({rule.topic})" if rule.topic else rule.event for rule in endpoint.rules
    )
    extras = [
        f"spool {endpoint.spool.path}" if endpoint.spool else "",
        f"batches of {endpoint.batch.size}" if endpoint.batch.size > 1 else "",
        "signed" if endpoint.secrets else "",
        endpoint.compression if endpoint.compression != "none" else "",
    ]
    return [one for one in (events or "no events", *extras) if one]


def _access(auth: AuthSettings) -> str:
    words = [f"anonymous clients {'allowed' if auth.allow_anonymous else 'refused'}"]
    words.append(_count(len(auth.passwords), "user"))
    if auth.http_auth:
        words.append("http_auth")
    if auth.jwt:
        words.append(f"jwt ({', '.join(auth.jwt.algorithms)})")
    words.append(_count(len(auth.acl), "access rule") + f", else {auth.no_match}")
    return ", ".join(words)


def _log(log: LogSettings) -> str:
    places = [str(log.dir / log.file) if place == "file" else place for place in log.to]
    return f"{log.level} and above to {', '.join(places)}" + (", as JSON" if log.format == "json" else "")


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
