"""Mapping files: what they may say, what they do with a row, and what a wrong one is told."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devices.kinds import Catalog
from devices.registry import Registry
from devices.yamlfile import ConfigError
from simulators.mapping import load_mapping
from simulators.recording import Recording, payload, read_recording
from simulators.replay import messages

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "mappings"
GOOD = """
kind: truck
device: {column: unit, prefix: t-}
time: {column: at, format: iso, timezone: Asia/Shanghai}
fields:
  lon_deg: x
  lat_deg: {column: y}
  speed_kmh: {column: v, factor: 3.6, offset: 1}
  cover_closed: {column: lid, words: {shut: 1, ajar: 0}}
  satellites: sats
"""
ROWS = """unit,at,x,y,v,lid,sats
No 7!,2026-06-16T08:00:00,121.5,31.1,10,shut,9.0
No 7!,2026-06-16T08:00:15,121.6,31.2,,ajar,
8_A,2026-06-16T08:00:10,121.7,31.3,nan,shut,11
"""


def read(tmp_path: Path, catalog: Catalog, mapping: str, rows: str = ROWS, name: str = "rows.csv") -> Recording:
    (tmp_path / "m.yaml").write_text(mapping, encoding="utf-8")
    (tmp_path / name).write_text(rows, encoding="utf-8")
    return read_recording(tmp_path / name, load_mapping(tmp_path / "m.yaml", catalog))


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


def test_rows_become_readings_in_the_catalogs_units_and_in_the_order_of_time(tmp_path: Path, catalog: Catalog) -> None:
    found = read(tmp_path, catalog, GOOD)
    assert [(r.device, r.time_ms) for r in found.readings] == [
        ("t-no-7", ms(2026, 6, 16)),
        ("t-8_a", ms(2026, 6, 16, 0, 0, 10)),
        ("t-no-7", ms(2026, 6, 16, 0, 0, 15)),
    ]
    first, second, third = (r.values for r in found.readings)
    assert first == {"lon_deg": 121.5, "lat_deg": 31.1, "speed_kmh": 37.0, "cover_closed": 1, "satellites": 9}
    assert second == {"lon_deg": 121.7, "lat_deg": 31.3, "cover_closed": 1, "satellites": 11}
    assert third == {"lon_deg": 121.6, "lat_deg": 31.2, "cover_closed": 0}


def test_a_replayed_message_is_what_a_device_would_send(tmp_path: Path, catalog: Catalog) -> None:
    found = read(tmp_path, catalog, GOOD)
    message = next(iter(messages(found.readings, "port", shift_ms=500)))
    assert message.topic == "lamplighter/v1/port/truck/t-no-7/up"
    assert json.loads(message.payload) == {"ts": ms(2026, 6, 16) + 500, **found.readings[0].values}
    assert json.loads(payload(found.readings[0]))["ts"] == ms(2026, 6, 16)


def test_unreadable_rows_are_counted_and_the_first_is_named(tmp_path: Path, catalog: Catalog) -> None:
    rows = ROWS + "??,2026-06-16T08:00:00,1,2,3,shut,1\nU1,yesterday,1,2,3,shut,1\nU1,2026-06-16T08:00:00,east,,,,\n"
    found = read(tmp_path, catalog, GOOD, rows + "U1,2026-06-16T08:01:00,,,,,\nU1,2026-06-16T08:01:00,1,2,3,open,1\n")
    assert found.rows == 8
    assert found.passed_over == {"unreadable": 4, "empty": 1}
    assert "rows.csv:5: '??' makes no device id" in found.first_trouble


def test_times_may_be_calendar_parts_or_numbers_since_a_moment(tmp_path: Path, catalog: Catalog) -> None:
    parts = """
kind: pump
device: gauge-1
time: {parts: {year: Y, month: M, day: D, hour: H}, timezone: Etc/GMT+5}
fields: {rain_mm: r}
"""
    found = read(tmp_path, catalog, parts, "Y,M,D,H,r\n2008,2,18,3,1.5\n")
    assert found.readings[0].time_ms == ms(2008, 2, 18, 8)
    since = """
kind: pump
device: gauge-1
time: {since: "2020-01-01T00:00:00", add: {day: d, s: s}, timezone: Asia/Shanghai}
fields: {rain_mm: r}
"""
    found = read(tmp_path, catalog, since, "day,s,r\n2,1.5,0\n")
    assert found.readings[0].time_ms == ms(2020, 1, 2, 16) + 1500
    epoch = since.replace(
        '{since: "2020-01-01T00:00:00", add: {day: d, s: s}, timezone: Asia/Shanghai}', "{add: {t: s}}"
    )
    assert read(tmp_path, catalog, epoch, "t,r\n1529594086.25,0\n").readings[0].time_ms == 1_529_594_086_250
    text = since.replace(
        '{since: "2020-01-01T00:00:00", add: {day: d, s: s}, timezone: Asia/Shanghai}',
        '{column: t, format: "%d.%m.%y"}',
    )
    assert read(tmp_path, catalog, text, "t,r\n24.12.19,0\n").readings[0].time_ms == ms(2019, 12, 24)


def test_json_lines_and_gzip_are_read_and_bad_lines_passed_over(tmp_path: Path, catalog: Catalog) -> None:
    mapping = "kind: pump\ndevice: p-1\ntime: {add: {t: s}}\nfields: {rain_mm: r}\n"
    lines = '{"t": 1e9, "r": "2.5"}\n\nnot json\n[1]\n{"r": 1}\n'
    (tmp_path / "m.yaml").write_text(mapping)
    with gzip.open(tmp_path / "x.jsonl.gz", "wt") as stream:
        stream.write(lines)
    found = read_recording(tmp_path / "x.jsonl.gz", load_mapping(tmp_path / "m.yaml", catalog))
    assert [r.values for r in found.readings] == [{"rain_mm": 2.5}]
    assert found.passed_over == {"unreadable": 3}
    (tmp_path / "broken.jsonl.gz").write_bytes((tmp_path / "x.jsonl.gz").read_bytes()[:30])
    with pytest.raises(ConfigError, match=r"broken.jsonl.gz: cannot be read"):
        read_recording(tmp_path / "broken.jsonl.gz", load_mapping(tmp_path / "m.yaml", catalog))


def test_rows_are_chosen_and_thinned(tmp_path: Path, catalog: Catalog) -> None:
    mapping = GOOD + "where: {lid: [shut, ajar]}\nthin_s: 15\n"
    rows = ROWS + "No 7!,2026-06-16T08:00:20,1,2,3,shut,1\nNo 7!,2026-06-16T08:00:30,1,2,3,gone,1\n"
    found = read(tmp_path, catalog, mapping, rows)
    assert found.passed_over == {"where": 1, "thinned": 1}
    assert len(found.readings) == 3


def test_a_second_source_is_joined_into_the_same_reading_but_repeats_stay(tmp_path: Path, catalog: Catalog) -> None:
    mapping = """
kind: pump
device: st-1
time: {add: {t: s}}
fields: {inflow_lps: q}
with:
  - file: rain.csv
    kind: pump
    device: st-1
    time: {add: {t: s}}
    fields: {rain_mm: r}
"""
    (tmp_path / "rain.csv").write_text("t,r\n900,1\n1800,2\n")
    found = read(tmp_path, catalog, mapping, "t,q\n900,5\n900,5\n2700,6\n")
    values = [(r.time_ms // 1000, r.values) for r in found.readings]
    assert len(values) == 4
    assert [t for t, _ in values] == [900, 900, 1800, 2700]
    assert {"inflow_lps": 5.0, "rain_mm": 1.0} in [v for _, v in values]
    assert values[2][1] == {"rain_mm": 2.0}


def test_assets_and_permits_come_with_the_recording(tmp_path: Path, catalog: Catalog) -> None:
    mapping = (
        GOOD
        + """
assets: {role: truck, position: first_fix, district: Port, name: "unit {device}", facts: {max_load_t: 12}}
permits: {file: ways.geojson, property: truck, prefix: t-, corridor_m: 60}
"""
    )
    lines = [[[121.4, 31.0], [121.5, 31.1]], [[121.6, 31.2], [121.7, 31.3]]]
    features = [
        {"properties": {"truck": "No-7"}, "geometry": {"type": "MultiLineString", "coordinates": lines}},
        {"properties": {"truck": "stranger"}, "geometry": {"type": "LineString", "coordinates": lines[0]}},
    ]
    (tmp_path / "ways.geojson").write_text(json.dumps({"features": features}))
    found = read(tmp_path, catalog, mapping)
    assert [(a.id, a.name, a.lon, a.district, dict(a.facts)) for a in found.assets] == [
        ("t-no-7", "unit t-no-7", 121.5, "Port", {"max_load_t": 12.0}),
        ("t-8_a", "unit t-8_a", 121.7, "Port", {"max_load_t": 12.0}),
    ]
    assert [(p.id, p.truck, p.route[0], p.corridor_m) for p in found.permits] == [
        ("t-no-7-1", "t-no-7", (121.4, 31.0), 60.0),
        ("t-no-7-2", "t-no-7", (121.6, 31.2), 60.0),
    ]
    Registry(catalog, found.assets, (), found.permits)
    (tmp_path / "ways.geojson").write_text('{"features": [{"properties": {}}]}')
    with pytest.raises(ConfigError, match=r"ways.geojson: expected GeoJSON lines with the property 'truck'"):
        read(tmp_path, catalog, mapping)


def test_a_file_without_the_mapped_columns_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match=r"rows.csv:1: no column lid, v; it has unit, at, x, y, sats"):
        read(tmp_path, catalog, GOOD, "unit,at,x,y,sats\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_recording(tmp_path / "absent.csv", load_mapping(tmp_path / "m.yaml", catalog))


WRONG = [
    ("kind: truck", "kind: bus", r"m.yaml:2: kind: expected one of streetlight"),
    ("lon_deg: x", "longitude: x", r"m.yaml:6: fields.longitude: truck has no field 'longitude'; it has lon_deg"),
    ("factor: 3.6", "factor: fast", r"m.yaml:8: fields.speed_kmh.factor: expected a number, found 'fast'"),
    ("factor: 3.6", "times: 3.6", r"m.yaml:8: fields.speed_kmh.times: unknown key; known here: column, factor"),
    ("{column: unit, prefix: t-}", "Big Truck", r"m.yaml:3: device: expected a device id"),
    ("{column: unit, prefix: t-}", "{prefix: t-}", r"m.yaml:3: device: the key 'column' is missing"),
    ("format: iso, ", "since: 2020, ", r"m.yaml:4: time.since: unknown key; known here: column, timezone, format"),
    ("{column: at, format: iso, timezone: Asia/Shanghai}", "{}", r"m.yaml:4: time: expected one of 'column'"),
    ("{column: at, format: iso, timezone: Asia/Shanghai}", "{add: {at: weeks}}", r"time.add.at: expected one of ms, s"),
    (
        "{column: at, format: iso, timezone: Asia/Shanghai}",
        "{parts: {year: Y}}",
        r"time.parts: expected columns for year, month",
    ),
    (
        "{column: at, format: iso, timezone: Asia/Shanghai}",
        "{since: someday, add: {at: s}}",
        r"time.since: expected a moment such as",
    ),
    ("Asia/Shanghai", "Asia/Nowhere", r"m.yaml:4: time.timezone: expected an IANA name"),
    ("words: {shut: 1, ajar: 0}", "words: {shut: yes, ajar: 0}", r"words.shut: expected a number"),
    ("satellites: sats", "satellites: {factor: 2}", r"m.yaml:10: fields.satellites: the key 'column' is missing"),
    ("kind: truck", "kind: truck\ndelimeter: ;", r"m.yaml:3: delimeter: unknown key; known here: file, format"),
    ("kind: truck", "kind: truck\nfile: x.csv", r"m.yaml:3: file: the first file is named on the command line"),
    ("kind: truck", "kind: truck\nformat: xlsx", r"m.yaml:3: format: expected one of csv, jsonl"),
    ("kind: truck", "kind: truck\nthin_s: -1", r"m.yaml:3: thin_s: expected a number from 0"),
    ("kind: truck", "kind: truck\nassets: {role: bus}", r"assets.role: expected one of truck"),
    ("kind: truck", "kind: truck\nassets: {position: home}", r"assets.position: expected first_fix"),
    ("kind: truck", "kind: truck\nassets: {facts: {wheels: 4}}", r"facts.wheels: truck has no fact 'wheels'"),
    ("kind: truck", "kind: truck\nassets: {facts: {max_load_t: 400}}", r"max_load_t: expected a number from 0"),
    ("kind: truck", "kind: truck\npermits: {file: a}", r"permits: the key 'property' is missing"),
    ("kind: truck", "kind: truck\nwith: [{kind: pump}]", r"with\[0\]: the key 'fields' is missing"),
]


@pytest.mark.parametrize(("good", "wrong", "told"), WRONG)
def test_a_wrong_mapping_names_file_line_key_and_what_is_accepted(
    tmp_path: Path, catalog: Catalog, good: str, wrong: str, told: str
) -> None:
    assert good in GOOD
    (tmp_path / "m.yaml").write_text(GOOD.replace(good, wrong), encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_mapping(tmp_path / "m.yaml", catalog)


def test_every_wrong_field_is_named_at_once(tmp_path: Path, catalog: Catalog) -> None:
    text = GOOD.replace("lon_deg: x", "lon: x").replace("satellites: sats", "sat: sats")
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ConfigError) as trouble:
        load_mapping(tmp_path / "m.yaml", catalog)
    assert len(trouble.value.problems) == 2


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_mappings_are_in_order(path: Path, catalog: Catalog) -> None:
    assert load_mapping(path, catalog)[0].fields


RECORDINGS = [
    ("kubicka", "gps/kubicka/tracks.open.csv.gz", 133_803, 54, 64),
    ("lighting_feeder", "streetlight_telemetry/slightlimon_lighting_feeder_1min.open.csv", 4261, 1, 0),
    ("sewer_us_2008", "sewer/flow_survey/us_flow_monitor_15min_2008.open.csv", 6443, 1, 0),
    ("sewer_us_2011", "sewer/flow_survey/us_control_subsewershed_post_rehab_5min_2011.open.csv", 18_198, 2, 0),
    ("jersey_city", "gps/jersey_city_garbage_trucks.open.csv", 4524, 33, 0),
    ("jersey_city_feed", "gps/jersey_city_polled_feed.open.csv.gz", 88_350, 62, 0),
    ("solar_lamp", "streetlight_telemetry/heed_solar_streetlight_charger_bluesolar.open.jsonl", 2203, 1, 0),
]


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "file", "readings", "assets", "permits"), RECORDINGS)
def test_shipped_mappings_read_their_recordings_whole(
    name: str, file: str, readings: int, assets: int, permits: int, catalog: Catalog, shared_data: Path
) -> None:
    found = read_recording(shared_data / file, load_mapping(SHIPPED / f"{name}.yaml", catalog))
    assert (len(found.readings), len(found.assets), len(found.permits)) == (readings, assets, permits)
    assert found.passed_over["unreadable"] == 0, found.first_trouble
    kind = catalog[found.readings[0].kind]
    limits = {field.name: (field.low, field.high) for field in kind.fields}
    for reading in found.readings[:: max(1, readings // 2000)]:
        assert all(limits[key][0] <= value <= limits[key][1] for key, value in reading.values.items())
    assert {asset.id for asset in found.assets} == {reading.device for reading in found.readings}
