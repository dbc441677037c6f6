from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pybroker.webhook.parcels import Delivery
from pybroker.webhook.spool.store import DeadLetter, Store


def delivery(seq: int, body: bytes = b"body") -> Delivery:
    return Delivery(seq, f"msg_{seq}", 1.5, "message_publish", "a/ü", "c1", (("x-a", "b"),), body)


def letter(seq: int, died_at: float = 10.0, body: bytes = b"body") -> DeadLetter:
    return DeadLetter(delivery(seq, body), died_at, "answered 400", 400, b"no")


@pytest.fixture
def store(tmp_path: Path):
    store = Store(tmp_path / "s.db")
    yield store
    store.close()


def commit(store: Store, puts=(), gone=(), dead=(), generation=1, last_seq=0, max_dead_bytes=1 << 30) -> int:
    return store.commit(list(puts), list(gone), list(dead), generation, last_seq, max_dead_bytes)


def seqs(store: Store) -> list[int]:
    return [d.seq for d in store.read(0, 10_000, 1 << 30)]


def test_waiting_events_are_read_in_order(store: Store) -> None:
    commit(store, puts=[delivery(seq) for seq in range(1, 2001)], generation=7, last_seq=2000)
    assert seqs(store) == list(range(1, 2001))
    assert [d.seq for d in store.read(500, 3, 1 << 30)] == [501, 502, 503]
    assert len(store.read(0, 2000, 3 * delivery(1).size)) == 3
    assert store.waiting() == (2000, 2000 * delivery(1).size)
    assert (store.committed_generation(), store.last_seq()) == (7, 2000)
    first = store.read(0, 1, 1)[0]
    for name in Delivery.__slots__:
        assert getattr(first, name) == getattr(delivery(1), name)


def test_any_of_them_may_go(store: Store) -> None:
    commit(store, puts=[delivery(seq) for seq in range(1, 3001)])
    gone = {*range(1, 100), 150, 152, *range(200, 2900, 2), 3000}
    commit(store, gone=gone)
    assert seqs(store) == [seq for seq in range(1, 3001) if seq not in gone]


def test_a_dead_letter_waits_no_longer(store: Store) -> None:
    commit(store, puts=[delivery(1), delivery(2)])
    commit(store, gone=[1], dead=[letter(1)])
    assert seqs(store) == [2]
    [found] = store.dead_letters()
    assert (found.delivery.id, found.why, found.status, found.answer) == ("msg_1", "answered 400", 400, b"no")
    store.bury([1])
    assert store.dead() == (0, 0)


def test_the_oldest_dead_letters_make_room(store: Store) -> None:
    assert commit(store, dead=[letter(seq) for seq in range(1, 6)], max_dead_bytes=1 << 20) == 0
    _, room = store.dead()
    assert commit(store, dead=[letter(seq) for seq in range(6, 9)], max_dead_bytes=room) == 3
    assert [dead.delivery.seq for dead in store.dead_letters()] == [4, 5, 6, 7, 8]


def test_old_dead_letters_are_tidied_away(store: Store) -> None:
    commit(store, dead=[letter(1, died_at=10), letter(2, died_at=20)])
    assert store.tidy(15, 1 << 30) == 0
    assert [dead.delivery.seq for dead in store.dead_letters()] == [2]


def test_tidying_makes_room_for_what_waits(store: Store) -> None:
    commit(store, dead=[letter(seq) for seq in range(1, 6)])
    _, size = store.dead()
    assert store.tidy(0, size - 1) == 1
    assert [dead.delivery.seq for dead in store.dead_letters()] == [2, 3, 4, 5]


def test_dead_letters_can_be_read_while_others_write(store: Store, tmp_path: Path) -> None:
    commit(store, dead=[letter(seq) for seq in range(1, 1001)])
    other = Store(tmp_path / "s.db", create=False)
    for dead in store.dead_letters():
        other.bury([dead.delivery.seq])
    assert store.dead() == (0, 0)
    other.close()


def test_all_or_nothing(store: Store) -> None:
    with pytest.raises(sqlite3.Error):
        commit(store, puts=[delivery(1), Delivery(2, None, 0, "x", None, "", (), b"")])  # type: ignore[arg-type]
    assert seqs(store) == []


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "s.db").close()
    db = sqlite3.connect(tmp_path / "s.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(sqlite3.DatabaseError, match="format 99 is that of a newer pybroker"):
        Store(tmp_path / "s.db")


def test_it_is_not_for_others_to_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.db")
    commit(store, puts=[delivery(1)])
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600"}
    store.close()
