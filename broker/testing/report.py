"""The last recorded packets and webhooks, for the report of a failed test."""

from __future__ import annotations

from .recorder import Recorder

PACKETS = 30
WEBHOOKS = 10


def report(recorder: Recorder) -> str:
    """Packets and webhooks, oldest first, one a line."""
    packets, hooks = list(recorder.packets), list(recorder.webhooks)
    lines = [_title("packet", len(packets), PACKETS)]
    lines += [f"  {seen}" for seen in packets[-PACKETS:]]
    if hooks:
        lines.append(_title("webhook", len(hooks), WEBHOOKS))
        lines += [f"  {hook}" for hook in hooks[-WEBHOOKS:]]
    return "\n".join(lines)


def _title(noun: str, count: int, most: int) -> str:
    if not count:
        return f"no {noun}s"
    last = f", the last {most}" if count > most else ""
    return f"{count} {noun}{'s' if count > 1 else ''}{last}:"
