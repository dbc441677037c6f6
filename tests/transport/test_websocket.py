"""The WebSocket side of a connection, without sockets."""

from __future__ import annotations

import struct
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from pybroker.broker.transport.websocket import ANY_PATH, MAX_FRAME, MIN_MESSAGE, WebSocket

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "mqtt",
}


def request(path: str = "/mqtt", line: str = "GET {} HTTP/1.1", **changes: str | None) -> bytes:
    """A handshake; ``changes`` are headers, underscores for hyphens; None leaves one out."""
    headers: dict[str, str | None] = {**UPGRADE, **{k.replace("_", "-"): v for k, v in changes.items()}}
    lines = [line.format(path), *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode(errors="surrogateescape")


def frame(data: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=mask)


def answer(server: WebSocket) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of what is to be written."""
    head, _, body = server.to_write().decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if "Content-Length" in headers:
        assert int(headers["Content-Length"]) == len(body)
    return int(status.split()[1]), headers, body


def shaken(max_packet_size: int = 1 << 20) -> WebSocket:
    """A server that has let a client in."""
    server = WebSocket("/mqtt", max_packet_size)
    assert server.receive(request()) == b""
    assert answer(server)[0] == 101
    return server


def close_code(written: bytes) -> int:
    """Of the Close frame at the end."""
    at = written.index(0x88)
    return int(struct.unpack_from("!H", written, at + 2)[0])


# The handshake.


@pytest.mark.mqtt("3.1.1:MQTT-6.0.0-4", "5.0:MQTT-6.0.0-4")
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("mqtt", "mqtt"), ("mqttv3.1", "mqttv3.1"), ("mqttv3.1, mqtt", "mqtt"), ("chat, mqtt", "mqtt")],
)
def test_a_handshake_is_answered_with_the_subprotocol(offered: str, chosen: str) -> None:
    server = WebSocket("/mqtt", 1024)
    server.receive(request(Sec_WebSocket_Protocol=offered))
    status, headers, _ = answer(server)
    assert status == 101
    assert headers["Sec-WebSocket-Protocol"] == chosen
    assert headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
    assert not server.finished


def test_compression_is_not_agreed_to() -> None:
    server = WebSocket("/mqtt", 1024)
    server.receive(request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"))
    status, headers, _ = answer(server)
    assert status == 101
    assert "Sec-WebSocket-Extensions" not in headers


@pytest.mark.parametrize(
    ("served", "path"),
    [
        ("/mqtt", "/mqtt"),
        ("/mqtt", "/mqtt/"),
        ("/mqtt/", "/mqtt"),
        ("/mqtt", "/mqtt?token=1"),
        ("/", "/"),
        ("", "/"),
        ("", "/mqtt"),
        ("", "/mqtt/?token=1"),
        (ANY_PATH, "/"),
        (ANY_PATH, "/any/thing"),
    ],
)
def test_the_path_is_found(served: str, path: str) -> None:
    server = WebSocket(served, 1024)
    server.receive(request(path))
    assert answer(server)[0] == 101


@pytest.mark.parametrize(
    ("handshake", "status", "words"),
    [
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426, "connect with an MQTT client", id="a browser"
        ),
        pytest.param(b"GET /mqtt HTTP/1.1\r\n\r\n", 426, "MQTT over WebSocket, at /mqtt", id="no headers"),
        pytest.param(request(Upgrade="h2c"), 426, "MQTT client", id="another upgrade"),
        pytest.param(request("/"), 404, "MQTT over WebSocket is at /mqtt", id="wrong path"),
        pytest.param(request("/mqtt/x"), 404, "is at /mqtt", id="longer path"),
        pytest.param(request("/MQTT"), 404, "is at /mqtt", id="path in capitals"),
        pytest.param(request(Sec_WebSocket_Protocol=None), 400, "subprotocol", id="no subprotocol"),
        pytest.param(request(Sec_WebSocket_Protocol="chat"), 400, "expected one of mqtt", id="other one"),
        pytest.param(request(Sec_WebSocket_Key=None), 400, "Sec-WebSocket-Key", id="no key"),
        pytest.param(request(Sec_WebSocket_Key="short"), 400, "Sec-WebSocket-Key", id="bad key"),
        pytest.param(
            request(Sec_WebSocket_Key="\udcff\udcfe" * 11), 400, "not a WebSocket handshake", id="no text"
        ),
        pytest.param(request(Sec_WebSocket_Version="8"), 400, "Sec-WebSocket-Version", id="old version"),
        pytest.param(request(line="POST {} HTTP/1.1"), 400, "expected GET", id="POST"),
        pytest.param(request(line="GET {} HTTP/1.0"), 400, "HTTP/1.1", id="HTTP/1.0"),
        pytest.param(request(Content_Length="5"), 400, "body", id="a body"),
        pytest.param(b"hello\r\n\r\n", 400, "not a WebSocket handshake", id="not HTTP"),
        pytest.param(b"GET " + b"x" * 20_000, 400, "too long", id="endless line"),
        pytest.param(request("/" + "x" * 9000), 400, "too long", id="long line"),
        pytest.param(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", 400, "not HTTP", id="bare MQTT"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", 400, "not HTTP", id="TLS"),
    ],
)
def test_a_refused_client_gets_the_reason(handshake: bytes, status: int, words: str) -> None:
    server = WebSocket("/mqtt", 1024)
    assert server.receive(handshake) == b""
    got, headers, body = answer(server)
    assert got == status
    assert words in body
    assert headers["Connection"] == "close"
    assert ("Upgrade" in headers) == (status == 426)
    assert server.finished
    assert server.receive(frame(b"more")) == b""
    assert server.to_write() == b""


def test_a_handshake_may_come_in_pieces() -> None:
    server = WebSocket("/mqtt", 1024)
    for byte in request():
        assert not server.finished
        assert server.receive(bytes([byte])) == b""
    assert answer(server)[0] == 101


def test_frames_may_follow_the_handshake_at_once() -> None:
    """Though a client is to wait for the answer; it comes first all the same."""
    server = WebSocket("/mqtt", 1024)
    ping, disconnect = frame(b"?", Opcode.PING), frame(b"\xe0\x00")
    assert server.receive(request() + ping + frame(b"\xc0\x00") + disconnect[:3]) == b"\xc0\x00"
    head, _, frames = server.to_write().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert frames == frame(b"?", Opcode.PONG, mask=False)
    assert server.receive(disconnect[3:]) == b"\xe0\x00"


def test_two_requests_are_one_too_many() -> None:
    server = WebSocket("/mqtt", 1024)
    server.receive(request() + request())
    assert close_code(server.to_write().partition(b"\r\n\r\n")[2]) == 1002
    assert server.finished


def test_nothing_is_sent_before_the_handshake() -> None:
    server = WebSocket("/mqtt", 1024)
    server.send(b"\xd0\x00")
    assert not server.close()
    assert server.to_write() == b""


# MQTT in frames.


@given(
    parts=st.lists(st.tuples(st.binary(max_size=40), st.booleans(), st.booleans()), max_size=8),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8),
)
def test_bytes_arrive_however_they_are_framed_and_read(
    parts: list[tuple[bytes, bool, bool]], sizes: list[int]
) -> None:
    """Packets over several messages, several in one, in fragments, with pings between; read in any pieces."""
    wire = b""
    continued = False
    for part, fin, ping in parts:
        wire += frame(part, Opcode.CONT if continued else Opcode.BINARY, fin=fin)
        continued = not fin
        if ping:
            wire += frame(b"ping", Opcode.PING)
    server = shaken()
    received = written = b""
    for size in cycle(sizes):
        received += server.receive(wire[:size]) if wire else b""
        written += server.to_write()
        wire = wire[size:]
        if not wire:
            break
    assert received == b"".join(part for part, _, _ in parts)
    assert written == frame(b"ping", Opcode.PONG, mask=False) * sum(ping for _, _, ping in parts)
    assert not server.finished


def test_an_unsolicited_pong_is_ignored() -> None:
    server = shaken()
    assert server.receive(frame(b"x", Opcode.PONG) + frame(b"\xc0\x00")) == b"\xc0\x00"
    assert server.to_write() == b""


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, MAX_FRAME, MAX_FRAME + 1, 3 * MAX_FRAME])
def test_what_is_sent_arrives(size: int) -> None:
    """Seen by a client of the library; large writes in several messages."""
    client = ClientProtocol(
        parse_uri("ws://localhost/mqtt"), subprotocols=[Subprotocol("mqtt")], max_size=MAX_FRAME
    )
    client.send_request(client.connect())
    server = WebSocket("/mqtt", 1024)
    server.receive(b"".join(client.data_to_send()))
    client.receive_data(server.to_write())
    (response,) = client.events_received()
    assert isinstance(response, Response)
    assert response.status_code == 101
    mqtt = bytes(range(256)) * (size // 256) + bytes(size % 256)
    server.send(mqtt)
    data = server.to_write()
    if data:
        client.receive_data(data)
    frames: list[Any] = client.events_received()
    assert all(one.opcode is Opcode.BINARY and one.fin for one in frames)  # [MQTT-6.0.0-1]
    assert b"".join(one.data for one in frames) == mqtt


# The end.


def test_our_close_waits_for_the_client_s() -> None:
    server = shaken()
    assert server.close()
    assert close_code(server.to_write()) == 1000
    server.send(b"\xd0\x00")
    assert server.to_write() == b"", "nothing follows a Close frame"
    assert server.receive(frame(b"\xc0\x00")) == b"\xc0\x00"
    assert not server.finished
    server.receive(frame(Close(1000, "").serialize(), Opcode.CLOSE))
    assert server.finished
    assert server.to_write() == b""
    assert not server.close()


@pytest.mark.parametrize(("code", "sent"), [(1000, 1000), (1001, 1001), (4000, 4000)])
def test_the_client_s_close_is_returned(code: int, sent: int) -> None:
    server = shaken()
    assert (
        server.receive(frame(b"\xe0\x00") + frame(Close(code, "bye").serialize(), Opcode.CLOSE))
        == b"\xe0\x00"
    )
    assert close_code(server.to_write()) == sent
    assert server.finished
    assert not server.close()


@pytest.mark.mqtt("3.1.1:MQTT-6.0.0-1", "5.0:MQTT-6.0.0-1")
@pytest.mark.parametrize(
    ("abuse", "code"),
    [
        pytest.param(frame(b"text", Opcode.TEXT), 1003, id="text [MQTT-6.0.0-1]"),
        pytest.param(frame(b"te", Opcode.TEXT, fin=False) + frame(b"xt", Opcode.CONT), 1003, id="text, two"),
        pytest.param(frame(b"\xff\xfe", Opcode.TEXT), 1003, id="text that is none"),
        pytest.param(frame(b"x", mask=False), 1002, id="not masked"),
        pytest.param(frame(b"x", Opcode.CONT), 1002, id="continues nothing"),
        pytest.param(frame(b"x", fin=False) + frame(b"y"), 1002, id="new message in fragments"),
        pytest.param(b"\xc2\x80\x00\x00\x00\x00", 1002, id="compressed, not agreed"),
        pytest.param(b"\x83\x80\x00\x00\x00\x00", 1002, id="unknown opcode"),
        pytest.param(b"\x89\xfe\x00\x7e\x00\x00\x00\x00" + bytes(126), 1002, id="ping of 126 bytes"),
        pytest.param(b"\x09\x80\x00\x00\x00\x00", 1002, id="ping in fragments"),
        pytest.param(frame(b"\x03", Opcode.CLOSE), 1002, id="close of one byte"),
        pytest.param(frame(struct.pack("!H", 1005), Opcode.CLOSE), 1002, id="close with 1005"),
        pytest.param(frame(struct.pack("!H", 1000) + b"\xff", Opcode.CLOSE), 1007, id="close, not UTF-8"),
        pytest.param(b"\x82\xff" + struct.pack("!Q", 1 << 62) + bytes(4), 1009, id="frame of 2**62 bytes"),
        pytest.param(b"\x82\xff" + struct.pack("!Q", MIN_MESSAGE + 1) + bytes(4), 1009, id="one too many"),
        pytest.param(
            frame(bytes(MIN_MESSAGE), fin=False) + frame(b"x", Opcode.CONT), 1009, id="too many fragments"
        ),
    ],
)
def test_abuse_ends_the_connection(abuse: bytes, code: int) -> None:
    server = shaken(max_packet_size=1024)
    before = server.receive(frame(b"\xc0\x00") + abuse)
    assert before.startswith(b"\xc0\x00")
    assert before.strip(b"\0x") in (b"\xc0", b"\xc0\x00"), "nothing of what was refused"
    assert close_code(server.to_write()) == code
    assert server.finished
    assert server.receive(frame(b"more")) == b""


def test_a_message_as_large_as_the_largest_packet_is_taken() -> None:
    server = shaken(max_packet_size=100_000)
    assert server.receive(frame(bytes(100_000))) == bytes(100_000)
    server.receive(b"\x82\xff" + struct.pack("!Q", 100_001) + bytes(4))
    assert close_code(server.to_write()) == 1009


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_no_bytes_make_it_fail(pieces: list[bytes]) -> None:
    for server in (WebSocket("/mqtt", 1024), shaken(1024)):
        for piece in pieces:
            if piece:
                server.receive(piece)
                server.to_write()


def test_what_the_client_did_wrong_is_said() -> None:
    server = WebSocket("/mqtt", 1024)
    server.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert (server.finished, server.complaint.splitlines()[0][:24]) == (True, "This is MQTT over WebSoc")
    server = shaken()
    server.receive(frame(b"text", Opcode.TEXT))
    assert server.finished
    assert "MQTT is sent in binary frames" in server.complaint
    server = shaken()
    server.receive(frame(Close(1000, "").serialize(), Opcode.CLOSE))
    assert (server.finished, server.complaint) == (True, "")


MIXTURE = [
    *(frame(bytes(size)) for size in (0, 1, 2, 125, 126, 127, 65_535, 65_536)),
    frame(b"begun ", fin=False),
    frame(b"?", Opcode.PING),
    frame(b"gone on ", Opcode.CONT, fin=False),
    frame(b"done", Opcode.CONT),
    frame(b"alone"),
]


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 1000, 4096, 1 << 20])
def test_frames_of_all_kinds_in_pieces_of_any_size(piece: int) -> None:
    server = shaken()
    stream = b"".join(MIXTURE)
    received = b"".join(server.receive(stream[at : at + piece]) for at in range(0, len(stream), piece))
    assert received == bytes(sum((0, 1, 2, 125, 126, 127, 65_535, 65_536))) + b"begun gone on donealone"
    assert not server.finished
    assert server.to_write() == frame(b"?", Opcode.PONG, mask=False)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(b"begun", fin=False) + frame(b"another"), 1002),
        (frame(b"unmasked", mask=False), 1002),
        (frame(b"nothing to go on with", Opcode.CONT), 1002),
        (frame(bytes(1 << 21)), 1009),
        (b"\xc2" + frame(b"reserved bit")[1:], 1002),
    ],
    ids=("interrupted", "unmasked", "no beginning", "too large", "reserved bit"),
)
@pytest.mark.parametrize("piece", [1 << 12, 1 << 22])
def test_what_is_wrong_after_good_frames_ends_the_connection(wrong: bytes, code: int, piece: int) -> None:
    server = shaken()
    stream = frame(b"good") * 3 + wrong + frame(b"too late")
    received = b""
    for at in range(0, len(stream), piece):
        received += server.receive(stream[at : at + piece])
    assert received.startswith(b"good" * 3)
    assert b"too late" not in received
    assert server.finished
    assert close_code(server.to_write()) == code
