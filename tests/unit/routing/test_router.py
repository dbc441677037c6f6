from __future__ import annotations

from dataclasses import dataclass
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_the_cache_of_routes_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MAX_ROUTE_BYTES", 1_000_000)
    router: Router[Receiver] = Router()
    for number in range(100):
        router.route(f"{number}" + "x" * 60_000)
        assert sum(map(len, router.routes)) <= 1_000_000
    router.subscribe(Receiver("a"), Subscription("#"))
    assert router.routes == {}


def test_topics_with_the_same_filters_share_a_route() -> None:
    router: Router[Receiver] = Router()
    for number in range(1000):
        router.subscribe(Receiver(str(number)), Subscription("t/+"))
    assert router.route("t/1") is router.route("t/2")
    assert router.route("u/1") is router.route("u/2")
    receiver = Receiver("a")
    router.subscribe(receiver, Subscription("t/2"))
    assert "a" in names(router, "t/2")
    assert "a" not in names(router, "t/1")
    router.unsubscribe(receiver, "t/2")
    assert "a" not in names(router, "t/2")


def test_a_new_wildcard_changes_no_other_route() -> None:
    router: Router[Receiver] = Router()
    router.subscribe(Receiver("a"), Subscription("#"))
    kept = router.route("a/b")
    router.route("z/b")
    router.subscribe(Receiver("b"), Subscription("z/+"))
    assert router.routes == {"a/b": kept}
    assert names(router, "z/b") == ["a", "b"]


def test_many_filters_of_one_session_cost_their_number() -> None:
    """Not its square: each was once copied for the next."""
    levels = "abcdefghijklmn"
    topic = "/".join(levels)

    def seconds(count: int) -> float:
        router: Router[Receiver] = Router()
        receiver = Receiver("a")
        for number in range(count):
            parts = ("+" if number >> place & 1 else level for place, level in enumerate(levels))
            router.subscribe(receiver, Subscription("/".join(parts)))
        best = 9.0
        for _ in range(5):
            router.forget_all_routes()
            began = process_time()
            (target,) = router.route(topic).targets
            best = min(best, process_time() - began)
        assert len(target.subscriptions) == count
        return best

    assert seconds(16_000) < 40 * seconds(1600)  # 12 times as long; with the copies 80 times


FILTERS = ["a/b", "a/+", "+/b", "#", "a/#", "c", "$share/g/a/b", "$share/g/#"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["subscribe", "unsubscribe", "route"]),
        st.integers(0, 2),
        st.sampled_from(FILTERS),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([1, 2, 64]), st.booleans())
def test_a_kept_route_is_the_one_that_would_be_made_anew(
    steps: list[tuple[str, int, str, int, bool]], few: int, screened: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(router_module, "FEW_CHANGES", few)
        patch.setattr(router_module, "MANY_SUBSCRIPTIONS", 2 if few == 2 else 0)
        router: Router[Receiver] = Router()
        receivers = [Receiver(name) for name in "abc"]
        if screened:
            router.screen(lambda session, topic: session.name != "b" or topic != "a/b")
        for what, who, topic_filter, qos, no_local in steps:
            if what == "subscribe":
                router.subscribe(receivers[who], Subscription(topic_filter, qos, no_local, identifier=who))
            elif what == "unsubscribe":
                router.unsubscribe(receivers[who], topic_filter)
            for topic in ("a/b", "a/c", "c") if what == "route" else ():
                assert shape(router, topic) == fresh_shape(router, topic)


def shape(router: Router[Receiver], topic: str) -> object:
    route = router.route(topic)
    targets = [
        (
            one.session.name,
            one.qos,
            one.no_local,
            sorted(one.identifiers),
            sorted(map(str, one.subscriptions)),
        )
        for one in route.targets
    ]
    groups = [
        (one.group.name, one.group.topic_filter, [m[0].name for m in one.members]) for one in route.groups
    ]
    return sorted(targets), sorted(groups)


def fresh_shape(router: Router[Receiver], topic: str) -> object:
    kept = router.routes.copy()
    outdated = router._outdated.copy()
    router.forget_all_routes()
    try:
        return shape(router, topic)
    finally:
        router.forget_all_routes()
        router.routes.update(kept)
        router._outdated.update(outdated)


def test_a_subscription_that_says_nothing_new_keeps_the_routes() -> None:
    router: Router[Receiver] = Router()
    a = Receiver("a")
    router.subscribe(a, Subscription("x/#", qos=1))
    route = router.route("x/1")
    router.subscribe(a, Subscription("x/#", qos=1))
    assert router.route("x/1") is route
    router.subscribe(a, Subscription("x/#", qos=0))
    assert router.route("x/1").targets[0].qos == 0


def test_one_more_subscription_does_not_visit_all_the_others() -> None:
    router: Router[Receiver] = Router()
    many, one = Receiver("many"), Receiver("one")
    for number in range(1000):
        name = "/".join("+" if number >> place & 1 else level for place, level in enumerate("abcdefghij"))
        router.subscribe(many, Subscription(name))
    topic = "a/b/c/d/e/f/g/h/i/j"
    whole = router.route(topic).targets[0]
    router.subscribe(one, Subscription("a/#"))
    others = {target.session.name: target for target in router.route(topic).targets}
    assert others.keys() == {"many", "one"}
    assert others["many"] is whole
    router.unsubscribe(one, "a/#")
    assert router.route(topic).targets == (whole,)


def test_what_nobody_asks_for_again_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MANY_SUBSCRIPTIONS", 0)
    router: Router[Receiver] = Router()
    for number in range(100):
        router.route(f"x/{number}")
        for name in range(100):
            router.subscribe(Receiver(str(name)), Subscription(f"x/{number}"))
    kept = [len(changes) for _, changes in router._outdated.values()]
    assert len(kept) <= router_module.FEW_CHANGES
    assert max(kept, default=0) <= router_module.FEW_CHANGES
    assert len(names(router, "x/7")) == 100


def test_changes_count_among_the_bytes_of_the_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MANY_SUBSCRIPTIONS", 0)
    monkeypatch.setattr(router_module, "MAX_ROUTE_BYTES", 100_000)
    router: Router[Receiver] = Router()
    topic = "x/" * 20_000
    router.route(topic)
    router.subscribe(Receiver("a"), Subscription(topic))
    router.subscribe(Receiver("b"), Subscription(topic))
    assert not router._outdated
    assert names(router, topic) == ["a", "b"]
