"""What every backend does on a real server that is killed, stopped, or comes late: nothing is lost."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

from tests.waiting import DEADLINE, until

from .servers import Server
from .support import bodies, drained, payloads, prepare, published, pusher

COUNT = 3000


async def offer(sink, numbers) -> None:
    """A burst, in which the loop comes to everything else too."""
    for number in numbers:
        sink.offer(published(number))
        if number % 50 == 0:
            await asyncio.sleep(0)


async def test_every_event_arrives_once(server: Server, start, tmp_path) -> None:
    await prepare(server)
    sink = await start(pusher(tmp_path, server, "order = client"))
    await offer(sink, range(COUNT))
    stats = await drained(sink)
    assert (stats.succeeded, stats.retries, stats.dead) == (COUNT, 0, 0)
    assert payloads(await bodies(server, COUNT)) == list(range(COUNT))
    assert stats.response_count == stats.tries < COUNT  # batches


async def test_kill_9_and_a_restart_in_mid_burst(server: Server, start, tmp_path) -> None:
    await prepare(server)
    sink = await start(pusher(tmp_path, server))
    await offer(sink, range(COUNT // 2))
    await until(lambda: sink.stats()[0].succeeded)
    server.kill()
    await offer(sink, range(COUNT // 2, COUNT))
    await until(lambda: sink.stats()[0].state == "failing")
    await asyncio.to_thread(server.start)
    stats = await drained(sink)
    assert stats.succeeded == COUNT
    assert set(payloads(await bodies(server, COUNT))) == set(range(COUNT))


async def test_a_stopped_server_is_waited_for(server: Server, start, tmp_path) -> None:
    await prepare(server)
    sink = await start(pusher(tmp_path, server))
    await offer(sink, range(100))
    await drained(sink)
    server.pause()
    await offer(sink, range(100, COUNT))
    await until(lambda: sink.stats()[0].state == "failing")
    assert sink.stats()[0].succeeded < COUNT
    server.resume()
    stats = await drained(sink)
    assert stats.succeeded == COUNT
    assert set(payloads(await bodies(server, COUNT))) == set(range(COUNT))


async def test_the_order_of_a_client_survives_a_restart(server: Server, start, tmp_path) -> None:
    """A consumer that keeps the last of what it knows by `webhook-id` reads the events in their order."""
    await prepare(server)
    sink = await start(pusher(tmp_path, server, "order = client"))
    await offer(sink, range(1000))
    server.kill()
    await offer(sink, range(1000, 2000))
    await until(lambda: sink.stats()[0].retries)
    await asyncio.to_thread(server.start)
    assert (await drained(sink)).succeeded == 2000
    last = {number: place for place, number in enumerate(payloads(await bodies(server, 2000)))}
    assert list(last.values()) == sorted(last.values()) or sorted(last, key=last.__getitem__) == list(
        range(2000)
    )
    assert sorted(last, key=last.__getitem__) == list(range(2000))


async def test_a_server_that_comes_late(server: Server, start, tmp_path) -> None:
    await prepare(server)
    server.kill()
    sink = await start(pusher(tmp_path, server))
    await offer(sink, range(500))
    await until(lambda: sink.stats()[0].state == "failing")
    await asyncio.to_thread(server.start)
    assert (await drained(sink)).succeeded == 500
    assert set(payloads(await bodies(server, 500))) == set(range(500))


OFFER_AND_WAIT = """
import asyncio, sys
from pathlib import Path
from pybroker.broker.config import load
from pybroker.webhook import Sink
from tests.pushers.support import published

async def main():
    sink = Sink(load(Path(sys.argv[1])).event_pushers)
    await sink.start()
    for number in range(1000):
        sink.offer(published(number))
    print("offered", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_kill_9_of_the_broker(server: Server, start, tmp_path) -> None:
    """What lies in the spool is sent by the next broker."""
    await prepare(server)
    server.pause()
    one = pusher(tmp_path, server, f'spool.path = "{tmp_path}/spool"')
    process = subprocess.Popen(
        [sys.executable, "-c", OFFER_AND_WAIT, str(tmp_path / "pybroker.conf")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), DEADLINE) == b"offered\n"
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE)
    process.stdout.close()
    server.resume()
    sink = await start(one)
    assert (await drained(sink)).succeeded == 1000
    assert set(payloads(await bodies(server, 1000))) == set(range(1000))


async def test_a_server_that_never_comes_back_leaves_dead_letters(server: Server, start, tmp_path) -> None:
    server.kill()
    more = f'spool.path = "{tmp_path}/spool", retry.max_attempts = 2, batch.size = 1000, breaker.failures = 9'
    sink = await start(pusher(tmp_path, server, more))
    await offer(sink, range(100))
    stats = await drained(sink)
    assert (stats.dead, stats.succeeded) == (100, 0)
    await until(lambda: sink.stats()[0].dead_letters == 100)
    assert server.url.rpartition("@")[2].strip("/") in stats.url


async def test_a_stop_is_quick_while_the_server_hangs(server: Server, start, tmp_path) -> None:
    await prepare(server)
    sink = await start(pusher(tmp_path, server))
    await offer(sink, range(100))
    await drained(sink)
    server.pause()
    await offer(sink, range(100))
    await until(lambda: sink.stats()[0].in_flight)
    async with asyncio.timeout(10):
        (left,) = await sink.stop(0)
    assert left.events == 100
