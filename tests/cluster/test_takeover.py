"""Clients that come, go and take over at any moment, while messages are under way between the nodes.

The model is one queue for each client."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker.broker.cluster.owner import owner_of
from pybroker.broker.packets.model import Puback, Publish, Pubrec
from tests.harness import Client

from .support import Cluster

IDS = ("c1", "c2", "c3", "c4")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 2]), st.booleans())
def test_no_gap_no_repeat_and_order_kept(seed: int, qos: int, keeps: bool) -> None:
    chance = random.Random(seed)
    cluster = Cluster(keeps=keeps)
    clients: dict[str, Client] = {}
    got: dict[str, list[bytes]] = {one: [] for one in IDS}
    for one in IDS:
        clients[one] = cluster.connect_anywhere(one, clean_start=False, session_expiry_interval=1000)
        cluster.subscribe(clients[one], "t", qos=qos)
    publishers = [cluster.connect(index, f"p{index}") for index in range(3)]
    sent = 0
    for _ in range(60):
        one = chance.choice(IDS)
        client = clients[one]
        match chance.choice(["publish", "publish", "read", "take over", "lose", "deliver", "settle"]):
            case "publish":
                publishers[0].send_publish("t", b"%d" % sent, qos)
                sent += 1
            case "read":
                if not client.is_closed:
                    got[one] += _read(client)
            case "take over":
                before = client
                clients[one] = cluster[owner_of(one, 3)].connect(
                    one, clean_start=False, session_expiry_interval=1000
                )
                assert clients[one].connack is not None
                assert clients[one].connack.session_present
                assert before.is_closed
            case "lose":
                if not client.is_closed:
                    client.drop()
            case "deliver":
                cluster.ways.deliver_one(*chance.sample(range(3), 2))
            case "settle":
                cluster.settle()
    cluster.settle()
    for one in IDS:
        last = cluster[owner_of(one, 3)].connect(one, clean_start=False, session_expiry_interval=1000)
        cluster.settle()
        got[one] += _read(last)
        assert got[one] == [b"%d" % n for n in range(sent)]
    answers = [p for p in publishers[0].packets() if isinstance(p, Puback | Pubrec)]
    assert len(answers) == sent


def _read(client: Client) -> list[bytes]:
    """What is there, acknowledged to the end."""
    found = []
    while client.pending():
        packet = client._inbox[0]
        if isinstance(packet, Publish):
            found.append(client.message().payload)
        else:
            client._inbox.pop(0)
    return found
