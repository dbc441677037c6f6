"""A port for a server that cannot say which free one it has taken."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
