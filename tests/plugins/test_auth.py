"""Authentication by amqtt's plugins: allow_anonymous, passwords, and plugins that somebody wrote."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from pybroker.broker import events
from pybroker.broker.config.settings import AuthSettings
from pybroker.broker.engine.access import Credentials
from pybroker.broker.packets.model import Connack
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.plugins import password_checks
from pybroker.broker.plugins.errors import PluginError
from tests.harness import Client, connect_packet
from tests.waiting import DEADLINE

from .samples import Recorder
from .support import SAMPLES, Hosted, settle

HASHER = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
ADA_HASH = HASHER.hash("secret")

IN = ReasonCode.SUCCESS
BAD = ReasonCode.BAD_USER_NAME_OR_PASSWORD
NOT = ReasonCode.NOT_AUTHORIZED


def reason_of(client: Client) -> ReasonCode:
    assert client.connack is not None
    return client.connack.reason


@pytest.mark.parametrize(
    ("anonymous", "passwords", "username", "password", "reason"),
    [
        # Nothing is configured: everybody may come in, whatever they show.
        (True, {}, None, None, IN),
        (True, {}, "ada", b"anything", IN),
        # A list of passwords, and anonymous clients beside it.
        (True, {"ada": "secret"}, None, None, IN),
        (True, {"ada": "secret"}, "ada", b"secret", IN),
        (True, {"ada": "secret"}, "ada", b"Secret", BAD),
        (True, {"ada": "secret"}, "ada", b"", BAD),
        (True, {"ada": "secret"}, "ada", None, BAD),
        (True, {"ada": "secret"}, "bob", b"secret", BAD),
        (True, {"ada": "secret"}, "", b"secret", BAD),
        # Nobody without a password.
        (False, {"ada": "secret"}, None, None, NOT),
        (False, {"ada": "secret"}, "ada", b"secret", IN),
        (False, {"ada": "secret"}, "ada", b"wrong", BAD),
        (False, {"ada": "secret"}, "bob", b"", BAD),
        # Nobody at all.
        (False, {}, None, None, NOT),
        (False, {}, "ada", b"secret", NOT),
        # Text beyond ASCII, bytes that are no text, and an empty password.
        (False, {"änne": "größe"}, "änne", "größe".encode(), IN),
        (False, {"ada": "secret"}, "ada", b"\xff\xfe", BAD),
        (False, {"ada": ""}, "ada", b"", IN),
        (False, {"ada": ""}, "bob", b"", BAD),
        # Hashes.
        (False, {"ada": ADA_HASH}, "ada", b"secret", IN),
        (False, {"ada": ADA_HASH}, "ada", b"wrong", BAD),
        (False, {"ada": ADA_HASH}, "ada", None, BAD),
        (False, {"ada": ADA_HASH}, "ada", ADA_HASH.encode(), BAD),
        (False, {"ada": ADA_HASH}, "bob", b"secret", BAD),
        (False, {"ada": ADA_HASH, "bob": "plain"}, "bob", b"plain", IN),
    ],
    ids=lambda value: (
        repr(value[:9]) if isinstance(value, bytes) else None
    ),  # a hash has another salt each time
)
async def test_allow_anonymous_and_passwords(
    anonymous: bool,
    passwords: dict[str, str],
    username: str | None,
    password: bytes | None,
    reason: ReasonCode,
) -> None:
    broker = Hosted(auth=AuthSettings(allow_anonymous=anonymous, passwords=passwords))

    client = await broker.join(username=username, password=password)

    assert reason_of(client) == reason
    assert client.is_closed == bool(reason)


async def test_plain_passwords_are_answered_without_a_task() -> None:
    broker = Hosted(auth=AuthSettings(allow_anonymous=True, passwords={"ada": "secret"}))

    answer = broker.engine.access.authenticate(Credentials(events.Client("c", "ada"), b"secret"))

    assert answer is ReasonCode.SUCCESS


async def test_hashes_are_compared_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def verify(self: Any, password: bytes, expected: bytes) -> bool:
        threads.append(threading.current_thread())
        return True

    monkeypatch.setattr(Argon2Hasher, "verify", verify)
    broker = Hosted(auth=AuthSettings(allow_anonymous=False, passwords={"ada": ADA_HASH}))

    for username in ("ada", "somebody else"):
        await broker.join(username=username, password=b"secret")

    assert len(threads) == 2, "an unknown user must take as long as a known one"
    assert threading.current_thread() not in threads


async def test_wrong_passwords_do_not_delay_right_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    hold, checked = threading.Event(), []

    def verify(self: Any, password: bytes, expected: bytes) -> bool:
        checked.append(password)
        return password == b"secret" or not hold.wait(DEADLINE)

    monkeypatch.setattr(Argon2Hasher, "verify", verify)
    broker = Hosted(auth=AuthSettings(allow_anonymous=False, passwords={"ada": ADA_HASH}))
    assert reason_of(await broker.join("1", username="ada", password=b"secret")) == IN
    try:
        for number in range(100):
            broker.dial().send(connect_packet(f"g{number}", username="ada", password=b"guess"))
        answer = broker.engine.access.authenticate(Credentials(events.Client("2", "ada"), b"secret"))
        assert answer is IN, "at once, without a thread"
    finally:
        hold.set()
    await settle()
    some = 1 + password_checks.MAX_FOR_A_USER
    assert checked == [b"secret", *[b"guess"] * some], "a wrong one is checked each time, where there is room"
    assert broker.engine.counters.refused["server_unavailable"] == 100 - some
    broker.host.reload(AuthSettings(passwords={"ada": HASHER.hash("another")}))
    assert reason_of(await broker.join("3", username="ada", password=b"secret")) == IN
    assert checked[-1] == b"secret", "what was right before a reload is checked again"


async def test_a_text_that_only_looks_like_a_hash_is_refused_by_name() -> None:
    with pytest.raises(PluginError, match="'ada' begins like an argon2 hash"):
        Hosted(auth=AuthSettings(passwords={"ada": "$argon2id$nonsense"}))


async def test_reload_changes_passwords_and_allow_anonymous() -> None:
    broker = Hosted(auth=AuthSettings(allow_anonymous=True, passwords={"ada": "old"}))
    assert reason_of(await broker.join()) == IN

    broker.host.reload(AuthSettings(allow_anonymous=False, passwords={"ada": "new"}))

    assert reason_of(await broker.join()) == NOT
    assert reason_of(await broker.join(username="ada", password=b"old")) == BAD
    assert reason_of(await broker.join(username="ada", password=b"new")) == IN


async def test_a_reload_with_a_bad_hash_changes_nothing() -> None:
    broker = Hosted(auth=AuthSettings(allow_anonymous=False, passwords={"ada": "old"}))

    with pytest.raises(PluginError, match="'ada'"):
        broker.host.reload(AuthSettings(allow_anonymous=True, passwords={"ada": "$argon2"}))

    assert reason_of(await broker.join(username="ada", password=b"old")) == IN
    assert reason_of(await broker.join()) == NOT


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    ("answers", "anonymous", "reason"),
    [
        ([True], False, IN),
        ([None], False, NOT),
        ([False], False, BAD),
        ([False], True, BAD),
        ([None], True, IN),
        ([True, None], False, IN),
        ([True, False], False, BAD),
        ([False, True], False, BAD),
        (["raise"], True, BAD),
        (["raise", True], True, BAD),
    ],
)
async def test_every_answer_must_be_yes_and_there_must_be_one(
    answers: list[Any], anonymous: bool, reason: ReasonCode, slow: bool, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [f"{SAMPLES}.Answers", f"{SAMPLES}.MoreAnswers"]
    plugins = {
        path: {"answers": {"ada": answer}, "slow": slow} for path, answer in zip(paths, answers, strict=False)
    }
    broker = Hosted(plugins, AuthSettings(allow_anonymous=anonymous))

    client = await broker.join(username="ada", password=b"x")

    assert reason_of(client) == reason
    assert ("authentication is broken" in caplog.text) == ("raise" in answers)


async def test_a_client_that_leaves_before_the_answer_is_forgotten() -> None:
    plugins = {f"{SAMPLES}.Answers": {"answers": {"": True}, "slow": True}, f"{SAMPLES}.Recorder": {}}
    broker = Hosted(plugins)
    client = broker.dial()
    client.send(connect_packet())
    client.drop()
    await settle()

    assert len(broker.engine.sessions) == 0
    assert broker.plugin(Recorder).names == []
    assert list(broker.host._views) == []
    assert broker.host._views._connections == {}


async def test_refused_clients_are_no_event_for_plugins() -> None:
    broker = Hosted({f"{SAMPLES}.Recorder": {}}, AuthSettings(allow_anonymous=False))

    await broker.join()

    assert broker.plugin(Recorder).names == []
    assert broker.host._views._connections == {}


async def test_what_a_plugin_notes_at_authentication_is_there_later() -> None:
    plugins = {
        f"{SAMPLES}.Answers": {"answers": {"ada": True}},
        f"{SAMPLES}.Recorder": {},
    }
    broker = Hosted(plugins)
    await broker.join("c", username="ada", password=b"x")
    await settle()

    [connected] = broker.plugin(Recorder).of("client_connected")
    assert connected["session"].attributes == {"samples.role": "role of ada"}
    assert connected["session"] is broker.host.sessions["c"][0]
    assert connected["session"].is_anonymous


async def test_a_password_makes_a_client_known() -> None:
    broker = Hosted({f"{SAMPLES}.Recorder": {}}, AuthSettings(passwords={"ada": "x"}))
    await broker.join("c", username="ada", password=b"x")
    await broker.join("d")

    assert broker.host.sessions["c"][0].is_anonymous is False
    assert broker.host.sessions["d"][0].is_anonymous is True


async def test_without_plugins_of_others_no_session_is_viewed() -> None:
    broker = Hosted(auth=AuthSettings(passwords={"ada": "x"}))
    await broker.join("c", username="ada", password=b"x")

    assert list(broker.host._views) == []
    assert broker.host._views._connections == {}
    assert broker.engine.hooks.client_connected == ()
    assert broker.engine.hooks.message_published == ()
    assert broker.engine.router.may_receive is None
    assert broker.engine.taps == ()


async def test_many_clients_at_once_wait_for_their_own_answer() -> None:
    broker = Hosted(auth=AuthSettings(allow_anonymous=False, passwords={"ada": ADA_HASH}))
    clients = [broker.dial() for _ in range(10)]
    for number, client in enumerate(clients):
        client.channel.peer = f"192.0.2.{number}:50000"  # too many failures of one are held back
        password = b"wrong" if number % 2 else b"secret"
        client.send(connect_packet(f"c{number}", username="ada", password=password))
    await settle()
    broker.clock.advance(9)  # failed logins are answered ever more slowly

    assert [client.next(Connack).reason for client in clients] == [IN, BAD] * 5
