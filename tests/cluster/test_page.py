"""The page of a broker of several processes, in a real browser."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from ..integration.clients import connected
from ..integration.support import RunningBroker
from ..rest.test_page import CHROMIUM, FLAGS
from .test_http import HTTP
from .test_workers import name_for, workers_of

async_api = pytest.importorskip(
    "playwright.async_api", reason="playwright is not installed: pip install -e '.[browser]'"
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)")

Start = Callable[..., RunningBroker]
DEADLINE = 60_000
"""Milliseconds."""


async def test_workers_and_the_messages_of_all(start_broker: Start) -> None:
    broker = start_broker(HTTP, "--workers", "2")
    errors: list[str] = []
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page()
        page.set_default_timeout(DEADLINE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(f"{broker.facts['page']}#messages")
        await page.wait_for_selector("#status.good")
        with ExitStack() as stack:
            for worker in range(2):
                client = await asyncio.to_thread(
                    stack.enter_context, connected(broker.port, name_for(worker, 2))
                )
                await asyncio.to_thread(client.publish_and_wait, f"from/{worker}", "x", 1)
        for worker in range(2):
            await page.get_by_role("button", name=f"from/{worker}").wait_for()

        await page.get_by_role("tab", name="Overview").click()
        nodes = page.get_by_label("Nodes")
        await nodes.get_by_text("worker-2").wait_for()
        stopped = workers_of(broker)[1]
        os.kill(stopped, signal.SIGSTOP)
        try:
            await nodes.get_by_text("no answer for").wait_for()
        finally:
            os.kill(stopped, signal.SIGCONT)
        await browser.close()
    assert errors == []
