"""The schema: every key of the configuration, one row each.

Files are checked against it, and docs/configuration.md is made of it (`scripts/config_docs`).
"""

from . import auth, bridge, cluster, core, event_pusher, faults, http_server, listeners, sqlite, webhook
from .row import Row

SCHEMA: tuple[Row, ...] = (
    *core.rows(),
    *listeners.rows(),
    *auth.rows(),
    *webhook.rows(),
    *http_server.rows(),
    *event_pusher.rows(),
    *bridge.rows(),
    *sqlite.rows(),
    *cluster.rows(),
    *faults.rows(),
    *core.rows_without_effect(),
)
"""In the order of the documentation."""

ROWS: dict[str, Row] = {row.key: row for row in SCHEMA}
"""By key."""

__all__ = ["ROWS", "SCHEMA", "Row"]
