"""Long lists as answers: paged on request, and built in turns, so that MQTT goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from aiohttp import web

from .answers import Code, Refused

AT_ONCE = 200
"""The number of elements that are made in one turn of the event loop."""
HEAD, TAIL = '{"code":0,"data":[', "]}"


async def listing(
    query: Mapping[str, str], elements: Iterable[Any], total: int | None = None
) -> web.Response:
    """All of them, or with ``_page`` and ``_limit`` one page with EMQX's ``meta``. ``total`` is their number
    where ``elements`` has only those up to the end of the page. Raises Refused."""
    page, limit = page_of(query)
    first = (page - 1) * limit
    found: list[str] = []
    count = 0
    iterator = iter(elements)
    while part := list(islice(iterator, AT_ONCE)):
        found += [
            json.dumps(element, ensure_ascii=False, separators=(",", ":"))
            for number, element in enumerate(part, count)
            if not limit or first <= number < first + limit
        ]
        count += len(part)
        await asyncio.sleep(0)
    total = count if total is None else total
    tail = f'],"meta":{{"page":{page},"limit":{limit},"count":{total}}}}}' if limit else TAIL
    body = f"{HEAD}{','.join(found)}{tail}"
    return web.Response(body=body.encode(), content_type="application/json")


def put_together(bodies: Sequence[bytes]) -> web.Response:
    """One list of several without pages, each as ``listing`` writes it. They are not parsed, which would hold
    up the event loop."""
    inner = [body[len(HEAD) : -len(TAIL)] for body in bodies]
    body = b"".join((HEAD.encode(), b",".join(one for one in inner if one), TAIL.encode()))
    return web.Response(body=body, content_type="application/json")


def page_of(query: Mapping[str, str]) -> tuple[int, int]:
    """The requested page, from 1 on, and the number of elements of a page; 0 for all elements. Raises
    Refused."""
    page, limit = number(query, "_page", 1), number(query, "_limit", 0)
    if "_page" in query and not limit:
        limit = 100
    return page, limit


def number(query: Mapping[str, str], key: str, default: int) -> int:
    """The number of the query parameter. Raises Refused if it is not a number from 1 to 999,999,999."""
    text = query.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) < 1_000_000_000):
        raise Refused(400, Code.BAD_REQUEST, f"{key} is not a number from 1")
    return int(text)
