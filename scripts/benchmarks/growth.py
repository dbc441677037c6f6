"""`scripts/bench growth`: the cost of a message and of a connection, by the number of subscriptions and
connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .brokers import KINDS, ROOT, Kind, StartError, running
from .measure import Values, load, most_connections, working_directory
from .picture import Curve, Panel, drawn
from .results import Results

SECTION = "growth"
PICTURE = ROOT / "docs" / "growth.svg"
LARGEST = 100_000
DELIVERIES = 200_000


@dataclass(frozen=True, slots=True)
class Axis:
    """A quantity that grows."""

    key: str
    title: str
    unit: str
    points: tuple[int, ...]
    load: Callable[[int], str]
    connections: bool
    """Whether each point needs as many connections."""


AXES = [
    Axis(
        "subscriptions",
        "A message beside unrelated subscriptions",
        "us a message",
        (100, 1000, 10_000, 100_000),
        lambda count: f"filters --filters {count} --messages {DELIVERIES // 10}",
        connections=False,
    ),
    Axis(
        "connections",
        "A message beside idle connections",
        "us a message",
        (10, 100, 1000, 10_000),
        lambda count: f"crowd --crowd {count} --messages {DELIVERIES // 10}",
        connections=True,
    ),
    Axis(
        "receivers",
        "A message to each of its receivers",
        "us a delivery",
        (10, 100, 1000, 10_000),
        lambda count: f"fanout --clients {count} --messages {max(1, DELIVERIES // count)}",
        connections=True,
    ),
]
CLIMB = "connects"
CLIMB_CLIENTS = 10_000


def measure(results: Results, kinds: Sequence[Kind], largest: int = LARGEST) -> None:
    """Measure all curves up to ``largest``, print them, and draw docs/growth.svg."""
    results.begin(SECTION, kinds)
    for axis in AXES:
        results.forget(SECTION, axis.key)
        for count in (point for point in axis.points if point <= largest):
            if axis.connections and count > most_connections():
                results.note(SECTION, _too_many(axis.title, count))
                continue
            for kind in kinds:
                values = _once(kind, axis.load(count))
                point = {"count": count, "us_each": cost(values), **_error(values)}
                results.add(SECTION, axis.key, kind.name, point)
            print(_line(results, axis, count, kinds), flush=True)
    results.forget(SECTION, CLIMB)
    clients = min(CLIMB_CLIENTS, largest, most_connections())
    if clients < min(CLIMB_CLIENTS, largest):
        results.note(SECTION, _too_many("Connecting", CLIMB_CLIENTS))
    for kind in kinds:
        values = _once(kind, f"climb --clients {clients}")
        results.add(SECTION, CLIMB, kind.name, {"clients": clients, **values})
        print(f"{clients} connects, us each by tenths: {kind.name} {values.get('us_each')}", flush=True)
    draw(results)


def _once(kind: Kind, arguments: str) -> Values:
    with working_directory() as directory:
        try:
            with running(kind, directory) as broker:
                return load(broker, arguments)
        except StartError as error:
            return {"error": str(error)}


def _too_many(what: str, count: int) -> str:
    return f"{what}: {count} connections need more open files than the {most_connections()} allowed here."


def cost(values: Values) -> float | None:
    """Microseconds of the broker's CPU time for each message."""
    if not values.get("msgs"):
        return None
    return round(1e6 * float(values["cpu_s"]) / int(values["msgs"]), 3)


def _error(values: Values) -> Values:
    return {"error": values["error"]} if "error" in values else {}


def _line(results: Results, axis: Axis, count: int, kinds: Sequence[Kind]) -> str:
    parts = [f"{axis.title}, {count}:"]
    for kind in kinds:
        point = next(p for p in results.find(SECTION, axis.key, kind.name) if p["count"] == count)
        parts.append(f"{kind.name} {point['us_each']} {axis.unit}")
    return "  ".join(parts)


def draw(results: Results) -> None:
    """The curves of all measurements, as a picture."""
    PICTURE.write_text(drawn(panels(results)), encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}", flush=True)


def panels(results: Results) -> list[Panel]:
    made = []
    for axis in AXES:
        curves = [
            Curve(
                KINDS[broker].label,
                [
                    (p["count"], p["us_each"])
                    for p in results.find(SECTION, axis.key, broker)
                    if p["us_each"] is not None
                ],
            )
            for broker in measured(results)
        ]
        made.append(Panel(axis.title, axis.key, axis.unit, curves))
    made.append(Panel("Connecting one more client", "connections", "us a connect", climb_curves(results)))
    return made


def measured(results: Results) -> list[str]:
    """The measured brokers, always in the same order."""
    return [name for name in KINDS if name in results.brokers(SECTION)]


def climb_curves(results: Results) -> list[Curve]:
    curves = []
    for broker in measured(results):
        for values in results.find(SECTION, CLIMB, broker):
            costs = values.get("us_each", [])
            step = values["clients"] / max(1, len(costs))
            curves.append(
                Curve(KINDS[broker].label, [(step * (i + 1), cost) for i, cost in enumerate(costs)])
            )
    return curves
