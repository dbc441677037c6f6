"""The rows of `cluster`: nodes on several hosts that are one broker."""

from __future__ import annotations

from collections.abc import Iterator

from ..units import choice, flag, path, server, subject_token, text, whole
from .row import Row, tls_client, under


def rows() -> Iterator[Row]:
    alone = (
        "What a node does that cannot reach NATS. `serve`: it accepts clients as usual. "
        "`refuse`: it answers CONNECT with 0x88, server unavailable."
    )
    sessions = (
        "`move`: a session follows its client to another node; this needs JetStream. "
        "`stay`: it does not, and client identifiers are unique on each node only."
    )
    replicas = (
        "Servers of NATS that keep the directory of sessions, fixed when it is made. "
        "Set 3 for three servers that are one NATS."
    )
    yield from under(
        "cluster",
        Row("enable", flag(), "true", "Off without this section."),
        Row("engine", choice("nats"), "nats", "What carries messages between the nodes."),
        Row("name", subject_token(), "pybroker", "The cluster. Nodes of one name are one broker."),
        Row(
            "node", subject_token(), "", "The name of this node, different on each; by default the host name."
        ),
        Row("sessions", choice("move", "stay"), "move", sessions),
        Row("replicas", whole(1, 5), "1", replicas),
        Row("when_alone", choice("serve", "refuse"), "serve", alone),
        ours=True,
    )
    yield from under(
        "cluster",
        Row("servers", server(), "nats://127.0.0.1:4222", "The servers of NATS.", "list", environ=True),
        Row("username", text(), "", "The user of NATS.", environ=True),
        Row("password", text(secret=True), "", "The password of that user.", environ=True),
        Row("token", text(secret=True), "", "A token, where NATS asks for one.", environ=True),
        Row("credentials", path(), "", "A .creds file."),
        Row("nkey", path(), "", "A file with the seed of an nkey."),
        ours=True,
    )
    yield from tls_client("cluster.tls")
