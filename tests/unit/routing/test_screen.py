"""Leaving out of a route who may not receive its topic."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

import pytest

from pybroker.broker.routing.router import Router, UnansweredError
from pybroker.broker.routing.subscription import Subscription


@dataclass(eq=False)
class Member:
    name: str
    connected: bool = True


def receivers(router: Router[Member], topic: str) -> list[str]:
    return [target.session.name for target in router.route(topic).targets]


def test_who_may_not_receive_is_left_out_of_the_route() -> None:
    router: Router[Member] = Router()
    for name in ("ada", "bob"):
        router.subscribe(Member(name), Subscription("a/+"))

    router.screen(lambda session, topic: session.name == "bob" or topic == "a/open")

    assert receivers(router, "a/secret") == ["bob"]
    assert receivers(router, "a/open") == ["ada", "bob"]


def test_screening_again_forgets_the_routes() -> None:
    router: Router[Member] = Router()
    router.subscribe(Member("ada"), Subscription("a"))
    assert receivers(router, "a") == ["ada"]

    router.screen(lambda session, topic: False)
    assert receivers(router, "a") == []

    router.screen(None)
    assert receivers(router, "a") == ["ada"]


def test_a_shared_subscription_goes_to_a_member_that_may_receive() -> None:
    router: Router[Member] = Router()
    members = [Member("ada"), Member("bob"), Member("cyd")]
    for member in members[:2]:
        router.subscribe(member, Subscription("$share/g/a", 1))
    router.screen(lambda session, topic: session.name == "bob")
    router.subscribe(members[2], Subscription("$share/h/a", 1))

    (share,) = router.route("a").groups

    picked = [share.pick(1), share.pick(1)]
    assert [chosen and chosen[0].name for chosen in picked] == ["bob", "bob"]
    # Of the other group nobody may receive it.
    assert [member.name for member, _ in share.members] == ["bob"]


async def test_answers_that_take_their_time_are_told_of_until_they_are_there() -> None:
    router: Router[Member] = Router()
    router.subscribe(Member("ada"), Subscription("a"))
    router.subscribe(Member("bob"), Subscription("$share/g/a"))
    answers: dict[str, asyncio.Future[bool]] = {}

    def may_receive(session: Member, topic: str) -> bool | Awaitable[bool]:
        answer = answers.setdefault(session.name, asyncio.get_running_loop().create_future())
        return answer.result() if answer.done() else answer

    router.screen(may_receive)
    with pytest.raises(UnansweredError) as unanswered:
        router.route("a")
    assert set(answers) == {"ada", "bob"}
    assert set(unanswered.value.answers) == set(answers.values())

    for answer in answers.values():
        answer.set_result(True)
    assert receivers(router, "a") == ["ada"]
