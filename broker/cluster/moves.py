"""What nodes say to each other about a session that moves, and what the protocol needs of its node.

The session of a client is at node B, and the client has connected to node C. A stands for each other node.

========== ======= ==================================================================================
message    way     meaning
========== ======= ==================================================================================
PULL       C to B  C owns the client by the claim of this epoch; B is to hand the session over
END        C to B  the same, but the client wants a clean start: B is to end the session
NOTHING    B to C  B has no session of this client
ENDED      B to C  B had one, and has ended it
SUPERSEDED B to C  a later claim than that of C has the session
OFFER      B to C  the session without its messages; B has closed the connection
SWITCH     C to A  C has the subscriptions: from here on, what A sends to C is for this session too
SWITCH     C to B  the same, of what C sends to B: from here on it is not for this session any more
MARK       A to B  what A sends to B from here on is not for the session any more
MARK       A to C  what A sends to C from here on is for the session
READY      C to B  these nodes have been told to switch, and C is in the shared groups
STATE      B to C  the messages of the session; what B itself publishes from here on goes to C
TAKEN      C to B  the session is here
STAYS      B to C  the session cannot move now; B claims the client again
STAYS      C to B  C cannot read the session; B keeps it, and claims the client again
RETURNED   C to A  A was taken for dead: A is to look whether its sessions are still its own
========== ======= ==================================================================================

All ways keep their order. So each message from A is before the MARK on both ways, and B has it; or after it
on both, and C has it. B sends STATE when all nodes have switched. C puts what it has received meanwhile
behind it. Until then B and C both subscribe, and no filter is ever missing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import IntEnum
from typing import NamedTuple, Protocol


class Kind(IntEnum):
    PULL = 1
    END = 2
    NOTHING = 3
    ENDED = 4
    SUPERSEDED = 5
    OFFER = 6
    SWITCH = 7
    MARK = 8
    READY = 9
    STATE = 10
    TAKEN = 11
    STAYS = 12
    RETURNED = 13


class Message(NamedTuple):
    kind: Kind
    client_id: str
    epoch: int
    """Of the claim that the message is about."""
    last: bool = True
    """OFFER and STATE come in pieces: whether this is the last one."""
    nodes: tuple[str, ...] = ()
    """SWITCH and MARK: the node that hands the session over. READY: those that were told to switch."""
    data: bytes = b""
    """OFFER and STATE: records of the session."""


Send = Callable[[bytes, bool], None]
"""Sends one piece; the second argument says whether it is the last one."""


class Timer(Protocol):
    def cancel(self) -> None: ...


class Host(Protocol):
    """The node, its links and its sessions.

    What takes its time may be done in turns. Nothing more of it is done, and its ``then`` or ``send`` is not
    called, after :meth:`discard`, :meth:`stay`, or :meth:`forget` of the same client.
    """

    @property
    def name(self) -> str: ...
    def everyone(self) -> Collection[str]:
        """The other nodes."""

    def alive(self) -> Collection[str]:
        """Those that are not taken for dead."""

    def tell(self, node: str, message: Message) -> None:
        """Send the message after all that was sent to the node before."""

    def drain(self, then: Callable[[], None]) -> None:
        """Call ``then`` once the other nodes have dealt with all that was sent to them until now. A node that
        is taken for dead is not waited for."""

    def now(self) -> float:
        """By the monotonic clock."""

    def later(self, seconds: float, call: Callable[[], None]) -> Timer: ...

    # A session that is here.

    def has(self, client_id: str) -> bool: ...
    def is_connected(self, client_id: str) -> bool: ...
    def can_move(self, client_id: str) -> bool:
        """Whether all of the session is in memory."""

    def end(self, client_id: str, reason: str) -> None:
        """Disconnect the client, and end its session."""

    def freeze(self, client_id: str) -> bool:
        """Disconnect the client. False where its session has ended with the connection."""

    def offer(self, client_id: str, node: str, send: Send) -> None:
        """Send the session without its messages, as fast as the node takes it."""

    def shut(self, client_id: str, node: str) -> None:
        """The session takes no more of what this node sends, except for shared subscriptions."""

    def leave(self, client_id: str, node: str, send: Send) -> None:
        """Leave the shared groups; then take no message at all any more, and send all that there are."""

    def stay(self, client_id: str) -> None:
        """Undo :meth:`shut` and :meth:`leave`: the session is not moved."""

    def forget(self, client_id: str) -> None:
        """The session is at another node now: remove it, without a will or an event."""

    # A session that arrives.

    def offered(self, client_id: str, data: bytes) -> None:
        """A piece of what :meth:`offer` has sent."""

    def subscribe(self, client_id: str, then: Callable[[], None]) -> None:
        """Put the offered subscriptions into the router, but for shared ones; the session takes no message
        yet."""

    def listen(self, client_id: str, shut: Collection[str]) -> None:
        """From now on the session takes messages, but not what these nodes send."""

    def shut_arriving(self, client_id: str, node: str) -> None:
        """The session does not take what this node sends."""

    def open(self, client_id: str, node: str) -> None:
        """The session takes what this node sends; it may have arrived already."""

    def join_groups(self, client_id: str, then: Callable[[], None]) -> None: ...
    def brought(self, client_id: str, data: bytes) -> None:
        """A piece of what :meth:`leave` has sent."""

    def settle(self, client_id: str, then: Callable[[], None]) -> None:
        """Put what was received meanwhile behind what was brought: the session is here. What is shut stays
        shut: a node that was taken for dead may send what the session has got elsewhere."""

    def discard(self, client_id: str) -> None:
        """The session will not arrive: remove what is here of it."""
