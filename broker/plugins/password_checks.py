"""Runs slow password checks in threads, in fair order: clients that guess do not delay those that know the
password."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ..engine.access import UnavailableError

MAX_FOR_A_USER = 4
"""Waiting checks of one user name from one address, at most."""
MAX_FOR_AN_ADDRESS = 16
MAX_WAITING = 256
"""Waiting checks in all, at most; beyond that, the address with the most of them loses one."""
IPV6_PREFIX = 64
"""IPv6 addresses with the same first bits, as many as this, count as one: they belong to one customer."""

Check = tuple[Callable[[], bool], "asyncio.Future[bool]"]


class TooManyLoginsError(UnavailableError):
    """The check was not made: too many are waiting."""


class PasswordChecks:
    """Makes checks one after another in each of ``threads`` threads. Addresses take turns, and so do the user
    names of one address."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "password")
        self._idle = threads
        self._addresses: OrderedDict[str, _Waiting] = OrderedDict()
        """The addresses with waiting checks. The first is the next to get a turn."""
        self._count = 0

    def __len__(self) -> int:
        """The number of waiting checks."""
        return self._count

    async def make(self, check: Callable[[], bool], host: str, user: str) -> bool:
        """Make ``check`` when its turn comes, and return its result. Raises TooManyLoginsError."""
        address = network_of(host)
        waiting = self._addresses.get(address)
        if waiting is None:
            waiting = _Waiting()
        self._make_room(waiting, user)
        self._addresses.setdefault(address, waiting)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiting.add(user, (check, answer))
        self._count += 1
        self._begin()
        return await answer

    def close(self) -> None:
        """Cancel the waiting checks."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        """Start waiting checks in idle threads."""
        while self._idle and self._addresses:
            address, waiting = self._addresses.popitem(last=False)
            check, answer = waiting.next()
            self._count -= 1
            if len(waiting):
                self._addresses[address] = waiting
            if answer.done():  # its caller has stopped waiting
                continue
            self._idle -= 1
            made = asyncio.get_running_loop().run_in_executor(self._pool, check)
            made.add_done_callback(lambda made, answer=answer: self._made(made, answer))  # type: ignore[misc]

    def _made(self, made: asyncio.Future[bool], answer: asyncio.Future[bool]) -> None:
        self._idle += 1
        if made.cancelled():
            answer.cancel()
        elif not answer.done():
            error = made.exception()
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(made.result())
        if not made.cancelled():
            self._begin()

    def _make_room(self, waiting: _Waiting, user: str) -> None:
        """If too many checks wait, cancel the latest check of the address with the most. Raises
        TooManyLoginsError if that is the new check."""
        own = waiting.of(user)
        crowded: _Waiting | None = None
        if len(waiting) >= MAX_FOR_AN_ADDRESS:
            crowded, has_most = waiting, own + 1 >= waiting.most
        elif self._count >= MAX_WAITING:
            crowded = max(self._addresses.values(), key=len)
            has_most = len(waiting) + 1 >= len(crowded)
        if own >= MAX_FOR_A_USER or (crowded is not None and has_most):
            raise TooManyLoginsError
        if crowded is not None:
            _, answer = crowded.last()
            self._count -= 1
            if not answer.done():
                answer.set_exception(TooManyLoginsError())


class _Waiting:
    """The checks of one address that wait, by user."""

    def __init__(self) -> None:
        self._users: OrderedDict[str, deque[Check]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, user: str) -> int:
        """The number of checks of one user."""
        return len(self._users.get(user, ()))

    @property
    def most(self) -> int:
        """The number of checks of the user that has the most."""
        return max(map(len, self._users.values()), default=0)

    def add(self, user: str, check: Check) -> None:
        self._users.setdefault(user, deque()).append(check)
        self._count += 1

    def next(self) -> Check:
        """The first of the user whose turn it is, removed."""
        user, checks = self._users.popitem(last=False)
        self._count -= 1
        check = checks.popleft()
        if checks:
            self._users[user] = checks
        return check

    def last(self) -> Check:
        """The latest of the user that has most, removed."""
        user = max(self._users, key=lambda name: len(self._users[name]))
        self._count -= 1
        check = self._users[user].pop()
        if not self._users[user]:
            del self._users[user]
        return check


def network_of(host: str) -> str:
    """The address by which a client is counted: the network's for IPv6. All unix sockets count as one."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False).network_address)
