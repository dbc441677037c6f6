"""The resources of `/api/v4`, one file each."""

from __future__ import annotations

from ..calls import Route
from . import clients, faults, mqtt, nodes, overview, retained, subscriptions, webhooks

ROUTES: tuple[Route, ...] = tuple(
    route
    for resource in (nodes, overview, clients, subscriptions, mqtt, retained, webhooks, faults)
    for route in resource.ROUTES
)
