"""docs/deployment.md: the proxies and the unit that are shown there work."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
import trustme

from pybroker.testing import TestBroker
from tests.integration.clients import connected
from tests.integration.support import wait_for
from tests.ports import free_port

from .blocks import marked, of

HAPROXY, NGINX, SYSTEMD = map(shutil.which, ("haproxy", "nginx", "systemd-analyze"))
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@pytest.fixture
def broker() -> Iterator[TestBroker]:
    """With the listeners of the page, which believe in what a proxy says of the client."""
    with TestBroker(conf_text=marked("for: proxy").code) as broker:
        yield broker


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Of the certificates in the folder, for clients to trust."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "broker.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "broker.key")
    for part in certificate.cert_chain_pems:
        part.write_to_path(tmp_path / "broker.crt", append=True)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@contextmanager
def running(*command: str | Path, port: int, log: Path) -> Iterator[None]:
    """A proxy that listens at this port."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            wait_for(lambda: process.poll() is not None or accepts(port), "the proxy")
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def passes_through(port: int, authority: Path, broker: TestBroker, transport: str) -> None:
    """A client gets through to the broker, which sees its address and not the proxy's."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, f"by-{transport}", transport=transport)  # type: ignore[arg-type]
    client.tls_set_context(ssl.create_default_context(cafile=authority))
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        broker.wait_for_client(f"by-{transport}")
        own = client.socket()
        host, number = getattr(own, "_socket", own).getsockname()  # that of a WebSocket is wrapped
        assert broker.clients[f"by-{transport}"].peer == f"{host}:{number}"
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")
def test_haproxy(broker: TestBroker, authority: Path, tmp_path: Path) -> None:
    port = free_port()
    code = marked("for: haproxy").code.replace("/etc/haproxy", str(tmp_path))
    code = code.replace(":8883", f"127.0.0.1:{port}").replace("127.0.0.1:1883", f"127.0.0.1:{broker.port}")
    (tmp_path / "haproxy.cfg").write_text(code)
    with running(HAPROXY or "", "-f", tmp_path / "haproxy.cfg", port=port, log=tmp_path / "log"):
        passes_through(port, authority, broker, "tcp")


def nginx(folder: Path, code: str) -> tuple[str | Path, ...]:
    """The command for a configuration of which the page shows a part."""
    module = f"load_module {STREAM};\n" if STREAM.exists() else ""
    (folder / "nginx.conf").write_text(
        f"{module}daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n{code}"
    )
    return NGINX or "", "-p", folder, "-c", folder / "nginx.conf"


@pytest.mark.skipif(NGINX is None or not STREAM.exists(), reason="needs nginx with its stream module")
@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_nginx(broker: TestBroker, authority: Path, tmp_path: Path, transport: str) -> None:
    tcp, ws = free_port(), free_port()
    code = marked("for: nginx").code.replace("/etc/nginx", str(tmp_path))
    code = code.replace("listen 8883", f"listen 127.0.0.1:{tcp}").replace(
        "listen 8084", f"listen 127.0.0.1:{ws}"
    )
    code = code.replace("127.0.0.1:1883", f"127.0.0.1:{broker.port}")
    code = code.replace("127.0.0.1:8083", f"127.0.0.1:{broker.ws.port}")
    port = tcp if transport == "tcp" else ws
    with running(*nginx(tmp_path, code), port=port, log=tmp_path / "log"):
        passes_through(port, authority, broker, transport)


@pytest.mark.skipif(NGINX is None, reason="needs nginx")
def test_nginx_passes_a_websocket_on(tmp_path: Path) -> None:
    port = free_port()
    with TestBroker(ws=True) as broker:
        code = marked("for: nginx-http").code.replace("127.0.0.1:8083", f"127.0.0.1:{broker.ws.port}")
        places = "".join(
            f"{kind}_temp_path {tmp_path};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        site = f"http {{ access_log off;\n{places}server {{ listen 127.0.0.1:{port};\n{code}}} }}\n"
        with (
            running(*nginx(tmp_path, site), port=port, log=tmp_path / "log"),
            connected(port, "by-http", transport="websockets") as client,
        ):
            assert client.reason.value == 0
            assert "by-http" in broker.clients


@pytest.mark.skipif(SYSTEMD is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """But for the command, which is not there."""
    (block,) = of("ini")
    unit = tmp_path / "pybroker.service"
    unit.write_text(block.code.replace("/opt/pybroker/bin/pybroker", "/bin/true"))
    done = subprocess.run([SYSTEMD or "", "verify", unit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
