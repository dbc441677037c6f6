"""The container, the compose file, the GitHub Action: what can be said of them without running them there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pybroker.broker.config import ConfigError, Settings, load
from pybroker.broker.process.instances import Instance

from .support import parsed

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def ignored_by_docker(path: str) -> bool:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return f"!{path.split('/')[0]}" not in lines


# ---- Dockerfile


def test_what_is_copied_is_there() -> None:
    copied = [line.split()[:-1] for line in instructions("COPY") if not line.startswith("--from")]
    sources = [source for line in copied for source in line]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored_by_docker(source), source


def test_the_wheel_finds_all_it_is_built_of() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {
        *project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
        project["project"]["readme"],
        *project["project"]["license-files"],
    }
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    assert needed <= copied


def test_its_commands_are_ours() -> None:
    [entry], [command] = instructions("ENTRYPOINT"), instructions("CMD")
    [health] = re.findall(r"^HEALTHCHECK .*?CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert json.loads(entry) == ["pybroker"]
    parsed(json.loads(command))
    assert json.loads(health)[0] == "pybroker"
    parsed(json.loads(health)[1:])


def test_it_runs_as_nobody_special_with_a_file_that_is_there() -> None:
    assert instructions("USER") == ["10001"]
    [environment] = instructions("ENV")
    variables = dict(word.split("=", 1) for word in shlex.split(environment))
    targets = [line.split()[-1] for line in instructions("COPY")]
    assert variables["NANOMQ_CONF_PATH"] in targets


@pytest.mark.parametrize("name", ["container.conf", "compose.conf"])
def test_its_configurations_load(name: str) -> None:
    settings = load(ROOT / "conf" / name)
    assert {listener.host for listener in settings.listeners} == {"0.0.0.0"}
    assert all("every client that reaches" in warning.message for warning in settings.warnings)


def test_the_ports_exposed_are_the_ports_served() -> None:
    [ports] = instructions("EXPOSE")
    settings = load(ROOT / "conf" / "container.conf")
    assert [int(port) for port in ports.split()] == [listener.port for listener in settings.listeners]


# ---- compose.yaml


def test_compose_mounts_files_that_are_there_and_runs_commands_that_are_ours() -> None:
    broker, receiver = COMPOSE["services"]["broker"], COMPOSE["services"]["receiver"]
    [mount] = broker["volumes"]
    source, target, mode = mount.split(":")
    assert (ROOT / source).exists()
    assert target in DOCKERFILE
    assert mode == "ro"
    [webhook] = load(ROOT / source).webhooks
    assert webhook.url.startswith(f"http://receiver:{receiver['command'][2]}/")


def test_the_receiver_of_compose_is_our_own_command() -> None:
    parsed(COMPOSE["services"]["receiver"]["command"])


def test_compose_sets_keys_that_there_are() -> None:
    variables = COMPOSE["services"]["broker"]["environment"]
    assert all(name.startswith("PYBROKER__") for name in variables)
    assert load(None, environ=variables, keys_of_environment=True).warnings == ()


# ---- action.yml


@pytest.fixture
def step(tmp_path: Path):
    """Runs a step of the action as GitHub would, with this tree's pybroker as the installed one."""
    program = tmp_path / "pybroker" / "bin" / "pybroker"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pybroker "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    environment = {
        **os.environ,
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_ENV": str(tmp_path / "env"),
        "PYTHONPATH": str(ROOT),
        "XDG_RUNTIME_DIR": str(runtime),
    }

    def run(name: str, **inputs: str) -> subprocess.CompletedProcess[str]:
        [found] = [one for one in ACTION["runs"]["steps"] if one["name"] == name]
        values = {key: spec["default"] for key, spec in ACTION["inputs"].items()} | inputs
        variables = {key: _filled(text, values) for key, text in found["env"].items()}
        script = tmp_path / "script"
        script.write_text(found["run"], encoding="utf-8")
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        return subprocess.run(
            command,
            env={**environment, **variables},
            text=True,
            capture_output=True,
            timeout=60,
            cwd=tmp_path,
        )

    run.environment = environment
    return run


def _filled(text: str, inputs: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: inputs[match[1]], text)


def test_the_action_runs_a_script_with_a_broker(step) -> None:
    done = step("Run with a broker", run='echo "at $MQTT_URL"\nfalse | true\nexit 5')
    assert done.stdout.startswith("at mqtt://127.0.0.1:")
    assert done.returncode == 1  # pipefail
    done = step("Run with a broker", run='test -e "$WEBHOOK_LOG"\nexit 5')
    assert done.returncode == 5


def test_the_action_starts_a_broker_for_later_steps(step, tmp_path: Path) -> None:
    conf = tmp_path / "my broker.conf"
    conf.write_text("mqtt.max_packet_size = 1KB\n", encoding="utf-8")
    done = step("Start the broker", conf=str(conf))
    assert done.returncode == 0, done.stderr
    try:
        output = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
        variables = (tmp_path / "env").read_text().splitlines()
        assert set(output) == set(ACTION["outputs"])
        assert f"MQTT_URL=mqtt://127.0.0.1:{output['port']}" in variables
        health = [sys.executable, "-m", "pybroker", "health"]
        told = subprocess.run(health, env=step.environment, capture_output=True, text=True, check=True)
        assert told.stdout == f"0 clients on {output['url']}\n"
    finally:
        stop = [sys.executable, "-m", "pybroker", "stop"]
        subprocess.run(stop, env=step.environment, check=True, capture_output=True)


def test_the_outputs_come_from_a_step_that_is_there() -> None:
    ids = {one.get("id") for one in ACTION["runs"]["steps"]}
    for output in ACTION["outputs"].values():
        [name] = re.findall(r"steps\.(\w+)\.outputs", output["value"])
        assert name in ids


def test_health_without_a_broker(step) -> None:
    health = [sys.executable, "-m", "pybroker", "health"]
    done = subprocess.run(health, env=step.environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no broker is running" in done.stderr


def test_health_of_a_broker_that_hangs(step) -> None:
    """It is announced, but nobody answers on its socket."""
    from pybroker.broker.process.instances import announce

    mine = Instance(os.getpid(), None, [], "/nonexistent.sock")
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = step.environment["XDG_RUNTIME_DIR"]
    try:
        announced = announce(mine)
    finally:
        os.environ.pop("XDG_RUNTIME_DIR")
        if before is not None:
            os.environ["XDG_RUNTIME_DIR"] = before
    health = [sys.executable, "-m", "pybroker", "health"]
    done = subprocess.run(health, env=step.environment, capture_output=True, text=True)
    announced.unlink(missing_ok=True)
    assert done.returncode == 1
    assert "does not answer" in done.stderr


# ---- keys from the environment


def loaded(path: Path | None = None, overrides: dict[str, object] | None = None, **values: str) -> Settings:
    """The settings of a file with variables in the environment; ``PYBROKER__`` is left out of their names."""
    environ = {f"PYBROKER__{key}": value for key, value in values.items()}
    return load(path, environ=environ, overrides=overrides or {}, keys_of_environment=True)


def test_keys_come_from_the_environment(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text("mqtt { max_packet_size = 2KB, max_mqueue_len = 5 }", encoding="utf-8")
    settings = loaded(conf, MQTT__MAX_PACKET_SIZE="1KB", AUTH__ALLOW_ANONYMOUS="false")
    assert (settings.mqtt.max_packet_size, settings.mqtt.max_mqueue_len) == (1024, 5)
    assert not settings.auth.allow_anonymous
    flags: dict[str, object] = {"mqtt.max_packet_size": "3KB"}
    assert loaded(conf, flags, MQTT__MAX_PACKET_SIZE="1KB").mqtt.max_packet_size == 3072


def test_a_bad_key_of_the_environment_is_said() -> None:
    named = r'environment variable PYBROKER__MQTT__MAX_PACKET_SIZE: mqtt\.max_packet_size: found "much"'
    with pytest.raises(ConfigError, match=named):
        loaded(MQTT__MAX_PACKET_SIZE="much")
    [warning] = loaded(MQTT__MAX_PAKET_SIZE="1KB").warnings
    assert str(warning).startswith(
        "environment variable PYBROKER__MQTT__MAX_PAKET_SIZE: mqtt.max_paket_size: unknown key, ignored"
    )
