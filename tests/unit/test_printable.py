"""Words for people."""

from __future__ import annotations

import errno
import socket

import pytest

from pybroker.broker.printable import not_reached

REFUSED = "[Errno 111] Connect call failed ('127.0.0.1', 9)"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)"),
            "nothing listens at h:9",
        ),
        (OSError(f"Multiple exceptions: {REFUSED}, {REFUSED}"), "nothing listens at h:9"),
        (
            OSError(f"Multiple exceptions: {REFUSED}, [Errno 101] Network is unreachable"),
            "h:9 cannot be reached: Network is unreachable",
        ),
        (OSError(errno.EHOSTUNREACH, "Connect call failed"), "h:9 cannot be reached: No route to host"),
        (
            socket.gaierror(-2, "Name or service not known"),
            "h:9 cannot be reached: Name or service not known",
        ),
        (TimeoutError(), "h:9 cannot be reached: TimeoutError"),
        (OSError("odd"), "h:9 cannot be reached: odd"),
    ],
)
def test_why_a_host_is_not_reached(error: OSError, words: str) -> None:
    assert not_reached(error, "h:9") == words
