"""SNS, as moto serves it; what arrived is read from SQS queues that are subscribed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pybroker.broker import events
from pybroker.webhook import Sink
from pybroker.webhook.backends.sns import attribute_name
from tests.waiting import until

from .servers import Moto, running
from .support import CLIENT, QUICK, drained, published, pushers

pytest.importorskip("botocore", reason='pip install "pybroker[sns]"')
KEYS = "access_key_id = a, secret_access_key = b"
ARN = "arn:aws:sns:eu-west-1:123456789012:t"


@pytest.fixture
def moto(tmp_path: Path) -> Iterator[Moto]:
    server = Moto(tmp_path / "server")
    with running(server):
        yield server


class Aws:
    """Topics with a queue behind each."""

    def __init__(self, url: str) -> None:
        from botocore.session import Session

        session = Session()
        session.set_credentials("a", "b")
        self._sns, self._sqs = (
            session.create_client(name, region_name="eu-west-1", endpoint_url=url) for name in ("sns", "sqs")
        )
        self._queues: dict[str, str] = {}

    def topic(self, name: str) -> str:
        fifo = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        arn: str = self._sns.create_topic(Name=name, Attributes=fifo)["TopicArn"]
        attributes = {"FifoQueue": "true"} if fifo else {}
        url = self._sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        queue = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        self._sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue["QueueArn"])
        self._queues[name] = url
        return arn

    def messages(self, name: str, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) < count:
            got = self._sqs.receive_message(QueueUrl=self._queues[name], MaxNumberOfMessages=10)
            for one in got.get("Messages", ()):
                found.append(json.loads(one["Body"]))
                self._sqs.delete_message(QueueUrl=self._queues[name], ReceiptHandle=one["ReceiptHandle"])
        return found


def sns(directory: Path, moto: Moto, more: str, rules: str = "{ event = on_message_publish }"):
    text = f'sns {{ url = "{moto.url}", {KEYS}, {QUICK}, cancel_timeout = 5s, events = [{rules}]\n{more} }}'
    return pushers(directory, text)


async def test_batches_arrive_with_their_attributes(moto, start, tmp_path) -> None:
    aws = Aws(moto.url)
    arn = aws.topic("t")
    more = f'topic_arn = "{arn}", attributes {{ topic = "{{topic}}", client = "{{clientid}}" }}'
    sink = await start(*sns(tmp_path, moto, more))
    for number in range(45):
        sink.offer(published(number))
    stats = await drained(sink)
    assert (stats.succeeded, stats.retries) == (45, 0)
    found = await asyncio.to_thread(aws.messages, "t", 45)
    assert sorted(int(json.loads(one["Message"])["payload"]) for one in found) == list(range(45))
    attributes = found[0]["MessageAttributes"]
    assert attributes["client"] == {"Type": "String", "Value": "dev-17"}
    assert attributes["webhook-id"]["Value"].startswith("msg_")


async def test_each_kind_of_event_has_its_topic(moto, start, tmp_path) -> None:
    aws = Aws(moto.url)
    there, other = aws.topic("presence"), aws.topic("other")
    more = f'topic_arn = "{other}", topic_arns {{ on_client_connected = "{there}" }}'
    rules = "{ event = on_client_connected }, { event = on_message_publish }"
    sink = await start(*sns(tmp_path, moto, more, rules))
    sink.offer(events.ClientConnected(at=published(0).at, client=CLIENT))
    sink.offer(published(1))
    assert (await drained(sink)).succeeded == 2
    (one,), (two,) = await asyncio.to_thread(lambda: [aws.messages(n, 1) for n in ("presence", "other")])
    assert json.loads(one["Message"])["action"] == "client_connected"
    assert json.loads(two["Message"])["action"] == "message_publish"


async def test_a_fifo_topic_keeps_the_order_and_drops_repeats(moto, start, tmp_path) -> None:
    from pybroker.webhook.backends.make import sender_for
    from pybroker.webhook.parcels import Delivery

    aws = Aws(moto.url)
    arn = aws.topic("t.fifo")
    (one,) = sns(tmp_path, moto, f'topic_arn = "{arn}"')
    sender = sender_for(one)
    address = (":topic-arn", arn), (":group", "c")
    batch = [
        Delivery(n, f"msg_{n}", 0.0, "message_publish", "t", "c", address, b'{"payload":"%d"}' % n)
        for n in range(15)
    ]
    for _ in range(2):
        await sender.send(batch)
    await sender.close()
    found = await asyncio.to_thread(aws.messages, "t.fifo", 15)
    assert [int(json.loads(one["Message"])["payload"]) for one in found] == list(range(15))


async def test_a_topic_that_is_missing_is_waited_for(moto, start, tmp_path) -> None:
    sink = await start(*sns(tmp_path, moto, f'topic_arn = "{ARN}"'))
    sink.offer(published(1))
    await until(lambda: "NotFound" in sink.stats()[0].last_failure)
    Aws(moto.url).topic("t")
    assert (await drained(sink)).succeeded == 1


async def test_kill_9_and_stop(moto, start, tmp_path) -> None:
    aws = Aws(moto.url)
    arn = aws.topic("t")
    sink = await start(*sns(tmp_path, moto, f'topic_arn = "{arn}", cancel_timeout = 1s'))
    moto.pause()
    for number in range(30):
        sink.offer(published(number))
    await until(lambda: sink.stats()[0].retries)
    moto.resume()
    assert (await drained(sink)).succeeded == 30
    await asyncio.to_thread(aws.messages, "t", 30)
    moto.kill()
    sink.offer(published(30))
    await until(lambda: "connect" in sink.stats()[0].last_failure.lower())
    await asyncio.to_thread(moto.start)
    await asyncio.to_thread(Aws(moto.url).topic, "t")
    assert (await drained(sink)).succeeded == 31


async def test_an_event_that_is_too_large_is_dead(moto, start, tmp_path) -> None:
    arn = Aws(moto.url).topic("t")
    sink = await start(*sns(tmp_path, moto, f'topic_arn = "{arn}"'))
    large = events.MessagePublished(
        at=published(0).at, topic="t", payload=b"x" * 300_000, qos=0, retain=False, publisher=None
    )
    for event in (published(1), large, published(2)):
        sink.offer(event)
    stats = await drained(sink)
    assert (stats.succeeded, stats.dead) == (2, 1)


async def test_one_wrong_event_does_not_spoil_its_batch(tmp_path) -> None:
    """SNS refuses the whole request: each is sent alone, to know which it was."""
    from botocore.exceptions import ClientError

    from pybroker.webhook.backend import Verdict
    from pybroker.webhook.backends.sns import SnsBackend
    from pybroker.webhook.parcels import Delivery

    class Client:
        def publish_batch(self, TopicArn: str, PublishBatchRequestEntries: list[Any]) -> dict[str, Any]:  # noqa: N803
            if any(one["Message"] == "bad" for one in PublishBatchRequestEntries):
                raise ClientError({"Error": {"Code": "InvalidParameter", "Message": "no"}}, "PublishBatch")
            return {"Successful": [{"Id": one["Id"]} for one in PublishBatchRequestEntries]}

    backend = SnsBackend(pushers(tmp_path, f'sns {{ topic_arn = "{ARN}" }}')[0])
    backend._client = Client()
    batch = [
        Delivery(n, f"msg_{n}", 0.0, "e", "t", "c", ((":topic-arn", ARN),), b"bad" if n == 3 else b"good")
        for n in range(8)
    ]
    verdicts = [one.verdict for one in await backend.send(batch)]
    assert verdicts == [Verdict.DEAD if n == 3 else Verdict.DELIVERED for n in range(8)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"sns {{ {KEYS}, events = [{{ event = on_client_connected }}] }}", "topic_arn is missing"),
        ("sns { topic_arn = t }", '"t" is not a topic ARN'),
        (f'sns {{ topic_arns {{ on_fire = "{ARN}" }} }}', "topic_arns.fire: there is no such event"),
        (f'sns {{ topic_arn = "{ARN}", access_key_id = a }}', "go together"),
    ],
)
def test_settings_that_cannot_work(tmp_path, text, said) -> None:
    with pytest.raises(ValueError, match=said):
        Sink(pushers(tmp_path, text))


async def test_without_credentials(start, tmp_path, monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    text = f'sns {{ topic_arn = "{ARN}", events = [{{ event = on_message_publish }}] }}'
    sink = await start(*pushers(tmp_path, text))
    sink.offer(published(1))
    await until(lambda: "no credentials" in sink.stats()[0].last_failure)


async def test_credentials_of_the_environment_and_a_role(moto, start, tmp_path, monkeypatch) -> None:
    arn = Aws(moto.url).topic("t")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    role = 'role_arn = "arn:aws:iam::123456789012:role/events"'
    rules = "events = [{ event = on_message_publish }]"
    text = f'sns {{ url = "{moto.url}", topic_arn = "{arn}", {role}, {rules} }}'
    sink = await start(*pushers(tmp_path, text))
    sink.offer(published(1))
    assert (await drained(sink)).succeeded == 1


async def test_user_properties_are_attributes(moto, start, tmp_path) -> None:
    """Whatever a client calls them, and says: an event is never refused for that."""
    aws = Aws(moto.url)
    arn = aws.topic("t")
    properties = (
        ("unit", "°C"),
        ("unit", "K"),
        ("a b", "1\r\n2"),
        ("dots..", "x"),
        ("control", "a\x01b"),
        ("empty", ""),
        ("x" * 300, "long"),
    )
    event = dataclasses.replace(published(1), user_properties=properties)
    sink = await start(*sns(tmp_path, moto, f'topic_arn = "{arn}", user_properties = "mqtt-"'))
    sink.offer(event)
    assert (await drained(sink)).succeeded == 1
    (found,) = await asyncio.to_thread(aws.messages, "t", 1)
    values = {name: one["Value"] for name, one in found["MessageAttributes"].items()}
    assert values.pop("webhook-id")
    assert values == {
        "mqtt-unit": "K",
        "mqtt-a_20b": "1\r\n2",
        "mqtt-dots": "x",
        "mqtt-control": "a\ufffdb",
        "mqtt-" + "x" * 100: "long",
    }


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("a.b", "a.b"),
        (".a.", "a"),
        ("AWS.x", "_AWS.x"),
        ("amazon.x", "_amazon.x"),
        ("a/b", "a_b"),
        ("a" * 300, "a" * 256),
    ],
)
def test_names_that_sns_takes(name: str, attribute: str) -> None:
    assert attribute_name(name) == attribute
