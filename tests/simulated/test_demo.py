"""The main job: the demo's minute, on what pip provides alone, passes by its own summary."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RESIDENT_MB_MAX = 500
READY_S_MAX = 5


@pytest.mark.timeout(180)
def test_the_demos_minute_accounts_for_every_reading_and_alerts_every_fault(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lamplighter", "demo", "--for", "60s", "--port", "0", "--broker", "iotcore"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path / "demo")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "demo-summary.json").read_text(encoding="utf-8"))
    assert report["passed"]
    assert report["balances"]
    assert report["faults_missed"] == []
    assert report["without_alert"] == []
    assert {"streetlight", "manhole", "pump", "truck"} <= {k for k, line in report["ledger"].items() if line["stored"]}
    for line in report["ledger"].values():
        assert line["pending"] == 0
        assert line["received"] == line["stored"] + line["quarantined"] + line["duplicate"]
    assert sum(line["quarantined"] for line in report["ledger"].values()) > 0, "the script sends messages to keep apart"
    for rule in ("lighting_rate", "seepage", "route_deviation"):
        assert report["rules"][rule]["found"] >= 1
        assert report["rules"][rule]["notified"] + report["rules"][rule]["explained"] >= 1
    for rule in ("seepage", "route_deviation"):
        assert report["rules"][rule]["notified"] >= 1
    assert report["resident_mb"] <= RESIDENT_MB_MAX
    assert (
        report["ready_cpu_s"] <= READY_S_MAX
    )  # of CPU: other tests run beside this one, and the wall is not ours alone


def test_the_demo_empties_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine", encoding="utf-8")
    command = [sys.executable, "-m", "lamplighter", "demo", "--for", "1s", "--port", "0", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not a folder of the demo" in done.stderr
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "mine"
