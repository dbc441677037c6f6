"""`scripts/bench bridge`: messages over a bridge, beside mosquitto's; the remote broker is a mosquitto."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .brokers import COMPILED, KINDS, Running, free_port, pybroker_command, started, variant
from .load.client import Client
from .load.flow import Flow, Publisher, Subscriber, drive
from .measure import Values, working_directory
from .process import Meter
from .results import Results

SECTION = "bridge"
PUBLISHING = 10
"""Clients that publish, each to a topic of its own."""
GOALS = {0: 5.0, 1: 3.0}
"""Messages a CPU second, as a multiple of mosquitto's, by QoS."""
STALL, LIMIT = 5.0, 120.0
BRIDGING = ("plain", "compiled", "mosquitto")

REMOTE = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
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
PYBROKER = """
mqtt {{ max_mqueue_len = 10000000 }}
limits {{ max_queued_bytes = 4GB }}
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{far}"
  proto_ver = 4
  max_send_queue_len = 10000000
  forwards = [ {{ local_topic = "up/#", remote_topic = "" }}, {{ local_topic = "b", remote_topic = "" }} ]
  subscription = [ {{ remote_topic = "down/#", local_topic = "", qos = 2 }} ]
}}
"""


def measure(results: Results, messages: int, queued: int, rounds: int) -> None:
    """All directions and QoS, in turns; then a queue that goes out once the remote broker is there."""
    results.begin(SECTION, [KINDS[name] for name in BRIDGING if not KINDS[name].missing()])
    if KINDS["mosquitto"].missing():
        print("note: mosquitto is not on the PATH; it is the remote broker", flush=True)
        return
    kinds = [name for name in BRIDGING if not KINDS[name].missing()]
    for way in ("up", "down"):
        for qos in (0, 1, 2):
            row = f"{way} qos {qos}"
            results.forget(SECTION, row)
            for _ in range(rounds):
                for name in kinds:
                    with joined(name) as (here, there):
                        values = _flow(here, there, way, Flow(messages // PUBLISHING, qos=qos))
                    results.add(SECTION, row, name, values)
                    print(f"{row}, {name}: " + "  ".join(f"{k} {v}" for k, v in values.items()), flush=True)
    for name in kinds:
        values = _catch_up(name, queued)
        results.add(SECTION, "catching up", name, values)
        print(f"catching up, {name}: " + "  ".join(f"{k} {v}" for k, v in values.items()), flush=True)


@contextmanager
def joined(name: str, far: int = 0) -> Iterator[tuple[Running, Running]]:
    """The broker with the bridge, and the remote one."""
    with ExitStack() as stack:
        there_in, here_in = (stack.enter_context(working_directory()) for _ in range(2))
        there = stack.enter_context(remote(there_in, far or free_port()))
        here = stack.enter_context(bridging(name, here_in, there.port))
        _wait_for_link(here, there)
        yield here, there


@contextmanager
def remote(directory: Path, port: int) -> Iterator[Running]:
    conf = directory / "remote.conf"
    conf.write_text(REMOTE.format(port=port))
    with started("mosquitto", ["mosquitto", "-c", str(conf)], directory, port) as broker:
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
        conf = variant(directory, "webhook.enable = false", PYBROKER.format(far=far))
        command = pybroker_command(directory, conf, *((str(COMPILED), "-P") if name == "compiled" else ()))
    with started(name, command, directory, port) as broker:
        yield broker


def _wait_for_link(here: Running, there: Running) -> None:
    """Return once a message comes over."""
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


def _flow(here: Running, there: Running, way: str, flow: Flow) -> Values:
    source, sink = (here, there) if way == "up" else (there, here)
    topics = [f"{way}/{number}" for number in range(PUBLISHING)]
    subscribers = []
    for number, topic in enumerate(topics):
        client = Client(("127.0.0.1", sink.port), f"s{number}")
        client.subscribe([topic], flow.qos)
        subscribers.append(Subscriber(client, topic, flow))
    publishers = [
        Publisher(Client(("127.0.0.1", source.port), f"p{number}"), topic, flow)
        for number, topic in enumerate(topics)
    ]
    meter = Meter(here.pid)
    want = flow.messages * PUBLISHING
    driven = drive(publishers, subscribers, want, meter, stall=STALL, limit=LIMIT)
    wall = meter.wall if driven.got == want else meter.wall - STALL
    return {
        "per_cpu_s": round(driven.got / meter.cpu) if meter.cpu else 0,
        "per_s": round(driven.got / wall),
        "arrived": round(driven.got / want, 4),
    }


def _catch_up(name: str, queued: int) -> Values:
    """QoS 1 messages that were published while the remote broker was away."""
    port = free_port()
    with ExitStack() as stack:
        there_in, here_in = (stack.enter_context(working_directory()) for _ in range(2))
        here = stack.enter_context(bridging(name, here_in, port))
        flow = Flow(queued // PUBLISHING, size=100, qos=1)
        publishers = [
            Publisher(Client(("127.0.0.1", here.port), f"p{number}"), "b", flow)
            for number in range(PUBLISHING)
        ]
        filling = Meter(here.pid)
        drive(publishers, [], 0, filling, stall=STALL, limit=LIMIT)
        there = stack.enter_context(remote(there_in, port))
        client = Client(("127.0.0.1", there.port), "sink")
        client.subscribe(["b"], 1)
        began = time.perf_counter()
        meter = Meter(here.pid)
        subscriber = Subscriber(client, "b", flow)
        want = flow.messages * PUBLISHING
        driven = drive([], [subscriber], want, meter, stall=70.0, limit=LIMIT)
        seconds = time.perf_counter() - began
    return {
        "queued_per_cpu_s": round(want / filling.cpu),
        "per_cpu_s": round(driven.got / meter.cpu) if meter.cpu else 0,
        "per_s": round(driven.got / seconds),
        "arrived": round(driven.got / want, 4),
    }
