"""Route deviation: what is an alert, what is a receiver's fault, and what is nobody's business."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.corridor import Corridors, Sites
from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules, parse_rules
from bench import special
from devices.batch import make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Permit, Registry
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import ConfigError, parse_yaml
from simulators.oracle_route import from_line, inside_ring

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules.yaml", CATALOG)
RULE = RuleSet((RULES["route_deviation"],), RULES.lighting)
START_MS = 1_760_140_800_000  # 2025-10-11 08:00 in Shanghai
LON, LAT, M = 114.3, 30.6, 111_194.92664455873


def place(east: float, north: float, lon: float = LON, lat: float = LAT) -> tuple[float, float]:
    return lon + east / (M * np.cos(np.radians(lat))), lat + north / M


ROAD = tuple(place(x, 0) for x in range(-5000, 5001, 250))
Fix = tuple[float, float, float, float | None, float | None]  # seconds, east, north, km/h, degrees


def permit(**given: object) -> Permit:
    return Permit("p", "truck-1", given.pop("route", ROAD), **given)  # type: ignore[arg-type]


def engine_for(*permits: Permit) -> Engine:
    registry = Registry(CATALOG, [Asset("truck-1", "truck", "truck", "鄂A·1")], permits=permits, centre=(LON, LAT))
    return Engine(RULE, registry, Sky(registry, "Asia/Shanghai", RULES.lighting))


def play(engine: Engine, fixes: Iterable[Fix], **extra: float) -> list[Transition]:
    kind = CATALOG["truck"]
    told = []
    for seconds, east, north, kmh, heading in fixes:
        values = np.full((len(kind.fields), 1), np.nan)
        given = dict(zip(("lon_deg", "lat_deg"), place(east, north), strict=True)) | extra
        given |= {"speed_kmh": kmh, "heading_deg": heading} if kmh is not None and heading is not None else {}
        for name, value in given.items():
            values[kind.column(name)] = value
        now_ms = START_MS + round(seconds * 1000)
        told += engine.step([make_batch(kind, now_ms, [now_ms], [0], values)], now_ms)
    return told


def drive(points: list[tuple[float, float]], kmh: float, every_s: float, *, doppler: bool = True) -> list[Fix]:
    """Fixes along straight lines between points."""
    out: list[Fix] = []
    at_s = 0.0
    left = 0.0
    for (ax, ay), (bx, by) in pairwise(points):
        length = float(np.hypot(bx - ax, by - ay))
        heading = float(np.degrees(np.arctan2(bx - ax, by - ay)) % 360)
        done = left
        while done < length:
            share = done / length
            speed = (kmh, heading) if doppler else (None, None)
            out.append((at_s, ax + share * (bx - ax), ay + share * (by - ay), *speed))
            at_s += every_s
            done += kmh / 3.6 * every_s
        left = done - length
    return out


DETOUR = [(-2000.0, 0.0), (0.0, 0.0), (0.0, 1500.0), (2500.0, 1500.0), (2500.0, 0.0), (4900.0, 0.0)]


@pytest.mark.parametrize("source", ["doppler", "position only"])
@pytest.mark.parametrize("every_s", [1.0, 15.0, 30.0])
def test_a_detour_is_one_alert_that_ends_a_minute_after_the_return(every_s: float, source: str) -> None:
    fixes = drive(DETOUR, 36, every_s, doppler=source == "doppler")
    told = play(engine_for(permit()), fixes)
    assert [t.state for t in told] == ["active", "cleared"]
    first_outside = next(f[0] for f in fixes if f[2] > 80)
    late_ms = told[0].onset_ms - START_MS - first_outside * 1000
    assert 0 <= late_ms <= 1000 * every_s, "dead reckoning may still hold it inside at the first fix outside"
    assert 15_000 <= told[0].at_ms - told[0].onset_ms <= 60_000, "beyond 200 m it need not last two minutes"
    back = next(f[0] for f in fixes if f[1] >= 2500 and f[2] < 50)
    assert told[1].at_ms - (START_MS + back * 1000) == pytest.approx(60_000, abs=1000 * every_s)
    assert told[1].alert_id == told[0].alert_id
    assert told[0].values["distance_m"] > 200
    assert told[0].values["outside_m"] >= 300


@pytest.mark.parametrize("every_s", [1.0, 15.0])
def test_a_parallel_road_a_hundred_metres_away_takes_two_minutes_and_300_m(every_s: float) -> None:
    way = [(-2000.0, 0.0), (-1000.0, 0.0), (-1000.0, 100.0), (4000.0, 100.0)]
    told = play(engine_for(permit()), drive(way, 36, every_s))
    assert [t.state for t in told] == ["active"]
    assert 120_000 <= told[0].at_ms - told[0].onset_ms <= 135_000
    assert "100 m from its permitted route" in told[0].message["en"]
    assert "偏离核准路线 100 米" in told[0].message["zh"]


@pytest.mark.parametrize("way", [[(-4000.0, 60.0), (4000.0, 60.0)], [(4000.0, -5.0), (-4000.0, -5.0)]])
def test_within_eighty_metres_and_in_either_direction_a_truck_is_on_its_route(way: list[tuple[float, float]]) -> None:
    assert play(engine_for(permit()), drive(way, 40, 5)) == []


@pytest.mark.parametrize("speed_known", ["speed reported", "position only"])
def test_standing_still_with_a_drifting_receiver_is_never_an_alert(speed_known: str) -> None:
    rng = np.random.default_rng(3)
    drift = np.zeros(2)
    fixes: list[Fix] = [(0, 0, 0, None, None)]
    for second in range(10, 40_000, 10):
        drift = 0.97 * drift + rng.normal(0, 2.5, 2)
        speed = (
            (abs(float(rng.normal(0, 0.7))), float(rng.uniform(0, 360)))
            if speed_known == "speed reported"
            else (None, None)
        )
        fixes.append((second, 95 + drift[0], 95 + drift[1], *speed))
    assert play(engine_for(permit()), fixes) == []


def test_a_burst_of_the_receiver_is_disbelieved_where_speed_and_heading_say_otherwise() -> None:
    fixes = drive([(-4000.0, 0.0), (4000.0, 0.0)], 36, 5)
    burst = [(s, e, n + (180 if 200 <= s < 500 else 0), v, h) for s, e, n, v, h in fixes]
    engine = engine_for(permit())
    assert play(engine, burst) == []
    assert engine.judges[0].watch.counts["disbelieved"] == 60
    blind = [(s, e, n, None, None) for s, e, n, _, _ in burst]
    assert [t.state for t in play(engine_for(permit()), blind)] == ["active", "cleared"], "without them it cannot know"


def test_a_position_that_stays_away_for_eight_minutes_is_taken_over_in_the_end() -> None:
    fixes = drive([(-4500.0, 0.0), (4500.0, 0.0)], 20, 5)
    shifted = [(s, e, n + (180 if s >= 100 else 0), v, h) for s, e, n, v, h in fixes]
    engine = engine_for(permit())
    told = play(engine, shifted)
    assert [t.state for t in told] == ["active"]
    assert 480 + 100 <= (told[0].onset_ms - START_MS) / 1000 <= 480 + 110
    assert engine.judges[0].watch.reckoning.resyncs == 1


@pytest.mark.parametrize("kmh", [0.0, 90.0])
def test_a_truck_whose_speed_always_reads_the_same_does_not_escape(kmh: float) -> None:
    way = [(-2000.0, 0.0), (0.0, 0.0), (0.0, 9000.0)]
    lying = [(s, e, n, kmh, 90.0) for s, e, n, _, _ in drive(way, 36, 15)]
    told = play(engine_for(permit()), lying)
    assert [t.state for t in told] == ["active"]
    assert told[0].at_ms - START_MS <= (200 + 480 + 60) * 1000, (
        "eight minutes of disbelief, then its word is not heeded"
    )


def test_turning_corners_with_sparse_reports_does_not_lock_a_truck_out() -> None:
    zigzag = [(float(x), 400.0 * (k % 2)) for k, x in enumerate(range(-2000, 2400, 400)) for _ in (0, 1)]
    blocks = [(x, y) for k, (x, y) in enumerate(zigzag) if k == 0 or (x, y) != zigzag[k - 1]]
    squared = [p for a, b in pairwise(blocks) for p in ((a[0], a[1]), (b[0], a[1]))]
    engine = engine_for(permit(route=tuple(place(x, y) for x, y in squared)))
    fixes = drive([p for k, p in enumerate(squared) if k == 0 or p != squared[k - 1]], 30, 15)
    assert play(engine, fixes) == []
    assert engine.judges[0].watch.counts["disbelieved"] == 0


def test_inside_a_site_of_its_permit_a_truck_is_never_off_route() -> None:
    yard = tuple(place(x, y) for x, y in ((-700, 900), (700, 900), (700, 2000), (-700, 2000)))
    loops = [(-600.0, 1000.0), (600.0, 1000.0), (600.0, 1900.0), (-600.0, 1900.0)] * 4
    assert play(engine_for(permit(sites=(yard,))), drive(loops, 30, 5)) == []
    assert [t.state for t in play(engine_for(permit()), drive(loops, 30, 5))] == ["active"]


def test_without_a_valid_permit_nothing_is_judged_and_it_is_counted() -> None:
    away = drive([(0.0, 900.0), (4000.0, 900.0)], 36, 15)
    for limits in (
        {"hours": (20 * 60, 6 * 60)},
        {"valid_until_ms": START_MS},
        {"valid_from_ms": START_MS + 86_400_000},
    ):
        engine = engine_for(permit(**limits))
        assert play(engine, away) == []
        assert engine.judges[0].watch.counts["no_permit"] == len(away)
    assert [t.state for t in play(engine_for(permit(hours=(7 * 60, 9 * 60))), away)] == ["active"]
    engine = engine_for()
    assert play(engine, away) == []
    assert engine.judges[0].watch.counts["no_permit"] == len(away)


def test_an_open_alert_ends_with_its_permit() -> None:
    engine = engine_for(permit(hours=(0, 8 * 60 + 4)))
    told = play(engine, drive([(0.0, 900.0), (5000.0, 900.0)], 36, 15))
    assert [(t.state, t.reason) for t in told] == [("active", ""), ("cleared", "permit_ended")]


def test_either_of_two_permits_will_do() -> None:
    other = Permit("q", "truck-1", tuple(place(0, y) for y in range(-3000, 3001, 200)))
    way = [(-2000.0, 0.0), (0.0, 0.0), (0.0, 2500.0)]
    assert play(engine_for(permit(), other), drive(way, 36, 5)) == []
    assert len(play(engine_for(permit()), drive(way, 36, 5))) == 1


def test_a_permits_own_corridor_takes_the_place_of_the_rules() -> None:
    beside = drive([(-4000.0, 110.0), (4000.0, 110.0)], 36, 15)
    assert len(play(engine_for(permit()), beside)) == 1
    assert play(engine_for(permit(corridor_m=150)), beside) == []


@pytest.mark.parametrize("extra", [{"hdop": 9.0}, {"satellites": 3.0}])
def test_fixes_of_poor_quality_are_passed_over(extra: dict[str, float]) -> None:
    engine = engine_for(permit())
    fixes = drive([(0.0, 900.0), (3000.0, 900.0)], 36, 15)
    assert play(engine, fixes, **extra) == []
    assert engine.judges[0].watch.counts["poor"] == len(fixes)


def test_silence_is_bridged_only_where_the_truck_cannot_have_been_back() -> None:
    engine = engine_for(permit())
    before: list[Fix] = [(0, 0, 150, None, None), (15, 130, 150, None, None), (30, 260, 150, None, None)]
    across: list[Fix] = [(400, 900, -150, None, None), (415, 1030, -150, None, None)]
    assert play(engine, [*before, *across]) == []
    assert engine.pending() == [] or engine.pending()[0].since_ms == START_MS + 400_000
    along: list[Fix] = [(400, 900, 150, None, None), (430, 1100, 150, None, None)]
    told = play(engine_for(permit()), [*before, *along])
    assert [(t.state, t.onset_ms) for t in told] == [("active", START_MS)]


def test_a_truck_that_falls_silent_off_its_route_is_let_go_after_a_day_as_data_lost() -> None:
    engine = engine_for(permit())
    told = play(engine, drive([(0.0, 900.0), (3000.0, 900.0)], 36, 15))
    assert [t.state for t in told] == ["active"]
    last = START_MS + 300_000
    for hour in range(24):
        assert engine.step([], last + hour * 3_600_000 - 30_000) == [] or hour == 24
    found = [t for minute in range(1, 2880) for t in engine.step([], last + 23 * 3_600_000 + minute * 60_000)]
    assert [(t.state, t.reason) for t in found] == [("cleared", "data_lost")]


def test_state_finds_its_truck_again_in_another_registry() -> None:
    half = drive([(0.0, 120.0), (3000.0, 120.0)], 36, 15)
    engine = engine_for(permit())
    assert play(engine, half[:6]) == []
    others = [Asset(f"truck-{n}", "truck", "truck") for n in (7, 1, 9)]
    permits = [permit(), Permit("x", "truck-7", ROAD), Permit("y", "truck-9", ROAD)]
    registry = Registry(CATALOG, others, permits=permits, centre=(LON, LAT))
    later = Engine(RULE, registry, Sky(registry, "Asia/Shanghai", RULES.lighting))
    later.load(engine.save())
    kind = CATALOG["truck"]
    told = []
    for seconds, east, north, kmh, heading in half[6:]:
        values = np.full((len(kind.fields), 1), np.nan)
        for name, value in zip(
            ("lon_deg", "lat_deg", "speed_kmh", "heading_deg"), (*place(east, north), kmh, heading), strict=True
        ):
            values[kind.column(name)] = value
        now_ms = START_MS + round(seconds * 1000)
        told += later.step([make_batch(kind, now_ms, [now_ms], [1], values)], now_ms)
    assert [(t.entity, t.onset_ms) for t in told] == [("device:truck-1", START_MS)]
    assert dict(later.open_alerts()["route_deviation"]) == {"device:truck-1": START_MS}


POINTS = st.lists(st.tuples(st.integers(-3000, 3000), st.integers(-3000, 3000)), min_size=2, max_size=70)


@given(
    st.lists(POINTS, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(-4000, 4000), st.integers(-4000, 4000)), min_size=1, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_the_distance_to_a_route_is_exact_wherever_the_search_begins(
    lines: list[list[tuple[int, int]]], points: list[tuple[int, int]]
) -> None:
    ways = Corridors([(np.array([p[0] for p in line], float), np.array([p[1] for p in line], float)) for line in lines])
    route = np.arange(len(points)) % len(lines)
    east, north = (np.array([p[k] for p in points], float) for k in (0, 1))
    exact = np.array([from_line(p, lines[r]) for p, r in zip(points, route, strict=True)])
    for hint in (np.full(len(points), -1), ways.first[route], ways.last[route]):
        found, segment = ways.nearest(route, east, north, hint, np.zeros(len(points)))
        np.testing.assert_allclose(found, exact, atol=1e-6)
        assert ((segment >= ways.first[route]) & (segment <= ways.last[route])).all()


@given(
    st.lists(st.tuples(st.integers(-500, 500), st.integers(-500, 500)), min_size=3, max_size=9, unique=True),
    st.integers(-600, 600),
    st.integers(-600, 600),
)
@settings(max_examples=80, deadline=None)
def test_a_site_holds_what_its_ring_holds(ring: list[tuple[int, int]], east: int, north: int) -> None:
    site = Sites([[(np.array([p[0] for p in ring], float), np.array([p[1] for p in ring], float))], []])
    closed = [*ring, ring[0]]
    edge = from_line((east, north), closed)
    found = site.holds(np.array([0, 1]), np.array([east, east], float), np.array([north, north], float), 0.0)
    if edge > 1e-6:
        assert found.tolist() == [inside_ring((east, north), closed), False]
    near = site.holds(np.array([0]), np.array([east], float), np.array([north], float), edge + 0.001)
    assert near.tolist() == [True]


def test_a_city_on_the_date_line_is_no_special_place() -> None:
    road = tuple((180 - 0.02 + k * 0.002 - (360 if k > 10 else 0), -17.0) for k in range(21))
    registry = Registry(CATALOG, [Asset("truck-1", "truck", "truck")], permits=[Permit("p", "truck-1", road[:11])])
    engine = Engine(RULE, registry, Sky(registry, "UTC"))
    kind = CATALOG["truck"]
    told = []
    for k in range(40):
        values = np.full((len(kind.fields), 1), np.nan)
        lon = 179.99 + k * 0.0005
        values[kind.column("lon_deg")], values[kind.column("lat_deg")] = (lon if lon < 180 else lon - 360), -17.0
        now_ms = START_MS + k * 15_000
        told += engine.step([make_batch(kind, now_ms, [now_ms], [0], values)], now_ms)
    assert [t.state for t in told] == ["active"]
    assert told[0].values["distance_m"] < 2000


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("    on_m: 30\n    off_m: 50", "off_m: expected at most on_m"),
        ("    on_m: eighty", "on_m: expected a number"),
        ("    far_for: 20", "far_for: expected a length of time"),
        ("    gate: {within: 60}", "gate.within: unknown key"),
        ("    corridor: 80", "corridor: unknown key"),
    ],
)
def test_a_wrong_setting_names_its_line_and_the_accepted_form(line: str, says: str) -> None:
    text = f"""rules:
  - id: off_route
    kind: route_deviation
    device: truck
    severity: major
    message: {{en: "{{distance_m}} m", zh: "{{distance_m}} 米"}}
{line}
"""
    with pytest.raises(ConfigError) as caught:
        parse_rules(parse_yaml(text, "rules.yaml"), CATALOG)
    assert says in str(caught.value)
    assert "rules.yaml:" in str(caught.value)


def test_only_kinds_that_report_a_position_can_be_held_to_a_route() -> None:
    text = """rules:
  - {id: off_route, kind: route_deviation, device: pump, severity: major, message: {en: a, zh: b}}
"""
    with pytest.raises(ConfigError, match="reports no lon_deg and no lat_deg"):
        parse_rules(parse_yaml(text, "rules.yaml"), CATALOG)


def test_the_benchmark_of_the_three_rules_runs() -> None:
    figures = special.run(trucks=200, rounds=5, stations=50, lamps=2000)
    assert figures["route_deviation"] > 20_000
    assert figures["seepage"] > 20_000
    assert figures["lighting_tick_ms"] < 2000
