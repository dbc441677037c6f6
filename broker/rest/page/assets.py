"""The files of the page. Only those that are in the package are served, by their names."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from aiohttp import web

from ..answers import Code, Refused

TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


@cache
def _files() -> dict[str, tuple[str, bytes]]:
    """Path to content type and content, read once."""
    found = {}
    for file in (files(__package__) / "static").iterdir():
        kind = TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            found[f"/{file.name}"] = kind, file.read_bytes()
    found["/"] = found["/index.html"]
    return found


def asset(path: str) -> web.Response:
    """Raises Refused if there is no such file. No file system is searched."""
    try:
        kind, content = _files()[path]
    except KeyError:
        raise Refused(404, Code.UNKNOWN_MISTAKE) from None
    return web.Response(body=content, content_type=kind, charset="utf-8")
