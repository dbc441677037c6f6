"""Measures a quiet pair: one client publishes, the other receives, and each round trip is timed.

It is a program of its own, so that the attacker's work does not delay it: `python -m attacks.bystander PORT
[USER PASSWORD]`. It runs until its standard input ends, and then prints the figures as JSON.
"""

from __future__ import annotations

import json
import select
import sys
import time

from .wire import Wire, publish

PAUSE = 0.005
"""Seconds between two messages."""
TOPIC = b"bystander/only"


def main(port: int, *login: str) -> None:
    fields = {"username": login[0], "password": login[1].encode()} if login else {}
    with Wire(port) as receiver, Wire(port) as sender:
        for name, wire in (("bystander-r", receiver), ("bystander-s", sender)):
            if code := wire.connect(name, **fields):
                raise SystemExit(f"the bystander is refused: {code}")
        receiver.subscribe(TOPIC.decode())
        print("ready", flush=True)
        took: list[float] = []
        while not select.select([sys.stdin], [], [], PAUSE)[0]:
            began = time.perf_counter()
            sender.send(publish(TOPIC, b"x"))
            if not receiver.packet():
                break
            took.append(time.perf_counter() - began)
    took.sort()
    figures = {
        "messages": len(took),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 1) if took else -1,
        "worst_ms": round(took[-1] * 1000, 1) if took else -1,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
