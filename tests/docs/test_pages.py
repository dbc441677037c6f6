"""Every block of code on these pages is of a kind that is checked, and holds."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pybroker.broker.commands.main import parser
from pybroker.broker.config import load
from pybroker.broker.config.schema import ROWS
from pybroker.testing import TestBroker
from tests.integration.clients import connected
from tests.integration.support import wait_for

from .blocks import ALL, PAGES, ROOT, Block, marked, of, text

KINDS = {"hocon", "sh", "python", "ini", "yaml", "haproxy", "nginx", "text"}
ASSIGNMENT = re.compile(r"\w+=")


def name(block: Block) -> str:
    return f"{block.page}:{block.line}"


def test_every_block_says_of_which_kind_it_is() -> None:
    assert [name(block) for block in ALL if block.kind not in KINDS] == []
    for page in PAGES:
        assert text(page).count("```") == 2 * sum(block.page == page for block in ALL), page


def test_what_only_shows_text_is_checked_elsewhere() -> None:
    loose = [block for block in of("text") if not block.mark and block.page != "migrating.md"]
    assert loose == []
    assert all(block.mark for block in of("python")), "say in a comment before it which test runs it"


@pytest.mark.parametrize("block", of("hocon"), ids=name)
def test_a_file_loads_without_warnings(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("cert.pem", "key.pem", "devices-ca.pem", "passwd.conf"):
        (tmp_path / file).write_text('"ann" = "x"\n')
    monkeypatch.setenv("ADMIN_PASSWORD", "secret")
    conf = tmp_path / "nanomq.conf"
    conf.write_text(block.code.replace("/etc/pybroker", str(tmp_path)))
    assert load(conf).warnings == ()


@pytest.mark.parametrize("block", of("sh"), ids=name)
def test_commands_have_the_options_that_are_shown(block: Block) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run([bash, "-n"], input=block.code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in block.code.replace("\\\n", " ").splitlines():
        arguments = ours(line)
        if arguments is not None:
            parser(arguments).parse_args(arguments)


def ours(line: str) -> list[str] | None:
    """The arguments of `pybroker`, where the line runs it."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a word that goes on in the next line
        return None
    if words[:1] == ["sudo"]:
        words = words[3:]  # sudo -u USER
    if words[:2] == ["docker", "exec"]:
        words = words[3:]
    while words and ASSIGNMENT.match(words[0]):
        words = words[1:]
    return words[1:] if words and Path(words[0]).name == "pybroker" else None


def test_such_lines_are_found() -> None:
    assert ours("sudo -u x A=b /opt/bin/pybroker top  # live") == ["top"]
    assert ours("docker exec broker pybroker health") == ["health"]
    assert ours("docker build -t pybroker .") is None


@pytest.mark.parametrize("block", of("yaml"), ids=name)
def test_yaml_is_yaml(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.code), dict)


def test_the_unit_is_that_of_the_repository() -> None:
    (block,) = of("ini")
    assert block.code == (ROOT / block.mark.removeprefix("same as: ")).read_text(encoding="utf-8")


def test_each_key_for_one_of_mosquitto_is_there() -> None:
    table = text("migrating.md").partition("### The file, key by key")[2].partition("### Passwords")[0]
    rows = re.findall(r"^\| (.*) \| (.*) \|$", table, re.MULTILINE)
    keys = re.findall(r"`([a-z_]+(?:\.[a-zA-Z_0-9]+)+)`", "\n".join(ours for _, ours in rows))
    assert len(keys) > 25
    assert [key for key in keys if key not in ROWS and not key.endswith(".NAME")] == []


def test_each_topic_for_one_of_mosquitto_is_there() -> None:
    topics = re.findall(r"^\| `\$SYS/broker/.*?\| `(.*?)` \|$", text("migrating.md"), re.MULTILINE)
    assert len(topics) > 3
    with TestBroker(options={"sys.interval": "60s"}) as broker, connected(broker.port, "c") as client:
        client.subscribe_and_wait("$SYS/#")
        wait_for(lambda: set(topics) <= {one.topic for one in client.received}, "the topics")


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="needs mosquitto's clients")
def test_retained_messages_are_copied() -> None:
    bash = shutil.which("bash")
    assert bash is not None
    with TestBroker() as old, TestBroker() as new:
        old.publish("a/b c", "21.5 °C", retain=True)
        old.publish("d", "{}", retain=True)
        code = marked("runs: copy").code.replace("1883", str(old.port)).replace("1884", str(new.port))
        subprocess.run([bash, "-c", code.replace("-W 5", "-W 1")], check=True, timeout=60)
        assert {topic: one.text for topic, one in new.retained.items()} == {"a/b c": "21.5 °C", "d": "{}"}
