"""`webhook {}` and `webhook.NAME {}` to settings: the endpoints that events are posted to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pybroker.webhook.settings import Batch, Retry, Rule, Spool, TlsClient, WebhookSettings

from .reader import Report, Values, existing_file, is_off, read
from .schema.webhook import EVENTS_WITH_TOPIC
from .tree import Section

_MARKS_OF_AN_ENDPOINT = {"url", "events"}


def webhooks(root: Section, report: Report, drain_timeout: float) -> tuple[WebhookSettings, ...]:
    """Every endpoint that is on. ``enable = false`` in the plain section turns off the named ones too.
    ``drain_timeout`` is the default for those that set none."""
    section = root.section("webhook")
    if section is None or is_off(section):
        return ()
    named = {
        name: node
        for name, node in section.values.items()
        if isinstance(node, Section) and _MARKS_OF_AN_ENDPOINT & node.values.keys()
    }
    own = {key: node for key, node in section.values.items() if key not in named}
    found = []
    if own.keys() - {"enable"} or not named:
        plain = Section(section.place, own, section.missing)
        found.append(_endpoint("webhook", plain, "webhook", report, drain_timeout))
    for name, node in named.items():
        if not is_off(node):
            found.append(_endpoint(name, node, f"webhook.{name}", report, drain_timeout))
    return tuple(one for one in found if one is not None)


def _endpoint(
    name: str, section: Section, key: str, report: Report, drain_timeout: float
) -> WebhookSettings | None:
    if "ssl" in section.values and "tls" not in section.values:  # NanoMQ's code says ssl, its documents tls
        section.values["tls"] = section.values.pop("ssl")
    values = read(section, "webhook", report, key)
    if "url" not in values:
        report.error(values.place, f"{key}.url", "missing: where the events are posted to")
        return None
    settings = endpoint(name, str(values["url"] or ""), values, report, drain_timeout)
    if settings.tls is not None and settings.url.startswith("http:"):
        report.warn(values.place_of("tls"), f"{key}.tls", "has no effect on an http:// URL")
    return settings


def endpoint(
    name: str,
    url: str,
    values: Values,
    report: Report,
    drain_timeout: float,
    *,
    otherwise: tuple[str, ...] = (),
    **more: Any,
) -> WebhookSettings:
    """The settings that webhooks and event pushers share. ``otherwise`` has the default events."""
    rules = tuple(_rule(rule, values, report) for rule in values["events"]) or tuple(
        Rule(event, filter=values["filter"], transform=values["transform"]) for event in otherwise
    )
    if not rules:
        report.warn(values.place, f"{values.name}.events", "there are none, so nothing is sent")
    return WebhookSettings(
        name=name,
        url=url,
        headers=values["headers"],
        rules=rules,
        encoding=values["body.encoding"],
        format=values["body.format"],
        cloudevents_mode=values["body.cloudevents_mode"],
        pool_size=values["pool_size"],
        cancel_timeout=values["cancel_timeout"],
        queue_max_events=values["queue.max_events"],
        queue_max_bytes=values["queue.max_bytes"],
        overflow=values["queue.overflow"],
        order=values["order"],
        retry=Retry(
            values["retry.max_attempts"], values["retry.first"], values["retry.max"], values["retry.ttl"]
        ),
        breaker_failures=values["breaker.failures"],
        spool=_spool(values, report) if "spool" in values else None,
        batch=Batch(values["batch.size"], values["batch.time"], values["batch.format"]),
        secrets=values["secret"],
        compression=values["compression"],
        tls=_tls(values, report) if "tls" in values else None,
        drain_timeout=drain_timeout if values["drain_timeout"] is None else values["drain_timeout"],
        **more,
    )


def _rule(values: Values, all: Values, report: Report) -> Rule:
    event, topic = values["event"], values["topic"]
    if "event" not in values:
        report.error(values.place, f"{values.name}.event", "missing: which event is sent")
    elif topic is not None and event not in EVENTS_WITH_TOPIC:
        report.warn(values.place_of("topic"), f"{values.name}.topic", f"has no effect: {event} has no topic")
        topic = None
    return Rule(
        event or "",
        topic,
        values["clientid"],
        values["username"],
        values["filter"] or all["filter"],
        values["transform"] or all["transform"],
    )


def _spool(values: Values, report: Report) -> Spool | None:
    if "spool.path" not in values:
        report.error(
            values.place_of("spool"), f"{values.name}.spool.path", "missing: the directory of the disk log"
        )
        return None
    return Spool(
        Path(values["spool.path"]), values["spool.max_size"], values["spool.max_age"], values["spool.fsync"]
    )


def _tls(values: Values, report: Report) -> TlsClient:
    keyfile, certfile, cacertfile = (
        existing_file(values, f"tls.{name}file", report) for name in ("key", "cert", "cacert")
    )
    return TlsClient(keyfile, certfile, cacertfile, values["tls.key_password"], values["tls.verify"])
