"""Enhanced authentication: section 4.12 of MQTT 5.0, and SCRAM-SHA-256 as a method of it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Any

import pytest

from pybroker.broker.config.settings import AuthSettings, JwtSettings, Settings
from pybroker.broker.engine.access import Credentials
from pybroker.broker.engine.auth_method import Accepted, Challenge, Exchange, Outcome, Rejected
from pybroker.broker.engine.scram import ScramSha256
from pybroker.broker.events import Client as Who
from pybroker.broker.packets.model import Auth, Connack, Disconnect, Pingreq, Pingresp
from pybroker.broker.packets.properties import Properties
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.parts.admission import Admission
from tests.harness import Broker, Client, connect_packet

mqtt = pytest.mark.mqtt
R = ReasonCode


class CountToThree:
    """A method for tests: the client must say one, two, three."""

    def __init__(self, credentials: Credentials) -> None:
        self.expected = [b"one", b"two", b"three"]

    def step(self, data: bytes | None) -> Outcome:
        if data != self.expected.pop(0):
            return Rejected(R.BAD_USER_NAME_OR_PASSWORD, "wrong number")
        return Challenge(b"and?") if self.expected else Accepted(b"well done", "counter")


class Later:
    """A method whose answer takes its time."""

    def __init__(self, credentials: Credentials) -> None:
        pass

    async def step(self, data: bytes | None) -> Outcome:
        await asyncio.sleep(0)
        return Accepted() if data == b"yes" else Challenge(b"sure?")


@pytest.fixture
def broker() -> Broker:
    broker = Broker()
    broker.engine.auth_methods |= {"COUNT": CountToThree, "LATER": Later}
    return broker


def auth(reason: ReasonCode, data: bytes | None, method: str = "COUNT") -> Auth:
    return Auth(reason, Properties(authentication_method=method, authentication_data=data))


def begin(broker: Broker, data: bytes = b"one", method: str = "COUNT", **options: Any) -> Client:
    client = broker.dial()
    client.send(connect_packet("c", authentication_method=method, authentication_data=data, **options))
    return client


def finish(client: Client) -> Connack:
    client.send(auth(R.CONTINUE_AUTHENTICATION, b"two"))
    client.next(Auth)
    client.send(auth(R.CONTINUE_AUTHENTICATION, b"three"))
    return client.next(Connack)


@mqtt("5.0:MQTT-4.12.0-2", "5.0:MQTT-4.12.0-3", "5.0:MQTT-4.12.0-5", "5.0:MQTT-3.2.0-1", "5.0:MQTT-3.15.2-1")
def test_a_conversation_ends_in_connack(broker: Broker) -> None:
    client = begin(broker)
    asked = client.next(Auth)
    assert asked == auth(R.CONTINUE_AUTHENTICATION, b"and?")
    connack = finish(client)
    assert connack.reason == R.SUCCESS
    assert connack.properties is not None
    assert connack.properties.authentication_method == "COUNT"
    assert connack.properties.authentication_data == b"well done"
    session = broker.engine.sessions.get("c")
    assert session is not None
    assert session.client.username == "counter"
    client.ping()


@mqtt("5.0:MQTT-4.12.0-4", "5.0:MQTT-3.1.4-2", "5.0:MQTT-4.13.2-1")
def test_a_wrong_answer_is_refused_with_connack(broker: Broker) -> None:
    client = begin(broker)
    client.next(Auth)
    client.send(auth(R.CONTINUE_AUTHENTICATION, b"five"))
    assert client.next(Connack).reason == R.BAD_USER_NAME_OR_PASSWORD
    client.closed()
    assert "c" not in broker.engine.sessions


@mqtt("5.0:MQTT-4.12.0-1", "5.0:MQTT-3.2.2-7")
def test_an_unknown_method_is_refused(broker: Broker) -> None:
    client = begin(broker, method="GUESS")
    assert client.next(Connack).reason == R.BAD_AUTHENTICATION_METHOD
    client.closed()


@mqtt("5.0:MQTT-3.1.2-30")
def test_nothing_but_auth_before_connack(broker: Broker) -> None:
    client = begin(broker)
    client.next(Auth)
    client.send(Pingreq())
    assert client.next(Connack).reason == R.PROTOCOL_ERROR
    client.closed()

    client = begin(broker)
    client.next(Auth)
    client.send_publish("t")
    assert client.next(Connack).reason == R.PROTOCOL_ERROR
    client.closed()
    assert broker.engine.counters.publish_received == 0


def test_disconnect_ends_the_conversation(broker: Broker) -> None:
    client = begin(broker)
    client.next(Auth)
    client.send(Disconnect())
    client.closed()
    assert broker.engine.channels == set()


@mqtt("5.0:MQTT-4.12.0-5")
def test_the_method_may_not_change(broker: Broker) -> None:
    client = begin(broker)
    client.next(Auth)
    client.send(auth(R.CONTINUE_AUTHENTICATION, b"two", "LATER"))
    assert client.next(Connack).reason == R.PROTOCOL_ERROR
    client.closed()


@mqtt("5.0:MQTT-4.12.0-6", "5.0:MQTT-4.12.0-7")
def test_auth_without_a_method(broker: Broker) -> None:
    client = broker.connect()
    assert client.connack is not None
    assert client.connack.properties is not None
    assert client.connack.properties.authentication_method is None
    client.send(auth(R.RE_AUTHENTICATE, b"one"))
    client.closed(R.PROTOCOL_ERROR)


def test_a_client_that_never_goes_on_is_closed(broker: Broker) -> None:
    client = begin(broker)
    client.next(Auth)
    broker.clock.advance(broker.engine.limits.connect_timeout)
    client.closed()


@mqtt("5.0:MQTT-4.12.1-1")
def test_re_authentication(broker: Broker) -> None:
    client = begin(broker)
    client.next(Auth)
    finish(client)
    client.send(auth(R.RE_AUTHENTICATE, b"one"))
    assert client.next(Auth).reason == R.CONTINUE_AUTHENTICATION
    client.ping()  # everything else goes on meanwhile
    client.send(auth(R.CONTINUE_AUTHENTICATION, b"two"))
    client.next(Auth)
    client.send(auth(R.CONTINUE_AUTHENTICATION, b"three"))
    assert client.next(Auth) == auth(R.SUCCESS, b"well done")
    client.ping()


@mqtt("5.0:MQTT-4.12.1-1")
def test_re_authentication_with_another_method(broker: Broker) -> None:
    client = begin(broker)
    client.next(Auth)
    finish(client)
    client.send(auth(R.RE_AUTHENTICATE, b"yes", "LATER"))
    client.closed(R.PROTOCOL_ERROR)


@mqtt("5.0:MQTT-4.12.1-2")
def test_re_authentication_that_fails(broker: Broker) -> None:
    client = begin(broker)
    client.next(Auth)
    finish(client)
    client.send(auth(R.RE_AUTHENTICATE, b"six"))
    client.closed(R.NOT_AUTHORIZED)


def test_an_answer_that_takes_its_time(broker: Broker) -> None:
    client = begin(broker, b"yes", "LATER")
    client.nothing()
    broker.answer()
    assert client.next(Connack).reason == R.SUCCESS
    client.send(auth(R.RE_AUTHENTICATE, b"maybe", "LATER"), Pingreq())
    broker.answer()
    assert client.next(Auth).reason == R.CONTINUE_AUTHENTICATION
    client.next(Pingresp)


# SCRAM-SHA-256

NONCE = "rOprNGfwEbeRWgbNEkqO"  # RFC 7677, section 3
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


def exchange(method: ScramSha256, username: str | None = None) -> Exchange:
    return method(Credentials(Who("c", username)))


def test_the_example_of_rfc_7677() -> None:
    method = ScramSha256({"user": "pencil"}, salt=lambda user: SALT, nonce=lambda: SERVER_NONCE)
    conversation = exchange(method)
    first = conversation.step(f"n,,n=user,r={NONCE}".encode())
    assert first == Challenge(f"r={NONCE}{SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode())
    final = f"c=biws,r={NONCE}{SERVER_NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert conversation.step(final.encode()) == Accepted(
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "user"
    )


def prove(password: str, bare: str, server_first: str) -> tuple[str, bytes]:
    """The client's side: its final message, and the signature it expects of the server."""
    fields = dict(part.split("=", 1) for part in server_first.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(fields["s"]), int(fields["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    without_proof = f"c=biws,r={fields['r']}"
    signed = f"{bare},{server_first},{without_proof}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
    return f"{without_proof},p={b64encode(proof).decode()}", b"v=" + b64encode(server)


def log_in(broker: Broker, username: str, password: str) -> tuple[Client, bytes]:
    bare = f"n={username},r=abc"
    client = begin(broker, f"n,,{bare}".encode(), "SCRAM-SHA-256")
    challenge = client.next(Auth).properties
    assert challenge is not None
    assert challenge.authentication_data is not None
    final, expected = prove(password, bare, challenge.authentication_data.decode())
    client.send(auth(R.CONTINUE_AUTHENTICATION, final.encode(), "SCRAM-SHA-256"))
    return client, expected


@pytest.fixture
def scram(broker: Broker) -> Broker:
    passwords = {"ann": "secret", "hash": "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA", "a,b": "x"}
    broker.engine.auth_methods["SCRAM-SHA-256"] = ScramSha256(passwords)
    return broker


def test_scram_lets_in_who_knows_the_password(scram: Broker) -> None:
    client, expected = log_in(scram, "ann", "secret")
    connack = client.next(Connack)
    assert connack.reason == R.SUCCESS
    assert connack.properties is not None
    assert connack.properties.authentication_data == expected
    client, _ = log_in(scram, "a=2Cb", "x")
    assert client.next(Connack).reason == R.SUCCESS


@pytest.mark.parametrize("who", [("ann", "guess"), ("nobody", "secret"), ("hash", "secret"), ("", "")])
def test_scram_refuses_everybody_else_alike(scram: Broker, who: tuple[str, str]) -> None:
    client, _ = log_in(scram, *who)
    assert client.next(Connack).reason == R.NOT_AUTHORIZED
    client.closed()


def test_scram_gives_an_unknown_user_the_same_salt_again(scram: Broker) -> None:
    method = scram.engine.auth_methods["SCRAM-SHA-256"]
    salts = {
        exchange(method).step(b"n,,n=nobody,r=x").data.split(b",")[1]  # type: ignore[union-attr]
        for _ in range(3)
    }
    assert len(salts) == 1


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"\xff",
        b"n",
        b"n,,",
        b"n,,n=ann",
        b"n,,r=x",
        b"p=tls-unique,,n=ann,r=x",
        b"n,a=bob,n=ann,r=x",
        b"n,,m=1,n=ann,r=x",
        b"n,,ann",
    ],
)
def test_scram_rejects_what_is_no_first_message(scram: Broker, first: bytes) -> None:
    outcome = exchange(scram.engine.auth_methods["SCRAM-SHA-256"]).step(first)
    assert isinstance(outcome, Rejected) or (first == b"" and outcome == Challenge())


@pytest.mark.parametrize(
    "final", [b"", b"c=biws,r=abc", b"c=biws,r=abc,p=", b"c=biws,r=abc,p=!!", b"c=eSws,r=abc,p=AAAA", b"\xff"]
)
def test_scram_rejects_what_is_no_final_message(scram: Broker, final: bytes) -> None:
    conversation = exchange(scram.engine.auth_methods["SCRAM-SHA-256"])
    assert isinstance(conversation.step(b"n,,n=ann,r=abc"), Challenge)
    assert isinstance(conversation.step(final), Rejected)


def test_scram_wants_the_user_of_connect(scram: Broker) -> None:
    method = scram.engine.auth_methods["SCRAM-SHA-256"]
    assert isinstance(exchange(method, "bob").step(b"n,,n=ann,r=x"), Rejected)
    assert isinstance(exchange(method, "ann").step(b"n,,n=ann,r=x"), Challenge)


async def test_the_users_of_the_configuration_may_use_scram(broker: Broker) -> None:
    auth_settings = AuthSettings(allow_anonymous=False, passwords={"ann": "secret"})
    Admission(broker.engine, Settings(auth=auth_settings), lambda settings: 0)
    client, expected = log_in(broker, "ann", "secret")
    connack = client.next(Connack)
    assert connack.reason == R.SUCCESS
    assert connack.properties is not None
    assert connack.properties.authentication_data == expected
    client.publish("t", qos=1)
    client, _ = log_in(broker, "ann", "guess")
    assert client.next(Connack).reason == R.NOT_AUTHORIZED


def test_scram_is_not_offered_where_others_decide_as_well(broker: Broker) -> None:
    jwt = JwtSettings(("HS256",), secret="s" * 32)
    auth_settings = AuthSettings(passwords={"ann": "secret"}, jwt=jwt)
    admission = Admission.__new__(Admission)
    admission._engine = broker.engine
    admission._offer_scram(Settings(auth=auth_settings))
    assert broker.engine.auth_methods == {}
    admission._offer_scram(Settings(auth=AuthSettings(passwords={"ann": "secret"})))
    assert set(broker.engine.auth_methods) == {"SCRAM-SHA-256"}
