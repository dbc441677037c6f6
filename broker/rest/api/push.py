"""`/push`: the devices that clients have registered for notifications."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pybroker.webhook.push.registration import BadRegistrationError, Registration, registration
from pybroker.webhook.push.registry import FullError, Registry
from pybroker.webhook.push.store import StoreError

from ..answers import Code, Refused, data
from ..calls import Call, Route, Where
from ..listing import listing

LONGEST_CLIENT = 65535
"""Bytes of a client identifier."""


def element(one: Registration) -> dict[str, Any]:
    return {
        "clientid": one.client,
        "service": one.service,
        "device_id": one.device_id,
        "registered_at": int(one.at),
        **one.options(),
    }


def _registry(call: Call) -> Registry:
    found = call.served.registrations()
    if found is None:
        raise Refused(404, Code.BAD_REQUEST, "no event pusher has backend = push")
    return found


async def registrations(call: Call) -> web.Response:
    return await listing(call.request.rel_url.query, map(element, _registry(call)))


async def of_client(call: Call) -> web.Response:
    return data([element(one) for one in _registry(call).of(call.arguments[0])])


async def register(call: Call) -> web.Response:
    """Register a device: ``clientid``, and the keys that a client sends to `$push/enable`."""
    registry, wanted = _registry(call), await call.object()
    client = wanted.pop("clientid", None)
    if not isinstance(client, str) or not client or len(client.encode(errors="replace")) > LONGEST_CLIENT:
        raise Refused(400, Code.BAD_REQUEST, '"clientid" is missing: a text')
    try:
        new = registration(client, wanted, call.served.engine.clock.time())
        await registry.add(new)
    except (BadRegistrationError, FullError) as error:
        raise Refused(400, Code.BAD_REQUEST, str(error)) from None
    except StoreError as error:
        raise Refused(500, Code.WRITE_FAILED, str(error)) from None
    return data(element(new))


async def forget(call: Call) -> web.Response:
    """Remove all devices of a client, or one."""
    registry = _registry(call)
    client, *device = call.arguments
    try:
        count = await registry.remove_all(client, device[0] if device else None)
    except StoreError as error:
        raise Refused(500, Code.WRITE_FAILED, str(error)) from None
    if not count:
        raise Refused(404, Code.BAD_REQUEST, f'the client "{client}" has registered no such device')
    return data({"removed": count})


ROUTES = (
    Route(
        "GET",
        "/push",
        registrations,
        "list_push",
        "Devices that are registered for notifications",
        where=Where.ALL,
    ),
    Route("GET", "/push/:clientid", of_client, "get_push", "Those of a client", where=Where.OWNER),
    Route(
        "POST",
        "/push",
        register,
        "create_push",
        "Register a device of a client",
        True,
        where=Where.OWNER_IN_BODY,
    ),
    Route(
        "DELETE",
        "/push/:clientid",
        forget,
        "delete_push",
        "Forget the devices of a client",
        True,
        where=Where.OWNER,
    ),
    Route(
        "DELETE",
        "/push/:clientid/:device_id",
        forget,
        "delete_push",
        "Forget one of them",
        True,
        where=Where.OWNER,
    ),
)
