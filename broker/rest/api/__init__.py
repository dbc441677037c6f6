"""The resources of `/api/v4`, one file each."""

from __future__ import annotations

from ..calls import Route
from . import (
    banned,
    bridges,
    clients,
    configuration,
    control,
    faults,
    listeners,
    mqtt,
    nodes,
    numbers,
    overview,
    push,
    retained,
    sessions,
    subscriptions,
    topics,
    webhooks,
)
from .index import index_of

RESOURCES = (
    nodes,
    clients,
    subscriptions,
    topics,
    sessions,
    mqtt,
    retained,
    webhooks,
    push,
    faults,
    banned,
    listeners,
    numbers,
    overview,
    configuration,
    control,
    bridges,
)
ROUTES: tuple[Route, ...] = index_of([route for resource in RESOURCES for route in resource.ROUTES])
