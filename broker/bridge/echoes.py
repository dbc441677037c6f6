"""A bounded memory of what was sent, for remote brokers that send it back and leave no mark on it."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

MOST = 10_000
"""Messages remembered; the oldest is forgotten first."""
SECONDS = 10.0
"""How long one is remembered."""


class Echoes:
    """Each message that was sent cancels one that comes back with the same topic and payload."""

    def __init__(self) -> None:
        self._sent: OrderedDict[bytes, list[float]] = OrderedDict()
        """When each expires, for every time it was sent."""
        self._count = 0
        self._bridges: dict[str, tuple[bool, bool]] = {}
        """The bridges to this remote broker, and whether each publishes and subscribes there."""

    def join(self, name: str, publishes: bool, subscribes: bool) -> None:
        self._bridges[name] = publishes, subscribes

    def leave(self, name: str) -> None:
        self._bridges.pop(name, None)

    def come_back_to(self, name: str, *, another: bool) -> bool:
        """Whether the bridge may get what a bridge has sent: itself, or only ``another`` one."""
        senders = {one for one, (publishes, _) in self._bridges.items() if publishes}
        return self._bridges[name][1] and bool(senders - {name} if another else senders)

    def go_out_from(self, name: str, *, another: bool) -> bool:
        """Whether what the bridge sends may come back: to itself, or only to ``another`` one."""
        takers = {one for one, (_, subscribes) in self._bridges.items() if subscribes}
        return self._bridges[name][0] and bool(takers - {name} if another else takers)

    def __len__(self) -> int:
        return self._count

    def sent(self, topic: str, payload: bytes, now: float) -> None:
        """``topic`` is that of the remote broker."""
        self._sent.setdefault(_mark(topic, payload), []).append(now + SECONDS)
        self._count += 1
        while self._count > MOST:
            self._count -= len(self._sent.popitem(last=False)[1])

    def is_echo(self, topic: str, payload: bytes, now: float) -> bool:
        """Whether the message was sent by this side a moment ago; asked once for each that comes."""
        mark = _mark(topic, payload)
        ends = self._sent.get(mark)
        if ends is None:
            return False
        current = [end for end in ends if end > now]
        self._count -= len(ends) - len(current)
        is_one = bool(current)
        if is_one:
            current.pop(0)
            self._count -= 1
        if current:
            self._sent[mark] = current
        else:
            del self._sent[mark]
        return is_one


def _mark(topic: str, payload: bytes) -> bytes:
    digest = blake2b(payload, digest_size=16)
    digest.update(b"\0" + topic.encode(errors="surrogatepass"))
    return digest.digest()
