"""`auth {}` as a whole: which configurations let whom in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from pybroker.broker.access.errors import AccessError
from pybroker.broker.clock import ManualClock
from pybroker.broker.config.settings import (
    AclRule,
    AuthSettings,
    HttpAuthSettings,
    HttpRequestSettings,
    JwtSettings,
    Settings,
)
from pybroker.broker.engine.access import Action, Credentials
from pybroker.broker.engine.engine import Engine
from pybroker.broker.events import Client
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.parts.admission import Admission
from pybroker.broker.plugins.errors import PluginError
from tests.unit.access.deciding_server import DecidingServer

SECRET = "a secret of more than thirty-two bytes"
BY_TOKEN = JwtSettings(("HS256",), SECRET)
OK, NO, WRONG = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED, ReasonCode.BAD_USER_NAME_OR_PASSWORD

NOBODY: tuple[str | None, bytes | None] = (None, None)
ANN = ("ann", b"secret")
ANN_WRONG = ("ann", b"guess")
ANN_SILENT = ("ann", None)
EVE = ("eve", b"secret")
ANN_TOKEN = ("ann", jwt.encode({"sub": "ann"}, SECRET).encode())
EVE_TOKEN = ("eve", ANN_TOKEN[1])
NAMELESS_TOKEN = (None, ANN_TOKEN[1])


@pytest.fixture
def admit() -> Callable[..., Admission]:
    def admit(auth: AuthSettings, **settings: Any) -> Admission:
        engine = Engine(ManualClock(), lambda *_: None)
        return Admission(engine, Settings(auth=auth, **settings), lambda _: 1883)

    return admit


async def settled(answer: Any) -> Any:
    return await answer if isinstance(answer, Awaitable) else answer


async def login(admission: Admission, who: tuple[str | None, bytes | None], **more: Any) -> ReasonCode:
    username, password = who
    credentials = Credentials(Client("c", username), password, **more)
    answer: ReasonCode = await settled(admission._engine.access.authenticate(credentials))
    return answer


USERS = {"ann": "secret"}
LOGINS: list[tuple[str, AuthSettings, dict[str, Any], dict[Any, ReasonCode]]] = [
    ("the defaults", AuthSettings(), {}, {NOBODY: OK, ANN: OK, EVE: OK}),
    ("nobody", AuthSettings(allow_anonymous=False), {}, {NOBODY: NO, ANN: NO}),
    (
        "users",
        AuthSettings(passwords=USERS),
        {},
        {NOBODY: OK, ANN: OK, ANN_WRONG: WRONG, ANN_SILENT: WRONG, EVE: WRONG},
    ),
    (
        "users only",
        AuthSettings(allow_anonymous=False, passwords=USERS),
        {},
        {NOBODY: NO, ANN: OK, ANN_WRONG: WRONG, EVE: WRONG},
    ),
    (
        "tokens",
        AuthSettings(jwt=BY_TOKEN),
        {},
        # allow_anonymous lets in who has no name, not who has one that nobody has checked.
        {
            NOBODY: OK,
            ANN_TOKEN: OK,
            EVE_TOKEN: WRONG,
            ANN: NO,
            EVE: NO,
            ANN_SILENT: NO,
            NAMELESS_TOKEN: WRONG,
        },
    ),
    (
        "tokens only",
        AuthSettings(allow_anonymous=False, jwt=BY_TOKEN),
        {},
        {NOBODY: NO, ANN_TOKEN: OK, EVE_TOKEN: WRONG, ANN: NO},
    ),
    (
        "users and tokens",
        AuthSettings(allow_anonymous=False, jwt=BY_TOKEN, passwords={"bob": "secret"}),
        {},
        {
            NOBODY: NO,
            ANN_TOKEN: OK,
            EVE_TOKEN: WRONG,
            ("bob", b"secret"): OK,
            ("bob", b"x"): WRONG,
            ANN: WRONG,
        },
    ),
]


@pytest.mark.parametrize(
    ("auth", "settings", "answers"), [row[1:] for row in LOGINS], ids=[row[0] for row in LOGINS]
)
async def test_who_is_let_in(
    admit: Callable[..., Admission],
    auth: AuthSettings,
    settings: dict[str, Any],
    answers: dict[Any, ReasonCode],
) -> None:
    admission = admit(auth, **settings)
    assert {who: await login(admission, who) for who in answers} == answers


async def test_a_certified_name_needs_no_password(admit: Callable[..., Admission]) -> None:
    for auth in (
        AuthSettings(allow_anonymous=False),
        AuthSettings(allow_anonymous=False, passwords={"bob": "x"}),
        AuthSettings(allow_anonymous=False, jwt=BY_TOKEN),
    ):
        admission = admit(auth)
        assert await login(admission, ANN_SILENT, proven=True) is OK
        assert await login(admission, ANN_SILENT) is not OK


HTTP = [
    # allow_anonymous, users, what the server says: who comes in
    (True, {}, 200, {NOBODY: OK, ANN: OK, EVE: OK}),
    (True, {}, 403, {NOBODY: NO, ANN: NO, EVE: NO}),
    (True, {}, 401, {NOBODY: WRONG, ANN: WRONG}),
    (True, {}, 500, {NOBODY: ReasonCode.SERVER_UNAVAILABLE, ANN: ReasonCode.SERVER_UNAVAILABLE}),
    (False, {}, 200, {NOBODY: NO, ANN: OK}),
    (False, USERS, 200, {NOBODY: NO, ANN: OK, ANN_WRONG: WRONG, EVE: WRONG}),
    (False, USERS, 403, {NOBODY: NO, ANN: NO, ANN_WRONG: WRONG}),
]


@pytest.mark.parametrize(("anonymous", "users", "status", "answers"), HTTP)
async def test_another_server_must_consent_too(
    admit: Callable[..., Admission],
    anonymous: bool,
    users: dict[str, str],
    status: int,
    answers: dict[Any, ReasonCode],
) -> None:
    async with DecidingServer(status) as server:
        http = HttpAuthSettings(HttpRequestSettings(server.url))
        admission = admit(AuthSettings(allow_anonymous=anonymous, passwords=users, http_auth=http))
        try:
            assert {who: await login(admission, who) for who in answers} == answers
        finally:
            await admission.access.close()


@pytest.mark.parametrize("status", [200, 403])
async def test_super_req_alone_lets_nobody_in_and_keeps_nobody_out(
    admit: Callable[..., Admission], status: int
) -> None:
    async with DecidingServer(status) as server:
        http = HttpAuthSettings(super_req=HttpRequestSettings(server.url))
        for auth, verdict in (
            (AuthSettings(http_auth=http), OK),
            (AuthSettings(allow_anonymous=False, http_auth=http), NO),
        ):
            admission = admit(auth)
            try:
                assert await login(admission, ANN) is verdict
            finally:
                await admission.access.close()


async def test_answers_about_topics_are_forgotten_in_time() -> None:
    clock = ManualClock()
    engine = Engine(clock, lambda *_: None)
    acl_req = HttpRequestSettings("http://127.0.0.1/")
    Admission(engine, Settings(auth=AuthSettings(http_auth=HttpAuthSettings(acl_req=acl_req))), lambda _: 0)
    settings = Settings(auth=AuthSettings(http_auth=HttpAuthSettings(acl_req=acl_req, cache_ttl=10.0)))
    generation = engine.access.generation
    clock.advance(100)
    assert engine.access.generation == generation, "without cache_ttl they hold as long as the connection"
    admission = Admission(engine, settings, lambda _: 0)
    generation = engine.access.generation
    clock.advance(35)
    assert engine.access.generation == generation + 3
    other = Settings()
    admission.use(other, admission.make_ready(other))
    generation = engine.access.generation
    clock.advance(35)
    assert engine.access.generation == generation


RULES = (AclRule("allow", topics=("file/#",)), AclRule("deny", topics=("secret/#",)))
TOPICS = [
    # rules, what the server says of acl_req (None: it is not asked), no_match, topic: the verdict
    (RULES, None, "deny", "file/a", True),
    (RULES, None, "deny", "secret/a", False),
    (RULES, None, "deny", "other", False),
    (RULES, None, "allow", "other", True),
    ((), 200, "deny", "other", True),
    ((), 403, "allow", "other", False),
    ((), 500, "allow", "other", None),
    (RULES, 200, "deny", "secret/a", False),
    (RULES, 403, "deny", "file/a", False),
    (RULES, 200, "deny", "file/a", True),
]


@pytest.mark.parametrize(("rules", "status", "no_match", "topic", "verdict"), TOPICS)
async def test_topics(
    admit: Callable[..., Admission],
    rules: tuple[AclRule, ...],
    status: int | None,
    no_match: str,
    topic: str,
    verdict: bool | None,
) -> None:
    async with DecidingServer(status or 200) as server:
        http = HttpAuthSettings(acl_req=HttpRequestSettings(server.url)) if status else None
        admission = admit(AuthSettings(acl=rules, no_match=no_match, http_auth=http))
        try:
            access = admission._engine.access
            assert await settled(access.authorize(Client("c"), topic, Action.PUBLISH)) is verdict
        finally:
            await admission.access.close()


def test_rules_may_be_off() -> None:
    engine = Engine(ManualClock(), lambda *_: None)
    Admission(engine, Settings(auth=AuthSettings(acl=RULES, acl_enable=False)), lambda _: 0)
    assert not engine.access.checks_topics


async def test_while_running_the_new_replaces_the_old(admit: Callable[..., Admission]) -> None:
    admission = admit(AuthSettings())
    assert await login(admission, EVE) is OK
    for auth, verdict in (
        (AuthSettings(allow_anonymous=False, passwords=USERS, no_match="deny"), WRONG),
        (AuthSettings(jwt=BY_TOKEN), NO),
        (AuthSettings(), OK),
    ):
        settings = Settings(auth=auth)
        before = admission.use(settings, admission.make_ready(settings))
        await before.close(finish=True)
        assert await login(admission, EVE) is verdict
        assert admission._engine.access.no_match is (auth.no_match == "allow")


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        (AuthSettings(passwords={"ann": "$argon2id$no"}), "auth.password: the password of user 'ann'"),
        (AuthSettings(jwt=JwtSettings(("RS256",), public_keyfile=Path("/nonexistent"))), "auth.jwt.public"),
    ],
)
async def test_what_cannot_be_used_is_told(
    admit: Callable[..., Admission], auth: AuthSettings, words: str
) -> None:
    with pytest.raises((AccessError, PluginError), match=words):
        admit(auth)
    admission = admit(AuthSettings())
    with pytest.raises(AccessError, match=words):
        admission.make_ready(Settings(auth=auth))
    assert await login(admission, EVE) is OK


async def test_an_event_loop_is_all_it_needs(admit: Callable[..., Admission]) -> None:
    admission = admit(AuthSettings(passwords=USERS))
    await admission.start()
    await admission.leave()
    await asyncio.wait_for(admission.stop(None), 10)


PLUGINS = "tests.plugins.samples"


@pytest.mark.parametrize(
    ("plugin", "answers"),
    [
        # One that is no authentication plugin, one that has no opinion of anybody here.
        (f"{PLUGINS}.Recorder", {NOBODY: OK, ANN: OK}),
        (f"{PLUGINS}.Answers", {NOBODY: OK, ANN: NO}),
    ],
)
async def test_no_opinion_of_a_plugin_does_not_make_a_name_good(
    admit: Callable[..., Admission], plugin: str, answers: dict[Any, ReasonCode]
) -> None:
    admission = admit(AuthSettings(), plugins={plugin: {}})
    assert {who: await login(admission, who) for who in answers} == answers
