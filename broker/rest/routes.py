"""The table from paths to resources."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from .answers import Code, Refused
from .calls import Route

PREFIX = "/api/v4"
METHODS = ("GET", "POST", "PUT", "DELETE")


class Routes:
    """Finds the route of a request. A trailing slash makes no difference."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = routes
        self._parts = [(route, route.path.strip("/").split("/")) for route in routes]

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """The route, and the values of its ``:NAME`` segments. ``path`` is below the prefix, still
        percent-encoded. Raises Refused: 405 for a method that no path has, otherwise 404, as NanoMQ does."""
        if method not in METHODS:
            raise Refused(405, Code.UNKNOWN_MISTAKE)
        segments = path.removeprefix("/").removesuffix("/").split("/")
        for route, parts in self._parts:
            if route.method == method and len(parts) == len(segments):
                pairs = list(zip(parts, segments, strict=True))
                if all(part[:1] == ":" or part == segment for part, segment in pairs):
                    return route, tuple(unquote(segment) for part, segment in pairs if part[:1] == ":")
        raise Refused(404, Code.UNKNOWN_MISTAKE)
