"""The journal keeps what a killed process had put into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker.broker.storage.journal import HALF, SMALLEST_HALF, Journal, JournalBusyError, Recovered
from pybroker.webhook.parcels import Delivery
from pybroker.webhook.spool import records

HEADS = 40
"""Bytes before the first record of a half."""


def delivery(seq: int, body: bytes = b"body") -> Delivery:
    return Delivery(seq, f"msg_{seq}", 1.5, "message_publish", "a/ü", "c1", (("x-a", "b"),), body)


def opened(path: Path, committed: int = 0) -> tuple[Journal, list[int], set[int]]:
    journal = Journal(path)
    recovered = journal.recover(committed)
    assert not recovered.damaged
    puts, done = records.read(recovered.records)
    return journal, [put.seq for put in puts], done


def put(journal: Journal, seq: int) -> bool:
    return journal.write(records.put(delivery(seq)))


def test_what_was_put_and_done_is_found_again(tmp_path: Path) -> None:
    journal, *_ = opened(tmp_path / "j")
    journal.begin()
    assert put(journal, 1)
    assert journal.write(records.put(Delivery(2, "msg_2", 2.5, "client_connack", None, "", (), b"")))
    assert journal.write(records.done(delivery(1)))
    journal.close()

    journal = Journal(tmp_path / "j")
    puts, done = records.read(journal.recover(0).records)
    assert done == {1}
    first, second = puts
    for name in Delivery.__slots__:
        assert getattr(first, name) == getattr(delivery(1), name)
    assert (second.topic, second.client, second.headers, second.body) == (None, "", (), b"")
    journal.close()


def test_a_committed_generation_is_not_read_again(tmp_path: Path) -> None:
    journal, *_ = opened(tmp_path / "j")
    journal.begin()
    put(journal, 1)
    ended = journal.switch()
    put(journal, 2)
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


def test_a_record_that_was_cut_off_is_not_seen(tmp_path: Path) -> None:
    """A kill after the body was copied, before the head was: the head comes last."""
    journal, *_ = opened(tmp_path / "j")
    journal.begin()
    for seq in range(1, 4):
        put(journal, seq)
    journal.close()
    data = bytearray((tmp_path / "j").read_bytes())
    third = data.index(records.put(delivery(3))) - 16
    data[third : third + 16] = bytes(16)
    (tmp_path / "j").write_bytes(data)

    journal, puts, _ = opened(tmp_path / "j")
    assert puts == [1, 2]
    journal.close()


def written(path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small journal: 1 to 4 in the half that is being committed, 5 to 8 in the other."""
    monkeypatch.setattr("pybroker.broker.storage.journal.HALF", SMALLEST_HALF)
    journal, *_ = opened(path)
    journal.begin()
    for seq in range(1, 9):
        if seq == 5:
            journal.switch()
        put(journal, seq)
    journal.close()
    return path.read_bytes()


def test_one_damaged_byte_costs_one_record_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    whole = written(path, monkeypatch)
    size = len(records.put(delivery(1))) + 16
    used = HEADS + 4 * size
    for half in (0, SMALLEST_HALF):
        for at in range(half, half + used):
            damaged = bytearray(whole)
            damaged[at] ^= 0x40
            path.write_bytes(damaged)
            journal = Journal(path)
            recovered = journal.recover(0)
            journal.close()
            seqs = [one.seq for one in records.read(recovered.records)[0]]
            lost = [] if at < half + HEADS else [(at - half - HEADS) // size + (1 if half == 0 else 5)]
            assert seqs == [seq for seq in range(1, 9) if seq not in lost], f"byte {at}"
            assert recovered.damaged == len(lost), f"byte {at}"


def test_a_damaged_page_costs_what_stood_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"
    damaged = bytearray(written(path, monkeypatch))
    second, third = (damaged.index(records.put(delivery(seq))) for seq in (2, 3))
    damaged[second:third] = os.urandom(third - second)  # the head of the third with it
    path.write_bytes(damaged)
    journal = Journal(path)
    recovered = journal.recover(0)
    assert [one.seq for one in records.read(recovered.records)[0]] == [1, 4, 5, 6, 7, 8]
    assert recovered.damaged == 1
    journal.close()


def test_a_payload_cannot_pretend_to_be_a_record(tmp_path: Path) -> None:
    """A client may have seen how a journal is made; what it cannot know is the tag of this half."""
    path = tmp_path / "j"
    journal, *_ = opened(path)
    journal.begin()
    put(journal, 7)
    journal.close()
    data = path.read_bytes()
    at = data.index(b"msg_7")
    forged = data[HEADS : at + 200]
    journal, *_ = opened(path)
    journal.begin()
    journal.write(records.put(delivery(1, forged * 3)))
    put(journal, 2)
    journal.close()
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"msg_1")] ^= 1
    path.write_bytes(damaged)
    journal = Journal(path)
    recovered = journal.recover(0)
    assert [one.seq for one in records.read(recovered.records)[0]] == [2]
    assert recovered.damaged == 1
    journal.close()


def test_a_full_half_takes_nothing_more(tmp_path: Path) -> None:
    journal, *_ = opened(tmp_path / "j")
    journal.begin()
    big = bytes(1 << 20)
    assert [journal.write(big) for _ in range(4)] == [True, True, True, False]
    assert journal.filled > 0.7
    journal.switch()
    assert journal.write(big)
    journal.close()


def test_a_file_whose_making_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"\1" * 4096)
    journal = Journal(path)
    assert journal.recover(0) == Recovered([], 0)
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
    assert put(journal, 1)
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
            put(journal, seq)
            since.append(seq)
        elif step == "done":
            journal.write(records.done(delivery(seq)))
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
