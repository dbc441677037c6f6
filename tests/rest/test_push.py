"""Devices for notifications, over HTTP."""

from __future__ import annotations

from .conftest import url

PUSH = 'event_pusher.push.url = "http://127.0.0.1:9"\npush_registrations.max = 3'
PHONE = {"clientid": "c/1", "service": "fcm", "device_id": "a:b/c", "silent": True}


async def test_devices_are_registered_listed_and_forgotten(serve, http) -> None:
    app = await serve(more=PUSH)

    async def ask(method: str, path: str, body: object = None) -> tuple[int, dict]:
        async with http.request(method, url(app, f"/api/v4{path}"), json=body) as answer:
            return answer.status, await answer.json()

    status, said = await ask("POST", "/push", PHONE)
    assert status == 200
    assert said["data"].pop("registered_at") > 0
    assert said["data"] == PHONE
    await ask("POST", "/push", {**PHONE, "device_id": "d2"})
    await ask("POST", "/push", {**PHONE, "clientid": "other"})
    assert (await ask("POST", "/push", {**PHONE, "device_id": "d3"}))[0] == 400  # there is a bound
    assert [one["device_id"] for one in (await ask("GET", "/push"))[1]["data"]] == ["a:b/c", "d2", "a:b/c"]
    assert (await ask("GET", "/push?_page=1&_limit=2"))[1]["meta"]["count"] == 3
    assert len((await ask("GET", "/push/c%2F1"))[1]["data"]) == 2
    assert (await ask("DELETE", "/push/c%2F1/a%3Ab%2Fc"))[1]["data"] == {"removed": 1}
    assert (await ask("DELETE", "/push/c%2F1"))[1]["data"] == {"removed": 1}
    assert (await ask("DELETE", "/push/c%2F1"))[0] == 404
    assert [one["clientid"] for one in (await ask("GET", "/push"))[1]["data"]] == ["other"]


async def test_what_is_wrong_is_said(serve, http) -> None:
    app = await serve(more=PUSH)
    for body, words in (
        ({}, '"clientid" is missing'),
        ({**PHONE, "clientid": 7}, '"clientid" is missing'),
        ({**PHONE, "service": "sms"}, '"service" is one of apns, fcm'),
        ({**PHONE, "tags": []}, '"tags" is not known'),
    ):
        async with http.post(url(app, "/api/v4/push"), json=body) as answer:
            assert answer.status == 400
            assert words in (await answer.json())["message"]


async def test_without_a_push_there_is_nothing(serve, http) -> None:
    app = await serve()
    async with http.get(url(app, "/api/v4/push")) as answer:
        assert answer.status == 404
        assert "no event pusher has backend = push" in await answer.text()
