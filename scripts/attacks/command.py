"""The command line of `scripts/hostile`. Each attack has a broker and a bystander of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.brokers import LOAD_CORE, free_port, pinned, pybroker_command, started
from benchmarks.measure import open_many_files
from benchmarks.process import resident_mib
from pwdlib.hashers.argon2 import Argon2Hasher

from .attacks import ATTACKS, Attack, Figures, Target

SCRIPTS = Path(__file__).resolve().parents[1]
WORST_MS, P99_MS = 100.0, 50.0
"""The longest round trip of the bystander that is allowed, and the longest of all but one in a hundred, in
milliseconds."""
LEAST = 0.3
"""Seconds for which the bystander continues after the attack."""
WORST_MS_LIGHT = 3000.0
"""The longest round trip that is allowed on a busy machine."""
USERS = {"carol": "right1", "bob": "right2", "ann": "right3", "dora": "right4"}

PYBROKER_CONF = """\
listeners.tcp { bind = "127.0.0.1:0" }
listeners.ws { bind = "127.0.0.1:{websocket_port}/mqtt" }
{auth}
"""
MOSQUITTO_CONF = """\
listener {port} 127.0.0.1
listener {websocket_port} 127.0.0.1
protocol websockets
allow_anonymous true
connection_messages false
set_tcp_nodelay true
max_packet_size 10000000
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/hostile", description="Attack a broker, and measure the effect on other clients."
    )
    parser.add_argument(
        "attacks", nargs="*", metavar="ATTACK", help=f"one of {', '.join(ATTACKS)}; all if none"
    )
    parser.add_argument("--light", action="store_true", help="small attacks, for a busy machine")
    parser.add_argument("--brokers", default="pybroker,mosquitto", help="which, separated by commas")
    given = parser.parse_args()
    unknown = [name for name in given.attacks if name not in ATTACKS]
    if unknown:
        parser.error(f"no attack is called {', '.join(unknown)}; known: {', '.join(ATTACKS)}")
    open_many_files()
    failed = False
    for name in given.attacks or ATTACKS:
        for broker in given.brokers.split(","):
            attack = ATTACKS[name]
            if broker == "mosquitto" and not attack.beside_mosquitto:
                continue
            figures = measure(attack, broker, light=given.light)
            wrong = complaints(attack, figures, light=given.light) if broker == "pybroker" else []
            failed = failed or bool(wrong)
            shown = "  ".join(f"{key} {value:g}" for key, value in figures.items())
            print(f"{name}: {broker}: {shown}{''.join(f'  !! {one}' for one in wrong)}", flush=True)
    return int(failed)


def measure(attack: Attack, broker: str, *, light: bool) -> Figures:
    """Attack one broker."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        directory = Path(folder)
        websocket_port = free_port()
        port = 0 if broker == "pybroker" else free_port()
        command = _command(broker, directory, port, websocket_port, attack)
        with started(broker, command, directory, port) as running:
            before = resident_mib(running.pid)
            watch = _Watch(running.pid)
            bystander = _bystander(running.port, attack.login or ())
            figures = attack.run(Target(running.port, websocket_port), attack.light if light else attack.full)
            time.sleep(LEAST)  # even a short attack may have effects that take longer
            beside: Figures = json.loads(bystander.communicate("end\n", timeout=60)[0])
            time.sleep(0.2)
            after = resident_mib(running.pid)
            peak = watch.stop()
    grown = {"before_mib": before, "peak_mib": peak, "after_mib": after}
    return {**figures, **beside, **{key: round(value) for key, value in grown.items()}}


def complaints(attack: Attack, figures: Figures, *, light: bool) -> list[str]:
    """The figures that are out of bounds, in words."""
    grown = figures["peak_mib"] - figures["before_mib"]
    kept = figures["after_mib"] - figures["before_mib"]
    wrong = []
    if grown > attack.memory_mib:
        wrong.append(f"grew by {grown:g} MiB, {attack.memory_mib} are allowed")
    if kept > attack.kept_mib:
        wrong.append(f"kept {kept:g} MiB, {attack.kept_mib} are allowed")
    if figures["worst_ms"] > (WORST_MS_LIGHT if light else WORST_MS):
        wrong.append(f"the bystander waited {figures['worst_ms']:g} ms")
    if not light and figures["p99_ms"] > P99_MS:
        wrong.append(f"the bystander's p99 is {figures['p99_ms']:g} ms")
    for key, (least, most) in attack.bounds.items():
        if light and key.endswith("_ms"):
            continue  # times mean nothing where other work may take the processors
        if not least <= figures[key] <= most:
            wrong.append(f"{key} is {figures[key]:g}")
    return wrong


class _Watch:
    """Measures the largest memory of a broker."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _run(self) -> None:
        while not self._stopped.wait(0.02):
            self._peak = max(self._peak, resident_mib(self._pid))


def _bystander(port: int, login: Sequence[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        pinned(LOAD_CORE, [sys.executable, "-m", "attacks.bystander", str(port), *login]),
        cwd=SCRIPTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("the bystander did not get in")
    return process


def _command(broker: str, directory: Path, port: int, websocket_port: int, attack: Attack) -> list[str]:
    conf = directory / "broker.conf"
    if broker == "mosquitto":
        text = MOSQUITTO_CONF.replace("{port}", str(port))
    else:
        text = PYBROKER_CONF.replace("{auth}", _passwords() if attack.login else "")
    conf.write_text(text.replace("{websocket_port}", str(websocket_port)))
    if broker == "mosquitto":
        return ["mosquitto", "-c", str(conf)]
    return pybroker_command(directory, conf)


def _passwords() -> str:
    hasher = Argon2Hasher()
    lines = "\n".join(f'        {user} = "{hasher.hash(password)}"' for user, password in USERS.items())
    return f"auth {{\n    allow_anonymous = false\n    password = {{\n{lines}\n    }}\n}}"
