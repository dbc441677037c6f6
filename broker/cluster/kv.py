"""The owner directory in JetStream: a message for each client identifier, changed by compare-and-set.

The bucket is a stream that keeps one message for each subject, as key-value stores of NATS are. The sequence
number of the message is the epoch, so no two claims have the same. A client that is forgotten leaves nothing
behind.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .directory import Answer, Owner, Then

if TYPE_CHECKING:
    from nats.aio.client import Client

log = logging.getLogger("pybroker.cluster")

PATIENCE = 2.0
"""Seconds that an answer may take."""
MOST_UNDER_WAY = 5000
"""Questions that wait for an answer; more are refused at once."""
LONGEST_NAME = 120
"""Bytes of a client identifier that stand in a subject as they are; of a longer one there is a digest."""
WRONG_SEQUENCE, NO_MESSAGE, NO_STREAM, NAME_IN_USE = 10071, 10037, 10059, 10058
"""Codes of errors of JetStream."""
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"


class DirectoryError(Exception):
    """JetStream cannot keep the directory; the message says why."""


class _OffError(ConnectionError):
    """JetStream is off."""


class KvDirectory:
    """`directory.Directory`, for the nodes of a cluster."""

    def __init__(
        self, cluster: str, client: Callable[[], Client | None], spawn: Callable[[Awaitable[None]], None]
    ) -> None:
        """``client`` is the connection while there is one. ``spawn`` runs a coroutine in the background."""
        self._stream = f"KV_pybroker_{cluster}"
        self._subjects = f"$KV.pybroker_{cluster}."
        self._client = client
        self._spawn = spawn
        self._under_way = 0

    @property
    def available(self) -> bool:
        return self._client() is not None

    async def make(self, replicas: int) -> None:
        """Make the bucket where there is none. Raises DirectoryError, and ConnectionError where nobody
        answers."""
        config = {
            "name": self._stream,
            "subjects": [f"{self._subjects}>"],
            "max_msgs_per_subject": 1,
            "discard": "new",
            "storage": "file",
            "num_replicas": replicas,
            "deny_purge": False,
            "allow_rollup_hdrs": True,
        }
        subject = f"$JS.API.STREAM.CREATE.{self._stream}"
        try:
            answer = await self._ask(subject, json.dumps(config).encode(), patience=5.0)
        except _OffError as off:
            raise DirectoryError(str(off)) from None
        refusal = answer.get("error")
        if refusal is not None and refusal.get("err_code") != NAME_IN_USE:
            raise DirectoryError(f"JetStream: {refusal.get('description', refusal)}")

    def claim(self, client_id: str, node: str, over: Owner | None, then: Then) -> None:
        self._begin(self._claim(client_id, node, over), then)

    def read(self, client_id: str, then: Then) -> None:
        self._begin(self._read(client_id), then)

    def release(self, client_id: str, owner: Owner) -> None:
        """The message with this sequence number is the owner's, whoever may have claimed since."""
        self._begin(self._delete(owner.epoch), _nobody)

    def _begin(self, answer: Awaitable[Answer | None], then: Then) -> None:
        if self._under_way >= MOST_UNDER_WAY:
            answer.close()  # type: ignore[attr-defined]
            then(None)
            return
        self._under_way += 1
        self._spawn(self._hand_on(answer, then))

    async def _hand_on(self, answer: Awaitable[Answer | None], then: Then) -> None:
        try:
            found = await answer
        except ConnectionError as error:
            log.debug("the directory of sessions does not answer: %s", error)
            found = None
        except (LookupError, TypeError, ValueError) as error:
            log.error("the directory of sessions has an answer that cannot be read: %r", error)
            found = None
        finally:
            self._under_way -= 1
        then(found)

    async def _claim(self, client_id: str, node: str, over: Owner | None) -> Answer | None:
        headers = {_EXPECTED: str(over.epoch if over is not None else 0)}
        answer = await self._ask(self._subject(client_id), node.encode(), headers)
        if "error" not in answer:
            return Answer(True, Owner(node, int(answer["seq"])))
        if answer["error"].get("err_code") != WRONG_SEQUENCE:
            raise ConnectionError(answer["error"].get("description"))
        return await self._read(client_id)

    async def _read(self, client_id: str) -> Answer | None:
        # Not a direct get: a follower may answer that with an earlier owner.
        question = json.dumps({"last_by_subj": self._subject(client_id)}).encode()
        answer = await self._ask(f"$JS.API.STREAM.MSG.GET.{self._stream}", question)
        error = answer.get("error")
        if error is not None:
            if error.get("err_code") == NO_MESSAGE:
                return Answer(False, None)
            raise ConnectionError(error.get("description"))
        message = answer["message"]
        node = base64.b64decode(message.get("data", "")).decode()
        return Answer(False, Owner(node, int(message["seq"])))

    async def _delete(self, epoch: int) -> None:
        question = json.dumps({"seq": epoch, "no_erase": True}).encode()
        await self._ask(f"$JS.API.STREAM.MSG.DELETE.{self._stream}", question)

    async def _ask(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None, patience: float = PATIENCE
    ) -> dict[str, Any]:
        """The answer of JetStream. Raises ConnectionError."""
        from nats.errors import Error, NoRespondersError

        client = self._client()
        if client is None:
            raise ConnectionError("there is no connection to NATS")
        try:
            message = await client.request(subject, data, patience, headers=headers)
            answer: dict[str, Any] = json.loads(message.data)
        except NoRespondersError:
            raise _OffError("JetStream is off; start nats-server with -js") from None
        except (Error, TimeoutError, ValueError) as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        return answer

    def _subject(self, client_id: str) -> str:
        name = client_id.encode(errors="surrogatepass")
        if len(name) > LONGEST_NAME:
            return f"{self._subjects}d.{hashlib.blake2b(name, digest_size=32).hexdigest()}"
        return f"{self._subjects}c.{base64.urlsafe_b64encode(name).decode().rstrip('=')}"


def _nobody(_: Answer | None) -> None: ...
