"""Moves a session to the node that its client connects to: claims, and the protocol of `moves.py`. Pure."""

from __future__ import annotations

from functools import partial

from ..engine.claims import Refusal
from ..packets.reasons import ReasonCode
from .directory import Answer, Directory, Owner
from .moves import Host, Kind, Message
from .under_way import Arrival, Departure, Late, Pull, Then, Waiter, switch_of

PATIENCE = 5.0
"""Seconds that CONNECT waits for its session. The move goes on after that."""
MOST_TRIES = 10
"""Claims for one CONNECT, where others claim the client all the time."""
STAY = 1.0
"""Seconds that a session stays where it has just arrived, while its client is connected. So clients that
displace each other do not keep all nodes busy."""
RETRY = 5.0
"""Seconds until the directory is asked again about a session that could not be claimed."""
STRAY_FOR = 30.0
"""Seconds that a session waits for the node that has claimed it while it was with a node that has died."""


DISPLACED = Refusal(ReasonCode.SERVER_UNAVAILABLE, "another connection uses this client identifier")
UNAVAILABLE = Refusal(ReasonCode.SERVER_UNAVAILABLE, "the directory of sessions cannot be asked")
CONTENDED = Refusal(ReasonCode.SERVER_UNAVAILABLE, "too many connections claim this client identifier")
STAYS = Refusal(ReasonCode.SERVER_UNAVAILABLE, "the session is on the disk of another node, and cannot move")
UNREADABLE = Refusal(ReasonCode.SERVER_UNAVAILABLE, "the session came from a node of another version")
TOO_LATE = Refusal(ReasonCode.SERVER_UNAVAILABLE, "the session has not arrived from another node in time")


class Takeovers:
    """Of one node. What takes its time is done by the host; nothing here waits."""

    def __init__(self, host: Host, directory: Directory, *, serves_alone: bool = True) -> None:
        """``serves_alone``: while the directory cannot be asked, clients with a session here, and those that
        want a clean start, are served; else none are."""
        self._host = host
        self._directory = directory
        self._serves_alone = serves_alone
        self.held: dict[str, int] = {}
        """The sessions that are here, with the epoch of their claim; 0 where it could not be claimed."""
        self._arrivals: dict[str, Arrival] = {}
        self._departures: dict[str, Departure] = {}
        self._late: dict[str, Late] = {}
        self._arrived: dict[str, float] = {}
        """When sessions arrived, oldest first; only those of the last seconds."""
        self._newest = 0
        """The highest epoch seen."""
        self._newest_before = 0
        """The same, when the directory was last there."""

    # What the engine says.

    def is_here(self, client_id: str) -> bool:
        """Whether the client may be served at once: nobody needs to be asked."""
        if client_id not in self.held or client_id in self._departures or client_id in self._arrivals:
            return False
        return self._serves_alone or self._directory.available

    def claim(self, client_id: str, clean: bool, then: Then) -> None:
        """Bring the session here, or get the right to make one; for a clean start end it. ``then`` may be
        called at once."""
        waiter = Waiter(then, clean)
        arrival = self._arrivals.get(client_id)
        if arrival is not None:
            self._refuse(arrival, DISPLACED)
        waiter.timer = self._host.later(PATIENCE, partial(self._too_late, client_id, waiter))
        if arrival is not None:
            arrival.waiter = waiter
            return
        self._begin(client_id, waiter)

    def ended(self, client_id: str) -> None:
        """The session has ended here."""
        epoch = self.held.pop(client_id, 0)
        self._forget(client_id)
        departure = self._departures.pop(client_id, None)
        if departure is not None:
            self._tell(departure.node, Kind.ENDED, client_id, departure.epoch)
            if departure.next is not None:
                self._pulled(client_id, departure.next)
        elif epoch:
            self._directory.release(client_id, Owner(self._host.name, epoch))

    def cannot_take(self, client_id: str) -> None:
        """What the other node sends cannot be read: the session stays there."""
        arrival = self._arrivals.get(client_id)
        if arrival is not None:
            self._host.discard(client_id)
            self._tell(arrival.source, Kind.STAYS, client_id, arrival.epoch)
            self._abandon(arrival, UNREADABLE)

    # What the node says of others.

    def received(self, node: str, message: Message) -> None:
        """A message about a move. One that is about none that is under way is ignored."""
        kind, client_id, epoch = message.kind, message.client_id, message.epoch
        self._newest = max(self._newest, epoch)
        if kind in (Kind.PULL, Kind.END):
            self._pulled(client_id, Pull(node, epoch, kind == Kind.END))
            return
        if kind == Kind.SWITCH and message.nodes != (self._host.name,):
            mark = message._replace(kind=Kind.MARK)
            self._host.tell(message.nodes[0], mark)
            self._host.tell(node, mark)
            return
        late = self._late.get(client_id)
        if late is not None and kind == Kind.MARK and late.switch.epoch == epoch:
            self._marked_late(client_id, late, node)
        arrival = self._arrivals.get(client_id)
        if arrival is not None and arrival.epoch == epoch:
            self._on_arrival(arrival, node, message)
        departure = self._departures.get(client_id)
        if departure is not None and departure.epoch == epoch:
            self._on_departure(client_id, departure, node, message)

    def joined(self, node: str) -> list[Message]:
        """A node is there, or there anew. Returns what it has to be told after our topic filters, before
        anything else."""
        told = []
        for arrival in self._arrivals.values():
            if arrival.switched and not arrival.settles and node != arrival.source:
                arrival.shut.add(node)
                arrival.unmarked.add(node)
                self._host.shut_arriving(arrival.client_id, node)
                told.append(switch_of(arrival))
        return [*told, *(late.switch for late in self._late.values() if node in late.nodes)]

    def lost(self, node: str) -> int:
        """A node is dead, or is taken for dead: what it had is gone. Returns how many sessions were on their
        way from it to here and will not arrive."""
        lost = 0
        for arrival in list(self._arrivals.values()):
            if arrival.next is not None and arrival.next.node == node:
                arrival.next = None
            if node in arrival.sources:
                arrival.sources.remove(node)
            if arrival.source == node:
                lost += arrival.switched
                self._host.discard(arrival.client_id)
                self._ask_next(arrival)
            elif arrival.switched:
                arrival.told.discard(node)
                arrival.unmarked.discard(node)
                if arrival.ready:
                    self._ready(arrival)
                self._settle_if_all_is_here(arrival)
        for client_id, departure in list(self._departures.items()):
            if departure.next is not None and departure.next.node == node:
                departure.next = None
            if departure.node == node:
                self._stay(client_id, departure)
                if departure.next is not None:
                    self._pulled(client_id, departure.next)
                elif client_id not in self._arrivals:
                    self._claim_back(client_id, Owner(departure.node, departure.epoch))
            else:
                self._leave_if_ready(client_id, departure)
        return lost

    def alone(self) -> None:
        """The directory cannot be asked any more."""
        self._newest_before = self._newest

    def verify(self, client_id: str) -> None:
        """Look whether the session that is here is still ours: where two nodes have one of the same client,
        that of the later claim stays. To be called for each of :attr:`held` after nodes could not reach each
        other, or the directory."""
        if client_id in self.held and client_id not in self._departures and client_id not in self._arrivals:
            self._directory.read(client_id, partial(self._verified, client_id))

    # The claim.

    def _begin(self, client_id: str, waiter: Waiter) -> None:
        arrival = self._arrivals[client_id] = Arrival(client_id, waiter.clean)
        arrival.waiter = waiter
        if waiter.clean:
            self._claim(arrival, None)
        else:  # there is likely an owner: a claim over nobody would be in vain
            self._directory.read(client_id, partial(self._found, arrival))

    def _found(self, arrival: Arrival, answer: Answer | None) -> None:
        if answer is None:
            self._not_claimed(arrival)
        elif arrival.waiter is None:
            self._abandon(arrival, TOO_LATE)
        else:
            self._claim(arrival, answer.owner)

    def _claim(self, arrival: Arrival, over: Owner | None) -> None:
        arrival.tries += 1
        claimed = partial(self._claimed, arrival, over)
        self._directory.claim(arrival.client_id, self._host.name, over, claimed)

    def _claimed(self, arrival: Arrival, over: Owner | None, answer: Answer | None) -> None:
        if answer is None:
            self._not_claimed(arrival)
            return
        assert answer.owner is not None or not answer.granted
        if answer.owner is not None:
            self._newest = max(self._newest, answer.owner.epoch)
        if answer.granted and answer.owner is not None:
            arrival.epoch = answer.owner.epoch
            self._granted(arrival, over)
        elif arrival.waiter is None:
            self._abandon(arrival, TOO_LATE)
        elif arrival.tries >= MOST_TRIES:
            self._abandon(arrival, CONTENDED)
        else:
            self._claim(arrival, answer.owner)

    def _not_claimed(self, arrival: Arrival) -> None:
        """The directory does not answer."""
        waiter = arrival.waiter
        if waiter is not None and waiter.clean and self._serves_alone:
            self._finish(arrival, present=False)
            self._host.later(RETRY, partial(self.verify, arrival.client_id))
        else:
            self._abandon(arrival, UNAVAILABLE)

    def _granted(self, arrival: Arrival, before: Owner | None) -> None:
        later = arrival.next
        if later is not None and later.epoch < arrival.epoch:  # we have claimed over that one
            arrival.next = None
            self._tell(later.node, Kind.NOTHING, arrival.client_id, later.epoch)
        elif later is not None:
            self._refuse(arrival, DISPLACED)
        if before is not None:
            others = self._host.alive()
            arrival.sources = [node for node in others if node != before.node]
            if before.node in others:
                arrival.sources.insert(0, before.node)
        self._ask_next(arrival)

    def _ask_next(self, arrival: Arrival) -> None:
        """The owner before us first. It may have died, or have had nothing yet: then others may have it."""
        arrival.source = ""
        arrival.shut = set()
        arrival.switched = arrival.ready = arrival.brought = arrival.settles = False
        arrival.told = set()
        arrival.unmarked = set()
        if not arrival.sources:
            self._finish(arrival, present=False)
            return
        arrival.source = arrival.sources.pop(0)
        self._tell(arrival.source, Kind.END if arrival.clean else Kind.PULL, arrival.client_id, arrival.epoch)

    def _too_late(self, client_id: str, waiter: Waiter) -> None:
        arrival = self._arrivals.get(client_id)
        if arrival is not None and arrival.waiter is waiter:
            self._refuse(arrival, TOO_LATE)

    def _refuse(self, arrival: Arrival, refusal: Refusal) -> None:
        if arrival.waiter is not None:
            self._answer(arrival.waiter, refusal)
            arrival.waiter = None

    def _answer(self, waiter: Waiter, refusal: Refusal | None) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        waiter.then(refusal)

    def _abandon(self, arrival: Arrival, refusal: Refusal) -> None:
        """Claim no longer."""
        del self._arrivals[arrival.client_id]
        if arrival.next is not None:
            self._pulled(arrival.client_id, arrival.next)
        self._refuse(arrival, refusal)

    # A session that arrives.

    def _on_arrival(self, arrival: Arrival, node: str, message: Message) -> None:
        client_id = arrival.client_id
        if message.kind == Kind.MARK:
            if not arrival.switched or message.nodes != (arrival.source,):
                return  # about a source that has died
            self._open(arrival, node)
            arrival.unmarked.discard(node)
            self._settle_if_all_is_here(arrival)
            return
        if node != arrival.source:
            return
        match message.kind:
            case Kind.OFFER if not arrival.switched:
                self._host.offered(client_id, message.data)
                if message.last and self._arrivals.get(client_id) is arrival:
                    self._host.subscribe(client_id, partial(self._switch, arrival))
            case Kind.STATE if arrival.switched:
                self._open(arrival, node)
                self._host.brought(client_id, message.data)
                arrival.brought = message.last
                if self._arrivals.get(client_id) is arrival:
                    self._settle_if_all_is_here(arrival)
            case Kind.NOTHING:
                self._host.discard(client_id)
                self._ask_next(arrival)
            case Kind.ENDED:
                self._host.discard(client_id)
                arrival.sources = []
                self._ask_next(arrival)
            case Kind.STAYS:
                self._abandon(arrival, STAYS)
            case Kind.SUPERSEDED:
                self._host.discard(client_id)
                self._superseded(arrival)
            case _:
                pass

    def _switch(self, arrival: Arrival) -> None:
        """All subscriptions are here, and the other nodes are told of them."""
        arrival.switched = True
        arrival.told = {node for node in self._host.alive() if node != arrival.source}
        arrival.unmarked = set(arrival.told)
        everyone = self._host.everyone()
        arrival.shut = set(everyone)
        self._host.listen(arrival.client_id, everyone)
        for node in everyone:
            self._host.tell(node, switch_of(arrival))
        self._host.join_groups(arrival.client_id, partial(self._ready, arrival))

    def _open(self, arrival: Arrival, node: str) -> None:
        if node in arrival.shut:
            arrival.shut.discard(node)
            self._host.open(arrival.client_id, node)

    def _ready(self, arrival: Arrival) -> None:
        arrival.ready = True
        told = tuple(arrival.told)
        self._host.tell(arrival.source, Message(Kind.READY, arrival.client_id, arrival.epoch, nodes=told))

    def _settle_if_all_is_here(self, arrival: Arrival) -> None:
        if arrival.brought and not arrival.unmarked and not arrival.settles:
            arrival.settles = True
            self._host.settle(arrival.client_id, partial(self._settled, arrival))

    def _settled(self, arrival: Arrival) -> None:
        self._tell(arrival.source, Kind.TAKEN, arrival.client_id, arrival.epoch)
        if arrival.shut:
            self._late[arrival.client_id] = Late(switch_of(arrival), arrival.shut)
        self._finish(arrival, present=True)

    def _marked_late(self, client_id: str, late: Late, node: str) -> None:
        """A node that was taken for dead has switched."""
        if node in late.nodes:
            self._host.open(client_id, node)
            late.nodes.discard(node)
            if not late.nodes:
                del self._late[client_id]

    def _superseded(self, arrival: Arrival) -> None:
        """Another node has claimed the client after us."""
        if arrival.next is not None or arrival.waiter is None or arrival.tries >= MOST_TRIES:
            self._abandon(arrival, DISPLACED)
            return
        arrival.epoch = 0
        arrival.source = ""
        arrival.sources = []
        self._claim(arrival, None)

    def _finish(self, arrival: Arrival, *, present: bool) -> None:
        client_id, later, waiter = arrival.client_id, arrival.next, arrival.waiter
        del self._arrivals[client_id]
        if present or client_id in self.held or waiter is not None:
            self.held[client_id] = arrival.epoch
        if present:
            self._note_arrival(client_id)
        if later is not None:
            if not self._host.has(client_id):
                self.held.pop(client_id, None)
            self._pulled(client_id, later)
            if waiter is not None:
                self._begin(client_id, waiter)
        elif waiter is not None:
            self._answer(waiter, None)
        if not self._host.has(client_id) and client_id not in self._arrivals and later is None:
            self.held.pop(client_id, None)
            if arrival.epoch:
                self._directory.release(client_id, Owner(self._host.name, arrival.epoch))

    def _note_arrival(self, client_id: str) -> None:
        now = self._host.now()
        self._arrived.pop(client_id, None)
        self._arrived[client_id] = now
        while (first := next(iter(self._arrived))) != client_id and self._arrived[first] <= now - STAY:
            del self._arrived[first]

    # A session that leaves.

    def _pulled(self, client_id: str, pull: Pull) -> None:
        arrival = self._arrivals.get(client_id)
        if arrival is not None:
            self._pulled_from_arrival(arrival, pull)
            return
        if pull.node not in self._host.alive():
            return
        departure = self._departures.get(client_id)
        if departure is not None:
            if departure.epoch > pull.epoch:
                self._tell(pull.node, Kind.SUPERSEDED, client_id, pull.epoch)
            else:
                departure.next = self._later_of(client_id, departure.next, pull)
            return
        held = self.held.get(client_id)
        if held is None or not self._host.has(client_id):
            self._tell(pull.node, Kind.NOTHING, client_id, pull.epoch)
        elif held > pull.epoch:
            self._tell(pull.node, Kind.SUPERSEDED, client_id, pull.epoch)
        elif pull.clean:
            self._remove(client_id)
            self._tell(pull.node, Kind.ENDED, client_id, pull.epoch)
        elif not self._host.can_move(client_id):
            self._tell(pull.node, Kind.STAYS, client_id, pull.epoch)
            self._claim_back(client_id, Owner(pull.node, pull.epoch))
        elif (pause := self._pause(client_id)) > 0:
            self._host.later(pause, partial(self._pulled, client_id, pull))
        else:
            self._depart(client_id, pull)

    def _pulled_from_arrival(self, arrival: Arrival, pull: Pull) -> None:
        if arrival.epoch > pull.epoch:
            self._tell(pull.node, Kind.SUPERSEDED, arrival.client_id, pull.epoch)
            return
        arrival.next = self._later_of(arrival.client_id, arrival.next, pull)
        if arrival.epoch:
            self._refuse(arrival, DISPLACED)

    def _later_of(self, client_id: str, one: Pull | None, other: Pull) -> Pull:
        """The later claim; the node that has made the other one is told."""
        if one is None:
            return other
        earlier, later = sorted((one, other), key=lambda pull: pull.epoch)
        self._tell(earlier.node, Kind.SUPERSEDED, client_id, earlier.epoch)
        return later

    def _pause(self, client_id: str) -> float:
        arrived = self._arrived.get(client_id)
        if arrived is None or not self._host.is_connected(client_id):
            return 0.0
        return arrived + STAY - self._host.now()

    def _depart(self, client_id: str, pull: Pull) -> None:
        host = self._host
        if not host.freeze(client_id):
            self.ended(client_id)
            self._tell(pull.node, Kind.ENDED, client_id, pull.epoch)
            return
        departure = self._departures[client_id] = Departure(pull.node, pull.epoch)
        self._arrived.pop(client_id, None)

        def drained() -> None:
            departure.drained = True
            if self._departures.get(client_id) is departure:
                self._leave_if_ready(client_id, departure)

        host.drain(drained)
        host.offer(client_id, pull.node, partial(self._send, departure, Kind.OFFER, client_id))

    def _send(self, departure: Departure, kind: Kind, client_id: str, data: bytes, last: bool) -> None:
        self._host.tell(departure.node, Message(kind, client_id, departure.epoch, last, data=data))

    def _on_departure(self, client_id: str, departure: Departure, node: str, message: Message) -> None:
        match message.kind:
            case Kind.MARK:
                self._host.shut(client_id, node)
                departure.marks.add(node)
            case Kind.SWITCH if node == departure.node:
                self._host.shut(client_id, node)
            case Kind.READY if node == departure.node:
                departure.told = set(message.nodes)
            case Kind.STAYS if node == departure.node:
                self._stay(client_id, departure)
                self._claim_back(client_id, Owner(departure.node, departure.epoch))
                return
            case Kind.TAKEN if node == departure.node and departure.left:
                del self._departures[client_id]
                self.held.pop(client_id, None)
                self._forget(client_id)
                self._host.forget(client_id)
                if departure.next is not None:
                    self._pulled(client_id, departure.next)
                return
            case _:
                return
        self._leave_if_ready(client_id, departure)

    def _leave_if_ready(self, client_id: str, departure: Departure) -> None:
        """Send the messages once no more can come."""
        if departure.left or not departure.drained or departure.told is None:
            return
        if departure.told.intersection(self._host.alive()) <= departure.marks:
            departure.left = True
            self._host.leave(client_id, departure.node, partial(self._send, departure, Kind.STATE, client_id))

    def _stay(self, client_id: str, departure: Departure) -> None:
        del self._departures[client_id]
        self._host.stay(client_id)

    # Two nodes with one client.

    def adopt(self, client_id: str) -> None:
        """A session was here before the node knew others: one of an earlier run, from the disk."""
        self.held.setdefault(client_id, 0)

    def _claim_back(self, client_id: str, over: Owner) -> None:
        """The node that was to get the session has died."""

        def claimed(answer: Answer | None) -> None:
            if client_id not in self.held or client_id in self._departures or client_id in self._arrivals:
                return
            if answer is not None and answer.granted and answer.owner is not None:
                self.held[client_id] = answer.owner.epoch
            else:  # who has claimed it asks us, too
                self._host.later(STRAY_FOR, partial(self.verify, client_id))

        self._directory.claim(client_id, self._host.name, over, claimed)

    def _verified(self, client_id: str, answer: Answer | None) -> None:
        held = self.held.get(client_id)
        if answer is None and held == 0:
            self._host.later(RETRY, partial(self.verify, client_id))
        if answer is None or held is None or client_id in self._departures or client_id in self._arrivals:
            return
        owner = answer.owner
        if owner is not None and owner.node == self._host.name:
            self.held[client_id] = owner.epoch
        elif owner is not None and owner.epoch > (held or self._newest_before):
            self._remove(client_id)
        else:
            self._directory.claim(
                client_id, self._host.name, owner, partial(self._reclaimed, client_id, owner)
            )

    def _reclaimed(self, client_id: str, over: Owner | None, answer: Answer | None) -> None:
        if answer is None or answer.owner is None or client_id not in self.held:
            return
        if not answer.granted:
            self.verify(client_id)
            return
        self.held[client_id] = answer.owner.epoch
        if over is not None and over.node in self._host.alive():
            self._tell(over.node, Kind.END, client_id, answer.owner.epoch)

    def _remove(self, client_id: str) -> None:
        """End the session: another node is the owner."""
        self.held.pop(client_id, None)  # so that it is not released
        self._forget(client_id)
        self._host.end(client_id, "takenover")

    def _forget(self, client_id: str) -> None:
        self._arrived.pop(client_id, None)
        self._late.pop(client_id, None)

    def _tell(self, node: str, kind: Kind, client_id: str, epoch: int) -> None:
        self._host.tell(node, Message(kind, client_id, epoch))
