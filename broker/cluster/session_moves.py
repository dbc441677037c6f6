"""The sessions of this node that move: what `takeover.py` decides, done with the engine and the links."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial

from ..clock import Timer
from ..engine.disconnect import cancel_departure, end_session, pass_on, wait_for_end, wait_for_will
from ..engine.engine import Engine
from ..engine.forget import forget_session
from ..packets.reasons import ReasonCode
from ..routing.topics import SHARE
from ..session.registry import INSIDE
from ..session.session import Session
from ..state.transfer import ArrivingSession, messages_of, without_messages
from . import records
from .directory import Answer, Directory, Owner, Then
from .moves import Kind, Message, Send
from .peer import Peer
from .takeover import Takeovers
from .under_way import Then as Admit

log = logging.getLogger("pybroker.cluster")

AHEAD = 1 << 20
"""Bytes that wait for a node while a session is sent to it."""
VERIFIED_AT_ONCE = 100
"""Sessions that are looked up in the directory at a time."""
VERIFY_PAUSE = 0.05
"""Seconds from those to the next."""

Jobs = dict[str, Iterator[None]]
"""Work in turns, by client identifier. Work that is not in here any more is given up."""


class _Leaving:
    """What is taken from a session while it is sent, and given back if it stays."""

    def __init__(self, session: Session) -> None:
        self.expiry = session.expiry
        self.will = session.will
        self.will_at = None if session.will_timer is None else session.will_timer.when
        self.ends_at = None if session.expiry_timer is None else session.expiry_timer.when


class _Arriving:
    def __init__(self, engine: Engine) -> None:
        self.pieces = ArrivingSession(engine.clock)
        self.session: Session | None = None
        self.expiry = 0.0


class SessionMoves:
    """`engine.claims.Claims` for the engine, and `moves.Host` for the protocol."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        peers: Mapping[str, Peer],
        directory: Directory,
        *,
        shut: dict[Session, set[str]],
        flush_routes: Callable[[], None],
        serves_alone: bool,
    ) -> None:
        """``shut`` has, for sessions that move, the nodes whose messages they do not take. ``flush_routes``
        tells the other nodes the topic filters that have changed."""
        self.name = name
        self._engine = engine
        self._peers = peers
        self._shut = shut
        self._flush_routes = flush_routes
        self._leaving: dict[str, _Leaving] = {}
        self._arriving: dict[str, _Arriving] = {}
        self._leaving_jobs: Jobs = {}
        self._arriving_jobs: Jobs = {}
        self._unverified: list[str] = []
        self._lost: set[str] = set()
        """Nodes that were taken for dead, and have not come back."""
        self._drains: set[Callable[[str], None]] = set()
        self._takeovers = Takeovers(self, _Flushing(engine, directory), serves_alone=serves_alone)
        engine.claims = self

    # What the engine asks (`engine.claims.Claims`).

    def is_here(self, client_id: str) -> bool:
        return self._takeovers.is_here(client_id)

    def claim(self, client_id: str, clean: bool, then: Admit) -> None:
        self._takeovers.claim(client_id, clean, then)

    def ended(self, session: Session) -> None:
        self._shut.pop(session, None)
        client_id = session.client_id
        if client_id in self._takeovers.held:
            self._engine.turns.later(partial(self._look_whether_ended, client_id))

    def _look_whether_ended(self, client_id: str) -> None:
        """Unless another session has taken its place meanwhile."""
        if not self.has(client_id):
            self._takeovers.ended(client_id)
            self._engine.flush()

    # What the node says.

    def start(self) -> None:
        """Claim the sessions that an earlier run has left."""
        for session in self._engine.sessions:
            if not session.client_id.startswith(INSIDE):
                self._takeovers.adopt(session.client_id)
        self.verify()

    def received(self, node: str, message: Message) -> None:
        """Raises ValueError where the message cannot be read."""
        if message.kind == Kind.RETURNED:
            self.verify()
            return
        self._takeovers.received(node, message)

    def joined(self, node: str) -> list[bytes]:
        """What a node that is there anew is told after the topic filters, as records."""
        told = self._takeovers.joined(node)
        if node in self._lost:
            self._lost.discard(node)
            self.verify()
            told.append(Message(Kind.RETURNED, "", 0))
        return [records.move(message) for message in told]

    def returned(self, node: str) -> None:
        """It was only taken for dead, and its link goes on."""
        if node in self._lost:
            for record in self.joined(node):
                self._tell(node, record)

    def lost(self, node: str) -> None:
        """The node is dead, or is taken for dead."""
        if node in self._lost:
            return
        self._lost.add(node)
        for done in list(self._drains):
            done(node)
        lost = self._takeovers.lost(node)
        if lost:
            log.warning("%d sessions were on their way from node %s, and are lost with it", lost, node)

    def verify(self) -> None:
        """Look whether another node has taken a session of ours, after nodes could not reach each other."""
        begun = not self._unverified
        self._unverified = list(self._takeovers.held)
        if begun:
            self.later(VERIFY_PAUSE, self._verify_some)

    def alone(self, is_alone: bool) -> None:
        """Neither the other nodes nor the directory can be reached; or they can again."""
        if is_alone:
            self._takeovers.alone()
        else:
            self.verify()

    def _verify_some(self) -> None:
        some, self._unverified = self._unverified[-VERIFIED_AT_ONCE:], self._unverified[:-VERIFIED_AT_ONCE]
        for client_id in some:
            self._takeovers.verify(client_id)
        if self._unverified:
            self.later(VERIFY_PAUSE, self._verify_some)

    # `moves.Host`.

    def everyone(self) -> Collection[str]:
        return list(self._peers)

    def alive(self) -> Collection[str]:
        return [name for name in self._peers if name not in self._lost]

    def tell(self, node: str, message: Message) -> None:
        self._tell(node, records.move(message))

    def _tell(self, node: str, record: bytes) -> None:
        peer = self._peers.get(node)
        if peer is not None:
            peer.session.flush()
            peer.tell(record)

    def drain(self, then: Callable[[], None]) -> None:
        missing = set(self.alive())
        if not missing:
            then()
            return

        def done(name: str) -> None:
            missing.discard(name)
            if not missing and done in self._drains:
                self._drains.discard(done)
                then()
                self._engine.flush()

        self._drains.add(done)
        for name in list(missing):
            peer = self._peers[name]
            peer.link.flush()
            peer.link.when_done(partial(done, name))

    def now(self) -> float:
        return self._engine.clock.monotonic()

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        def due() -> None:
            call()
            self._engine.flush()

        return self._engine.clock.call_at(self.now() + seconds, due)

    # A session that is here.

    def has(self, client_id: str) -> bool:
        return client_id in self._engine.sessions

    def can_move(self, client_id: str) -> bool:
        session = self._engine.sessions.get(client_id)
        return session is not None and not session.behind

    def is_connected(self, client_id: str) -> bool:
        session = self._engine.sessions.get(client_id)
        return session is not None and session.connected

    def end(self, client_id: str, reason: str) -> None:
        if self.freeze(client_id):
            session = self._engine.sessions.get(client_id)
            assert session is not None
            end_session(self._engine, session, reason)

    def freeze(self, client_id: str) -> bool:
        session = self._engine.sessions.get(client_id)
        if session is not None and session.channel is not None:
            text = "another connection uses this client identifier"
            session.channel.close(ReasonCode.SESSION_TAKEN_OVER, text=text)
        return session is not None and self._engine.sessions.get(client_id) is session

    def offer(self, client_id: str, node: str, send: Send) -> None:
        session = self._engine.sessions.get(client_id)
        assert session is not None
        self._send(client_id, node, without_messages(session, self._engine.clock), send)

    def shut(self, client_id: str, node: str) -> None:
        session = self._engine.sessions.get(client_id)
        if session is not None:
            self._shut.setdefault(session, set()).add(node)

    def leave(self, client_id: str, node: str, send: Send) -> None:
        session = self._engine.sessions.get(client_id)
        if session is None:
            return  # it has just expired, which is told next
        steps = self._leave_groups(session)
        self._in_turns(self._leaving_jobs, client_id, steps, partial(self._leave_router, session, node, send))

    def _leave_groups(self, session: Session) -> Iterator[None]:
        for topic_filter in session.subscriptions:
            if topic_filter.startswith(SHARE):
                self._engine.router.unsubscribe(session, topic_filter)
                yield

    def _leave_router(self, session: Session, node: str, send: Send) -> None:
        then = partial(self._send_messages, session, node, send)
        self._when_spread(self._leaving_jobs, session.client_id, then)

    def _send_messages(self, session: Session, node: str, send: Send) -> None:
        if self._engine.sessions.get(session.client_id) is not session:
            return  # it has ended
        self._flush_routes()
        pieces = messages_of(session, self._engine.clock)
        first = next(pieces)  # the session as it is before it becomes deaf
        leaving = self._leaving[session.client_id] = _Leaving(session)
        session.expiry = 0.0  # nothing is kept for it any more
        cancel_departure(session)
        session.will = leaving.will
        self._send(session.client_id, node, _after(first, pieces), send)

    def stay(self, client_id: str) -> None:
        self._leaving_jobs.pop(client_id, None)
        leaving = self._leaving.pop(client_id, None)
        session = self._engine.sessions.get(client_id)
        if session is None:
            return
        self._shut.pop(session, None)
        if leaving is not None:
            session.expiry = leaving.expiry
            if leaving.will_at is not None:
                wait_for_will(self._engine, session, leaving.will_at)
            if leaving.ends_at is not None:
                wait_for_end(self._engine, session, leaving.ends_at)
        for topic_filter, subscription in session.subscriptions.items():
            if topic_filter.startswith(SHARE):
                self._engine.router.subscribe(session, subscription)

    def forget(self, client_id: str) -> None:
        self._leaving_jobs.pop(client_id, None)
        self._leaving.pop(client_id, None)
        session = self._engine.sessions.get(client_id)
        if session is not None:
            self._shut.pop(session, None)
            forget_session(self._engine, session)

    def _send(self, client_id: str, node: str, pieces: Iterator[bytes], send: Send) -> None:
        """As fast as the node takes them."""

        def steps() -> Iterator[None]:
            piece = next(pieces)
            for following in pieces:
                send(piece, False)
                piece = following
                yield
            send(piece, True)

        self._go_on_sending(client_id, node, steps())

    def _go_on_sending(self, client_id: str, node: str, steps: Iterator[None], begun: bool = False) -> None:
        if begun and self._leaving_jobs.get(client_id) is not steps:
            return
        self._leaving_jobs[client_id] = steps
        peer = self._peers.get(node)
        turns = self._engine.turns
        end = turns.end()
        go_on = partial(self._go_on_sending, client_id, node, steps, True)
        for _ in steps:
            if peer is not None and peer.link.held > AHEAD:
                self._engine.flush()
                peer.link.when_done(go_on)
                return
            if turns.now() > end:
                turns.later(go_on)
                self._engine.flush()
                return
        self._leaving_jobs.pop(client_id, None)
        self._engine.flush()

    # A session that arrives.

    def offered(self, client_id: str, data: bytes) -> None:
        arriving = self._arriving.get(client_id)
        if arriving is None:
            arriving = self._arriving[client_id] = _Arriving(self._engine)
        self._read(client_id, arriving, data)

    def _read(self, client_id: str, arriving: _Arriving, data: bytes) -> None:
        try:
            arriving.pieces.read(data)
        except ValueError as error:
            log.error("the session of client %s cannot be read, and stays where it is: %s", client_id, error)
            self._takeovers.cannot_take(client_id)

    def subscribe(self, client_id: str, then: Callable[[], None]) -> None:
        arriving = self._arriving[client_id]
        session = arriving.session = arriving.pieces.session()
        arriving.expiry, session.expiry = session.expiry, 0.0  # nothing is kept for it yet
        steps = self._subscribe(session, shared=False)

        def told() -> None:
            self._flush_routes()
            then()

        wait = partial(self._when_spread, self._arriving_jobs, client_id, told)
        self._in_turns(self._arriving_jobs, client_id, steps, wait)

    def _subscribe(self, session: Session, *, shared: bool) -> Iterator[None]:
        for topic_filter, subscription in session.subscriptions.items():
            if topic_filter.startswith(SHARE) == shared:
                self._engine.router.subscribe(session, subscription)
                yield

    def listen(self, client_id: str, shut: Collection[str]) -> None:
        arriving = self._arriving[client_id]
        assert arriving.session is not None
        arriving.session.expiry = arriving.expiry
        self._shut[arriving.session] = set(shut)

    def shut_arriving(self, client_id: str, node: str) -> None:
        session = self._arriving[client_id].session
        assert session is not None
        self._shut.setdefault(session, set()).add(node)

    def open(self, client_id: str, node: str) -> None:
        arriving = self._arriving.get(client_id)
        session = arriving.session if arriving is not None else self._engine.sessions.get(client_id)
        shut = self._shut.get(session) if session is not None else None
        if shut is not None and session is not None:
            shut.discard(node)
            if not shut:
                del self._shut[session]

    def join_groups(self, client_id: str, then: Callable[[], None]) -> None:
        session = self._arriving[client_id].session
        assert session is not None

        def told() -> None:
            self._flush_routes()
            then()

        self._in_turns(self._arriving_jobs, client_id, self._subscribe(session, shared=True), told)

    def brought(self, client_id: str, data: bytes) -> None:
        self._read(client_id, self._arriving[client_id], data)

    def settle(self, client_id: str, then: Callable[[], None]) -> None:
        arriving = self._arriving[client_id]
        session = arriving.session
        assert session is not None

        def settled() -> None:
            del self._arriving[client_id]
            self._engine.sessions.add(session)
            if self._engine.storage is not None:
                self._engine.storage.bound(session)
            arriving.pieces.set_off(self._engine, session)
            then()

        steps = arriving.pieces.place_messages(self._engine, session)
        self._in_turns(self._arriving_jobs, client_id, steps, settled)

    def discard(self, client_id: str) -> None:
        self._arriving_jobs.pop(client_id, None)
        arriving = self._arriving.pop(client_id, None)
        session = arriving.session if arriving is not None else None
        if session is None:
            return
        self._shut.pop(session, None)
        for topic_filter in session.subscriptions:
            self._engine.router.unsubscribe(session, topic_filter)
        pass_on(self._engine, session)

    def _when_spread(self, jobs: Jobs, client_id: str, then: Callable[[], None]) -> None:
        """Call ``then`` when messages to very many receivers that were published before have reached them."""
        waits = jobs[client_id] = iter(())

        def done() -> None:
            if jobs.get(client_id) is waits:
                del jobs[client_id]
                then()

        self._engine.spreading.when_done(done)

    def _in_turns(self, jobs: Jobs, client_id: str, steps: Iterator[None], then: Callable[[], None]) -> None:
        jobs[client_id] = steps
        self._go_on(jobs, client_id, steps, then)

    def _go_on(self, jobs: Jobs, client_id: str, steps: Iterator[None], then: Callable[[], None]) -> None:
        if jobs.get(client_id) is not steps:
            return
        turns = self._engine.turns
        if turns.take(steps):
            del jobs[client_id]
            then()
        else:
            turns.later(partial(self._go_on, jobs, client_id, steps, then))
        self._engine.flush()


class _Flushing:
    """A directory whose answers may come outside of the handling of packets: what follows is written."""

    def __init__(self, engine: Engine, directory: Directory) -> None:
        self._engine = engine
        self._directory = directory

    @property
    def available(self) -> bool:
        return self._directory.available

    def claim(self, client_id: str, node: str, over: Owner | None, then: Then) -> None:
        self._directory.claim(client_id, node, over, partial(self._answer, then))

    def read(self, client_id: str, then: Then) -> None:
        self._directory.read(client_id, partial(self._answer, then))

    def release(self, client_id: str, owner: Owner) -> None:
        self._directory.release(client_id, owner)

    def _answer(self, then: Then, answer: Answer | None) -> None:
        then(answer)
        self._engine.flush()


def _after(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others
