from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import RunningBroker

CONF = """
listeners.tcp {{ bind = "127.0.0.1:0" }}
mqtt {{ max_mqueue_len = 1000000, retry_interval = 0 }}
sys.interval = 0
log {{ to = [console], level = warn }}
sqlite {{ mounted_file_path = "{path}", sync = {sync}, interval = {interval}, disk_cache_size = {cache} }}
"""


class Keeper:
    """Brokers that have one state, one after another."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "state"
        self.broker: RunningBroker | None = None
        self.sync = "interval"
        self.interval = "20ms"
        self.cache = 1000
        self.loop = "uvloop"
        self._starts = 0

    async def start(self) -> int:
        """The port."""
        self._starts += 1
        directory = self.directory / str(self._starts)
        directory.mkdir()
        conf = CONF.format(path=self.path, sync=self.sync, interval=self.interval, cache=self.cache)
        with pytest.MonkeyPatch.context() as patch:
            if self.loop == "asyncio":
                (directory / "uvloop.py").write_text("raise ImportError")
                patch.setenv("PYTHONPATH", str(directory))
            self.broker = await asyncio.to_thread(RunningBroker, directory, conf)
        return self.broker.port

    @property
    def has_uvloop(self) -> bool:
        assert self.broker is not None
        maps = Path(f"/proc/{self.broker.process.pid}/maps").read_text()
        return "uvloop" in maps

    async def kill(self) -> None:
        assert self.broker is not None
        self.broker.process.kill()
        await asyncio.to_thread(self.broker.process.wait)

    async def stop(self) -> str:
        """What it has printed."""
        assert self.broker is not None
        assert await asyncio.to_thread(self.broker.stop) == 0
        return self.broker.output


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    if keeper.broker is not None:
        keeper.broker.stop(9)
