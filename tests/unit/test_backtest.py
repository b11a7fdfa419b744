"""Rules tried on the past: what would have been told, whatever the slices, and how two sets of rules differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alerts.backtest import Backtest, Raised, compare, fields_of
from alerts.rules import RuleSet
from devices.kinds import Catalog
from devices.registry import Registry
from devices.yamlfile import ConfigError
from lamplighter.__main__ import app
from lamplighter.backtest_command import moment
from storage import past as past_module
from storage.operations import Operations
from storage.past import SqlitePast, replay
from storage.sqlite import SqliteStore
from tests.shipped_rules import one_text
from tests.unit.past_city import END, MINUTE, START, ZONE, city, readings, rules_of


@pytest.fixture(scope="module")
def registry(catalog: Catalog) -> Registry:
    return city(catalog)


@pytest.fixture(scope="module")
def file(catalog: Catalog, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("past") / "readings.db"
    store = SqliteStore(path, catalog)
    store.write(readings(catalog, registry)[::-1], registry)
    store.close()
    return path


def run(file: Path, registry: Registry, catalog: Catalog, *sets: RuleSet) -> list[list[Raised]]:
    past = SqlitePast(file)
    tests = [Backtest(rules, registry, ZONE, START) for rules in sets]
    for part in replay(past, registry, fields_of(sets, catalog), START, END):
        for test in tests:
            test.feed(part.batches, part.until_ms)
    past.close()
    return [test.alerts() for test in tests]


def short(found: list[Raised]) -> list[tuple[str, str, float, float, float | None, str]]:
    minutes = [(one, (one.since_ms - START) / MINUTE, (one.told_ms - START) / MINUTE) for one in found]
    return [
        (one.rule, one.entity, since, told, (one.until_ms - START) / MINUTE if one.until_ms else None, one.reason)
        for one, since, told in minutes
    ]


SAID = [
    ("cabinet_door", "device:box-1", 30 + 500 / MINUTE, 30.5 + 500 / MINUTE, 41 + 500 / MINUTE, "recovered"),
    ("lamp_out", "device:lamp-03", 60.05, 90.05, 190.05, "recovered"),
    ("cover_open", "device:cover-1", 100, 100, 130, "recovered"),
    ("cabinet_offline", "device:box-1", 199.5, 204.5, 213.5, "recovered"),
    ("cover_offline", "device:cover-1", 120.5, 210.5, None, ""),
]


def test_what_would_have_been_told_is_told_and_a_late_reading_is_heard_and_not_judged(
    file: Path, registry: Registry, catalog: Catalog
) -> None:
    found = run(file, registry, catalog, rules_of(catalog))[0]
    assert short(found) == SAID
    lamp = found[1]
    assert (lamp.value, lamp.threshold, lamp.severity, lamp.place) == (1.0, 36.0, "minor", "Elm Road")


def test_the_length_of_the_slices_makes_no_difference(
    file: Path, registry: Registry, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for readings_a_slice in (1, 300, 10**9):
        monkeypatch.setattr(past_module, "READINGS", readings_a_slice)
        assert short(run(file, registry, catalog, rules_of(catalog))[0]) == SAID


def test_everything_stored_is_read_once_and_in_order(file: Path, registry: Registry, catalog: Catalog) -> None:
    past, count, newest = SqlitePast(file), 0, dict.fromkeys(("streetlight", "manhole"), 0)
    fields = {kind: catalog[kind].field_names() for kind in newest}
    stored = {kind: [b for b in readings(catalog, registry) if b.kind.name == kind] for kind in newest}
    for part in replay(past, registry, fields, START, END):
        for batch in part.batches:
            assert part.from_ms <= batch.time_ms[0]
            assert batch.time_ms[-1] < part.until_ms
            assert (batch.time_ms[1:] >= batch.time_ms[:-1]).all()
            assert batch.time_ms[0] >= newest[batch.kind.name]
            newest[batch.kind.name] = int(batch.time_ms[-1])
            count += len(batch)
    assert count == sum(len(batch) for each in stored.values() for batch in each)
    past.close()


def test_two_sets_of_rules_are_compared_on_the_same_readings(file: Path, registry: Registry, catalog: Catalog) -> None:
    waits = ("for: 15m\n    samples: 3", "for: 45m\n    samples: 3")
    longer = rules_of(catalog, [waits, ("on: door_open\n    for: 30s", "on: door_open\n    for: 1h")])
    new, old = run(file, registry, catalog, longer, rules_of(catalog))
    found = compare(old, new)
    assert [one.rule for one in found.gone] == ["cabinet_door"]
    assert found.new == []
    assert [(a.told_ms - START, b.told_ms - START) for a, b in found.moved] == [(5_403_000, 6_303_000)]
    assert found.same == 3
    back = compare(new, old)
    assert [one.rule for one in back.new] == ["cabinet_door"]


def test_the_command_lists_compares_and_refuses(
    file: Path, registry: Registry, catalog: Catalog, tmp_path: Path
) -> None:
    house = tmp_path / "house"
    old = one_text().replace("on: door_open\n    for: 30s", "on: door_open\n    for: 5m")
    (tmp_path / "old.yaml").write_text(old, "utf-8")
    assets = "id,kind,role,name,lon,lat\nlamp-99,streetlight,lamp,L,121.47,31.23\n"
    (tmp_path / "assets.csv").write_text(assets, "utf-8")
    assert CliRunner().invoke(app, ["init", str(house), "--registry", str(tmp_path / "assets.csv")]).exit_code == 0
    config = ["-c", str(house / "lamplighter.yaml")]
    span = ["--since", "2026-03-01T20:00", "--until", "2026-03-02T02:00"]
    with pytest.raises(ConfigError, match="no readings are stored there yet"):
        CliRunner().invoke(app, ["rules", "backtest", *span, *config], catch_exceptions=False)
    data = house / "data"
    data.mkdir(exist_ok=True)
    (data / "readings.db").write_bytes(file.read_bytes())
    operations = Operations(f"sqlite:///{data / 'operations.db'}")
    operations.import_assets(list(registry.assets), [], [])
    operations.close()
    listed = CliRunner().invoke(app, ["rules", "backtest", *span, *config]).output
    assert "lamp_out        │ lamp-03 │ Elm Road" in listed
    assert "2026-03-01 21:00:03 │ 21:30:03" in listed
    assert "1,073 readings, 5 alerts" in listed
    lines = CliRunner().invoke(app, ["rules", "backtest", *span, *config, "--json", "--only", "lamp_out"]).stdout
    assert [json.loads(line)["entity"] for line in lines.splitlines()] == ["device:lamp-03"]
    words = ["rules", "backtest", *span, *config, "--against", str(tmp_path / "old.yaml"), "--only", "door"]
    compared = CliRunner().invoke(app, words).output
    assert "moved from │ cabinet_door" in compared
    assert "0 only before, 0 only now, 1 moved, 0 the same" in compared


def test_times_are_written_as_people_write_them() -> None:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(ZONE)
    assert moment("90m", "--since", 10_000_000, zone) == 4_600_000
    assert moment("2026-03-01T20:00", "--since", 0, zone) == START
    assert moment("2026-03-01T12:00:00+00:00", "--since", 0, zone) == START
    with pytest.raises(ConfigError, match="--since: expected so long ago, such as 7d, or a moment"):
        moment("yesterday", "--since", 0, zone)
