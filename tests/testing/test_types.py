"""What a type checker, or an editor, knows of the test broker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from pybroker.broker.faults.fault import AimAndAmount, Fault
from pybroker.broker.testing.setup import Setup, SetupOptions

ROOT = Path(__file__).resolve().parents[2]

TEST = """
import pytest
from pybroker.testing import MakeTestBroker, Message, SeenPacket, TestBroker, Webhook, WaitTimeout

@pytest.mark.mqtt_broker(webhooks=["on_message_publish"])
def test_sensor(mqtt_broker: TestBroker) -> None:
    message: Message = mqtt_broker.wait_for("a", where=lambda m: m.text == "x")
    messages: list[Message] = mqtt_broker.wait_for("a", count=2)
    with mqtt_broker.faults("drop", packet="PUBACK", times=1) as fault:
        fired: int = fault.fired
    packet: SeenPacket = mqtt_broker.wait_for_packet("PUBACK", client="dev")
    hook: Webhook = mqtt_broker.wait_for_webhook("message_publish", delivered=False)

async def test_gateway(make_mqtt_broker: MakeTestBroker) -> None:
    broker = make_mqtt_broker("my.conf", tls=True, users={"ann": "secret"})
    with pytest.raises(WaitTimeout):
        messages: list[Message] = await broker.aio.wait_for("a", count=2, timeout=1)

def test_wrong(make_mqtt_broker: MakeTestBroker) -> None:
    make_mqtt_broker(tsl=True)  # wrong
    TestBroker(users=["ann"])  # wrong
    with TestBroker() as broker:
        broker.wait_for("a", where=lambda m: m.colour)  # wrong
        with broker.faults("drop", times="often"):  # wrong
            pass
"""


@pytest.mark.parametrize(
    ("options", "whole", "beside"), [(SetupOptions, Setup, "conf"), (AimAndAmount, Fault, "action")]
)
def test_the_keywords_are_the_fields(options: type, whole: type, beside: str) -> None:
    fields = get_type_hints(whole)
    del fields[beside]
    assert get_type_hints(options) == fields


@pytest.mark.slow
def test_a_test_is_checked(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "test_user.py").write_text(TEST, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "test_user.py"]
    # Through the working copy's own settings amqtt, which has no types, is of no concern.
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*command, *config], cwd=tmp_path, capture_output=True, text=True)
    wrong = [number for number, line in enumerate(TEST.splitlines(), 1) if "# wrong" in line]
    assert [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line] == wrong
