"""What is posted is what others understand: the JSON Schema, CloudEvents, Standard Webhooks, forms."""

from __future__ import annotations

import gzip
import json
import time
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs

import jsonschema
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event, from_structured_event
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from pybroker.broker import events
from pybroker.webhook import Batch, Rule, SettingsError, Sink
from pybroker.webhook.body.encode import EVENTS, encoder
from pybroker.webhook.body.signature import SecretError, check, key_of

from .conftest import drained
from .samples import AT, CLIENT, SAMPLES, endpoint, message, published

SCHEMA = json.loads((files("pybroker.webhook") / "events.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


async def posted(receiver, start, *sent: events.Event, **more):
    sink = await start(endpoint(receiver.url, *more.pop("rules", ()), order="client", **more))
    for event in sent:
        sink.offer(event)
    await drained(sink)
    return receiver.requests


def as_message(request) -> HTTPMessage:
    return HTTPMessage(headers=dict(request.headers), body=request.body)


# ---- the schema


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert {ref["$ref"].rsplit("/", 1)[1] for ref in SCHEMA["oneOf"]} == {
        name.removeprefix("on_") for name in EVENTS
    }


@pytest.mark.parametrize("encoding", ["plain", "base64", "base62"])
async def test_every_request_fits_the_schema(receiver, start, encoding) -> None:
    more = [
        published(b"\xff\0"),
        published(b"", client=None),
        message(events.MessageDropped, client=None, reason="no_subscribers"),
    ]
    requests = await posted(receiver, start, *SAMPLES.values(), *more, encoding=encoding)
    assert len(requests) == len(SAMPLES) + len(more)
    for request in requests:
        VALIDATOR.validate(request.json)


def test_the_page_shows_every_event_as_it_is_sent() -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    shown = [json.loads(line) for line in page.splitlines() if line.startswith("{") and "action" in line]
    for body in shown:
        VALIDATOR.validate(body)
    assert {"on_" + body["action"] for body in shown} == set(EVENTS)
    plain = encoder("plain")
    for body in shown:
        ours = json.loads(plain[EVENTS["on_" + body["action"]]](SAMPLES["on_" + body["action"]]))
        assert list(body) == list(ours), "the order of the keys"
    for name in EVENTS:
        assert f"`{name}`" in page


def test_the_schema_refuses_what_is_wrong() -> None:
    good = {"reason": "normal", "username": "u", "clientid": "c", "action": "client_disconnected"}
    VALIDATOR.validate(good)
    for bad in (
        {**good, "x": 1},
        {**good, "action": "tea"},
        {k: v for k, v in good.items() if k != "reason"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(bad)


# ---- CloudEvents


@pytest.mark.parametrize("name", EVENTS)
async def test_cloudevents_binary(receiver, start, name) -> None:
    [request] = await posted(receiver, start, SAMPLES[name], format="cloudevents")
    event = from_binary_event(as_message(request))
    assert event.get_id() == request.id
    assert event.get_source() == "/pybroker/webhook/webhook"
    assert event.get_type() == "pybroker." + name.removeprefix("on_")
    assert event.get_time().timestamp() == AT
    assert event.get_subject() == (SAMPLES[name].topic if hasattr(SAMPLES[name], "topic") else "c311")
    assert event.get_datacontenttype() == "application/json"
    VALIDATOR.validate(event.get_data())


@pytest.mark.parametrize("name", EVENTS)
async def test_cloudevents_structured(receiver, start, name) -> None:
    [request] = await posted(
        receiver,
        start,
        SAMPLES[name],
        format="cloudevents",
        cloudevents_mode="structured",
        headers=(("content-type", "application/json"),),
    )
    assert request.headers["content-type"] == "application/cloudevents+json"
    event = from_structured_event(as_message(request))
    assert event.get_id() == request.id
    VALIDATOR.validate(event.get_data())


@pytest.mark.parametrize("topic", ["é/温度", 'a b/"%"', "$SYS/x"])
async def test_a_subject_in_a_header_survives(receiver, start, topic) -> None:
    [request] = await posted(
        receiver,
        start,
        published(topic=topic),
        format="cloudevents",
        rules=(Rule("on_message_publish", "#"), Rule("on_message_publish", "$SYS/#")),
    )
    assert from_binary_event(as_message(request)).get_subject() == topic
    assert request.headers["ce-subject"].isascii()


async def test_a_batch_of_cloudevents(receiver, start) -> None:
    [request] = await posted(
        receiver, start, published(b"1"), published(b"2"), format="cloudevents", batch=Batch(2, 0.01)
    )
    assert request.headers["content-type"] == "application/cloudevents-batch+json"
    found = [
        from_structured_event(
            HTTPMessage(
                headers={"content-type": "application/cloudevents+json"}, body=json.dumps(one).encode()
            )
        )
        for one in request.json
    ]
    assert [event.get_data()["payload"] for event in found] == ["1", "2"]
    assert len({event.get_id() for event in found}) == 2


# ---- batches, gzip, forms


async def test_a_batch_is_an_array(receiver, start) -> None:
    requests = await posted(
        receiver, start, *(published(str(n).encode()) for n in range(25)), batch=Batch(10, 0.02), pool_size=1
    )
    assert [len(request.json) for request in requests] == [10, 10, 5]
    assert [item["payload"] for request in requests for item in request.json] == [str(n) for n in range(25)]
    for request in requests:
        for item in request.json:
            VALIDATOR.validate(item)


async def test_a_batch_may_be_lines(receiver, start) -> None:
    [request] = await posted(
        receiver, start, published(b"1"), published(b"2\n"), batch=Batch(2, 0.02, "ndjson")
    )
    assert request.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["payload"] for line in request.body.splitlines()] == ["1", "2\n"]


async def test_a_batch_of_one_is_an_array_too(receiver, start) -> None:
    [request] = await posted(receiver, start, published(b"1"), batch=Batch(10, 0.001))
    assert len(request.json) == 1


async def test_gzip(receiver, start) -> None:
    [request] = await posted(receiver, start, published(b"x" * 10_000), compression="gzip")
    assert request.headers["content-encoding"] == "gzip"
    assert int(request.headers["content-length"]) < 1000
    body = request.body if request.body[:1] == b"{" else gzip.decompress(request.body)
    assert json.loads(body)["payload"] == "x" * 10_000


async def test_mongooseims_form(receiver, start) -> None:
    [request] = await posted(receiver, start, published("a&b=é".encode()), format="form")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    form = parse_qs(request.body.decode(), keep_blank_values=True)
    assert (form["author"], form["receiver"], form["message"]) == (["c311"], ["nmq/pub"], ["a&b=é"])
    assert form["action"] == ["message_publish"]
    assert list(form) == ["author", "server", "receiver", "message", "action"]


def test_a_form_cannot_be_batched() -> None:
    with pytest.raises(SettingsError, match=r"body\.format = form cannot be sent in batches"):
        Sink([endpoint("http://127.0.0.1:1/", format="form", batch=Batch(2))])


# ---- signatures


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_the_signature_verifies(receiver, start, compression) -> None:
    receiver.answers = [500]
    requests = await posted(
        receiver, start, published("é".encode()), secrets=(SECRET, OLD_SECRET), compression=compression
    )
    assert len(requests) == 2
    for request in requests:
        body = request.body if request.body[:1] == b"{" else gzip.decompress(request.body)
        for secret in (SECRET, OLD_SECRET):  # a receiver may know either while one rotates
            assert Webhook(secret).verify(body, request.headers)["payload"] == "é"
            assert check([secret], request.headers, body, time.time()) is None
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body + b" ", request.headers)
    assert len({request.id for request in requests}) == 1


async def test_without_a_secret_nothing_is_signed(receiver, start) -> None:
    [request] = await posted(receiver, start, published())
    assert "webhook-signature" not in request.headers


@given(st.binary(), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_our_check_and_theirs_agree(body: bytes, id: str) -> None:
    from datetime import UTC, datetime

    from pybroker.webhook.body.signature import Signer

    now = int(time.time())
    signature = Signer([SECRET]).sign(id, now, body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return
    assert signature == Webhook(SECRET).sign(id, datetime.fromtimestamp(now, UTC), text)


def test_what_a_check_complains_of() -> None:
    from pybroker.webhook.body.signature import Signer

    headers = {
        "webhook-id": "1",
        "webhook-timestamp": "1000",
        "webhook-signature": Signer([SECRET]).sign("1", 1000, b"x"),
    }
    assert check([SECRET], headers, b"x", 1000) is None
    assert check([SECRET], headers, b"y", 1000) == "no signature fits the secret"
    assert check([OLD_SECRET], headers, b"x", 1000) == "no signature fits the secret"
    assert check([SECRET], headers, b"x", 2000) == "webhook-timestamp is 1000 s away from this machine's time"
    for stamp in ("x", "\N{SUPERSCRIPT TWO}"):
        wrong = {**headers, "webhook-timestamp": stamp}
        assert check([SECRET], wrong, b"x", 0) == "webhook-timestamp is not a number"
    for signature in ("v1,\N{SUPERSCRIPT TWO}", "v1,\udcff"):
        wrong = {**headers, "webhook-signature": signature}
        assert check([SECRET], wrong, b"x", 1000) == "no signature fits the secret"
    del headers["webhook-id"]
    assert check([SECRET], headers, b"x", 1000) == "the header webhook-id is missing"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!", "tea time"])
def test_a_secret_that_is_none(secret: str) -> None:
    with pytest.raises(SecretError, match="a secret must be whsec_ followed by base64"):
        key_of(secret)


def test_secrets_may_lack_padding_and_prefix() -> None:
    assert key_of("whsec_YWI=") == key_of("YWI") == b"ab"


def test_the_client_of_the_samples() -> None:
    assert CLIENT.client_id == "c311"
