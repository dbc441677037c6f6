"""`pybroker top`: show a running broker in the terminal, live."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..packets.model import VERSION_NAMES
from .options import Commands, add_which, find_instance
from .shown import shown_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

NARROW = 90
"""In a terminal with fewer columns, less is shown."""


def add_top(commands: Commands) -> None:
    top = commands.add_parser(
        "top",
        help="watch a running broker: rates, clients, topics, webhooks",
        description="Show what the running broker of this user does, every second, until Ctrl-C. "
        "Under a flood of messages the table of topics shows a sample.",
    )
    add_which(top)
    add = top.add_argument
    add(
        "--interval",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="time between two updates (%(default)s)",
    )
    add("--once", action="store_true", help="print once, with the rates of one interval, and exit")
    top.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.live import Live

    from ..process.control import ControlError, ask

    instance = find_instance(options.conf, options.pid)
    if instance is None:
        return 1
    if not 0.1 <= options.interval <= 3600:
        print("pybroker: --interval is from 0.1 to 3600 seconds", file=sys.stderr)
        return 2
    console = Console()

    def look() -> dict[str, Any]:
        found: dict[str, Any] = ask(instance.control, "top")
        return found

    try:
        before = look()
        time.sleep(options.interval)
        now = look()
        if options.once:
            console.print(screen(before, now, console.height, console.width))
            return 0
        first = screen(before, now, console.height, console.width)
        with Live(first, console=console, screen=console.is_terminal) as live:
            while True:
                time.sleep(options.interval)
                before, now = now, look()
                live.update(screen(before, now, console.height, console.width), refresh=True)
    except KeyboardInterrupt:
        return 0
    except ControlError as error:
        gone = not Path(instance.control).exists()
        print(f"pybroker: {'the broker has stopped' if gone else error}", file=sys.stderr)
        return 1


def screen(before: dict[str, Any], now: dict[str, Any], height: int = 40, width: int = 120) -> RenderableType:
    """Two samples of a broker's numbers, as one page of at most ``height`` lines, if the headings fit into
    these. A narrow page leaves out the less important columns."""
    from rich.console import Group

    rows = max(3, (height - 12 - len(now["webhooks"])) // 2)
    parts: list[RenderableType] = [
        _overview(before, now),
        _clients(now, rows, width >= NARROW),
        _topics(before, now, rows),
    ]
    if now["webhooks"]:
        parts.append(_webhooks(before, now))
    return Group(*parts)


def _overview(before: dict[str, Any], now: dict[str, Any]) -> RenderableType:
    from rich.text import Text

    old, new = before["overview"], now["overview"]
    seconds = max(new["at"] - old["at"], 0.001)

    def rate(key: str) -> float:
        return float(new[key] - old[key]) / float(seconds)

    dropped = sum(new["dropped"].values()) - sum(old["dropped"].values())
    lines = (
        f"pybroker {new['version']}   clients {new['clients']:,}   sessions {new['sessions']:,}"
        f"   subscriptions {new['subscriptions']:,}   retained {new['retained']:,}",
        f"in {rate('messages_received'):,.0f} messages/s, {shown_bytes(rate('bytes_received'))}/s"
        f"   out {rate('messages_sent'):,.0f} messages/s, {shown_bytes(rate('bytes_sent'))}/s"
        f"   dropped {dropped / seconds:,.0f}/s",
        f"inflight {new['inflight']:,}   queued {new['queued']:,}   cpu {rate('cpu_seconds'):.0%}"
        f"   memory {shown_bytes(new['memory_bytes'])}   event loop late by {new['lag'] * 1000:.1f} ms",
    )
    return Text("\n".join(lines) + "\n")


def _clients(now: dict[str, Any], rows: int, whole: bool) -> Table:
    names = ("client", "user", "from", "version", "subscriptions", "in flight", "queued")
    left_out = () if whole else ("user", "version", "subscriptions")
    table = _table(*(name for name in names if name not in left_out))
    for one in now["clients"][:rows]:
        cells = (
            _cell(one["client"]),
            _cell(one["username"] or ""),
            _cell(one["peer"] if one["connected"] else "away"),
            VERSION_NAMES.get(one["version"], "?"),
            f"{one['subscriptions']:,}",
            f"{one['inflight']:,}",
            f"{one['queued']:,}",
        )
        table.add_row(*(cell for name, cell in zip(names, cells, strict=True) if name not in left_out))
    return table


def _topics(before: dict[str, Any], now: dict[str, Any], rows: int) -> Table:
    old = {one["topic"]: one["seen"] for one in before["topics"]}
    head = "topic (a sample)" if now["sampling"] else "topic"
    table = _table(head, "seen", "new", "QoS", "last payload")
    for one in now["topics"][:rows]:
        new = one["seen"] - old.get(one["topic"], 0)
        retained = "R" if one["retain"] else ""
        table.add_row(
            _cell(one["topic"]), f"{one['seen']:,}", f"{new:,}", f"{one['qos']}{retained}", _cell(one["last"])
        )
    return table


def _webhooks(before: dict[str, Any], now: dict[str, Any]) -> Table:
    old = {one["name"]: one["succeeded"] for one in before["webhooks"]}
    seconds = max(now["overview"]["at"] - before["overview"]["at"], 0.001)
    table = _table("webhook", "state", "sent/s", "waiting", "in flight", "dead", "dropped")
    for one in now["webhooks"]:
        dropped = one["dropped_full"] + one["dropped_expired"] + one["dropped_filtered"]
        table.add_row(
            _cell(one["name"]),
            one["state"],
            f"{(one['succeeded'] - old.get(one['name'], 0)) / seconds:,.0f}",
            *(f"{number:,}" for number in (one["queued"], one["in_flight"], one["dead"], dropped)),
        )
    return table


def _table(*heads: str) -> Table:
    from rich.table import Table

    table = Table(box=None, expand=True, pad_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        left = number == 0 or head in ("user", "from", "version", "last payload", "state")
        table.add_column(
            head,
            justify="left" if left else "right",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if not number or head == "last payload" else None,
        )
    return table


def _cell(text: str) -> Any:
    """Text from a client: no markup, no control characters."""
    from rich.text import Text

    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
