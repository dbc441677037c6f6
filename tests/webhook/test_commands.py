"""`pybroker webhook ...`, as the command line mounts it."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path

import aiohttp
import pytest

from pybroker.broker import events
from pybroker.webhook import Batch, EndpointStats, Rule, Spool
from pybroker.webhook.backend import MakeSender
from pybroker.webhook.backends.make import sender_for
from pybroker.webhook.body.samples import sample
from pybroker.webhook.body.signature import Signer
from pybroker.webhook.commands.listener import Listener, pretty
from pybroker.webhook.commands.main import add_webhook_commands
from pybroker.webhook.commands.test import send_samples
from pybroker.webhook.delivery.deadletters import moment
from pybroker.webhook.parcels import Delivery
from pybroker.webhook.reports import render, sys_values
from pybroker.webhook.spool.store import DeadLetter, Store
from tests.waiting import DEADLINE, until

from .receiver import Receiver
from .recorder import Recorder
from .samples import SAMPLES, endpoint


def posting(recorder: Recorder) -> MakeSender:
    return lambda settings: sender_for(settings, make_transport=recorder)


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def pybroker(*arguments: str, settings=(), stats=None) -> int:
    parser = argparse.ArgumentParser(prog="pybroker")
    add_webhook_commands(
        parser.add_subparsers(required=True),
        lambda parser: parser.add_argument("--conf"),
        lambda parser: parser.add_argument("--pid"),
        lambda options: settings,
        lambda options: stats,
    )
    options = parser.parse_args(["webhook", *arguments])
    return options.run(options)


async def in_thread(*arguments: str, **more) -> int:
    return await asyncio.wait_for(asyncio.to_thread(pybroker, *arguments, **more), DEADLINE)


def buried(tmp_path: Path, count: int = 5, name: str = "webhook") -> None:
    """Leave ``count`` dead letters: numbers from 1, two topics in turn, a day apart, the last one new."""
    store = Store(tmp_path / f"{name}.db")
    letters = [
        DeadLetter(
            Delivery(
                seq, f"msg_{seq}", 1000.0, "message_publish", f"t/{seq % 2}", "c1", (), b'{"n":%d}' % seq
            ),
            time.time() - 86400 * (count - seq),
            "answered 400",
            400,
            b"no such thing",
        )
        for seq in range(1, count + 1)
    ]
    store.commit([], [], letters, 1, count, 1 << 30)
    store.close()


def numbers(directory: Path, name: str = "webhook") -> list[int]:
    store = Store(directory / f"{name}.db")
    found = [letter.delivery.seq for letter in store.dead_letters()]
    store.close()
    return found


# ---- dead letters


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], [1, 2, 3, 4, 5]),
        (["2", "4"], [2, 4]),
        (["--topic", "t/1"], [1, 3, 5]),
        (["--topic", "t/+"], [1, 2, 3, 4, 5]),
        (["--event", "on_message_publish"], [1, 2, 3, 4, 5]),
        (["--event", "message_acked"], []),
        (["--since", "36h"], [4, 5]),
        (["--until", "36h"], [1, 2, 3]),
        (["--since", "36h", "--topic", "t/0"], [4]),
    ],
)
def test_dead_list(tmp_path, capsys, arguments, wanted) -> None:
    buried(tmp_path)
    settings = [endpoint("http://127.0.0.1:1/", spool=Spool(tmp_path))]
    assert pybroker("dead", "list", *arguments, settings=settings) == 0
    *rows, total = capsys.readouterr().out.splitlines()
    assert [int(row.split()[0]) for row in rows[1:]] == wanted
    assert total == f"{len(wanted)} dead letters"
    for row in rows[1:]:
        assert "webhook" in row
        assert row.endswith("answered 400")


def test_dead_show(tmp_path, capsys) -> None:
    buried(tmp_path)
    assert (
        pybroker("dead", "show", "3", settings=[endpoint("http://127.0.0.1:1/", spool=Spool(tmp_path))]) == 0
    )
    out = capsys.readouterr().out
    assert "--- webhook 3: message_publish" in out
    assert "webhook-id: msg_3" in out
    assert '"n": 3' in out
    assert "the endpoint's answer: no such thing" in out


def test_dead_purge(tmp_path, capsys) -> None:
    buried(tmp_path)
    settings = [endpoint("http://127.0.0.1:1/", spool=Spool(tmp_path))]
    assert pybroker("dead", "purge", settings=settings) == 2
    assert "select some" in capsys.readouterr().err
    assert pybroker("dead", "purge", "--until", "36h", settings=settings) == 0
    assert "webhook webhook: 3 dead letters deleted" in capsys.readouterr().out
    assert numbers(tmp_path) == [4, 5]
    assert pybroker("dead", "purge", "--all", settings=settings) == 0
    assert numbers(tmp_path) == []


async def test_sending_samples_shows_no_secrets(receiver: Receiver, capsys) -> None:
    settings = [endpoint(f"{receiver.url}hook?token=s3cret", Rule("on_client_connack"))]
    await in_thread("test", settings=settings)
    printed = capsys.readouterr()
    assert "hook?token=***" in printed.out
    assert "s3cret" not in printed.out + printed.err


async def test_dead_retry(receiver: Receiver, tmp_path, capsys) -> None:
    buried(tmp_path, 250)
    settings = [endpoint(receiver.url, spool=Spool(tmp_path))]
    assert await in_thread("dead", "retry", "--topic", "t/1", settings=settings) == 0
    assert capsys.readouterr().out == "webhook webhook: 125 delivered, 0 failed\n"
    assert sorted(request.json["n"] for request in receiver.requests) == list(range(1, 250, 2))
    assert {request.id for request in receiver.requests} == {f"msg_{n}" for n in range(1, 250, 2)}
    assert numbers(tmp_path) == list(range(2, 251, 2))


async def test_dead_retry_stops_where_the_endpoint_fails(receiver: Receiver, tmp_path, capsys) -> None:
    buried(tmp_path, 100)
    receiver.default = 500
    settings = [endpoint(receiver.url, spool=Spool(tmp_path), pool_size=1)]
    assert await in_thread("dead", "retry", settings=settings) == 1
    printed = capsys.readouterr()
    assert printed.out == "webhook webhook: 0 delivered, 5 failed\n"
    assert "stopped, the endpoint failed 5 times in a row, the last: answered 500" in printed.err
    assert len(numbers(tmp_path)) == 100


def test_dead_letters_of_several_endpoints(tmp_path, capsys) -> None:
    buried(tmp_path, 2, "a")
    buried(tmp_path, 3, "b")
    settings = [endpoint("http://127.0.0.1:1/", name=name, spool=Spool(tmp_path)) for name in "ab"]
    assert pybroker("dead", "list", settings=settings) == 0
    assert "5 dead letters" in capsys.readouterr().out
    assert pybroker("dead", "list", "--endpoint", "b", settings=settings) == 0
    assert "3 dead letters" in capsys.readouterr().out
    assert pybroker("dead", "show", "1", settings=settings) == 2
    assert "a NUMBER needs --endpoint NAME" in capsys.readouterr().err
    assert pybroker("dead", "list", "--endpoint", "c", settings=settings) == 2
    assert 'there is no webhook "c"; there is a, b' in capsys.readouterr().err


def test_dead_letters_where_there_can_be_none(tmp_path, capsys) -> None:
    assert pybroker("dead", "list", settings=[endpoint("http://127.0.0.1:1/")]) == 2
    assert "no webhook has a spool (webhook), so there are no dead letters" in capsys.readouterr().err
    assert pybroker("dead", "list", settings=[endpoint("http://h/", spool=Spool(tmp_path))]) == 0
    assert capsys.readouterr().out == "0 dead letters\n"
    (tmp_path / "webhook.db").write_bytes(b"no database" * 999)
    assert pybroker("dead", "list", settings=[endpoint("http://h/", spool=Spool(tmp_path))]) == 2
    assert "webhook.db: file is not a database" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--since", "yesterday"], '"yesterday" is neither an age such as 15m nor a time'),
        (["--topic", "a/#/b"], '"a/#/b": # must be the whole last level'),
    ],
)
def test_selections_that_cannot_be(capsys, arguments, complaint) -> None:
    with pytest.raises(SystemExit):
        pybroker("dead", "list", *arguments)
    assert complaint in capsys.readouterr().err


def test_moments() -> None:
    assert moment("90s", now=1000) == 910
    assert moment("1.5h", now=10_000) == 4600
    assert moment("2026-01-31T12:00:00+00:00") == 1769860800
    with pytest.raises(ValueError, match="neither an age"):
        moment("1 parsec")


# ---- test


@pytest.mark.parametrize("name", SAMPLES)
def test_there_is_a_sample_of_each_event(name: str) -> None:
    event = sample(Rule(name), 1000.0)
    assert type(event) is type(SAMPLES[name])
    assert event.at == 1000.0


async def test_webhook_test_sends_each_configured_event(receiver: Receiver, capsys) -> None:
    receiver.answers = [200, 422]
    settings = [
        endpoint(
            receiver.url, Rule("on_message_publish", "a/+/#"), Rule("on_client_connack"), secrets=(SECRET,)
        )
    ]
    assert await in_thread("test", settings=settings) == 1
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == f"webhook webhook: {receiver.url}"
    assert second.startswith("  on_message_publish a/test/test: answered 200 in ")
    assert third.startswith("  on_client_connack: answered 422 in ")
    assert third.endswith("ms: not ok")
    assert [request.json["action"] for request in receiver.requests] == ["message_publish", "client_connack"]
    assert all("webhook-signature" in request.headers for request in receiver.requests)


async def test_webhook_test_of_a_batch_and_a_broken_transform(caplog) -> None:
    recorder = Recorder()
    said: list[str] = []
    rules = (
        Rule("on_message_publish"),
        Rule("on_message_publish", transform="tests.webhook.callables:broken"),
    )
    assert not await send_samples(
        endpoint("memory:", *rules, batch=Batch(10, 1)), said.append, posting(recorder)
    )
    assert said[-1] == "  on_message_publish: RuntimeError: this callable is broken"
    assert [item["payload"] for item in recorder.requests[0].json] == ["This is a test."]


def test_nothing_to_test(capsys) -> None:
    assert pybroker("test", settings=[endpoint("http://h/", enable=False)]) == 2
    assert "no webhook is enabled in this configuration" in capsys.readouterr().err


def test_a_configuration_that_cannot_be_read() -> None:
    assert pybroker("test", settings=None) == 2


# ---- listen


async def test_listen_prints_and_checks_signatures() -> None:
    shown: list[str] = []
    ports: list[int] = []
    listener = Listener([SECRET], 200, shown.append)
    serving = asyncio.create_task(listener.run("127.0.0.1", 0, ports.append))
    await until(lambda: ports)
    body = b'{"action":"client_connack","username":"\xc3\xa9"}'
    now = int(time.time())
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": str(now),
        "webhook-signature": Signer([SECRET]).sign("1", now, body),
    }
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{ports[0]}/hook?x=1"
        assert (await session.post(url, data=body, headers=headers)).status == 200
        assert (await session.post(url, data=body + b" ", headers=headers)).status == 200
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert "POST /hook?x=1" in shown[0]
    assert "signature: good" in shown[0]
    assert '"username": "é"' in shown[0]
    assert "signature: NOT GOOD: no signature fits the secret" in shown[1]
    assert listener.bad_signatures == 1


def test_listen_says_what_is_wrong(capsys) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert pybroker("listen", str(port)) == 2
        assert f"cannot listen on 127.0.0.1:{port}: " in capsys.readouterr().err
    assert pybroker("listen", "--secret", "tea time!") == 2


def test_pretty() -> None:
    assert pretty(b'{"a":1}') == '{\n  "a": 1\n}'
    assert pretty(b'{"a":1}\n{"b":2}\n') == '{\n  "a": 1\n}\n{\n  "b": 2\n}'
    assert pretty(b"author=a&message=b") == "author=a&message=b"
    assert pretty(b"\xff") == "\\xff"


# ---- status

STATS = EndpointStats(
    "webhook", "http://h/", "failing", matched=10, succeeded=3, dead=1, in_flight=1, queued=2,
    dropped_full=3, tries=9, retries=4, oldest_age=2.5, queued_bytes=2048, response_count=4,
    response_buckets=(0, 4, *[0] * 12),
)  # fmt: skip


def test_status(capsys) -> None:
    assert pybroker("status", stats=[STATS]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "webhook webhook (http://h/): failing",
        "  matched 10 = succeeded 3 + dead 1 + in flight 1 + queued 2 + dropped 3"
        " (full 3, expired 0, filtered 0)",
        "  tries 9, of them retries 4; response time p50 <= 2.5 ms, p99 <= 2.5 ms",
        "  waiting: 2 KiB in memory, 0 B in the spool, the oldest for 2.5 s; dead letters kept: 0",
    ]
    assert pybroker("status", "--json", stats=[STATS]) == 0
    assert json.loads(capsys.readouterr().out)[0]["matched"] == 10
    assert pybroker("status", stats=None) == 1
    assert render([]) == "no webhook or event pusher is enabled"


def test_sys_topics() -> None:
    values = dict(sys_values([STATS]))
    assert values["webhook/webhook/matched"] == "10"
    assert values["webhook/webhook/state"] == "failing"
    assert values["webhook/webhook/response_time/p99"] == "0.0025"


def test_every_event_has_a_sample_client() -> None:
    assert isinstance(sample(Rule("on_client_connack"), 0.0), events.ClientConnack)


def test_what_clients_and_endpoints_sent_moves_no_cursor(tmp_path, capsys) -> None:
    store = Store(tmp_path / "webhook.db")
    body = '{"payload": "\u202eevil\x1b[2J\u2028"}'.encode()
    item = Delivery(1, "msg_1", 1.0, "message_publish", "t/\x1b[31m\u202e", "c", (), body)
    store.commit([], [], [DeadLetter(item, 2.0, "answered 400", 400, b"\x1b[2Jno")], 0, 1, 1 << 30)
    store.close()
    settings = [endpoint("http://127.0.0.1:1/", spool=Spool(tmp_path))]
    for command in (("dead", "list"), ("dead", "show", "1")):
        assert pybroker(*command, settings=settings) == 0
        assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


async def test_what_is_no_http_leaves_no_traceback(caplog) -> None:
    caplog.set_level("INFO")
    ports: list[int] = []
    serving = asyncio.create_task(Listener([], 200, print).run("127.0.0.1", 0, ports.append))
    await until(lambda: ports)
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
    assert b" 400 " in await asyncio.wait_for(reader.readline(), DEADLINE)
    writer.close()
    serving.cancel()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("pybroker")] == [
        "a request is not HTTP (BadHttpMessage)"
    ]
    assert "Traceback" not in caplog.text
