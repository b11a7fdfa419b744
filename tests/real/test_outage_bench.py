"""The bench of an hour without the database, played small, so that it cannot rot."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.outage import PHASES, arguments, figures, measure, show, verdict


@pytest.mark.mosquitto
@pytest.mark.influxdb
@pytest.mark.timeout(150)
def test_a_minute_without_the_database_loses_nothing_and_alerts_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--minutes", "1", "--scale", "20", "--rate", "800", "--before", "1.5", "--devices", "200"]
    given = arguments([*words, "--longest-s", "60", "--json", str(tmp_path / "o.json")])
    phases, counts = measure(given)
    show(phases, counts, given)
    assert verdict(counts) == ""
    assert counts["published"] > 800 * 5
    assert counts["in InfluxDB"] == counts["published"]
    assert phases["away"].stored < 800 < phases["away"].pending
    assert all(phases[name].latencies_s for name in ("before", "away", "after"))
    found = {row["name"]: row for row in figures(phases, given.rate)}
    assert {f"publish to notice, p99, {name}" for name in PHASES} <= set(found)
    assert set(found["drain while readings go on coming"]) == {
        "name",
        "unit",
        "median",
        "min",
        "max",
        "baseline",
        "ratio",
    }
    assert "lost 0, stored twice 0" in capsys.readouterr().out


def test_a_reading_that_is_missing_or_doubled_does_not_pass() -> None:
    whole = {"published": 9, "refused": 0, "received": 9, "stored": 9, "quarantined": 0, "duplicate": 0, "pending": 0}
    whole["in InfluxDB"] = 9
    assert verdict(whole) == ""
    assert "differ" in verdict({**whole, "in InfluxDB": 8})
    assert "differ" in verdict({**whole, "published": 10})
    assert "does not balance" in verdict({**whole, "received": 10})
