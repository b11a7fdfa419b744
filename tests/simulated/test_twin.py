"""The engine and its slow twin say the same, whatever the readings, the cutting of batches, and the restarts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from alerts.engine import Engine
from alerts.rules import RuleSet, parse_rules
from devices.batch import MARK_LATE, Batch, make_batch
from devices.kinds import Catalog, load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import parse_yaml
from simulators.oracle import Oracle, Told

RULES = """
rules:
  - {id: plain, device: manhole, on: tilt_deg > 10, severity: major, message: {en: "{value}", zh: "{value}"}}
  - id: slow
    device: manhole
    on: tilt_deg > 10 or cover_open
    for: 2m
    samples: 2
    off: tilt_deg < 5 and default(cover_open, 0) == 0
    keep: 90s
    hold: 4m
    lost_after: 20m
    severity: critical
    message: {en: "{name} {value} {threshold}", zh: "{name}"}
  - id: carried
    device: manhole
    on: water_level_m > depth_m - 0.5 and not locked
    for: 100s
    keep: 60s
    hold: 70s
    carry: true
    severity: minor
    message: {en: "{name}", zh: "{name}"}
  - id: gas
    device: manhole
    on: max(h2s_ppm, co_ppm / 3.5) > 10 or 2 < abs(o2_percent - 21) <= 9
    for: 30s
    off: min(h2s_ppm, co_ppm) < 5
    hold: 10m
    severity: critical
    message: {en: "{name}", zh: "{name}"}
  - id: lamp_out
    device: streetlight
    role: lamp
    on: expected_on and on_for_min > 3 and power_w < 0.3 * rated_power_w
    for: 3m
    keep: 2m
    hold: 5m
    severity: minor
    message: {en: "{name}", zh: "{name}"}
  - id: leak
    device: streetlight
    on: leakage_ma != 0 and -leakage_ma + 30 <= 0 or energy_kwh == 7
    samples: 3
    severity: critical
    message: {en: "{name}", zh: "{name}"}
  - id: manual
    device: streetlight
    role: cabinet
    on: work_mode == 'manual' or local_hour < 17.5 and off_for_min > 0
    for: 1m
    hold: 3m
    severity: info
    message: {en: "{name}", zh: "{name}"}
  - id: gone
    kind: offline
    device: manhole
    after: 5m
    reports: 2
    severity: minor
    message: {en: "{id}", zh: "{id}"}
  - id: dark
    kind: offline
    device: streetlight
    role: lamp
    after: 8m
    while: expected_on and default(power_w, 1) > 0
    never_heard_after: 20m
    severity: info
    message: {en: "{id}", zh: "{id}"}
"""
# Values around the rules' thresholds, absent ones and suspect ones: what the engine must tell apart.
VALUES: dict[str, tuple[float | None, ...]] = {
    "tilt_deg": (0.0, 4.0, 7.0, 11.0, 60.0, 999.0, None),
    "cover_open": (0.0, 1.0, None),
    "water_level_m": (0.2, 2.4, 2.6, -3.0, None),
    "locked": (0.0, 1.0, None),
    "h2s_ppm": (0.0, 11.0, 4.0, None),
    "co_ppm": (0.0, 36.0, None),
    "o2_percent": (20.9, 18.0, 31.0, None),
    "power_w": (0.0, 29.0, 31.0, 100.0, None),
    "leakage_ma": (0.0, 29.0, 30.0, 31.0, None),
    "energy_kwh": (6.0, 7.0, None),
    "work_mode": (0.0, 1.0, 2.0, None),
}
START_MS = 1_772_359_800_000  # 2026-03-01 18:10 in Shanghai, a quarter of an hour before the lamps come on
CATALOG = load_catalog()
ASSETS = [
    Asset("cover-1", "manhole", "cover", lon=120.0, lat=30.0, facts={"depth_m": 3.0}),
    Asset("cover-2", "manhole", "cover", lon=120.0, lat=30.0),
    Asset("lamp-1", "streetlight", "lamp", lon=120.0, lat=30.0, facts={"rated_power_w": 100.0}),
    Asset("lamp-2", "streetlight", "lamp", lon=120.0, lat=30.0),
    Asset("cabinet-1", "streetlight", "cabinet", lon=120.0, lat=30.0),
]


@dataclass(frozen=True)
class Reading:
    """One reading in a made-up series: which device, how long before the step's end, and what it says."""

    row: int
    before_s: int
    values: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Step:
    """What happens in one step of the host."""

    now_ms: int
    readings: tuple[Reading, ...]


def names_of(row: int) -> list[str]:
    kind = CATALOG[ASSETS[row].kind]
    return [f.name for f in kind.fields if f.name in VALUES and (not f.roles or ASSETS[row].role in f.roles)]


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    row = draw(st.integers(0, len(ASSETS) - 1))
    values = [(name, draw(st.sampled_from(VALUES[name]))) for name in names_of(row)]
    known = tuple((name, value) for name, value in values if value is not None)
    return Reading(row, draw(st.sampled_from((0, 0, 0, 5, 40, 200))), known)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    now, steps = START_MS, []
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.sampled_from((1, 10, 30, 30, 59, 60, 60, 61, 120, 300, 1200, -600))) * 1000
        steps.append(Step(now, tuple(draw(st.lists(readings(), max_size=6)))))
    return steps


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return parse_rules(parse_yaml(RULES), CATALOG)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(CATALOG, ASSETS)


@pytest.fixture(scope="module")
def sky(registry: Registry, rules: RuleSet) -> Sky:
    return Sky(registry, "Asia/Shanghai", rules.lighting)


class Marker:
    """Marks late rows as the sieve does: older than the newest of their device."""

    def __init__(self) -> None:
        self.newest: dict[int, int] = {}

    def late(self, row: int, time_ms: int) -> bool:
        late = time_ms < self.newest.get(row, time_ms)
        self.newest[row] = max(time_ms, self.newest.get(row, time_ms))
        return late


def batches_of(step: Step, marker: Marker, size: int) -> list[Batch]:
    """Return a step's readings as batches of at most ``size`` rows, in order of arrival within each kind."""
    out = []
    for kind in CATALOG:
        chosen = [r for r in step.readings if ASSETS[r.row].kind == kind.name]
        for begin in range(0, len(chosen), size):
            part = chosen[begin : begin + size]
            table = np.full((len(kind.fields), len(part)), np.nan)
            for at, reading in enumerate(part):
                for name, value in reading.values:
                    table[kind.column(name), at] = value
            times = [step.now_ms - reading.before_s * 1000 for reading in part]
            batch = make_batch(kind, step.now_ms, times, [reading.row for reading in part], table)
            late = [marker.late(reading.row, time) for reading, time in zip(part, times, strict=True)]
            batch.marks = np.where(late, MARK_LATE, 0).astype(np.uint8)
            out.append(batch)
    return out


def told(changes: Sequence[Transition]) -> list[Told]:
    return sorted(Told(c.rule, c.entity, c.state, c.at_ms, c.onset_ms, c.reason) for c in changes)


def run(
    make: Callable[[], Engine],
    history: list[Step],
    size: int = 10_000,
    restart: Callable[[int], bool] = lambda _: False,
) -> list[list[Told]]:
    engine, marker, out = make(), Marker(), []
    for number, step in enumerate(history):
        out.append(told(engine.step(batches_of(step, marker, size), step.now_ms)))
        if restart(number):
            saved = engine.save()
            engine = make()
            engine.load(saved)
    return out


def twin(rules: RuleSet, registry: Registry, sky: Sky, history: list[Step]) -> list[list[Told]]:
    oracle, marker, out = Oracle(rules, registry, sky), Marker(), []
    for step in history:
        oracle.begin(step.now_ms)
        said: list[Told] = []
        for kind in CATALOG:
            for reading in step.readings:
                if ASSETS[reading.row].kind == kind.name:
                    time = step.now_ms - reading.before_s * 1000
                    late = marker.late(reading.row, time)
                    said += oracle.reading(reading.row, time, dict(reading.values), step.now_ms, late=late)
        out.append(sorted(said + oracle.tick(step.now_ms)))
    return out


QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@QUICK
@given(histories())
def test_the_engine_says_what_its_slow_twin_says(
    rules: RuleSet, registry: Registry, sky: Sky, history: list[Step]
) -> None:
    expected = twin(rules, registry, sky, history)
    for step in expected:
        for one in step:
            event(f"{one.rule} {one.state} {one.reason}")
    assert run(lambda: Engine(rules, registry, sky), history) == expected


@QUICK
@given(histories())
def test_cutting_batches_differently_changes_nothing(
    rules: RuleSet, registry: Registry, sky: Sky, history: list[Step]
) -> None:
    whole = run(lambda: Engine(rules, registry, sky), history)
    assert run(lambda: Engine(rules, registry, sky), history, size=1) == whole
    assert run(lambda: Engine(rules, registry, sky), history, size=7) == whole


@QUICK
@given(histories(), st.integers(1, 3))
def test_a_restart_at_any_step_changes_nothing(
    rules: RuleSet, registry: Registry, sky: Sky, history: list[Step], every: int
) -> None:
    whole = run(lambda: Engine(rules, registry, sky), history)
    assert run(lambda: Engine(rules, registry, sky), history, restart=lambda n: n % every == 0) == whole


def long_history(seed: int, steps: int) -> list[Step]:
    """Return a long series in which conditions last: devices keep their values for a while, and drop out at times."""
    rng = np.random.default_rng(seed)
    now, out = START_MS, []
    mood: dict[int, dict[str, float]] = {row: {} for row in range(len(ASSETS))}
    silent_until = dict.fromkeys(mood, 0)
    for _ in range(steps):
        jump = int(rng.choice((1200, 90, -400))) if rng.random() < 0.012 else int(rng.choice((10, 30, 30, 45, 60)))
        now += jump * 1000
        readings = []
        for row, kept in mood.items():
            if rng.random() < 0.015:
                silent_until[row] = now + int(rng.integers(60, 3600)) * 1000
            for name in names_of(row):
                if name not in kept or rng.random() < 0.06:
                    chosen = VALUES[name][rng.integers(len(VALUES[name]))]
                    kept[name] = np.nan if chosen is None else chosen
            if now >= silent_until[row] and rng.random() < 0.8:
                known = tuple((n, v) for n, v in kept.items() if not np.isnan(v) and rng.random() < 0.9)
                readings.append(Reading(row, int(rng.choice((0, 0, 0, 20, 70))), known))
        out.append(Step(now, tuple(readings)))
    return out


def test_over_long_evenings_the_twins_agree_and_every_rule_speaks(rules: RuleSet, registry: Registry, sky: Sky) -> None:
    spoken: set[tuple[str, str]] = set()
    for seed in range(3):
        history = long_history(seed, 500)
        expected = twin(rules, registry, sky, history)
        assert run(lambda: Engine(rules, registry, sky), history) == expected, f"seed {seed}"
        cut = run(lambda: Engine(rules, registry, sky), history, size=2, restart=lambda n: n % 50 == 3)
        assert cut == expected, f"seed {seed}, cut and restarted"
        spoken |= {(one.rule, one.reason or one.state) for step in expected for one in step}
    assert {rule for rule, how in spoken if how == "active"} == {rule.id for rule in rules}
    assert {rule for rule, how in spoken if how == "recovered"} == {rule.id for rule in rules}
    assert any(how == "data_lost" for _, how in spoken)


def test_the_shipped_kinds_are_the_ones_the_series_are_made_for(catalog: Catalog) -> None:
    assert all(name in {f.name for kind in catalog for f in kind.fields} for name in VALUES)
