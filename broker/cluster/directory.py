"""Which node has the session of a client. Each claim has a higher epoch than all before."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Owner(NamedTuple):
    """A node, and the epoch of the claim that made it the owner."""

    node: str
    epoch: int
    """Of two claims of one client the later one has the higher epoch; no two claims have the same."""


class Answer(NamedTuple):
    """The outcome of a claim."""

    granted: bool
    owner: Owner | None
    """The owner now: the claimer where the claim is granted. None only from :meth:`Directory.read`: nobody
    is."""


Then = Callable[[Answer | None], None]
"""Takes an answer; None: the directory cannot be asked now, and nothing is known about the claim."""


class Directory(Protocol):
    """Shared by all nodes. Each change is a compare-and-set, so that of two claims at once one is refused.

    An answer may come at once or later, but always comes. It bounds its own wait.
    """

    @property
    def available(self) -> bool:
        """Whether it can be asked now, as far as is known."""

    def claim(self, client_id: str, node: str, over: Owner | None, then: Then) -> None:
        """Make ``node`` the owner if the owner is ``over`` (None: nobody)."""

    def read(self, client_id: str, then: Then) -> None:
        """Ask for the owner; ``granted`` means nothing."""

    def release(self, client_id: str, owner: Owner) -> None:
        """Forget the client if ``owner`` is still its owner. Nobody waits for this; it may be lost."""
