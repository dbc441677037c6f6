"""The command `scripts/bench` and its options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from . import bridge, cluster, fairness, growth, page, persistence, pushers, table, webhook
from .brokers import KINDS, ROOT, Kind, StartError, available
from .measure import prepare
from .results import DEFAULT_PATH, Results
from .rows import QUICK, ROWS, VERSIONS, chosen

DESCRIPTION = """\
Measure the broker, beside mosquitto, NanoMQ and amqtt where they are installed: the broker on one core, what
measures it on another. Results are kept after each single run; an interrupted run leaves what it has."""
INTERRUPTED = 130


def main() -> int:
    options = _parser().parse_args()
    prepare()
    results = Results(options.out)
    try:
        options.run(options, results)
    except (ValueError, StartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nbench: interrupted; what was measured is in {results.path}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    quick = _add(commands, "quick", _quick, "four rows against mosquitto, in half a minute")
    _add_brokers(quick, "pybroker,mosquitto")
    _add_receiver(quick)

    one = _add(commands, "table", _table, "all rows against all brokers, with medians and goals")
    rows = ", ".join(row.key for row in ROWS)
    one.add_argument("--only", action="append", metavar="SCENARIO", help=f"may be repeated: {rows}")
    one.add_argument("--versions", default="4,5", help="of MQTT: 4 is 3.1.1, 5 is 5.0 (%(default)s)")
    _add_brokers(one, ",".join(KINDS))
    _add_receiver(one)
    _add_rounds(one)

    one = _add(commands, "growth", _growth, "what subscriptions and connections cost; draws docs/growth.svg")
    one.add_argument("--largest", type=int, default=100_000, help="stop there (%(default)s)")
    _add_brokers(one, "plain,mosquitto")

    one = _add(commands, "fairness", _fairness, "a quiet pair beside a flood, a slow reader, many topics")
    one.add_argument("--topics", type=int, default=1_000_000, help="(%(default)s)")
    _add_brokers(one, "pybroker,plain,mosquitto")

    one = _add(commands, "webhook", _webhook, "events a CPU second, PUBACK beside a hanging endpoint, memory")
    one.add_argument("--events", type=int, default=50_000, help="in a burst (%(default)s)")
    one.add_argument("--down", type=int, default=1_000_000, help="published to a dead endpoint (%(default)s)")
    _add_rounds(one)

    one = _add(
        commands, "pushers", _pushers, "events a CPU second to real servers, PUBACK while they are stopped"
    )
    one.add_argument("--events", type=int, default=50_000, help="in a burst (%(default)s)")
    _add_rounds(one)

    one = _add(commands, "persistence", _persistence, "what `sqlite {}` costs; a queue over a restart")
    one.add_argument("--messages", type=int, default=200_000, help="(%(default)s)")
    one.add_argument("--queued", type=int, default=200_000, help="for a session that is away (%(default)s)")

    one = _add(commands, "bridge", _bridge, "messages over a bridge, beside mosquitto's; catching up")
    one.add_argument("--messages", type=int, default=100_000, help="(%(default)s)")
    one.add_argument("--queued", type=int, default=1_000_000, help="while the link is down (%(default)s)")
    _add_rounds(one)

    one = _add(commands, "cluster", _cluster, "one process and two workers; what the other worker costs")
    one.add_argument("--messages", type=int, default=400_000, help="(%(default)s)")

    one = _add(commands, "page", _page, "write docs/performance.md from what was measured")
    one = _add(commands, "all", _all, "all of these, and the page, in a quarter of an hour")
    _add_receiver(one)
    _add_rounds(one)
    return parser


Run = Callable[[argparse.Namespace, Results], None]


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: Run, words: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_PATH, help=f"the results, {DEFAULT_PATH.relative_to(ROOT)}"
    )
    parser.set_defaults(run=run)
    return parser


def _add_brokers(parser: argparse.ArgumentParser, default: str) -> None:
    known = "plain and bare are the two builds without webhooks, floor is uvloop alone"
    parser.add_argument("--brokers", default=default, help=f"%(default)s; {known}")


def _add_receiver(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--receiver",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"listen on port {table.CONF_RECEIVER_PORT}, where conf/nanomq.conf posts its events",
    )


def _add_rounds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (%(default)s)")


def _kinds(names: str) -> list[Kind]:
    """The brokers to measure. Prints why the others cannot be measured."""
    kinds, absent = available(names.split(","))
    for line in absent:
        print(f"note: {line}", flush=True)
    if not kinds:
        raise ValueError("none of these brokers can be measured here")
    return kinds


def _quick(options: argparse.Namespace, results: Results) -> None:
    rows, kinds = chosen(list(QUICK)), _kinds(options.brokers)
    table.measure(results, rows, kinds, [4], 1, with_receiver=options.receiver, section="quick")


def _table(options: argparse.Namespace, results: Results) -> None:
    versions = [int(one) for one in options.versions.split(",")]
    if not set(versions) <= set(VERSIONS):
        raise ValueError(f"--versions {options.versions}: 4 is MQTT 3.1.1, 5 is MQTT 5.0")
    rows, kinds = chosen(options.only), _kinds(options.brokers)
    table.measure(results, rows, kinds, versions, options.rounds, with_receiver=options.receiver)


def _growth(options: argparse.Namespace, results: Results) -> None:
    growth.measure(results, _kinds(options.brokers), options.largest)


def _fairness(options: argparse.Namespace, results: Results) -> None:
    fairness.measure(results, _kinds(options.brokers), options.topics)


def _webhook(options: argparse.Namespace, results: Results) -> None:
    webhook.measure(results, options.events, options.down, options.rounds)


def _pushers(options: argparse.Namespace, results: Results) -> None:
    pushers.measure(results, options.events, options.rounds)


def _persistence(options: argparse.Namespace, results: Results) -> None:
    persistence.measure(results, options.messages, options.queued)


def _bridge(options: argparse.Namespace, results: Results) -> None:
    bridge.measure(results, options.messages, options.queued, options.rounds)


def _cluster(options: argparse.Namespace, results: Results) -> None:
    cluster.measure(results, options.messages)


def _page(_: argparse.Namespace, results: Results) -> None:
    page.write(results)


def _all(options: argparse.Namespace, results: Results) -> None:
    try:
        kinds, receiver = _kinds(",".join(KINDS)), options.receiver
        table.measure(results, ROWS, kinds, list(VERSIONS), options.rounds, with_receiver=receiver)
        growth.measure(results, _kinds("plain,mosquitto"))
        fairness.measure(results, _kinds("pybroker,plain,mosquitto"))
        webhook.measure(results, rounds=options.rounds)
    finally:
        page.write(results)
