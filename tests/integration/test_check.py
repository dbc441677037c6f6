"""`pybroker check` finds what `pybroker start` would refuse, and touches nothing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trustme

from .test_command import pybroker


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    authority = trustme.CA()
    for name in ("a", "b"):
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "none.pem").write_text("no certificate")
    return tmp_path


def checked(folder: Path, text: str) -> tuple[int, list[str]]:
    """The status, and the lines on stderr without the names of folders."""
    conf = folder / "nanomq.conf"
    conf.write_text(text)
    answer = pybroker("check", "--conf", conf, XDG_RUNTIME_DIR=str(folder))
    return answer.returncode, answer.stderr.replace(f"{folder}/", "").splitlines()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'listeners.ssl { bind = "127.0.0.1:0", certfile = a.pem, keyfile = b.key }',
            "listener ssl: private key b.key: does not belong to the certificate a.pem",
        ),
        (
            'listeners.ssl { bind = "127.0.0.1:0", certfile = none.pem, keyfile = a.key }',
            "listener ssl: certificate none.pem: holds no certificate in PEM format",
        ),
        (
            'listeners.wss.x { bind = "127.0.0.1:0", certfile = a.pem, keyfile = a.key, '
            "verify_peer = true, cacertfile = none.pem }",
            "listener wss.x: CA certificate none.pem: holds no certificate in PEM format",
        ),
        (
            "http_server { password = x, tls { certfile = a.pem, keyfile = b.key } }",
            "http_server: private key b.key: does not belong to the certificate a.pem",
        ),
        (
            'auth.password { "ann": "$argon2id$v=19$broken" }',
            "auth.password: the password of user 'ann' begins like an argon2 hash, but is not one",
        ),
        (
            "auth.jwt { public.keyfile = none.pem }",
            "auth.jwt.public.keyfile: no key for RS256: ",
        ),
        (
            'plugins { "no.such.Plugin" {} }',
            "plugins: no.such.Plugin cannot be imported: No module named 'no'",
        ),
        (
            'webhook { url = "http://127.0.0.1:9/", filter = "no_such_module:wanted", '
            "events = [ { event = on_client_connected } ] }",
            'webhook webhook, events[0] (on_client_connected): "no_such_module:wanted": '
            "cannot import no_such_module",
        ),
        (
            'webhook { url = "https://127.0.0.1:9/", tls.cacertfile = none.pem, '
            "events = [ { event = on_client_connected } ] }",
            "webhook webhook: cacertfile none.pem: ",
        ),
        (
            'log { to = file, dir = "none.pem" }',
            "the log cannot be written: ",
        ),
        (
            'listeners.unix { path = "/no/such/folder/s" }',
            "listener unix: there is no folder for the socket /no/such/folder/s",
        ),
    ],
)
def test_each_is_one_line_and_a_status(certificates: Path, text: str, problem: str) -> None:
    text = text.replace('dir = "none.pem"', f'dir = "{certificates}/none.pem"')
    status, lines = checked(certificates, text)
    assert status == 2
    assert len(lines) == 1
    assert problem in lines[0]


def test_all_are_told_together(certificates: Path) -> None:
    status, lines = checked(
        certificates,
        'listeners.ssl { bind = "127.0.0.1:0", certfile = a.pem, keyfile = b.key }\n'
        'auth.password { "ann": "$argon2id$broken" }\n'
        'plugins { "no.such.Plugin" {}, "no.other.Plugin" {} }\n',
    )
    assert (status, len(lines)) == (2, 4)


def test_nothing_is_bound_or_written(certificates: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, lines = checked(
            certificates,
            f'listeners.tcp {{ bind = "127.0.0.1:{taken.getsockname()[1]}" }}\n'
            f'listeners.unix {{ path = "{certificates}/socket" }}\n'
            'listeners.ssl { bind = "127.0.0.1:0", certfile = a.pem, keyfile = a.key }\n'
            'auth { allow_anonymous = false, password { "ann": "x" } }\n'
            f'log {{ to = file, dir = "{certificates}/logs" }}\n'
            f'webhook {{ url = "http://127.0.0.1:9/", spool.path = "{certificates}/spool", '
            "events = [ { event = on_client_connected } ] }\n",
        )
    assert (status, lines) == (0, [])
    assert {one.name for one in certificates.iterdir()} == {
        *("a.key", "a.pem", "b.key", "b.pem", "ca.pem", "none.pem", "nanomq.conf")
    }
