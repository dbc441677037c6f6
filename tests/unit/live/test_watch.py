"""What `pybroker top` looks at, and how the terminal shows it."""

from __future__ import annotations

from rich.console import Console

from pybroker.broker.commands.top import screen
from pybroker.broker.live.watch import FORGOTTEN_AFTER, MAX_TOPICS, Watch
from tests.harness import Broker

ENDPOINT = {
    "name": "audit",
    "state": "ready",
    "succeeded": 3,
    "queued": 1,
    "in_flight": 0,
    "dead": 2,
    "dropped_full": 4,
    "dropped_expired": 0,
    "dropped_filtered": 0,
}


def test_a_look() -> None:
    broker = Broker()
    watch = Watch(broker.engine)
    watch.look()
    publisher = broker.connect("lamp", username="ann")
    broker.connect("away", clean_start=False, session_expiry_interval=60).subscribe("room/#", qos=1)
    for number in range(3):
        publisher.publish("room/light", f"on {number}".encode(), qos=1, retain=True)
    publisher.publish("raw", b"\xff\x00")
    publisher.publish("long", "ä".encode() * 100)
    look = watch.look()
    assert look["overview"]["messages_received"] == 5
    assert look["overview"]["retained"] == 1
    topics = {one["topic"]: one for one in look["topics"]}
    assert topics["room/light"] == {
        "topic": "room/light",
        "seen": 3,
        "qos": 1,
        "retain": True,
        "last": "on 2",
    }
    assert topics["raw"]["last"] == "ff 00"
    assert topics["long"]["last"] == "ä" * 32 + "..."
    assert [one["client"] for one in look["clients"]] == ["away", "lamp"], "what waits for most comes first"
    assert look["clients"][0]["inflight"] == 3


def test_it_stops_observing_soon_after_the_last_look() -> None:
    broker = Broker()
    watch = Watch(broker.engine)
    watch.look()
    assert broker.engine.hooks.message_published
    broker.clock.advance(FORGOTTEN_AFTER - 1)
    watch.look()
    broker.clock.advance(FORGOTTEN_AFTER - 1)
    assert broker.engine.hooks.message_published
    broker.clock.advance(1)
    assert not broker.engine.hooks.message_published
    assert not broker.engine.hooks.client_connected


def test_topics_are_bounded() -> None:
    broker = Broker()
    watch = Watch(broker.engine)
    publisher = broker.connect("p")
    for number in range(MAX_TOPICS + 100):
        if number % 25 == 0:
            watch.look()
            broker.clock.advance(1)
        publisher.publish(f"t/{number}", b"")
    watch.look()
    assert len(watch._topics) == MAX_TOPICS
    assert "t/0" not in watch._topics


def test_the_screen() -> None:
    broker = Broker()
    watch = Watch(broker.engine, lambda: [ENDPOINT])
    before = watch.look()
    broker.connect("[red]\x1b[2J").publish("a[bold]", b"\x1b]0;x")
    broker.clock.advance(2)
    console = Console(width=120, height=40, record=True, force_terminal=False)
    console.print(screen(before, watch.look()))
    shown = console.export_text()
    assert "clients 1" in shown
    assert "[red]\N{REPLACEMENT CHARACTER}[2J" in shown, "what clients call themselves is shown as it is"
    assert "\x1b" not in shown
    assert "audit" in shown
    assert "messages/s" in shown


def test_a_narrow_screen_has_whole_numbers() -> None:
    broker = Broker()
    watch = Watch(broker.engine, lambda: [ENDPOINT])
    before = watch.look()
    broker.connect("a-client-with-a-long-name-that-does-not-fit" * 2).publish("a/" * 60, b"x" * 60)
    console = Console(width=60, height=20, record=True, force_terminal=False)
    console.print(screen(before, watch.look(), console.height, console.width))
    shown = console.export_text()
    for head in ("in flight", "queued", "seen", "QoS", "waiting", "dropped"):
        assert head in shown
