"""Delivers one message to all its receivers. It is encoded once for each shape, not once for each
receiver."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from ..packets.encoder import publish_shape, same_shape
from ..packets.model import Publish, PublishRun
from ..reports import Reports
from ..routing.route import Route, Target
from ..routing.shared import Share
from ..session.inflight import Outgoing
from ..session.session import Session
from ..session.stretch import Stretch
from .neighbour import Neighbour, as_it_came
from .outbox import Pending
from .sender import Sender

if TYPE_CHECKING:
    from ..events import Client

Shape = tuple[int, int, bool, tuple[int, ...]]
"""Version (5, or 4 for both older versions), QoS, retain, subscription identifiers."""


class Plan:
    """How messages of one kind (layout, QoS, retain) to one topic reach its receivers."""

    __slots__ = (
        "_publisher",
        "_without",
        "forward",
        "neighbours",
        "no_local",
        "numbered",
        "renumber",
        "shapes",
    )

    def __init__(
        self,
        forward: tuple[Session, ...],
        renumber: tuple[Session, ...],
        shapes: tuple[tuple[Shape, list[Target[Session]]], ...],
        neighbours: tuple[Neighbour, ...] = (),
        no_local: frozenset[Session] = frozenset(),
    ):
        self.forward = forward
        """Receivers of exactly the received bytes."""
        self.renumber = renumber
        """Receivers of these bytes with a packet identifier of their own."""
        self.neighbours = neighbours
        """Neighbours that ask who has published it; the other neighbours are in ``forward``."""
        self.numbered = bool(renumber or neighbours)
        """Whether there are receivers in ``renumber`` or ``neighbours``."""
        self.shapes = shapes
        self.no_local = no_local
        """Receivers in ``forward`` and ``renumber`` that do not want their own messages."""
        self._publisher: Session | None = None
        self._without: Plan | None = None

    def without(self, publisher: Session) -> Plan:
        """The plan for messages of ``publisher``, a receiver of :attr:`no_local`. It is kept for the last
        publisher."""
        if self._without is None or publisher is not self._publisher:
            forward, renumber = (
                tuple(session for session in sessions if session is not publisher)
                for sessions in (self.forward, self.renumber)
            )
            self._without = Plan(forward, renumber, self.shapes, self.neighbours)
            self._publisher = publisher
        return self._without


class Fanout:
    """Delivers a message to the receivers of its route."""

    __slots__ = ("_pending", "_reports", "_sender")

    def __init__(self, pending: Pending, sender: Sender, reports: Reports) -> None:
        self._pending = pending
        self._sender = sender
        self._reports = reports

    def deliver(self, route: Route[Session], publish: Publish, publisher: Session | None) -> None:
        """Write ``publish`` to every receiver, or queue it for receivers that cannot take it now."""
        key = (publish.version == 5) << 3 | publish.qos << 1 | publish.retain
        plan = route.plans.get(key)
        if plan is None:
            plan = route.plans[key] = self._plan(route, publish)
        if plan.no_local and publisher is not None and publisher in plan.no_local:
            plan = plan.without(publisher)
        forward = plan.forward
        if forward:
            if publish.properties is not None:
                self._to_sessions(forward, publish)
            else:
                wire = publish.wire
                waiting = 0
                for session in forward:
                    outbox = session.outbox
                    if outbox is None:
                        self._sender.send(session, Outgoing(publish, 0, publish.retain))
                        waiting += 1
                    elif chunks := outbox.chunks:
                        chunks.append(wire)
                    else:
                        self._pending.outboxes.append(outbox)
                        chunks.append(wire)
                self._reports.counters.publish_sent += len(forward) - waiting
        if plan.numbered:
            self._renumber(plan.renumber, plan.neighbours, publish)
        for (version, qos, retain, identifiers), targets in plan.shapes:
            encoded = publish_shape(publish, version, qos, retain, identifiers)
            for target in targets:
                if target.no_local and target.session is publisher:
                    self._to_publisher(target, publish)
                else:
                    self._sender.send(target.session, Outgoing(publish, qos, retain, identifiers), encoded)
        for share in route.groups:
            self.to_group(share, publish)

    def plan_for_run(
        self, route: Route[Session], run: PublishRun, publisher: Session | None = None
    ) -> Plan | None:
        """The plan for messages like those of ``run``. None if it is not known yet, or if some receivers want
        other bytes than the received ones."""
        plan: Plan | None = route.plans.get((run.version == 5) << 3 | run.qos << 1)
        if plan is None or plan.shapes:
            return None
        if plan.no_local and publisher is not None and publisher in plan.no_local:
            return plan.without(publisher)
        return plan

    def forward(self, plan: Plan, run: PublishRun) -> list[Session]:
        """Write messages of QoS 0 to every receiver, as they were received. Returns the receivers that cannot
        take them now, for :meth:`forward_later`."""
        count, wire, written = len(run), run.wire, 0
        late: list[Session] = []
        for session in plan.forward:
            outbox = session.outbox
            if outbox is None:
                late.append(session)
            else:
                self._pending.send(outbox, wire)
                written += 1
        counters = self._reports.counters
        counters.publish_sent += count * written
        counters.packets_sent += (count - 1) * written
        return late

    def forward_later(
        self, sessions: list[Session], run: PublishRun
    ) -> Generator[Awaitable[Any] | None, Any, None]:
        """Queue the messages for each of the sessions, one message in each step."""
        for publish in run:
            for session in sessions:
                self._sender.send(session, Outgoing(publish, 0))
            yield None

    def renumber(self, plan: Plan, run: PublishRun, source: Client) -> None:
        """Write messages above QoS 0, as they were received, to the receivers that want them so, with packet
        identifiers of their own; and to neighbours."""
        stretch = Stretch(run, source)
        sender, alone = self._sender, len(plan.renumber) == 1
        sessions = [s for s in plan.renumber if not sender.send_all(s, stretch, alone=alone)]
        for neighbour in plan.neighbours:
            neighbour.take_run(run, source)
        if sessions:
            for publish in stretch.publishes():
                self._renumber(sessions, (), publish)

    def _renumber(
        self, sessions: Sequence[Session], neighbours: tuple[Neighbour, ...], publish: Publish
    ) -> None:
        """The same for one message, with any properties."""
        qos, retain = publish.qos, publish.retain
        if sessions:
            shape = publish_shape(publish, 5, qos, retain) if publish.properties else same_shape(publish)
            for session in sessions:
                self._sender.send(session, Outgoing(publish, qos, retain), shape)
        if neighbours:
            packet = as_it_came(publish)
            for neighbour in neighbours:
                neighbour.take(publish, packet)

    def to_group(self, share: Share[Session], publish: Publish, besides: Session | None = None) -> None:
        """Give the message to one member of the shared subscription, not to ``besides``."""
        chosen = share.pick(publish.qos, besides)
        if chosen is None:
            self._reports.dropped("no_subscribers", publish)
            return
        session, subscription = chosen
        if session.elsewhere is not None:
            session.elsewhere.take_for_group(publish, share.group)
            return
        retain = publish.retain and subscription.retain_as_published
        identifiers = (subscription.identifier,) if subscription.identifier else ()
        qos = min(publish.qos, subscription.qos)  # [MQTT-4.8.2-3]
        self._sender.send(session, Outgoing(publish, qos, retain, identifiers, share.group))

    def _to_sessions(self, sessions: tuple[Session, ...], publish: Publish) -> None:
        """Deliver to the receivers of ``forward`` a message whose properties may have to be changed."""
        shape = publish_shape(publish, 5, 0, publish.retain)
        for session in sessions:
            self._sender.send(session, Outgoing(publish, 0, publish.retain), shape)

    def _to_publisher(self, target: Target[Session], publish: Publish) -> None:
        """Deliver a message to its publisher, for its subscriptions without no local [MQTT-3.8.3-3]."""
        own = target.without_no_local()
        if own is not None:
            retain = publish.retain and own.retain_as_published
            message = Outgoing(publish, min(publish.qos, own.qos), retain, own.identifiers)
            self._sender.send(own.session, message)

    def _plan(self, route: Route[Session], publish: Publish) -> Plan:
        layout = 5 if publish.version == 5 else 4
        hooks = self._reports.hooks
        watched = bool(hooks.message_delivered)
        told = bool(watched or hooks.message_dropped or hooks.message_acked or hooks.message_queued)
        neighbours: list[Neighbour] = []
        forward: list[Session] = []
        renumber: list[Session] = []
        no_local: list[Session] = []
        shapes: dict[Shape, list[Target[Session]]] = {}
        for target in route.targets:
            session = target.session
            if isinstance(session, Neighbour):
                session.tells = told or session.keeps
                if publish.qos or told:
                    neighbours.append(session)
                else:
                    forward.append(session.lane(layout))
                continue
            version = 5 if session.version == 5 else 4
            qos = min(publish.qos, target.qos)
            # [MQTT-3.3.1-9] [MQTT-3.3.1-12] [MQTT-3.3.1-13]
            retain = publish.retain and target.retain_as_published
            same = (version, qos, retain) == (layout, publish.qos, publish.retain)
            same = same and not target.identifiers
            if same and target.no_local:
                same = target.without_no_local() is None
                no_local.append(session)
            bounded = session.max_packet_size < 1 << 28
            if same and qos:
                renumber.append(session)
            elif same and not (bounded or watched):
                forward.append(session)
            else:
                shapes.setdefault((version, qos, retain, target.identifiers), []).append(target)
        if neighbours and not publish.qos:
            shapes.setdefault((layout, 0, publish.retain, ()), [])  # not to be taken for a run of QoS 0
        return Plan(
            tuple(forward), tuple(renumber), tuple(shapes.items()), tuple(neighbours), frozenset(no_local)
        )
