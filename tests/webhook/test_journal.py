"""The journal keeps what a killed process had put into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker.webhook.parcels import Delivery
from pybroker.webhook.spool.journal import HALF, Journal, JournalBusyError


def delivery(seq: int, body: bytes = b"body") -> Delivery:
    return Delivery(seq, f"msg_{seq}", 1.5, "message_publish", "a/ü", "c1", (("x-a", "b"),), body)


def opened(path: Path, committed: int = 0) -> tuple[Journal, list[int], list[int]]:
    journal = Journal(path)
    puts, done = journal.recover(committed)
    return journal, [put.seq for put in puts], done


def test_what_was_put_and_done_is_found_again(tmp_path: Path) -> None:
    journal, *_ = opened(tmp_path / "j")
    journal.begin()
    assert journal.put(delivery(1))
    assert journal.put(Delivery(2, "msg_2", 2.5, "client_connack", None, "", (), b""))
    assert journal.done([delivery(1)])
    journal.close()

    journal = Journal(tmp_path / "j")
    puts, done = journal.recover(0)
    assert done == [1]
    first, second = puts
    for name in Delivery.__slots__:
        assert getattr(first, name) == getattr(delivery(1), name)
    assert (second.topic, second.client, second.headers, second.body) == (None, "", (), b"")
    journal.close()


def test_a_committed_generation_is_not_read_again(tmp_path: Path) -> None:
    journal, *_ = opened(tmp_path / "j")
    journal.begin()
    journal.put(delivery(1))
    ended = journal.switch()
    journal.put(delivery(2))
    journal.close()  # killed after the commit, before the half was cleared

    journal, puts, _ = opened(tmp_path / "j", committed=ended)
    assert puts == [2]
    journal.close()
    journal, puts, _ = opened(tmp_path / "j", committed=ended - 1)
    assert puts == [1, 2]
    journal.close()


def test_generations_go_on_after_a_restart(tmp_path: Path) -> None:
    last = 0
    for _ in range(5):
        journal, *_ = opened(tmp_path / "j", committed=last)
        journal.begin()
        ended = journal.switch()
        assert ended > last
        last = ended
        journal.close()


def test_a_record_that_was_cut_off_ends_the_journal(tmp_path: Path) -> None:
    journal, *_ = opened(tmp_path / "j")
    journal.begin()
    for seq in range(1, 4):
        journal.put(delivery(seq))
    journal.close()
    data = bytearray((tmp_path / "j").read_bytes())
    data[data.index(b"msg_3")] ^= 0xFF
    (tmp_path / "j").write_bytes(data)

    journal, puts, _ = opened(tmp_path / "j")
    assert puts == [1, 2]
    journal.close()


def test_a_full_half_takes_nothing_more(tmp_path: Path) -> None:
    journal, *_ = opened(tmp_path / "j")
    journal.begin()
    big = delivery(1, b"x" * (1 << 20))
    assert [journal.put(big) for _ in range(4)] == [True, True, True, False]
    assert journal.filled > 0.7
    journal.switch()
    assert journal.put(big)
    journal.close()


def test_a_file_whose_making_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"\1" * 4096)
    journal = Journal(path)
    assert journal.recover(0) == ([], [])
    assert path.stat().st_size == 2 * HALF
    journal.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    with pytest.raises(JournalBusyError):
        Journal(tmp_path / "j")
    journal.close()
    Journal(tmp_path / "j").close()


def test_it_takes_less_where_there_is_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small_disk(fd: int, offset: int, length: int) -> None:
        if length > 1 << 20:
            raise OSError(28, "No space left on device")
        os.ftruncate(fd, length)

    monkeypatch.setattr(os, "posix_fallocate", small_disk)
    journal, *_ = opened(tmp_path / "j")
    journal.begin()
    assert journal.put(delivery(1))
    journal.close()
    assert (tmp_path / "j").stat().st_size <= 1 << 20


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "done", "commit", "restart"]), st.integers(1, 50)), max_size=60
    )
)
def test_nothing_uncommitted_is_ever_missing(tmp_path_factory, steps) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    journal, *_ = opened(path)
    journal.begin()
    committed, since = 0, []
    for step, seq in steps:
        if step == "put":
            journal.put(delivery(seq))
            since.append(seq)
        elif step == "done":
            journal.done([delivery(seq)])
        elif step == "commit":
            committed = journal.switch()
            journal.clear_inactive()
            since = []
        else:
            journal.restart()
            since = []
    journal.close()
    journal, puts, _ = opened(path, committed)
    assert puts == since
    journal.close()
