"""`scripts/bench table` and `quick`: every row with every broker, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from .brokers import Kind, StartError, running
from .measure import Values, load, receiver, working_directory
from .results import Results
from .rows import BUILDS, VERSIONS, Row, shown

SECTION = "table"
CONF_RECEIVER_PORT = 8888
"""The address to which conf/nanomq.conf posts its events."""
THEIRS = "mosquitto"
LIMIT, SLOW_LIMIT = 30, 5
"""Seconds that one run may take, and one run of a slow broker."""


def measure(
    results: Results,
    rows: Sequence[Row],
    kinds: Sequence[Kind],
    versions: Sequence[int],
    rounds: int,
    *,
    with_receiver: bool,
    section: str = SECTION,
) -> None:
    """Measure and print. The brokers alternate, so that a change of the machine's speed affects all of
    them."""
    results.begin(section, kinds)
    with ExitStack() as stack:
        results.note(section, _listen(stack, with_receiver))
        for row in rows:
            for version in (one for one in row.versions if one in versions):
                if not row.runs_of:
                    results.forget(section, row.key, version)
                    for turn in range(rounds):
                        for kind in _running(row, kinds, version, turn):
                            values = once(row, kind, version)
                            results.add(section, row.key, kind.name, values, version=version)
                print(summary(results, row, version, kinds, section), flush=True)


def _listen(stack: ExitStack, wanted: bool) -> str:
    """Start a receiver at the address of the default configuration, if it is wanted and the port is free.
    Returns what listens there now."""
    where = f"port {CONF_RECEIVER_PORT}, where conf/nanomq.conf posts its events"
    if not wanted:
        return f"No receiver on {where}: they are matched, encoded, and queued until the queue is full."
    try:
        stack.enter_context(receiver(CONF_RECEIVER_PORT))
    except OSError as error:
        return f"Another program listens on {where} ({error})."
    return f"A receiver listens on {where}: some of the broker's time goes into the posts."


def _running(row: Row, kinds: Sequence[Kind], version: int, turn: int) -> list[Kind]:
    """The brokers of this round."""
    return [
        kind
        for kind in kinds
        if version in kind.versions and not (kind.slow and turn) and row.is_run_by(kind.name)
    ]


def once(row: Row, kind: Kind, version: int) -> Values:
    """One run with a broker that is started for it."""
    limit = SLOW_LIMIT if kind.slow else LIMIT
    with working_directory() as directory:
        try:
            with running(kind, directory) as broker:
                if not row.load:
                    return {"started_in_s": round(broker.started_in, 3)}
                return load(broker, f"{row.load} --version {version} --limit {limit}")
        except StartError as error:
            return {"error": str(error)}


def summary(results: Results, row: Row, version: int, kinds: Sequence[Kind], section: str = SECTION) -> str:
    """A row as a line: the medians, the ratio to mosquitto, and whether that is enough."""
    parts = [f"{row.title}, MQTT {VERSIONS[version]}:"]
    for kind in kinds:
        if version in kind.versions and row.is_run_by(kind.name):
            parts.append(f"{kind.name} {cell(results, row, version, kind.name, section)}")
    return "  ".join([*parts, *verdicts(results, row, version, section)])


def cell(results: Results, row: Row, version: int, broker: str, section: str = SECTION) -> str:
    """The median of one broker, with the part of the messages that it lost."""
    found = list(results.find(section, row.runs, broker, version))
    if not found:
        return "-"
    failed = [values["error"] for values in found if "error" in values]
    if failed:
        return f"failed: {failed[0].splitlines()[-1]}"
    number = shown(results.median(section, row.runs, broker, row.measure, version), row.unit)
    share = lost_share(found)
    return f"{number}, {share:.0%} lost" if share else number


def verdicts(results: Results, row: Row, version: int, section: str = SECTION) -> list[str]:
    """Whether each measured build reaches its goal."""
    found = []
    for build in BUILDS:
        goal, broker = row.goal_of(build), row.broker(build)
        if goal is None or not list(results.find(section, row.runs, broker, version)):
            continue
        word = {True: "met", False: "NOT MET", None: "unknown"}[is_met(results, row, version, section, build)]
        ratio = f"ratio {shown(ratio_of(results, row, version, section, build))}, " if goal.relative else ""
        found.append(f"{broker}: {ratio}goal {goal_of(row, build)}: {word}")
    return found


def goal_of(row: Row, build: str) -> str:
    """The goal of a build for people; its unit is that of the row where it is no ratio."""
    goal = row.goal_of(build)
    if goal is None:
        return "-"
    return f"{goal} {row.unit}".strip() if goal.more or not goal.relative else str(goal)


def ratio_of(
    results: Results, row: Row, version: int, section: str = SECTION, build: str = BUILDS[0]
) -> float | None:
    """The ratio of pybroker's figure to mosquitto's."""
    ours, theirs = _medians(results, row, version, section, build)
    return ours / theirs if ours is not None and theirs else None


def is_met(
    results: Results, row: Row, version: int, section: str = SECTION, build: str = BUILDS[0]
) -> bool | None:
    """Whether the build reaches its goal without any loss; None if that was not measured, or there is no
    goal."""
    goal = row.goal_of(build)
    if goal is None:
        return None
    if lost_share(list(results.find(section, row.runs, row.broker(build), version))):
        return False
    return goal.met(*_medians(results, row, version, section, build))


def _medians(
    results: Results, row: Row, version: int, section: str, build: str
) -> tuple[float | None, float | None]:
    """Ours and mosquitto's."""
    ours, theirs = (
        results.median(section, row.runs, one, row.measure, version) for one in (row.broker(build), THEIRS)
    )
    return ours, theirs


def lost_share(found: Sequence[Values]) -> float:
    """The part of the messages that did not arrive, in all rounds together."""
    want = sum(values.get("want", 0) for values in found)
    lost = sum(values.get("lost") or 0 for values in found)
    return lost / want if want else 0.0
