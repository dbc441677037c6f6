"""A port for a server that cannot say which free one it has taken, or that has to take the same one again."""

from __future__ import annotations

import os
import socket
from itertools import count

FIRST = 20_000
"""Below the ports that systems give to sockets which ask for any."""
FOR_EACH = 1000
"""Ports for each process of a test run."""
_numbers = count(os.getpid())


def free_port() -> int:
    """Free a moment ago; no other process of this test run gets the same, nor a socket that asks for any."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    for number in _numbers:
        port = FIRST + process * FOR_EACH + number % FOR_EACH
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError
