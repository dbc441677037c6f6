"""FCM and APNs without a MongoosePush between, held against servers that speak their protocols."""

from __future__ import annotations

import dataclasses
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import trustme

from pybroker.broker import events
from pybroker.broker.outgoing.http import Answer
from pybroker.webhook import Sink, WebhookSettings
from pybroker.webhook.backend import Verdict
from pybroker.webhook.push.registration import Registration
from pybroker.webhook.settings import SettingsError
from tests.waiting import until

from .push_services import Apns, Fcm, Service
from .support import drained, pushers

pytest.importorskip("httpx", reason='pip install "pybroker[push]"')

QUICK = "retry { first = 5ms, max = 20ms }, cancel_timeout = 60s, throttle = 0"
PHONE = events.Client("phone")


class Audience:
    """One client that is away."""

    def __init__(self, *devices: Registration) -> None:
        self.registered = list(devices)

    def devices(self, client: str) -> Sequence[Registration]:
        return self.registered if client == "phone" else ()

    def away(self, client: str) -> bool:
        return True

    def waiting(self, client: str) -> int:
        return 3

    async def forget(self, device: Registration) -> None:
        self.registered.remove(device)


def queued(payload: str = "open", topic: str = "doors/1") -> events.MessageQueued:
    return events.MessageQueued(
        at=4e9,
        topic=topic,
        payload=payload.encode(),
        qos=1,
        retain=False,
        publisher=events.Client("door"),
        client=PHONE,
    )


def android(**more) -> Registration:
    return Registration("phone", "fcm", "android-1", at=1000.0, **more)


def apple(**more) -> Registration:
    return Registration("phone", "apns", "apple-1", at=1000.0, topic="org.example.doors", **more)


@pytest.fixture
async def fcm() -> AsyncIterator[Fcm]:
    service = Fcm()
    await service.start()
    yield service
    await service.stop()
    assert not service.wrong


@pytest.fixture
async def apns(tmp_path: Path) -> AsyncIterator[Apns]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    service = Apns(context)
    await service.start()
    yield service
    await service.stop()
    assert not service.wrong


def of_fcm(service: Fcm, directory: Path, more: str = "") -> WebhookSettings:
    (directory / "account.json").write_text(service.credentials())
    keys = f'fcm {{ credentials = "{directory}/account.json", url = "{service.url}" }}'
    (found,) = pushers(directory, f"push {{ {keys}, {QUICK}, {more} }}")
    return found


def of_apns(service: Apns, directory: Path, more: str = "") -> WebhookSettings:
    (directory / "key.p8").write_text(service.keyfile())
    keys = f'apns {{ keyfile = "{directory}/key.p8", key_id = KEY, team_id = TEAM, url = "{service.url}" }}'
    tls = f'tls.cacertfile = "{directory}/ca.pem"'
    (found,) = pushers(directory, f"push {{ {keys}, {tls}, {QUICK}, {more} }}")
    return found


async def pushed(start, settings: WebhookSettings, audience: Audience, *sent: events.Event) -> Sink:
    sink = await start(settings, audience=audience)
    for event in sent:
        sink.offer(event)
    await drained(sink)
    return sink


# ---- FCM


async def test_fcm_is_sent_what_it_documents(start, fcm, tmp_path) -> None:
    settings = of_fcm(fcm, tmp_path, 'time_to_live = 90s, alert { badge = "{waiting}", sound = ping }')
    await pushed(start, settings, Audience(android()), queued())
    assert fcm.taken == [
        {
            "device": "android-1",
            "token": "android-1",
            "data": {"topic": "doors/1"},
            "notification": {"title": "doors/1", "body": "open"},
            "android": {
                "priority": "high",
                "ttl": "90s",
                "collapse_key": "doors/1",
                "notification": {"tag": "doors/1", "sound": "ping", "notification_count": 3},
            },
        }
    ]


async def test_fcm_is_asked_for_one_token(start, fcm, tmp_path) -> None:
    sent = [queued(topic=f"doors/{number}") for number in range(50)]
    await pushed(start, of_fcm(fcm, tmp_path), Audience(android(silent=True)), *sent)
    assert len(fcm.tokens) == 1
    assert len(fcm.taken) == 50
    assert "notification" not in fcm.taken[0]


async def test_fcm_refuses_a_token_before_its_expiry(start, fcm, tmp_path) -> None:
    sink = await pushed(start, of_fcm(fcm, tmp_path), Audience(android()), queued())
    fcm.tokens.append("another")  # revoked
    sink.offer(queued())
    assert (await drained(sink)).succeeded == 2
    assert len(fcm.tokens) == 3


async def test_credentials_that_fcm_does_not_take(start, fcm, tmp_path, caplog) -> None:
    """They may be mended: nothing is lost meanwhile, and the key is in no log."""
    fcm.token_status = 400
    sink = await start(of_fcm(fcm, tmp_path), audience=Audience(android()))
    sink.offer(queued())
    await until(lambda: "no access token: invalid_grant" in sink.stats()[0].last_failure)
    fcm.token_status = 200
    assert (await drained(sink)).succeeded == 1
    assert "PRIVATE KEY" not in caplog.text
    assert "secret-token" not in caplog.text


@pytest.mark.parametrize(
    ("status", "code", "fate", "left"),
    [
        (404, "UNREGISTERED", "dead", 0),
        (400, "INVALID_ARGUMENT", "dead", 1),
        (403, "SENDER_ID_MISMATCH", "dead", 1),
        (403, "PERMISSION_DENIED", "again", 1),
        (401, "THIRD_PARTY_AUTH_ERROR", "again", 1),
        (500, "INTERNAL", "again", 1),
        (503, "UNAVAILABLE", "again", 1),
    ],
)
async def test_what_fcm_answers(start, fcm, tmp_path, status, code, fate, left) -> None:
    fcm.says["android-1"] = [Fcm.error(status, code)]
    audience = Audience(android())
    sink = await pushed(start, of_fcm(fcm, tmp_path), audience, queued())
    stats = sink.stats()[0]
    assert (stats.dead, stats.succeeded) == ((1, 0) if fate == "dead" else (0, 1))
    assert len(audience.registered) == left


async def test_a_device_whose_token_fcm_cannot_read_is_forgotten(start, fcm, tmp_path) -> None:
    status, said = Fcm.error(400, "INVALID_ARGUMENT")
    said["error"]["message"] = "The registration token is not a valid FCM registration token"
    fcm.says["android-1"] = [(status, said)]
    audience = Audience(android())
    sink = await pushed(start, of_fcm(fcm, tmp_path), audience, queued())
    assert sink.stats()[0].dead == 1
    assert audience.registered == []


async def test_another_field_that_fcm_cannot_read_forgets_no_device(start, fcm, tmp_path) -> None:
    violation = {"field": "message.token", "description": "a registration token"}
    error = {"code": 400, "status": "INVALID_ARGUMENT", "message": "Invalid value: registration token"}
    fcm.says["android-1"] = [(400, {"error": {**error, "details": [{"fieldViolations": [violation]}]}})]
    audience = Audience(android())
    await pushed(start, of_fcm(fcm, tmp_path), audience, queued())
    assert len(audience.registered) == 1


async def test_what_apple_refuses_asks_for_no_other_token(start, fcm, tmp_path) -> None:
    fcm.says["android-1"] = [Fcm.error(401, "THIRD_PARTY_AUTH_ERROR")] * 3
    sink = await pushed(start, of_fcm(fcm, tmp_path), Audience(android()), queued())
    assert sink.stats()[0].succeeded == 1
    assert len(fcm.tokens) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("no", "is not JSON"),
        ("{}", 'has no "project_id"'),
        (
            '{"project_id": "p", "client_email": "e", "token_uri": "u", "private_key": "secret"}',
            "private_key cannot be used",
        ),
    ],
)
def test_a_service_account_that_cannot_be_used(tmp_path, content, said) -> None:
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as raised:
        Sink(pushers(tmp_path, f'push {{ fcm.credentials = "{path}" }}'))
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


# ---- APNs


async def test_apns_is_sent_what_it_documents(start, apns, tmp_path) -> None:
    settings = of_apns(apns, tmp_path, 'alert { badge = 7, click_action = OPEN }, collapse_key = "töpic"')
    await pushed(start, settings, Audience(apple(mutable_content=True)), queued())
    (taken,) = apns.taken
    assert taken["aps"] == {
        "alert": {"title": "doors/1", "body": "open"},
        "badge": 7,
        "category": "OPEN",
        "mutable-content": 1,
    }
    assert taken["topic"] == "doors/1"
    head = taken["head"]
    assert head["apns-push-type"] == "alert"
    assert head["apns-priority"] == "10"
    assert head["apns-collapse-id"] == "t%C3%B6pic"
    assert "apns-expiration" not in head


async def test_apns_background(start, apns, tmp_path) -> None:
    settings = of_apns(apns, tmp_path, "time_to_live = 0")
    await pushed(start, settings, Audience(apple(silent=True)), queued())
    (taken,) = apns.taken
    assert taken["aps"] == {"content-available": 1}
    assert taken["head"]["apns-expiration"] == "0"


async def test_apns_many_over_one_connection_and_token(start, apns, tmp_path) -> None:
    sent = [queued(topic=f"doors/{number}") for number in range(200)]
    await pushed(start, of_apns(apns, tmp_path, ""), Audience(apple()), *sent)
    assert len(apns.taken) == 200
    assert (apns.connections, len(apns.tokens)) == (1, 1)


async def test_apns_hangs_up(start, apns, tmp_path) -> None:
    sink = await pushed(start, of_apns(apns, tmp_path), Audience(apple()), queued())
    apns.hang_up()
    sink.offer(queued(topic="doors/2"))
    assert (await drained(sink)).succeeded == 2


@pytest.mark.parametrize(
    ("status", "said", "fate", "left"),
    [
        (410, {"reason": "Unregistered", "timestamp": 2_000_000}, "dead", 0),
        (410, {"reason": "Unregistered", "timestamp": 500_000}, "dead", 1),  # it has come again since
        (410, {"reason": "ExpiredToken", "timestamp": 2_000_000}, "dead", 0),
        (400, {"reason": "BadDeviceToken"}, "dead", 0),
        (400, {"reason": "DeviceTokenNotForTopic"}, "dead", 1),
        (413, {"reason": "PayloadTooLarge"}, "dead", 1),
        (403, {"reason": "ExpiredProviderToken"}, "again", 1),
        (403, {"reason": "InvalidProviderToken"}, "again", 1),
        (403, {"reason": "BadEnvironmentKeyInToken"}, "again", 1),
        (403, {"reason": "Forbidden"}, "dead", 1),
        (429, {"reason": "TooManyProviderTokenUpdates"}, "again", 1),
        (429, {"reason": "TooManyRequests"}, "again", 1),
        (500, {}, "again", 1),
        (503, {"reason": "ServiceUnavailable"}, "again", 1),
    ],
)
async def test_what_apns_answers(start, apns, tmp_path, status, said, fate, left) -> None:
    apns.says["apple-1"] = [(status, said)]
    audience = Audience(apple())
    sink = await pushed(start, of_apns(apns, tmp_path), audience, queued())
    stats = sink.stats()[0]
    assert (stats.dead, stats.succeeded) == ((1, 0) if fate == "dead" else (0, 1))
    assert len(audience.registered) == left


async def test_a_wrong_mode_forgets_no_device(start, apns, tmp_path, caplog) -> None:
    """Apple calls a token of the other environment bad, as it does one that is none."""
    apns.says["0aF9"] = [(400, {"reason": "BadDeviceToken"})]
    audience = Audience(dataclasses.replace(apple(), device_id="0aF9"))
    sink = await pushed(start, of_apns(apns, tmp_path), audience, queued())
    assert sink.stats()[0].dead == 1
    assert "prod or dev" in caplog.text
    assert len(audience.registered) == 1


async def test_a_token_that_apns_calls_expired_is_not_made_anew_at_once(start, apns, tmp_path) -> None:
    """That happens where the clock is wrong; Apple refuses more than one token in 20 minutes."""
    apns.says["apple-1"] = [(403, {"reason": "ExpiredProviderToken"})] * 5
    sink = await pushed(start, of_apns(apns, tmp_path), Audience(apple()), queued())
    assert sink.stats()[0].succeeded == 1
    assert len(apns.tokens) == 1


async def test_apns_with_a_certificate_that_is_not_trusted(start, apns, tmp_path) -> None:
    settings = of_apns(apns, tmp_path)
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    sink = await start(settings, audience=Audience(apple()))
    sink.offer(queued())
    await until(lambda: "certificate" in sink.stats()[0].last_failure.lower())


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("keyfile = KEY", "apns.key_id is missing"),
        ("keyfile = KEY, key_id = K, team_id = T", "cannot be used; it is the .p8 file"),
        ('keyfile = "/nowhere", key_id = K, team_id = T', "No such file"),
    ],
)
def test_a_key_that_cannot_be_used(tmp_path, keys, said) -> None:
    (tmp_path / "key").write_text("secret")
    keys = keys.replace("= KEY", f'= "{tmp_path}/key"')
    with pytest.raises(SettingsError) as raised:
        Sink(pushers(tmp_path, f"push {{ apns {{ {keys} }} }}"))
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


# ---- both


async def test_each_device_by_its_service(start, fcm, apns, tmp_path) -> None:
    one, two = of_fcm(fcm, tmp_path), of_apns(apns, tmp_path)
    (tmp_path / "both").mkdir()
    text = f"""push {{ {QUICK}, tls.cacertfile = "{tmp_path}/ca.pem"
        fcm {{ credentials = "{tmp_path}/account.json", url = "{fcm.url}" }}
        apns {{ keyfile = "{tmp_path}/key.p8", key_id = KEY, team_id = TEAM, url = "{apns.url}" }} }}"""
    (both,) = pushers(tmp_path / "both", text)
    assert (one.backend, two.backend) == ("push", "push")
    sink = await pushed(start, both, Audience(android(), apple()), queued())
    services: list[Service] = [fcm, apns]
    assert [len(service.taken) for service in services] == [1, 1]
    assert sink.stats()[0].succeeded == 1


async def test_a_service_that_is_not_configured(start, fcm, tmp_path) -> None:
    sink = await pushed(start, of_fcm(fcm, tmp_path), Audience(apple()), queued())
    assert sink.stats()[0].dead == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("push { }", "url is missing: that of MongoosePush"),
        ('push { url = "http://h", order = client }', "order = client is not possible"),
        (
            'push { url = "http://h", events = [{ event = on_client_connected }] }',
            "on_client_connected cannot be pushed",
        ),
        ('push { url = "ftp://h" }', "does not begin with http://HOST or https://HOST"),
        ('push { url = ["http://a", "http://b"] }', "url must be one"),
        ('push { url = "http://h", data.aps = x }', "APNs or FCM keep that name"),
    ],
)
def test_settings_that_cannot_work(tmp_path, text, said) -> None:
    with pytest.raises(SettingsError) as raised:
        Sink(pushers(tmp_path, text))
    assert said in str(raised.value)


def test_a_library_that_is_missing(fcm_file: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        "pybroker.webhook.backends.push.find_spec", lambda name: None if name == "h2" else object()
    )
    with pytest.raises(SettingsError, match=r"needs the package h2; .*pip install \"pybroker\[push\]\""):
        Sink(pushers(tmp_path, f'push {{ fcm.credentials = "{fcm_file}" }}'))


@pytest.fixture
def fcm_file(tmp_path: Path) -> Path:
    path = tmp_path / "account.json"
    path.write_text(json.dumps({}))
    return path


@pytest.mark.parametrize(("header", "seconds"), [({}, 60.0), ({"retry-after": "7"}, 7.0)])
def test_a_quota_that_is_used_up_is_waited_for(header, seconds) -> None:
    from pybroker.webhook.push.fcm import outcome as fcm_outcome

    found = fcm_outcome(Answer(429, header, b"{}"), now=0.0)
    assert (found.verdict, found.after) == (Verdict.RETRY, seconds)
