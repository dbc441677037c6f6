"""Saturating MQTT load: one thread, plain sockets, packets encoded beforehand.

It measures a broker from outside and knows nothing of its inside, so the same command compares any two.

  pairs    N publishers to N subscribers, one topic each
  fanout   1 publisher to N subscribers of one topic
  fanin    N publishers to 1 subscriber of b/#
  filters  pairs, beside --filters unrelated subscriptions, most of them with wildcards
  crowd    pairs, beside --crowd idle connections with a subscription each
  sink     N publishers, nobody subscribed
  trickle  N pairs, each with one message in flight: nothing to batch
  connect  CONNECT, CONNACK, DISCONNECT, one client after another
  reconnect  the same, of 100 clients whose sessions are kept
  climb    N clients connect and stay; what each tenth of them cost
  idle     N connections held; resident memory a connection
  latency  1 publisher, 1 subscriber, one message at a time, --pause-ms between
  puback   1 publisher at QoS 1, one message at a time: the time to its PUBACK
  retained --messages retained topics, then one subscriber of #
  topics   1 publisher to 1 subscriber, every message on a topic of its own; what each tenth of them cost
  slow     1 publisher to 1 subscriber, beside --stuck subscribers of the same topic that never read

Prints one JSON line: msgs (delivered; accepted where nobody subscribes; connections for connect, climb and
idle), lost (null where --limit cut the run), wall_s, rate (msgs/wall_s), and with --pid cpu_s (the broker's
user and system seconds), per_cpu_s (msgs/cpu_s) and rss_mib at the end. Compare per_cpu_s between brokers: it
holds when the generator or a neighbour is slow. The exit status is 1 where messages were lost.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from ..process import resident_mib
from .connections import climb, connect, idle, reconnect
from .run import Outcome, Run
from .throughput import crowd, fanin, fanout, filters, pairs, sink, slow, trickle
from .timing import latency, puback
from .topics import retained, topics

LEAST_CPU = 0.01
"""Below this many seconds a rate says nothing."""
ALL = [
    *(pairs, fanout, fanin, filters, crowd, sink, trickle, slow),
    *(connect, reconnect, climb, idle, latency, puback, retained, topics),
]
SCENARIOS: dict[str, Callable[[Run], Outcome]] = {one.__name__: one for one in ALL}


def report(run: Run, scenario: str, outcome: Outcome) -> dict[str, Any]:
    meter, flow = run.meter, run.flow
    facts: dict[str, Any] = {
        "scenario": scenario,
        "clients": run.clients,
        "qos": flow.qos,
        "version": flow.version,
        "size": flow.size,
        "want": outcome.want,
        "msgs": outcome.got,
        "lost": None if outcome.cut else outcome.want - outcome.got,
        "wall_s": round(meter.wall, 3),
        "rate": round(outcome.got / meter.wall) if meter.wall else 0,
        **outcome.facts,
    }
    if run.pid:
        facts["cpu_s"] = round(meter.cpu, 4)
        facts["per_cpu_s"] = round(outcome.got / meter.cpu) if meter.cpu > LEAST_CPU else None
        facts["rss_mib"] = round(resident_mib(run.pid), 1)
    return facts


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("scenario", choices=list(SCENARIOS))
    add("address", metavar="HOST:PORT")
    add("--pid", type=int, default=0, help="the broker's process; its children are counted in")
    add("--clients", type=int, default=10, help="publishers, subscribers, pairs or connections")
    add("--messages", type=int, default=20_000, help="messages each publisher sends; clients of connect")
    add("--size", type=int, default=64, help="payload bytes")
    add("--qos", type=int, default=0, choices=(0, 1, 2))
    add("--version", type=int, default=4, choices=(4, 5), help="4 is MQTT 3.1.1, 5 is MQTT 5.0")
    add("--window", type=int, default=20, help="unacknowledged messages a publisher keeps in flight")
    add("--filters", type=int, default=10_000, help="of the scenario filters")
    add("--crowd", type=int, default=1000, help="of the scenario crowd")
    add("--stuck", type=int, default=1, help="of the scenario slow")
    add("--hold", type=float, default=5, help="seconds for which idle watches the connections it holds")
    add("--pause-ms", type=float, default=0, help="of latency and puback, between two messages")
    add("--stall", type=float, default=5, help="seconds without progress before the run ends")
    add("--limit", type=float, default=120, help="seconds a run may take")
    add("--yielding", action="store_true", help="run only while nothing else wants this core")
    return parser


def main() -> int:
    options = parser().parse_args()
    if options.yielding:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    run = Run(options)
    outcome = SCENARIOS[options.scenario](run)
    print(json.dumps(report(run, options.scenario, outcome)))
    return 0 if outcome.got >= outcome.want or outcome.cut else 1


if __name__ == "__main__":
    sys.exit(main())
