"""What every owner directory promises, and what JetStream's does when the server goes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pybroker.broker.cluster.directory import Answer, Directory, Owner
from pybroker.broker.cluster.kv import DirectoryError, KvDirectory
from tests.pushers.servers import Nats, running, three_as_one
from tests.waiting import until

from .memory import MemoryDirectory

HARD = ["c", "a.b*>", "with space", "ü\u0001\U0001f600", "x" * 65_535, "y" * 121, "a" * 120, "-", "="]


class Asking:
    """A directory with calls that wait for the answer."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    async def claim(self, client_id: str, node: str, over: Owner | None = None) -> Answer | None:
        answers: list[Answer | None] = []
        self.directory.claim(client_id, node, over, answers.append)
        await until(lambda: answers)
        return answers[0]

    async def read(self, client_id: str) -> Answer | None:
        answers: list[Answer | None] = []
        self.directory.read(client_id, answers.append)
        await until(lambda: answers)
        return answers[0]

    async def owner(self, client_id: str) -> Owner | None:
        answer = await self.read(client_id)
        assert answer is not None
        return answer.owner


class Running:
    """Coroutines in the background."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Awaitable[None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def over_nats(url: str, cluster: str) -> tuple[KvDirectory, Any]:
    import nats

    client = await nats.connect(url, allow_reconnect=False)
    alive = lambda: client if client.is_connected else None  # noqa: E731
    return KvDirectory(cluster, alive, Running().spawn), client


@pytest.fixture(params=["memory", "nats"])
async def two(request: pytest.FixtureRequest) -> Any:
    """One directory, as two nodes see it."""
    if request.param == "memory":
        memory = MemoryDirectory()
        yield Asking(memory), Asking(memory)
        return
    url, cluster = request.getfixturevalue("nats").url, secrets.token_hex(4)
    first, one = await over_nats(url, cluster)
    second, other = await over_nats(url, cluster)
    await first.make(1)
    await second.make(1)  # it is there already
    yield Asking(first), Asking(second)
    for client in (one, other):
        await client.close()


Two = tuple[Asking, Asking]


async def test_the_first_claim_is_granted_and_seen_by_all(two: Two) -> None:
    one, other = two
    assert await other.owner("c") is None
    answer = await one.claim("c", "a")
    assert answer is not None
    assert answer.granted
    assert answer.owner is not None
    assert answer.owner.node == "a"
    assert await other.owner("c") == answer.owner
    assert await other.owner("d") is None


async def test_a_claim_over_somebody_else_is_refused_and_says_whom(two: Two) -> None:
    one, other = two
    first = (await one.claim("c", "a")).owner
    refused = await other.claim("c", "b")
    assert refused == Answer(False, first)
    second = await other.claim("c", "b", first)
    assert second.granted
    assert second.owner.epoch > first.epoch
    assert await one.claim("c", "a", first) == Answer(False, second.owner)


async def test_of_many_claims_at_once_one_is_granted(two: Two) -> None:
    for round_ in range(5):
        owner = await two[0].owner("c")
        claims = [two[n % 2].claim("c", f"n{round_}-{n}", owner) for n in range(20)]
        answers = await asyncio.gather(*claims)
        [granted] = [answer for answer in answers if answer.granted]
        assert {answer.owner for answer in answers if not answer.granted} <= {granted.owner}
        assert await two[1].owner("c") == granted.owner


async def test_release_is_for_the_owner_alone(two: Two) -> None:
    one, other = two
    first = (await one.claim("c", "a")).owner
    second = (await other.claim("c", "b", first)).owner
    one.directory.release("c", first)
    await one.claim("later", "a")
    assert await one.owner("c") == second
    other.directory.release("c", second)

    async def is_free() -> bool:
        return await one.owner("c") is None

    async with asyncio.timeout(60):
        while not await is_free():
            await asyncio.sleep(0.01)
    third = await one.claim("c", "a")
    assert third.granted
    assert third.owner.epoch > second.epoch


@pytest.mark.parametrize("client_id", HARD, ids=range(len(HARD)))
async def test_any_client_identifier(two: Two, client_id: str) -> None:
    one, other = two
    await one.claim(client_id + "x", "wrong")
    answer = await one.claim(client_id, "a")
    assert answer.granted
    assert await other.owner(client_id) == answer.owner


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Nats]:
    with running(Nats(tmp_path / "nats")) as server:
        yield server


async def test_owners_outlive_a_kill_of_the_server(own: Nats) -> None:
    directory, client = await over_nats(own.url, "c")
    asking = Asking(directory)
    await directory.make(1)
    owners = [(await asking.claim(f"c{n}", "a")).owner for n in range(100)]
    own.kill()
    await until(lambda: not directory.available)
    assert await asking.read("c1") is None
    assert await asking.claim("c1", "b", owners[1]) is None
    own.start()
    directory, client = await over_nats(own.url, "c")
    asking = Asking(directory)
    await directory.make(1)
    assert [await asking.owner(f"c{n}") for n in range(100)] == owners
    assert (await asking.claim("c1", "b", owners[1])).granted
    await client.close()


async def test_a_server_that_stands_still_is_waited_for_and_no_longer(own: Nats) -> None:
    directory, client = await over_nats(own.url, "c")
    await directory.make(1)
    own.pause()
    assert await Asking(directory).claim("c", "a") is None
    own.resume()
    await client.close()


async def test_what_is_forgotten_leaves_nothing_behind(own: Nats) -> None:
    directory, client = await over_nats(own.url, "c")
    asking = Asking(directory)
    await directory.make(1)
    for n in range(50):
        directory.release(f"c{n}", (await asking.claim(f"c{n}", "a")).owner)

    async def kept() -> int:
        info = await client.jetstream().stream_info("KV_pybroker_c")
        return info.state.messages

    async with asyncio.timeout(60):
        while await kept():
            await asyncio.sleep(0.01)
    await client.close()


async def test_a_server_without_jetstream_is_said(tmp_path: Path) -> None:
    server = Nats(tmp_path / "nats")
    command = server.command()
    server.command = lambda: [word for word in command if word != "-js"]  # type: ignore[method-assign]
    with running(server):
        directory, client = await over_nats(server.url, "c")
        with pytest.raises(DirectoryError, match="JetStream is off; start nats-server with -js"):
            await directory.make(1)
        await client.close()


async def test_replicas_that_one_server_cannot_have(own: Nats) -> None:
    directory, client = await over_nats(own.url, "c")
    with pytest.raises(DirectoryError, match="replicas"):
        await directory.make(3)
    await client.close()


@pytest.mark.slow
async def test_no_claim_is_lost_with_the_leader_of_three(tmp_path: Path) -> None:
    """Each claim that was granted is there after the leader was killed, and nobody else was granted it."""
    servers = three_as_one(tmp_path)
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(running(server))
        await until_made(servers[0].url, "c")
        granted: dict[str, Owner] = {}
        for round_, victim in enumerate(servers):
            steady = next(server for server in servers if server is not victim)
            directory, client = await over_nats(steady.url, "c")
            asking = Asking(directory)
            for n in range(200):
                if n == 100:
                    victim.kill()
                answer = await asking.claim(f"{round_}-{n}", "a")
                if answer is not None and answer.granted:
                    granted[f"{round_}-{n}"] = answer.owner
            victim.start()
            async with asyncio.timeout(60):
                for client_id, owner in granted.items():
                    while (found := await asking.read(client_id)) is None:
                        await asyncio.sleep(0.1)
                    assert found.owner == owner
            await client.close()
        assert len(granted) > 300


async def until_made(url: str, cluster: str) -> None:
    """The three have to find each other first."""
    async with asyncio.timeout(60):
        while True:
            directory, client = await over_nats(url, cluster)
            try:
                await directory.make(3)
                return
            except (ConnectionError, DirectoryError):
                await asyncio.sleep(0.2)
            finally:
                await client.close()
