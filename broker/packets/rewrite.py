"""A run of PUBLISH packets with another topic, or with properties, without an object for each message."""

from __future__ import annotations

from .model import PublishRun
from .primitives import write_string, write_variable


def rewritten(run: PublishRun, topic: str, section: bytes = b"") -> bytes:
    """The packets with this topic. ``section`` has the properties that each gets, with their length; only in
    5.0. Packet identifiers stay the same."""
    return _rewrite(run, topic, section)[0]


def with_topic(run: PublishRun, topic: str) -> PublishRun | None:
    """The same messages as a run to this topic; None if they do not fit into one, because the payloads do not
    all start at the same position of their packets."""
    wire, ends, payload_at = _rewrite(run, topic, b"")
    if not payload_at:
        return None
    return PublishRun(topic, run.qos, run.version, wire, payload_at, ends, run.packet_ids)


def _rewrite(run: PublishRun, topic: str, section: bytes) -> tuple[bytes, list[int], int]:
    """The packets, the end of each, and the position of the payload in each; 0: the positions differ."""
    old, old_payload_at = run.wire, run.payload_at
    name = write_string(topic)
    first = old[:1]
    five = run.version == 5
    if five and not section:
        section = b"\0"
    id_size = 2 if run.qos else 0
    id_at = old_payload_at - id_size - five
    fixed = len(name) + id_size + len(section)
    heads: dict[int, bytes] = {}
    parts: list[bytes] = []
    ends: list[int] = []
    start = end = payload_at = 0
    for old_end in run.ends:
        size = old_end - start - old_payload_at
        head = heads.get(size)
        if head is None:
            head = heads[size] = first + write_variable(fixed + size) + name
        parts.append(head)
        if id_size:
            parts.append(old[start + id_at : start + id_at + 2])
        if section:
            parts.append(section)
        parts.append(old[start + old_payload_at : old_end])
        end += len(head) + id_size + len(section) + size
        ends.append(end)
        start = old_end
    lengths = {len(head) for head in heads.values()}
    if len(lengths) == 1:
        payload_at = lengths.pop() + id_size + len(section)
    return b"".join(parts), ends, payload_at
