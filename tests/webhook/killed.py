"""A process that offers numbered events to a spooled endpoint until it is killed.

Prints each number once its event has been offered, which is when a broker would acknowledge it.
Arguments: URL, spool directory, fsync, first number, batch size.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from pybroker.broker import events
from pybroker.webhook import Batch, Retry, Rule, Sink, Spool, WebhookSettings


async def main() -> None:
    url, directory, fsync, first, batch = sys.argv[1:]
    sink = Sink(
        [
            WebhookSettings(
                "webhook",
                url,
                rules=(Rule("on_message_publish"),),
                order="client",
                spool=Spool(Path(directory), fsync=fsync),
                batch=Batch(int(batch), 0.01),
                retry=Retry(1_000_000, 0.001, 0.01, 1e9),
                queue_max_events=500,
            )
        ]
    )
    await sink.start()
    number = int(first)
    clients = [events.Client(f"c{n}") for n in range(4)]
    while True:
        for _ in range(20):
            client = clients[number % 4]
            payload = str(number).encode()
            event = events.MessagePublished(
                at=time.time(), topic="t", payload=payload, qos=1, retain=False, publisher=client
            )
            sink.offer(event)
            os.write(1, b"%d\n" % number)
            number += 1
        await asyncio.sleep(0.0005)


asyncio.run(main())
