from __future__ import annotations

from dataclasses import dataclass

import pytest

from pybroker.broker.routing import router as router_module
from pybroker.broker.routing.router import Router
from pybroker.broker.routing.subscription import Subscription


@dataclass(eq=False)
class Receiver:
    name: str
    connected: bool = True


def names(router: Router[Receiver], topic: str) -> list[str]:
    return sorted(target.session.name for target in router.route(topic).targets)


def test_a_route_follows_the_subscriptions() -> None:
    router: Router[Receiver] = Router()
    a, b = Receiver("a"), Receiver("b")
    router.subscribe(a, Subscription("x/+"))
    assert names(router, "x/1") == ["a"]
    router.subscribe(b, Subscription("x/1"))
    assert names(router, "x/1") == ["a", "b"]
    router.subscribe(b, Subscription("#"))
    assert names(router, "y") == ["b"]
    assert len(router) == 3
    assert router.unsubscribe(a, "x/+")
    assert not router.unsubscribe(a, "x/+")
    assert names(router, "x/1") == ["b"]


def test_overlapping_subscriptions_make_one_target() -> None:
    router: Router[Receiver] = Router()
    a = Receiver("a")
    router.subscribe(a, Subscription("x/#", qos=0, no_local=True, identifier=1))
    router.subscribe(a, Subscription("x/1", qos=2, retain_as_published=True, identifier=7))
    (target,) = router.route("x/1").targets
    assert target.qos == 2
    assert target.retain_as_published
    assert sorted(target.identifiers) == [1, 7]


def test_a_shared_group_takes_turns_and_prefers_who_is_there() -> None:
    router: Router[Receiver] = Router()
    a, b = Receiver("a"), Receiver("b")
    for receiver in (a, b):
        router.subscribe(receiver, Subscription("$share/g/x", qos=1))
    (group,) = router.route("x").groups

    def picked() -> str | None:
        chosen = group.pick(1)
        return chosen[0].name if chosen else None

    assert [picked() for _ in range(4)] == ["a", "b", "a", "b"]
    a.connected = False
    assert [picked() for _ in range(3)] == ["b", "b", "b"]
    b.connected = False
    assert {picked() for _ in range(4)} == {"a", "b"}
    assert group.pick(1, besides=a)[0] is b  # type: ignore[index]
    router.unsubscribe(a, "$share/g/x")
    router.unsubscribe(b, "$share/g/x")
    assert router.route("x").groups == ()
    assert len(router) == 0


def test_an_offline_member_of_qos_0_gets_nothing() -> None:
    router: Router[Receiver] = Router()
    router.subscribe(Receiver("a", connected=False), Subscription("$share/g/x", qos=0))
    (group,) = router.route("x").groups
    assert group.pick(1) is None


def test_the_cache_of_routes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MAX_ROUTES", 100)
    router: Router[Receiver] = Router()
    router.subscribe(Receiver("a"), Subscription("#"))
    for number in range(1000):
        assert names(router, f"t/{number}") == ["a"]
        assert len(router.routes) <= 100
