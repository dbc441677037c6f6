"""The resources of `/api/v4`, one file each."""

from __future__ import annotations

from ..calls import Route
from . import nodes, overview

ROUTES: tuple[Route, ...] = (*nodes.ROUTES, *overview.ROUTES)
