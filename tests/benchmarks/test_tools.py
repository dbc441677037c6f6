"""What measures works: each scenario against a broker, the receiver, the page."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks import bridge, fairness, page, results, table
from benchmarks.brokers import KINDS, Running, free_port, started
from benchmarks.load.__main__ import SCENARIOS
from benchmarks.measure import receiver
from benchmarks.picture import Curve, Panel, drawn
from benchmarks.results import Results
from benchmarks.rows import ROWS, Goal, chosen, shown

from tests.integration.support import ROOT, RunningBroker

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="reads CPU times from Linux's /proc"
)

CONF = 'listeners.tcp.bind = "127.0.0.1:0"\n'
SMALL = ["--clients=4", "--messages=200", "--filters=20", "--crowd=5", "--hold=0", "--limit=20"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    running = RunningBroker(tmp_path_factory.mktemp("broker"), CONF)
    yield running
    running.stop()


def load(broker: RunningBroker | Running, scenario: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.load", scenario, f"127.0.0.1:{broker.port}"]
    done = subprocess.run(
        [*command, f"--pid={broker.process.pid}", *SMALL, *options],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    values: dict[str, Any] = json.loads(done.stdout)
    return values


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "idle"])
def test_every_scenario_gets_what_it_sent(broker: RunningBroker, scenario: str, version: int) -> None:
    values = load(broker, scenario, f"--version={version}")
    assert values["lost"] == 0
    assert values["msgs"] > 0
    assert values["cpu_s"] > 0


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
@pytest.mark.parametrize("scenario", ["pairs", "trickle", "latency"])
def test_the_floor_forwards_what_it_gets(tmp_path: Path, scenario: str) -> None:
    port = free_port()
    with started("floor", KINDS["floor"].command(tmp_path, port), tmp_path, port) as forwarder:
        values = load(forwarder, scenario)
    assert values["lost"] == 0
    assert values["msgs"] > 0


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("version", [4, 5])
def test_pairs_acknowledge(broker: RunningBroker, qos: int, version: int) -> None:
    values = load(broker, "pairs", f"--qos={qos}", f"--version={version}")
    assert (values["msgs"], values["lost"]) == (800, 0)


def test_a_receiver_counts_each_event_of_a_batch() -> None:
    with receiver() as posts:
        for body in ('{"action":"a"}', '[{"action":"a"},{"action":"b"}]'):
            post(posts.url, body)
        counts = posts.counts("/reset")
        assert (counts["posts"], counts["events"]) == (2, 3)
        assert posts.counts()["events"] == 0


def post(url: str, body: str) -> None:
    from urllib.request import Request, urlopen

    with urlopen(Request(url, body.encode(), method="POST"), timeout=20) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("goal", "ours", "theirs", "met"),
    [
        (Goal(5), 500.0, 100.0, True),
        (Goal(5), 499.0, 100.0, False),
        (Goal(1, at_least=False), 67.0, 67.0, True),
        (Goal(1, at_least=False), 68.0, 67.0, False),
        (Goal(6, relative=False, at_least=False), 5.9, None, True),
        (Goal(6, relative=False, at_least=False), 6.1, 1.7, False),
        (Goal(2.5, at_least=False, more=True), 5.0, 2.5, True),
        (Goal(2.5, at_least=False, more=True), 5.1, 2.5, False),
        (Goal(5), 500.0, None, None),
        (Goal(5), None, 100.0, None),
    ],
)
def test_a_goal_is_met_or_not(goal: Goal, ours: float | None, theirs: float | None, met: bool | None) -> None:
    assert goal.met(ours, theirs) is met


def test_numbers_are_shown_to_three_digits() -> None:
    assert [shown(n) for n in (None, 0, 0.061, 5.5, 44.12, 1234, 711_499)] == [
        *("-", "0", "0.061", "5.5", "44.1", "1,230", "711,000")
    ]


def measured(tmp_path: Path, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Results:
    results = Results(tmp_path / "results.json")
    results.begin(table.SECTION, [])
    for broker, rounds in (("pybroker", ours), ("mosquitto", theirs)):
        for values in rounds:
            results.add(table.SECTION, "qos0", broker, values)
    return Results(results.path)


def test_the_page_shows_medians_ratio_and_goal(tmp_path: Path) -> None:
    ours = [{"per_cpu_s": rate, "want": 10, "lost": 0} for rate in (90_000, 100_000, 900_000)]
    theirs = [{"per_cpu_s": rate} for rate in (19_000, 20_000, 21_000)]
    text = page.rendered(measured(tmp_path, ours, theirs))
    assert "| pairs, QoS 0 | 3.1.1 | 100,000 | 20,000 | 5 | at least 5 times | yes |" in text


def test_the_page_judges_each_build_by_its_own_goal(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    results.begin(table.SECTION, [])
    for broker, value in (("pybroker", 100), ("compiled", 110), ("mosquitto", 100)):
        results.add(table.SECTION, "trickle", broker, {"per_cpu_s": value})
        results.add(table.SECTION, "retained", broker, {"per_cpu_s": value, "stored_per_cpu_s": value})
    for broker, value in (
        ("pybroker", 10),
        ("plain", 80),
        ("compiled", 10),
        ("bare", 90),
        ("mosquitto", 100),
    ):
        results.add(table.SECTION, "connect", broker, {"per_cpu_s": value})
    text = page.rendered(results)
    judged = {
        line.split(" | ")[0][2:]: line.split(" | ")[-6:] for line in text.splitlines() if " | 3.1.1" in line
    }
    as_much = "at least as much"
    assert judged["trickle 200"] == ["1", as_much, "yes", "1.1", "at least 1.2 times", "**no** |"]
    assert judged["100,000 retained topics, stored"] == ["1", "-", "-", "1.1", as_much, "yes |"]
    without = judged["connect (goals: without webhooks)"]
    assert without == ["0.8", "at least 0.7 times", "yes", "0.9", as_much, "**no** |"]


def test_the_page_judges_the_wait_beside_a_flood(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    results.begin(fairness.SECTION, [])
    for broker, waits in (("pybroker", (500, 560, 9000)), ("mosquitto", (560, 570, 580))):
        for p99 in waits:
            results.add(fairness.SECTION, fairness.FLOOD, broker, {"beside_p50_us": 50, "beside_p99_us": p99})
    line = "| 50, 560 us | 50, 570 us | p99 at most as much | yes |"
    assert f"beside a flooding client, p50 and p99 {line}" in page.rendered(results)


def test_a_goal_is_not_met_by_losing(tmp_path: Path) -> None:
    ours = [{"per_cpu_s": 200_000, "want": 10, "lost": 4}]
    text = page.rendered(measured(tmp_path, ours, [{"per_cpu_s": 20_000}]))
    assert "| pairs, QoS 0 | 3.1.1 | 200,000, 40% lost | 20,000 | 10 | at least 5 times | **no** |" in text


def test_a_run_that_failed_is_told(tmp_path: Path) -> None:
    text = page.rendered(measured(tmp_path, [{"error": "first\nit burns"}], [{"per_cpu_s": 20_000}]))
    assert "failed: it burns" in text


def test_the_page_shows_bridges_and_whether_their_goals_are_met(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    results.begin(bridge.SECTION, [])
    row, queue = bridge.ROWS[0], bridge.ROWS[-1]
    for broker, rates in {"plain": (900, 990), "compiled": (2000, 300), "mosquitto": (200, 300)}.items():
        for one, rate in zip((row, queue), rates, strict=True):
            arrived = 0.5 if (broker, one) == ("plain", queue) else 1
            results.add(bridge.SECTION, one.key, broker, {"per_cpu_s": rate, "arrived": arrived})
    text = page.rendered(results)
    forward = "| to the remote broker | 0 | mosquitto | 900 | 2,000 | 200 | 4.5 | 10 |"
    assert f"{forward} at least 5 times | **no**, yes |" in text
    late = "| a queue goes out | 1 | pybroker, no webhooks | 990, 50% arrived | 300 | 300 | 3.3 | 1 |"
    assert f"{late} at least as much | **no**, yes |" in text


def test_the_page_keeps_what_was_written_by_hand(tmp_path: Path) -> None:
    empty = page.rendered(Results(tmp_path / "none.json"))
    assert empty.count(page.NOT_MEASURED) == 7
    mark = "<!-- keep: obstacles -->\n"
    by_hand = empty.replace(mark, f"{mark}The kernel.\n")
    assert page.rendered(Results(tmp_path / "none.json"), by_hand) == by_hand


def test_figures_of_changed_code_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    for name in ("broker.py", "docs/page.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before")
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    monkeypatch.setattr(results, "ROOT", tmp_path)
    clean = results.circumstances()["commit"]
    assert clean
    assert "dirty" not in clean
    (tmp_path / "docs" / "page.md").write_text("figures")
    assert results.circumstances()["commit"] == clean
    (tmp_path / "broker.py").write_text("after")
    assert results.circumstances()["commit"] == f"{clean}-dirty"


def test_rows_that_share_a_run_are_chosen_together() -> None:
    assert [row.key for row in chosen(["retain"])] == ["retained", "retain"]
    assert chosen(None) == ROWS
    with pytest.raises(ValueError, match="no scenario is called qos9; known: qos0"):
        chosen(["qos9"])


def test_a_picture_is_drawn_of_what_there_is() -> None:
    panels = [
        Panel(
            "Some & more", "clients", "us", [Curve("a", [(10, 1.5), (10_000, 2.5)]), Curve("b", [(10, 0)])]
        ),
        Panel("Nothing", "clients", "us", []),
    ]
    root = ET.fromstring(drawn(panels))
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Some & more", "not measured", "10,000"} <= set(texts)


@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is not installed")
def test_the_command_says_what_it_does_not_know() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "bench"), "table", "--brokers", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("bench: no broker is called nobody; known: pybroker,")
