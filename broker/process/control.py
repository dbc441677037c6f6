"""The control socket: commands from `pybroker` in another terminal, one line of JSON each way."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("pybroker.control")

Handler = Callable[[dict[str, Any]], Awaitable[Any]]
"""Takes the command's arguments, returns the answer's ``result``."""

MAX_LINE = 1 << 24


class ControlError(Exception):
    """A command could not be carried out; the message is one line."""


class ControlSocket:
    """Serves commands on a unix socket that only this user can reach."""

    def __init__(self, path: Path, commands: Mapping[str, Handler]) -> None:
        self._path = path
        self._commands = commands
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_LINE)
        self._path.chmod(0o600)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = request.pop("command")
            handler = self._commands[command]
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            return {"error": f"the running broker does not know this command: {line[:200]!r}"}
        try:
            return {"result": await handler(request)}
        except ControlError as error:
            return {"error": str(error)}
        except Exception as error:
            log.exception("command %s failed", command)
            return {"error": f"{command} failed: {error}"}


def ask(path: str, command: str, *, timeout: float = 30.0, **arguments: Any) -> Any:
    """Send one command to a running broker and wait for its result, at most ``timeout`` seconds. Raises
    ControlError with the broker's, or the system's, error."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
            connection.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline(MAX_LINE))
    except (OSError, ValueError, RecursionError) as error:
        raise ControlError(f"the running broker does not answer on {path}: {error}") from None
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer["result"]
