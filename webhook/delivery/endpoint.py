"""One endpoint: accepts events, queues them, and counts their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pybroker.broker import events
from pybroker.broker.outgoing.urls import shown_url

from ..backend import MakeSender, Outcome
from ..body.encode import ACTIONS
from ..body.formats import FORMATS, format_for, subject
from ..clock import Clock
from ..complaints import Complaints
from ..metrics import Counters, EndpointStats
from ..parcels import Delivery, Parcel
from ..rules import CompiledRule, transformed
from ..settings import SettingsError, WebhookSettings
from ..spool.backlog import Backlog, MemoryBacklog
from ..spool.queue import queue_for
from ..spool.spool import SpoolBacklog
from .shown import shown_headers
from .tries import Tries, Try
from .worker import Pool


class Endpoint:
    """Accepts events without waiting, and sends them."""

    def __init__(self, settings: WebhookSettings, clock: Clock, make_sender: MakeSender) -> None:
        check(settings)
        self.settings = settings
        self.name = settings.name
        self._clock = clock
        self._complaints = Complaints(settings.label, clock)
        self._counters = Counters()
        self._tries = Tries(clock)
        self._running = False
        self._format = format_for(settings)
        self._sender = make_sender(settings)
        self._ignored: events.Client | None = getattr(self._sender, "ignores", None)
        """The publisher whose messages cause no events here."""
        self._wanted: Callable[[events.Event], bool] | None = getattr(self._sender, "wants", None)
        """Whether the sender could send an event at all; the others are counted as filtered."""
        self._queue = queue_for(settings.order)
        self._backlog = self._make_backlog()
        self._pool = self._make_pool()

    def _make_backlog(self) -> Backlog:
        if self.settings.spool:
            return SpoolBacklog(
                self.settings, self._queue, self._counters, self._complaints, self._clock, self._announce
            )
        return MemoryBacklog(self.settings, self._queue, self._counters, self._complaints, self._announce)

    def _announce(self, count: int) -> None:
        self._pool.announce(count)

    def _make_pool(self) -> Pool:
        return Pool(
            settings=self.settings,
            queue=self._queue,
            sender=self._sender,
            ends=self,
            counters=self._counters,
            complaints=self._complaints,
            clock=self._clock,
            tries=self._tries,
        )

    # ---- in

    def accept(self, event: events.Event, rules: Sequence[CompiledRule]) -> None:
        """Queue ``event`` by the first of ``rules`` that wants it."""
        if self._ignored is not None and getattr(event, "publisher", None) is self._ignored:
            return
        matched = False
        for rule in rules:
            if not rule.plain:
                if not rule.wants_client(event):
                    continue
                matched = True
                if not self._passes(event, rule):
                    continue
            self._counters.matched += 1
            if self._wanted is not None and not self._is_wanted(event, self._wanted):
                self._counters.dropped_filtered += 1
                return
            self._take_in(event, rule)
            return
        if matched:
            self._counters.matched += 1
            self._counters.dropped_filtered += 1

    def _is_wanted(self, event: events.Event, wanted: Callable[[events.Event], bool]) -> bool:
        try:
            return bool(wanted(event))
        except Exception:  # the backend is not ours
            self._counters.callable_errors += 1
            words = "wants() of the backend failed; the event is sent"
            self._complaints.warn("wants", words, exc_info=True)
            return True

    def _passes(self, event: events.Event, rule: CompiledRule) -> bool:
        try:
            return rule.filter is None or bool(rule.filter(event))
        except Exception:
            self._blame(rule, "filter")
            return False

    def _take_in(self, event: events.Event, rule: CompiledRule) -> None:
        backlog = self._backlog
        if not backlog.has_room():
            return
        seq = backlog.next_seq
        backlog.next_seq = seq + 1
        id = f"{backlog.id_prefix}{seq}"
        part = "format"
        try:
            headers, body = self._format(event, id)
            if rule.transform is not None:
                part = "transform"
                headers, body = transformed(event, rule.transform, headers, body)
        except Exception:
            self._blame(rule, part)
            self._counters.dropped_filtered += 1
            return
        if self._sender.address is not None:
            headers = (*self._sender.address(event), *headers)
        topic, client = subject(event)
        backlog.add(Delivery(seq, id, event.at, ACTIONS[type(event)], topic, client, headers, body))

    def _blame(self, rule: CompiledRule, part: str) -> None:
        self._counters.callable_errors += 1
        self._complaints.warn(
            f"{part} {rule.label}", f"the {part} of {rule.label} failed; the event is not sent", exc_info=True
        )

    # ---- out

    def delivered(self, parcel: Parcel) -> None:
        self._backlog.delivered(parcel.items)

    def died(self, parcel: Parcel, outcome: Outcome, expired: bool) -> None:
        self._backlog.died(parcel.items, outcome, expired)
        end = "too old for another try" if expired else f"given up after try {parcel.tries}"
        self._complaints.warn("dead", f"{parcel}: {outcome.why}; {end}")

    # ---- life

    async def open(self) -> None:
        """Prepare to ``start``. Raises SpoolError if a spool cannot be opened."""
        await self._backlog.open()

    def start(self) -> None:
        """Begin to send."""
        self._running = True
        self._pool.start()

    def enable(self) -> None:
        """Send again after a 410."""
        self._pool.enable()

    async def drained(self) -> None:
        """Return once nothing is queued or in flight (or a 410 keeps it from going)."""
        await self._pool.drained()

    @property
    def idle(self) -> bool:
        return self._pool.is_drained

    def flush(self) -> None:
        """Send part-filled batches at once, from now on."""
        self._pool.flush()

    async def stop(self, grace: float) -> None:
        """Stop sending; tries in flight have ``grace`` seconds. Later events wait."""
        self._running = False
        self._tries.stop()
        await self._pool.halt(grace)

    async def close(self) -> int:
        """Save the waiting events; returns how many could not be saved. Call ``stop`` first."""
        return await self._backlog.close()

    @property
    def waiting(self) -> int:
        return self._counters.queued

    def inherit(self, before: Endpoint) -> None:
        """Take the counters and the backlog of ``before``: new events wait here from now on."""
        self._counters = before._counters
        self._tries = before._tries
        if self._takes_parcels_of(before):
            self._queue = before._queue
        self._pool = self._make_pool()
        self._backlog = before._backlog
        self._backlog.serve(self.settings, self._queue, self._announce)

    async def take_over(self, before: Endpoint) -> None:
        """Continue with the work of ``before``, once its tries in flight are over. Call ``inherit`` first."""
        await before._pool.halt(before.settings.cancel_timeout)
        before._running = False
        tried = before._pool.tried
        if not self._takes_parcels_of(before):
            items = [item for parcel in tried for item in parcel.items]
            items += before._queue.clear() + self._queue.clear()
            for item in sorted(items, key=lambda item: item.seq):
                self._queue.put(item)
            tried = []
        self._running = True
        self._pool.start(tried)

    def _takes_parcels_of(self, before: Endpoint) -> bool:
        """Whether parcels that were tried there can be tried here unchanged."""
        return (self.settings.order, self.settings.batch) == (before.settings.order, before.settings.batch)

    def adopt(self, left: Sequence[Delivery]) -> None:
        """Queue the events that another endpoint has left."""
        for delivery in left:
            self._counters.matched += 1
            if self._backlog.has_room():
                delivery.seq = self._backlog.next_seq
                self._backlog.next_seq += 1
                self._backlog.add(delivery)

    def leave(self) -> list[Delivery]:
        """Give away the events waiting in memory, oldest first; for a stopped endpoint without a spool."""
        left = [*(item for parcel in self._pool.tried for item in parcel.items), *self._queue.clear()]
        self._counters.matched -= len(left)
        self._counters.queued = self._counters.queued_bytes = 0
        return sorted(left, key=lambda delivery: delivery.seq)

    def shares_backlog_with(self, other: Endpoint) -> bool:
        """Whether both keep their events in the same place: in memory, or in the same spool."""
        return spool_path(self.settings) == spool_path(other.settings)

    # ---- seen

    def stats(self) -> EndpointStats:
        """This instant's counters."""
        counters, pool = self._counters, self._pool
        firsts = self._queue.oldest, self._backlog.oldest_held, *(p.items[0] for p in pool.tried)
        oldest = [first.at for first in firsts if first is not None]
        state = "stopped"
        if self._running:
            state = "disabled" if pool.disabled else "failing" if pool.failing else "ready"
        return EndpointStats(
            name=self.name,
            section=self.settings.section,
            backend=self.settings.backend,
            url=shown_url(self.settings.url) or self.settings.backend,
            state=state,
            last_failure=pool.last_failure,
            matched=counters.matched,
            succeeded=counters.succeeded,
            dead=counters.dead,
            in_flight=counters.in_flight,
            queued=counters.queued,
            dropped_full=counters.dropped_full,
            dropped_expired=counters.dropped_expired,
            dropped_filtered=counters.dropped_filtered,
            tries=counters.tries,
            retries=counters.retries,
            failed=counters.failed,
            timeouts=counters.timeouts,
            delivered_tries=counters.delivered_tries,
            delivered_seconds=counters.delivered_seconds,
            delivered_bytes=counters.delivered_bytes,
            connections_opened=getattr(self._sender, "opened", 0),
            connections_closed=getattr(self._sender, "closed", 0),
            connections_failed=getattr(self._sender, "failed", 0),
            callable_errors=counters.callable_errors,
            spool_errors=counters.spool_errors,
            spool_damaged=counters.spool_damaged,
            oldest_age=max(0.0, self._clock.time() - min(oldest)) if oldest else 0.0,
            queued_bytes=counters.queued_bytes,
            spooled_bytes=self._backlog.spooled_bytes,
            dead_letters=self._backlog.dead_letters,
            response_count=sum(counters.buckets),
            response_seconds=counters.response_seconds,
            response_buckets=tuple(counters.buckets),
        )

    def last_tries(self, after: int = 0) -> list[Try]:
        """The last tries with numbers above ``after``, oldest first. Failures are always kept; other tries
        only from the first call of this method until some seconds after the last call."""
        return self._tries.look(after)

    def shown_headers(self, one: Try) -> list[tuple[str, str]]:
        """The backend's address and headers that were sent with the body, without secrets."""
        headers_of = getattr(self._sender, "headers_of", None)
        headers = one.headers if headers_of is None else headers_of(one.id, one.headers, one.at)
        return shown_headers(headers, self.settings)


def spool_path(settings: WebhookSettings) -> Path | None:
    return settings.spool.path if settings.spool else None


def check(settings: WebhookSettings) -> None:
    """Raise SettingsError for an invalid value."""
    batch = settings.batch
    for key, value, allowed in (
        ("body.encoding", settings.encoding, ("plain", "base64", "base62")),
        ("body.format", settings.format, FORMATS),
        ("body.cloudevents_mode", settings.cloudevents_mode, ("binary", "structured")),
        ("queue.overflow", settings.overflow, ("drop_new", "drop_oldest")),
        ("order", settings.order, ("none", "client", "topic")),
        ("compression", settings.compression, ("none", "gzip")),
        ("batch.format", batch.format, ("json", "ndjson")),
        *((("spool.fsync", settings.spool.fsync, ("interval", "always")),) if settings.spool else ()),
    ):
        if value not in allowed:
            raise SettingsError(f'{settings.label}: {key} = "{value}" is not one of {", ".join(allowed)}')
    for key, number in (("pool_size", settings.pool_size), ("batch.size", batch.size)):
        if number < 1:
            raise SettingsError(f"{settings.label}: {key} = {number} is less than 1")
    if settings.spool and "/" in settings.name:
        raise SettingsError(f'{settings.label}: files of a spool cannot have a name with "/"')
    if settings.format == "form" and batch.size > 1:
        raise SettingsError(f"{settings.label}: body.format = form cannot be sent in batches")
