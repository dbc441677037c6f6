"""`scripts/bench bridge`: messages over a bridge, beside mosquitto's, to and from two remote brokers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .brokers import COMPILED, KINDS, LOAD_CORE, Running, free_port, pybroker_command, started, variant
from .load.client import Client
from .load.flow import Flow, Publisher, Subscriber, drive
from .measure import Values, working_directory
from .process import Meter
from .results import Results
from .rows import Goal, shown

SECTION = "bridge"
PUBLISHING = 10
"""Clients that publish, each to a topic of its own."""
SIZE, QUEUED_SIZE = 64, 100
"""The bytes of a payload, and of a payload that waits for the link."""
STALL, LIMIT = 5.0, 120.0
CATCH_UP_STALL, CATCH_UP_LIMIT = 70.0, 900.0
"""A bridge tries again after up to a minute."""
BRIDGING = ("plain", "compiled", "mosquitto")
OURS, THEIRS = BRIDGING[:-1], BRIDGING[-1]
REMOTES = ("mosquitto", "plain")
"""The kind of the remote broker: mosquitto writes one packet at a time, pybroker writes the packets of one
read together."""
WAYS = {"up": "to the remote broker", "down": "from the remote broker"}

REMOTE = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
connection_messages false
"""
MOSQUITTO = """\
{remote}
connection up
address 127.0.0.1:{far}
topic up/# out 2
topic down/# in 2
topic b out 2
notifications false
restart_timeout 1
"""
LONG_QUEUES = """
mqtt { max_mqueue_len = 10000000 }
limits { max_queued_bytes = 4GB }
"""
PYBROKER = """
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{far}"
  proto_ver = 4
  max_send_queue_len = 10000000
  forwards = [ {{ local_topic = "up/#", remote_topic = "" }}, {{ local_topic = "b", remote_topic = "" }} ]
  subscription = [ {{ remote_topic = "down/#", local_topic = "", qos = 2 }} ]
}}
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement of each broker that has the bridge."""

    way: str
    """A key of :data:`WAYS`; empty: a queue is sent when the remote broker is there."""
    qos: int
    remote: str

    @property
    def key(self) -> str:
        """The key of its runs."""
        return f"{self.way or 'catching up'}, QoS {self.qos}, remote {self.remote}"

    @property
    def title(self) -> str:
        return WAYS.get(self.way, "a queue goes out")

    @property
    def goal(self) -> Goal | None:
        """Messages per CPU second, divided by those of mosquitto's bridge."""
        if not self.way:
            return Goal(1)
        return {0: Goal(5), 1: Goal(3)}.get(self.qos)


ROWS = [
    *(Row(way, qos, remote) for remote in REMOTES for way in WAYS for qos in (0, 1, 2)),
    *(Row("", 1, remote) for remote in REMOTES),
]


def measure(results: Results, messages: int, queued: int, rounds: int) -> None:
    """Measure every row; the brokers take turns."""
    results.begin(SECTION, [KINDS[name] for name in BRIDGING if not KINDS[name].missing()])
    if why := KINDS["mosquitto"].missing():
        print(f"note: {why}; it is one of the remote brokers", flush=True)
        return
    kinds = [name for name in BRIDGING if not KINDS[name].missing()]
    for row in ROWS:
        results.forget(SECTION, row.key)
        for _ in range(rounds if row.way else 1):
            for name in kinds:
                values = _flow(row, name, messages) if row.way else _catch_up(row, name, queued)
                results.add(SECTION, row.key, name, values)
        print(summary(results, row), flush=True)


def figure(results: Results, row: Row, broker: str) -> str:
    """The median of one broker, with the part of the messages that arrived if some did not."""
    found = list(results.find(SECTION, row.key, broker))
    if not found:
        return "-"
    arrived = min(values["arrived"] for values in found)
    rate = shown(results.median(SECTION, row.key, broker, "per_cpu_s"))
    return rate if arrived == 1 else f"{rate}, {arrived:.0%} arrived"


def ratio(results: Results, row: Row, broker: str) -> float | None:
    """The median of ``broker``, divided by that of mosquitto's bridge."""
    ours, theirs = (results.median(SECTION, row.key, one, "per_cpu_s") for one in (broker, THEIRS))
    return ours / theirs if ours is not None and theirs else None


def is_met(results: Results, row: Row, broker: str) -> bool | None:
    """Whether ``broker`` reaches the goal and loses nothing; None if there is no goal or no figure."""
    value = ratio(results, row, broker)
    if row.goal is None or value is None:
        return None
    lost = any(values["arrived"] < 1 for values in results.find(SECTION, row.key, broker))
    return row.goal.met(value, 1) and not lost


def summary(results: Results, row: Row) -> str:
    """A row as a line."""
    parts = [f"{row.key}:"]
    parts += [f"{name} {figure(results, row, name)}" for name in BRIDGING]
    for name in OURS:
        word = {True: ", met", False: ", NOT MET", None: ""}[is_met(results, row, name)]
        parts.append(f"{name} / mosquitto {shown(ratio(results, row, name))}{word}")
    return "  ".join([*parts, f"goal {row.goal}" if row.goal else ""]).rstrip()


@contextmanager
def joined(row: Row, name: str) -> Iterator[tuple[Running, Running]]:
    """The broker with the bridge, and the remote one."""
    with ExitStack() as stack:
        there_in, here_in = (stack.enter_context(working_directory()) for _ in range(2))
        there = stack.enter_context(remote(row.remote, there_in, free_port()))
        here = stack.enter_context(bridging(name, here_in, there.port))
        _wait_for_link(here, there)
        yield here, there


@contextmanager
def remote(name: str, directory: Path, port: int) -> Iterator[Running]:
    """Start a program on the core of the load generator."""
    if name == "mosquitto":
        conf = directory / "remote.conf"
        conf.write_text(REMOTE.format(port=port))
        command: Sequence[str] = ["mosquitto", "-c", str(conf)]
    else:
        command = pybroker_command(directory, variant(directory, "webhook.enable = false", LONG_QUEUES), port)
    with started(name, command, directory, port, core=LOAD_CORE) as broker:
        yield broker


@contextmanager
def bridging(name: str, directory: Path, far: int) -> Iterator[Running]:
    port = 0
    if name == "mosquitto":
        port = free_port()
        conf = directory / "bridge.conf"
        conf.write_text(MOSQUITTO.format(remote=REMOTE.format(port=port), far=far))
        command: Sequence[str] = ["mosquitto", "-c", str(conf)]
    else:
        ours = PYBROKER.format(far=far)
        conf = variant(directory, "webhook.enable = false", LONG_QUEUES, ours)
        command = pybroker_command(directory, conf, 0, *((str(COMPILED), "-P") if name == "compiled" else ()))
    with started(name, command, directory, port) as broker:
        yield broker


def _wait_for_link(here: Running, there: Running) -> None:
    """Return when a message arrives at the other side."""
    far, near = Client(("127.0.0.1", there.port), "far"), Client(("127.0.0.1", here.port), "near")
    far.subscribe(["up/probe"])
    far.socket.settimeout(0.2)
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        near.send(b"\x30\x0a\x00\x08up/probe")
        try:
            far.receive()
        except TimeoutError:
            continue
        break
    far.close()
    near.close()


def _flow(row: Row, name: str, messages: int) -> Values:
    flow = Flow(messages // PUBLISHING, size=SIZE, qos=row.qos)
    with joined(row, name) as (here, there):
        source, sink = (here, there) if row.way == "up" else (there, here)
        topics = [f"{row.way}/{number}" for number in range(PUBLISHING)]
        subscribers = [Subscriber(_subscribed(sink, topic, flow), topic, flow) for topic in topics]
        publishers = [Publisher(_connected(source, f"p-{topic}"), topic, flow) for topic in topics]
        meter = Meter(here.pid)
        want = flow.messages * PUBLISHING
        driven = drive(publishers, subscribers, want, meter, stall=STALL, limit=LIMIT)
    wall = meter.wall if driven.got == want else meter.wall - STALL
    return {
        "per_cpu_s": round(driven.got / meter.cpu) if meter.cpu else 0,
        "per_s": round(driven.got / wall),
        "arrived": round(driven.got / want, 4),
    }


def _catch_up(row: Row, name: str, queued: int) -> Values:
    """Messages that were published while the remote broker was away."""
    port = free_port()
    flow = Flow(queued // PUBLISHING, size=QUEUED_SIZE, qos=row.qos)
    with ExitStack() as stack:
        there_in, here_in = (stack.enter_context(working_directory()) for _ in range(2))
        here = stack.enter_context(bridging(name, here_in, port))
        publishers = [Publisher(_connected(here, f"p{number}"), "b", flow) for number in range(PUBLISHING)]
        filling = Meter(here.pid)
        drive(publishers, [], 0, filling, stall=STALL, limit=CATCH_UP_LIMIT)
        there = stack.enter_context(remote(row.remote, there_in, port))
        subscriber = Subscriber(_subscribed(there, "b", flow), "b", flow)
        began = time.perf_counter()
        meter = Meter(here.pid)
        want = flow.messages * PUBLISHING
        driven = drive([], [subscriber], want, meter, stall=CATCH_UP_STALL, limit=CATCH_UP_LIMIT)
        seconds = time.perf_counter() - began
    return {
        "queued_per_cpu_s": round(want / filling.cpu),
        "per_cpu_s": round(driven.got / meter.cpu) if meter.cpu else 0,
        "per_s": round(driven.got / seconds),
        "arrived": round(driven.got / want, 4),
    }


def _connected(broker: Running, client_id: str) -> Client:
    return Client(("127.0.0.1", broker.port), client_id)


def _subscribed(broker: Running, topic: str, flow: Flow) -> Client:
    client = _connected(broker, f"s-{topic}")
    client.subscribe([topic], flow.qos)
    return client
