"""The REST API of a broker of several processes: the answers of all are joined."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from pybroker.broker.rest import workers
from pybroker.broker.rest.answers import Refused
from pybroker.broker.rest.calls import Call, Route, Where
from pybroker.broker.rest.listing import listing
from pybroker.broker.rest.workers import Workers

from ..integration.clients import connected
from ..integration.support import Endpoint, RunningBroker, wait_for
from .test_workers import name_for, names

Start = Callable[..., RunningBroker]
HTTP = "http_server { port = 0, auth_type = no_auth }\n"


class Api:
    """Asks a running broker."""

    def __init__(self, broker: RunningBroker) -> None:
        self.port = broker.port
        self._root = broker.facts["page"] + "api/v4"

    def __call__(self, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body).encode()
        request = Request(self._root + path, content, method=method)
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    def data(self, path: str, method: str = "GET", body: Any = None) -> Any:
        status, answer = self(path, method, body)
        assert (status, answer["code"]) == (200, 0), answer
        return answer.get("data")


def test_the_topic_tree_is_that_of_one_process(start_broker: Start) -> None:
    ids = [name_for(n) for n in range(3)]
    with ExitStack() as stack:
        trees = []
        for flags in (("--workers", "3"), ()):
            api = Api(start_broker(HTTP, *flags))
            for one in ids:
                client = stack.enter_context(connected(api.port, one))
                client.subscribe_and_wait([("a/b/c", 1), (f"{one}/b", 1), ("#", 1), ("a/+", 1), ("a/b", 1)])
            trees.append(api.data("/topic-tree"))
        assert trees[0] == trees[1]
        assert [len(depth) for depth in trees[0]] == [1, 5, 5, 1, 0]


def test_batches_of_subscriptions_for_clients_of_all_workers(start_broker: Start) -> None:
    api = Api(start_broker(HTTP, "--workers", "3"))
    ids = [name_for(n) for n in range(3)]
    with ExitStack() as stack:
        for one in ids:
            stack.enter_context(connected(api.port, one))
        wanted = [{"clientid": one, "topic": f"t/{one}", "qos": 1} for one in reversed(ids)]
        wanted[1:1] = [{"clientid": "nobody", "topic": "t"}, {"topic": "no client"}]
        _, answer = api("/mqtt/subscribe_batch", "POST", [*wanted, "no object"])
        codes = [0, 112, 108, 0, 0, 108]
        assert answer == {
            "code": 0,
            "data": [
                {"topic": topic, "code": code}
                for topic, code in zip([*(one["topic"] for one in wanted), ""], codes, strict=True)
            ],
        }
        expected = [{"clientid": one, "topic": f"t/{one}", "qos": 1} for one in sorted(ids)]
        assert sorted(api.data("/subscriptions"), key=lambda one: str(one["clientid"])) == expected
        _, answer = api("/mqtt/unsubscribe_batch", "POST", wanted)
        assert [one["code"] for one in answer["data"]] == codes[:-1]
        assert api.data("/subscriptions") == []
        assert api("/mqtt/subscribe_batch", "POST", []) == (200, {"code": 0, "data": []})
        assert api("/mqtt/subscribe_batch", "POST", {"clientid": ids[0]})[0] == 400


def test_dead_letters_and_last_tries_of_all_workers(
    start_broker: Start, endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.status = 400
    conf = f"""webhook.w {{
      url = "{endpoint.url}", events = [{{ event = "on_client_connected" }}], order = "none"
      spool {{ path = "{tmp_path}/spool" }}
    }}\n"""
    api = Api(start_broker(conf + HTTP, "--workers", "2"))
    ids = [name_for(0, 2), name_for(1, 2), *list(names(1, 2))[1:3]]
    with ExitStack() as stack:
        for one in ids:
            stack.enter_context(connected(api.port, one))
        dead = wait_for(lambda: _of_length(api.data("/webhooks/w/dead"), 4), "the dead letters of both")
        assert sorted(one["worker"] for one in dead) == [1, 2, 2, 2]
        assert sorted(one["client"] for one in dead) == sorted(ids)
        tries = api.data("/webhooks/w/deliveries")
        assert sorted((one["worker"], one["client"]) for one in tries) == sorted(
            (one["worker"], one["client"]) for one in dead
        )
        last = [max(one["number"] for one in tries if one["worker"] == worker) for worker in (1, 2)]
        assert api.data(f"/webhooks/w/deliveries?after={last[0]},{last[1]}") == []
        later = api.data(f"/webhooks/w/deliveries?after=0,{last[1]}")
        assert [one["worker"] for one in later] == [1]

        status, answer = api("/webhooks/w/dead/retry?number=1", "POST")
        assert status == 400
        assert "worker=2&number=5" in answer["message"]
        assert api("/webhooks/w/dead/retry?worker=3", "POST")[0] == 400

        endpoint.status = 200
        of_two = [one["number"] for one in dead if one["worker"] == 2]
        result = api.data(f"/webhooks/w/dead/retry?worker=2&number={of_two[0]}", "POST")
        assert result == {"delivered": 1, "failed": 0, "stopped": None}
        assert api("/webhooks/w/dead", "DELETE")[0] == 400
        api.data(f"/webhooks/w/dead?worker=2&number={of_two[1]}", "DELETE")
        assert [one["worker"] for one in api.data("/webhooks/w/dead")] == [1, 2]
        result = api.data("/webhooks/w/dead/retry", "POST")
        assert result == {"delivered": 2, "failed": 0, "stopped": None}
        api.data("/webhooks/w/dead?all=true", "DELETE")
        assert api.data("/webhooks/w/dead") == []


def _of_length(found: list[Any], count: int) -> list[Any] | None:
    return found if len(found) == count else None


# ---- what a worker may do wrong


async def numbers(call: Call) -> web.StreamResponse:
    return await listing(call.request.rel_url.query, range(10))


LIST = Route("GET", "/numbers", numbers, "numbers", "", where=Where.ALL, patience=0.2)


@pytest.fixture
async def paths(tmp_path: Path) -> list[Path]:
    """Two workers: one answers with the numbers from 0 to 9, the other as a test says."""
    return [tmp_path / f"{index}.http" for index in range(2)]


async def serve(path: Path, answer: Callable[[web.BaseRequest], Any]) -> web.UnixSite:
    runner = web.ServerRunner(web.Server(answer, handler_cancellation=True))
    await runner.setup()
    site = web.UnixSite(runner, str(path))
    await site.start()
    return site


async def ask(paths: list[Path], other: Callable[[web.BaseRequest], Any] | None, query: str = "") -> Any:
    async def good(request: web.BaseRequest) -> web.StreamResponse:
        return await numbers(Call(cast("Any", None), request, ()))

    sites = [await serve(paths[0], good)]
    if other is not None:
        sites.append(await serve(paths[1], other))
    request = make_mocked_request("GET", f"/api/v4/numbers{query}")
    request._read_bytes = b""
    try:
        joined = await Workers(lambda _: 0, paths, 0).answer(LIST, Call(cast("Any", None), request, ()))
        assert isinstance(joined, web.Response)
        assert isinstance(joined.body, bytes)
        return json.loads(joined.body)
    finally:
        for site in sites:
            await site._runner.cleanup()


async def test_a_worker_that_is_not_there_is_named(paths: list[Path]) -> None:
    with pytest.raises(Refused) as refused:
        await ask(paths, None)
    assert refused.value.status == 503
    assert "worker 2 does not answer" in refused.value.message


async def test_a_worker_that_is_silent_is_named(paths: list[Path]) -> None:
    async def silent(request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(Refused) as refused:
        await ask(paths, silent)
    assert refused.value.message == "worker 2 does not answer within 0.2 s"


async def test_an_answer_is_bounded(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    async def long(request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"x" * 1000)

    monkeypatch.setattr(workers, "MOST_BYTES", 999)
    with pytest.raises(Refused) as refused:
        await ask(paths, long)
    assert "worker 2" in refused.value.message
    assert "_limit" in refused.value.message


async def test_of_a_page_each_worker_tells_no_more_than_can_be_on_it(paths: list[Path]) -> None:
    asked: list[str] = []

    async def other(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.rel_url.query_string)
        return await listing(request.rel_url.query, range(10, 15))

    assert (await ask(paths, other))["data"] == [*range(15)]
    found = await ask(paths, other, "?_page=3&_limit=4")
    assert found["data"] == [8, 9, 10, 11]
    assert found["meta"] == {"page": 3, "limit": 4, "count": 15}
    assert asked == ["", "_page=1&_limit=12"]
