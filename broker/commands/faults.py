"""`pybroker faults`: break what a running broker serves, on purpose."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ..faults.fault import ACTIONS, Fault
from .options import Commands, add_which, find_instance

_DESCRIPTION = """\
Faults of a running broker whose configuration has a section `faults {}`, or of the one that
`pybroker run` has started.

  pybroker faults add drop packet=PUBACK client='sensor-*' times=3
  pybroker faults add latency seconds=0.2 jitter=0.1
  pybroker faults list
  pybroker faults remove 1

`pybroker faults add --help` lists the actions and what each may have."""

_KEYS = """\
client   a pattern with *, ?, [ab]      topic      a topic filter
packet   its type, such as PUBACK       direction  in (from the client) or out
nth      of each connection             times      at most so often in all
seconds, jitter   0.5, 200ms, 2m        rate       bytes a second: 500, 4KB
code     a name, or a number from 0x80  byte       from 0, or from the end below 0
count    copies beside the packet       keep_state  false: sessions and retained are gone
after_bytes   in each direction
probability, seed   from 0 to 1; the same seed, the same faults"""


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
        help="let things go wrong in a running broker, for tests",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_which(faults)
    verbs = faults.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    verbs.add_parser("list", help="the faults in force, and how often each has struck")
    add = verbs.add_parser(
        "add",
        help="put a fault in force",
        description=f"What each ACTION may have:\n\n{_actions()}\n\n{_KEYS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add.add_argument("action", metavar="ACTION", help="what goes wrong")
    add.add_argument("values", nargs="*", metavar="KEY=VALUE", help="whom it strikes, when and how much")
    remove = verbs.add_parser("remove", help="lift one fault")
    remove.add_argument("number", type=int, metavar="NUMBER", help="as `list` shows it")
    verbs.add_parser("clear", help="lift all faults")
    restart = verbs.add_parser("restart", help="cut everybody off; the process itself goes on")
    restart.add_argument("--seconds", default="0", metavar="TIME", help="how long nobody can connect")
    restart.add_argument("--lose-state", action="store_true", help="forget sessions and retained messages")
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
