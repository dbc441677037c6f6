"""`pybroker faults`: inject faults into a running broker."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ..faults.fault import ACTIONS, Fault
from .options import Commands, add_which, find_instance

_DESCRIPTION = """\
Inject faults into a running broker whose configuration has a section `faults {}`, or into the
broker that `pybroker run` has started.

  pybroker faults add drop packet=PUBACK client='sensor-*' times=3
  pybroker faults add latency seconds=0.2 jitter=0.1
  pybroker faults list
  pybroker faults remove 1

`pybroker faults add --help` lists the actions and their keys."""

_KEYS = """\
client   a pattern with *, ?, [ab]      topic      a topic filter
packet   its type, such as PUBACK       direction  in (from the client) or out
nth      number in its connection           times      how often at most, in all
seconds, jitter   0.5, 200ms, 2m        rate       bytes per second: 500, 4KB
code     a name, or a number from 0x80  byte       from 0, or from the end below 0
count    additional copies              keep_state  false: lose sessions and retained messages
after_bytes   in each direction
probability, seed   from 0 to 1; the same seed gives the same faults"""


def _actions() -> str:
    """A line for each action: what it needs, and [what it may have]."""
    lines = []
    for action, (aims, needed, possible) in ACTIONS.items():
        keys = [name for name in Fault.__dataclass_fields__ if name in needed | possible]
        aimed = [name for name in Fault.__dataclass_fields__ if name in aims]
        words = [name if name in needed else f"[{name}]" for name in keys] + [f"[{name}]" for name in aimed]
        lines.append(f"  {action:12} {' '.join(words)}")
    return "\n".join(lines)


def add_faults(commands: Commands) -> None:
    faults = commands.add_parser(
        "faults",
        help="inject faults into a running broker, for tests",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_which(faults)
    verbs = faults.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    verbs.add_parser("list", help="list the faults in force, and how often each has struck")
    add = verbs.add_parser(
        "add",
        help="put a fault in force",
        description=f"Keys of each ACTION, optional ones in []:\n\n{_actions()}\n\n{_KEYS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add.add_argument("action", metavar="ACTION", help="the fault")
    add.add_argument(
        "values", nargs="*", metavar="KEY=VALUE", help="which packets it strikes, when, and how much"
    )
    remove = verbs.add_parser("remove", help="remove one fault")
    remove.add_argument("number", type=int, metavar="NUMBER", help="the number that `list` shows")
    verbs.add_parser("clear", help="remove all faults")
    restart = verbs.add_parser("restart", help="disconnect all clients and refuse connections for a while")
    restart.add_argument("--seconds", default="0", metavar="TIME", help="how long connections are refused")
    restart.add_argument("--lose-state", action="store_true", help="lose sessions and retained messages")
    faults.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..process.control import ControlError, ask
    from ..process.instances import PID_VARIABLE

    pid = options.pid
    if pid is None and options.conf is None and (named := os.environ.get(PID_VARIABLE)):
        pid = int(named)
    instance = find_instance(options.conf, pid)
    if instance is None:
        return 1
    try:
        for line in ask(instance.control, "faults", verb=options.verb, **_arguments(options)):
            print(line)
    except (ControlError, ValueError) as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return 1
    return 0


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    match options.verb:
        case "add":
            return {"action": options.action, **dict(map(_pair, options.values))}
        case "remove":
            return {"number": options.number}
        case "restart":
            return {"seconds": options.seconds, "keep_state": not options.lose_state}
    return {}


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or key == "action":
        raise ValueError(f'"{text}": write KEY=VALUE, such as packet=PUBACK')
    return key, value
