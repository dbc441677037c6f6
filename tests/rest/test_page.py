"""The page in a real browser: Debian's chromium, driven by playwright."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pybroker.broker.app import App
from pybroker.broker.config import load
from pybroker.testing import TestBroker
from tests.integration.support import Endpoint
from tests.testing.support import paho_client

async_api = pytest.importorskip(
    "playwright.async_api", reason="playwright is not installed: pip install -e '.[browser]'"
)
if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)"),
]

DEADLINE = 15_000
"""Milliseconds after which a wait of the browser is given up."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWS = ("messages", "topics", "clients", "webhooks", "bridges", "publish", "faults", "overview")

Open = Callable[..., Awaitable["Page"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
def broker() -> Iterator[TestBroker]:
    with TestBroker(page=True, webhooks=["on_client_connected"]) as broker:
        yield broker


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, broker: TestBroker) -> AsyncIterator[Open]:
    """Opens a view of the page and waits until it is live; no error may show in its console."""
    errors: list[str] = []
    pages: list[Page] = []

    async def opened(view: str = "messages", url: str = "", **options: Any) -> Page:
        page = await browser.new_page(**options)
        pages.append(page)
        page.set_default_timeout(DEADLINE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if _is_error(line) else None)
        await page.goto(f"{url or broker.page_url}#{view}")
        await page.wait_for_selector("#status.good")
        return page

    yield opened
    for one in pages:
        await one.close()
    assert errors == []


def _is_error(line: Any) -> bool:
    """An answer of 400 or 404 is no fault of the page."""
    return line.type == "error" and not line.text.startswith("Failed to load resource")


async def test_messages_appear_and_are_shown_whole(page: Open, broker: TestBroker) -> None:
    found = await page()
    broker.publish("room/<b>kitchen</b>", '{"celsius": 21.5, "html": "<img src=x onerror=alert(1)>"}', qos=1)
    await found.get_by_role("button", name="room/<b>kitchen</b>").click()
    detail = found.get_by_label("The chosen message")
    await detail.get_by_text("celsius:").wait_for()
    assert "21.5" in await detail.inner_text()
    assert await found.locator("main img, main b").count() == 0, "what a device sent has become HTML"
    await detail.get_by_role("button", name="Hex").click()
    await detail.get_by_text("7b 22 63 65").wait_for()


async def test_binary_formats_are_read(page: Open, broker: TestBroker) -> None:
    found = await page()
    broker.publish("pack", bytes.fromhex("82a16101a162c3"))
    await found.get_by_role("button", name="pack").click()
    detail = found.get_by_label("The chosen message")
    await detail.get_by_role("button", name="MessagePack").wait_for()
    assert "b: true" in await detail.inner_text()
    broker.publish("cbor", bytes.fromhex("a2617901617afb3ff8000000000000"))
    await found.get_by_role("button", name="cbor").click()
    await detail.get_by_role("button", name="CBOR", exact=True).wait_for()
    assert "z: 1.5" in await detail.inner_text()


async def test_the_stream_can_be_filtered_paused_and_cleared(page: Open, broker: TestBroker) -> None:
    found = await page()
    rows = found.locator(".rows .row:not(.event)")
    await found.get_by_label("Topic filter").fill("wanted/#")
    async with found.expect_response(lambda response: "topic=wanted" in response.url):
        await found.get_by_role("button", name="Filter").click()
    broker.publish("other", "x")
    broker.publish("wanted/1", "x")
    await rows.first.wait_for()
    assert await rows.count() == 1
    await found.get_by_role("button", name="Pause").click()
    broker.publish("wanted/2", "x")
    await found.get_by_role("button", name="Go on").click()
    await found.get_by_role("button", name="wanted/2").wait_for()
    await found.get_by_role("button", name="Clear").click()
    assert await rows.count() == 0


@pytest.mark.parametrize("wrong", ["a#", "a/#/b", "a+/b"])
async def test_a_topic_filter_that_is_none(page: Open, wrong: str) -> None:
    found = await page()
    await found.get_by_label("Topic filter").fill(wrong)
    await found.keyboard.press("Enter")
    await found.get_by_role("alert").get_by_text("In a topic filter, ").wait_for()
    assert await found.locator("#status.good").count() == 1


async def test_publish_with_properties(page: Open, broker: TestBroker) -> None:
    found = await page("publish")
    await found.get_by_label("Topic", exact=True).fill("room/light")
    await found.get_by_label("Payload", exact=True).fill("on")
    await found.get_by_label("QoS").select_option("1")
    await found.get_by_label("Retain").check()
    await found.get_by_text("MQTT 5.0 properties").click()
    await found.get_by_label("Content type").fill("text/plain")
    await found.get_by_role("button", name="Add a user property").click()
    await found.get_by_label("Name of the user property").fill("unit")
    await found.get_by_label("Value of the user property").fill("none")
    await found.get_by_role("button", name="Publish", exact=True).click()
    message = await broker.aio.wait_for("room/light")
    assert (message.text, message.qos, message.retain) == ("on", 1, True)
    assert message.user_properties == (("unit", "none"),)
    assert broker.retained["room/light"].text == "on"


async def test_a_message_is_published_again(page: Open, broker: TestBroker) -> None:
    found = await page()
    broker.publish("a/b", "x", qos=2)
    await found.get_by_role("button", name="a/b").click()
    await found.get_by_role("button", name="Publish again").click()
    await found.get_by_role("button", name="Publish", exact=True).click()
    first, second = await broker.aio.wait_for("a/b", count=2, own=True)
    assert (first.text, first.qos) == (second.text, second.qos)


async def test_a_client_is_disconnected(page: Open, broker: TestBroker) -> None:
    with paho_client(broker, "lamp", wait=False) as client:
        client.reconnect_delay_set(60, 60)
        await broker.aio.wait_for_client("lamp")
        client.subscribe("lamp/#")
        await broker.aio.wait_for_packet("SUBACK", client="lamp")
        found = await page("clients")
        found.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
        await found.get_by_role("button", name="lamp", exact=True).click()
        await found.get_by_text("lamp/#").wait_for()
        await found.locator("#kick").click()
        await found.get_by_text("there is no client").wait_for()
        await broker.aio.wait_for_client("lamp", connected=False)


async def test_the_last_packets_of_a_client(page: Open, broker: TestBroker) -> None:
    with paho_client(broker, "lamp", wait=False) as client:
        await broker.aio.wait_for_client("lamp")
        found = await page("clients")
        await found.get_by_role("button", name="lamp", exact=True).click()
        packets = found.get_by_label("Last packets")
        await packets.get_by_text("Nothing has come or gone").wait_for()
        client.publish("room/<b>light</b>", "on", qos=1)
        await packets.get_by_text("room/<b>light</b> qos 1 id 1: on").wait_for()
        await packets.get_by_text("PUBACK").wait_for()


async def test_a_client_that_is_about_to_come(page: Open, broker: TestBroker) -> None:
    found = await page("clients")
    await found.get_by_label("Find a client").fill("lamp")
    async with found.expect_response(lambda response: "/clients/lamp/packets" in response.url):
        await found.keyboard.press("Enter")
    await found.get_by_text('there is no client "lamp"').wait_for()
    with paho_client(broker, "lamp", wait=False):
        await found.get_by_label("Last packets").get_by_text("CONNECT", exact=True).wait_for()
        await found.get_by_label("The chosen client").get_by_text("connected", exact=True).first.wait_for()


async def test_the_tree_of_topics(page: Open, broker: TestBroker) -> None:
    broker.publish("house/cellar/humidity", "71", retain=True)
    found = await page("topics")
    await found.get_by_role("button", name="house").click()
    await found.get_by_role("button", name="cellar").click()
    await found.get_by_role("button", name="humidity").click()
    for value in (72, 73):
        broker.publish("house/cellar/humidity", str(value), retain=True)
    await found.get_by_label("The chosen topic").locator("svg polyline").wait_for()
    await found.get_by_role("button", name="Delete the retained message").click()
    await found.get_by_role("button", name="Delete the retained message").wait_for(state="detached")
    assert "house/cellar/humidity" not in broker.retained


async def test_a_topic_among_many_is_found_and_shown_whole(page: Open, broker: TestBroker) -> None:
    for number in range(2100):  # more than one page of the list
        broker.publish(f"plant/{number}", "x", retain=True)
    payload = json.dumps({"text": "ä" * 200, "last": True}, ensure_ascii=False)
    broker.publish("zone/a/b", payload, retain=True, content_type="application/json")
    found = await page("topics")
    await found.get_by_text("2,104 levels").wait_for()
    await found.get_by_label("Topic contains").fill("zone")
    await found.get_by_text("1 topic of 2,104 levels.").wait_for()
    await found.get_by_role("button", name="zone/a/b").click()
    detail = found.get_by_label("The chosen topic")
    await detail.get_by_text("last:").wait_for()
    await detail.get_by_text("application/json").wait_for()
    await detail.get_by_text("before this page was opened").wait_for()
    await found.get_by_label("Topic contains").fill("nowhere")
    await found.get_by_text("No topic contains that.").wait_for()


async def test_the_chosen_form_of_a_payload_stays(page: Open, broker: TestBroker) -> None:
    found = await page()
    broker.publish("a", '{"x": 1}')
    broker.publish("b", '{"y": "' + "z" * 20_000 + '"}')
    detail = found.get_by_label("The chosen message")
    await found.get_by_role("button", name="Q0").last.click()
    await detail.get_by_text("x:").wait_for()
    assert await detail.get_by_role("button", name="Copy as mosquitto_pub").is_enabled()
    await detail.get_by_role("button", name="Hex").click()
    await found.keyboard.press("Tab")
    await found.get_by_role("button", name="Q0").last.focus()
    await found.keyboard.press("ArrowUp")
    await found.keyboard.press("Enter")
    await detail.get_by_text("Only the first 16 KiB are shown.").wait_for()
    assert await detail.get_by_role("button", name="Hex").get_attribute("aria-pressed") == "true"
    assert not await detail.get_by_role("button", name="Copy as mosquitto_pub").is_enabled()


async def test_a_restart_of_the_broker(page: Open, tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text('listeners.tcp.bind = "127.0.0.1:0"\nhttp_server { port = 0 }\n')
    settings = load(conf)
    app = App(settings)
    await app.start()
    url = app.rest.url
    assert url is not None
    try:
        found = await page("clients", url)
        await app.stop(0)
        await found.get_by_text("connection lost, trying again").wait_for()
        await found.wait_for_timeout(1500)
        assert await found.get_by_role("alert").is_hidden(), "what is asked again and again is no news"
        assert settings.http_server is not None
        app = App(replace(settings, http_server=replace(settings.http_server, port=app.rest.port)))
        await app.start()
        await found.wait_for_selector("#status.good")
        await found.get_by_text("No client is connected").wait_for()
        await found.close()
    finally:
        await app.stop(0)


async def test_a_page_too_many_gets_its_turn(page: Open, browser: Browser, tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text('listeners.tcp.bind = "127.0.0.1:0"\nhttp_server { port = 0, max_streams = 1 }\n')
    app = App(load(conf))
    await app.start()
    try:
        first = await page("messages", app.rest.url or "")
        second = await browser.new_page()
        second.set_default_timeout(DEADLINE)
        await second.goto(app.rest.url or "")
        await second.get_by_text("the broker refuses the stream, trying again").wait_for()
        await first.close()
        await second.wait_for_selector("#status.good")
        await second.close()
    finally:
        await app.stop(0)


async def test_without_faults_the_view_says_how_to_have_them(page: Open, tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text('listeners.tcp.bind = "127.0.0.1:0"\nhttp_server { port = 0 }\n')
    app = App(load(conf))
    await app.start()
    try:
        found = await page("faults", app.rest.url or "")
        await found.get_by_text("With a section faults { }").wait_for()
        await found.close()
    finally:
        await app.stop(0)


async def test_faults_are_put_in_force_and_lifted(page: Open, broker: TestBroker) -> None:
    found = await page("faults")
    await found.get_by_label("Action").select_option("drop")
    await found.get_by_label("packet", exact=True).fill("PUBACK")
    await found.get_by_role("button", name="Put in force").click()
    await found.get_by_role("button", name="Lift", exact=True).click()
    await found.get_by_text("Nothing goes wrong on purpose.").wait_for()
    await found.get_by_label("packet", exact=True).fill("SUBAK")
    await found.get_by_role("button", name="Put in force").click()
    await found.get_by_role("alert").get_by_text("SUBACK").wait_for()


async def test_a_form_is_made_once_however_often_it_is_asked_for(page: Open, broker: TestBroker) -> None:
    found = await page("overview")
    forms = """async () => {
        const { Faults } = await import("/faults.js");
        const view = new Faults({ every() {} });
        let made = 0;
        const build = view.build.bind(view);
        view.build = () => { made += 1; build(); };
        await Promise.all([view.shown(), view.shown(), view.shown()]);
        return made;
    }"""
    assert await found.evaluate(forms) == 1


async def test_webhooks_and_numbers(page: Open, broker: TestBroker) -> None:
    found = await page("webhooks")
    with paho_client(broker, "lamp", wait=False):
        await found.get_by_text("1 matched = 1 delivered").wait_for()
        await found.goto(f"{broker.page_url}#overview")
        await found.get_by_text("Messages a second").wait_for()
        await found.locator("svg.chart polyline").first.wait_for(state="attached")


async def test_deliveries_with_request_and_answer(page: Open, broker: TestBroker) -> None:
    found = await page("webhooks")
    await found.get_by_role("button", name="Last deliveries").click()
    last = found.get_by_label("Last deliveries of")
    await last.get_by_text("None yet.").wait_for()
    with paho_client(broker, "<b>lamp</b>", wait=False):
        await last.locator("summary", has_text="<b>lamp</b>").click()
        detail = last.locator(".exchange")
        await detail.get_by_text("content-type: application/json").wait_for()
        await detail.get_by_text("client_connected").first.wait_for()
        await detail.get_by_role("heading", name="Answer 200").wait_for()
    await found.get_by_role("button", name="Last deliveries").click()
    await last.wait_for(state="hidden")


async def test_dead_letters_and_event_pushers(page: Open, tmp_path: Path) -> None:
    endpoint = Endpoint()
    endpoint.status = 400
    conf = tmp_path / "nanomq.conf"
    wanted = "events = [{ event = on_message_publish, topic = t }]"
    conf.write_text(
        f"""
        listeners.tcp.bind = "127.0.0.1:0"
        http_server {{ port = 0 }}
        webhook.audit {{ url = "{endpoint.url}", spool.path = "{tmp_path}/spool", {wanted} }}
        event_pusher.log {{ backend = "mqtt-topic", topic = "log", {wanted} }}
        """
    )
    app = App(load(conf))
    await app.start()
    try:
        assert app.rest.url is not None
        found = await page("publish", app.rest.url)
        await found.get_by_label("Topic", exact=True).fill("t")
        await found.get_by_role("button", name="Publish", exact=True).click()
        await found.get_by_role("tab", name="Webhooks").click()
        await found.get_by_label("event pusher log").get_by_text("1 matched = 1 delivered").wait_for()
        audit = found.get_by_label("webhook audit", exact=True)
        await audit.get_by_text("1 given up").wait_for()
        await audit.get_by_role("button", name="Show dead letters").click()
        endpoint.status = 200
        await audit.get_by_role("button", name="Retry all").click()
        await found.get_by_role("alert").get_by_text("1 delivered, 0 failed").wait_for()
        await audit.get_by_text("There are no dead letters.").wait_for()
        await found.close()
    finally:
        await app.stop(0)
        endpoint.close()


async def test_bridges(page: Open, broker: TestBroker) -> None:
    with TestBroker() as remote:
        broker.bridge_to(
            remote,
            forwards=[{"local_topic": "out/#", "prefix": "edge/"}],
            subscription=[{"remote_topic": "in/#"}],
        )
        found = await page("bridges")
        card = found.get_by_label("bridge bridge")
        await card.get_by_text("connected").first.wait_for()
        await card.get_by_text("out/# as edge/the same topic").first.wait_for()
        await card.get_by_text("in/# as the same topic").first.wait_for()
        broker.publish("out/x", "1", qos=1)
        await card.get_by_text("1 message,").first.wait_for()
        await card.get_by_role("button", name="Switch off").click()
        await card.get_by_text("disabled").first.wait_for()
        broker.publish("out/x", "2", qos=1)
        await card.get_by_text("1 message not acknowledged there").first.wait_for()
        await card.get_by_role("button", name="Switch on").click()
        await card.get_by_text("0 messages not acknowledged there").first.wait_for()
        assert [one.text for one in remote.messages("edge/out/x")] == ["1", "2"]


async def test_a_flood_is_sampled_and_the_page_answers(page: Open, broker: TestBroker) -> None:
    found = await page()
    with paho_client(broker, "flood", wait=False) as client:
        for _ in range(5000):
            client.publish("flood", "x" * 60)
        client.publish("flood", "the last", qos=1).wait_for_publish()
    await found.get_by_text("left out").wait_for()
    await found.get_by_role("tab", name="Publish").click()
    await found.get_by_text("Publish a message").wait_for()
    assert await found.locator(".rows > li").count() == 0


async def test_the_keyboard_alone(page: Open, broker: TestBroker) -> None:
    found = await page()
    await found.locator("#tab-messages").focus()
    for view in VIEWS[1:]:
        await found.keyboard.press("ArrowRight")
        await found.wait_for_function("name => location.hash === '#' + name", arg=view)
    await found.wait_for_selector("#tab-overview[aria-selected=true]")


async def test_tab_enters_and_leaves_a_long_list(page: Open, broker: TestBroker) -> None:
    found = await page()
    for number in range(30):
        broker.publish(f"a/{number:02}", "x")
    await found.get_by_role("button", name="a/29").wait_for()
    await found.get_by_role("button", name="Clear").focus()
    await found.keyboard.press("Tab")
    await found.keyboard.press("ArrowDown")
    await found.keyboard.press("Enter")
    detail = found.get_by_label("The chosen message")
    await detail.get_by_role("heading", name="a/28").wait_for()
    await found.keyboard.press("Tab")
    assert await detail.get_by_role("button", name="Text").evaluate("it => it === document.activeElement")
    await found.goto(f"{broker.page_url}#topics")
    await found.get_by_label("Topic contains").focus()
    for key in ("Tab", "ArrowRight", "ArrowDown", "ArrowDown", "Enter"):
        await found.keyboard.press(key)
    detail = found.get_by_label("The chosen topic")
    await detail.get_by_role("heading", name="a/01").wait_for()
    await found.keyboard.press("Tab")
    assert await detail.get_by_role("button", name="Text").evaluate("it => it === document.activeElement")


async def test_on_a_phone_what_is_chosen_comes_into_view(page: Open, broker: TestBroker) -> None:
    found = await page(viewport={"width": 390, "height": 800})
    for number in range(40):
        broker.publish(f"a/{number:02}", "x")
    await found.get_by_role("button", name="a/39").wait_for()
    await found.get_by_role("button", name="a/20").click()
    await found.get_by_label("The chosen message").get_by_role("heading", name="a/20").wait_for()
    inside = """() => {
        const place = document.querySelector("#view-messages aside").getBoundingClientRect();
        return place.top >= 0 && place.bottom <= innerHeight;
    }"""
    await found.wait_for_function(inside)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_accessibility(page: Open, broker: TestBroker, scheme: str, width: int, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.async_playwright", reason="axe-playwright-python")
    broker.publish("a/b", '{"x": 1}', retain=True)
    found = await page(color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    with paho_client(broker, "lamp", wait=False):
        for view in VIEWS:
            await found.goto(f"{broker.page_url}#{view}")
            await found.wait_for_selector(f"#view-{view}")
            broker.publish("a/c", "y")
            if view == "clients":
                await found.get_by_role("button", name="lamp", exact=True).click()
                await found.get_by_text("Nothing has come or gone").wait_for()
            if view == "webhooks":
                await found.get_by_role("button", name="Last deliveries").click()
                await found.get_by_text("None yet.").wait_for()
                with paho_client(broker, "other", wait=False):
                    await found.locator(".delivery > summary").click()
            results = await axe.Axe().run(found)
            assert results.violations_count == 0, f"{view}: {results.generate_report()}"
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await found.evaluate(overflow) <= 0, f"{view} is wider than the window"


@pytest.mark.slow
async def test_the_picture_of_the_readme_is_made(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "screenshot"
    picture = tmp_path / "page.png"
    process = await asyncio.create_subprocess_exec(sys.executable, script, "--output", picture)
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
