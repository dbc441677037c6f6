from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pybroker.webhook.parcels import Delivery
from pybroker.webhook.spool.queue import queue_for


def delivery(seq: int, client: str = "c", topic: str | None = "t") -> Delivery:
    return Delivery(seq, str(seq), 0.0, "message_publish", topic, client, (), b"")


def test_without_order_everything_may_go() -> None:
    queue = queue_for("none")
    for seq in range(5):
        queue.put(delivery(seq))
    assert (len(queue), queue.available) == (5, 5)
    assert [d.seq for d in queue.take(3)] == [0, 1, 2]
    assert queue.drop_oldest().seq == 3
    assert [d.seq for d in queue.clear()] == [4]
    assert (queue.drop_oldest(), queue.oldest, len(queue)) == (None, None, 0)


def test_an_event_holds_back_its_own_client_only() -> None:
    queue = queue_for("client")
    for seq, client in enumerate("aabab"):
        queue.put(delivery(seq, client))
    first, second = queue.take(1), queue.take(1)
    assert [first[0].seq, second[0].seq] == [0, 2]
    assert queue.take(1) == []
    assert (len(queue), queue.available) == (3, 0)
    queue.finished(second)
    assert [d.seq for d in queue.take(1)] == [4]
    queue.finished(first)
    assert [d.seq for d in queue.take(9)] == [1, 3]


def test_order_by_topic_falls_back_to_the_client() -> None:
    queue = queue_for("topic")
    queue.put(delivery(0, "a", "x"))
    queue.put(delivery(1, "b", "x"))
    queue.put(delivery(2, "a", None))
    queue.put(delivery(3, "b", None))
    assert [d.seq for _ in range(4) for d in queue.take(1)] == [0, 2, 3]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "take", "finish", "drop"]), st.sampled_from("abc"), st.integers(1, 4)
        ),
        max_size=80,
    )
)
def test_keys_keep_their_order(steps) -> None:
    queue = queue_for("client")
    waiting: list[tuple[int, str]] = []
    flying: list[list[Delivery]] = []
    for seq, (step, client, count) in enumerate(steps):
        if step == "put":
            queue.put(delivery(seq, client))
            waiting.append((seq, client))
        elif step == "take":
            busy = {d.client for taken in flying for d in taken}
            assert queue.available == len([key for _, key in waiting if key not in busy])
            taken = queue.take(count)
            assert len(taken) == min(count, queue.available + len(taken)) or not queue.available
            for item in taken:
                assert item.client not in busy
                assert (item.seq, item.client) == next(w for w in waiting if w[1] == item.client)
                waiting.remove((item.seq, item.client))
            if taken:
                flying.append(taken)
        elif step == "finish" and flying:
            queue.finished(flying.pop(0))
        elif step == "drop":
            dropped = queue.drop_oldest()
            assert (dropped is None) == (not waiting)
            if dropped:
                assert (dropped.seq, dropped.client) == waiting.pop(0)
        assert len(queue) == len(waiting)
        assert (queue.oldest.seq if queue.oldest else None) == (waiting[0][0] if waiting else None)
    for taken in flying:
        queue.finished(taken)
    assert queue.available == len(waiting)
