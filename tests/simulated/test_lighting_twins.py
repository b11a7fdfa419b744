"""The rules for cabinets, circuits and lamps against their slow twins, over random nights."""

from pathlib import Path

import numpy as np
import pytest

from alerts.baselines import Baselines
from alerts.cycling import SLOTS, CycleJudge
from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from alerts.section import UNKNOWN_MOST
from alerts.standing import Standing
from devices.batch import make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE
from simulators.oracle_lighting import StandingTwin, UsualTwin, changes_within, longest_row
from simulators.oracle_route import Event

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules.yaml", CATALOG)
START_MS = 1_760_104_800_000  # 2025-10-10 22:00 in Shanghai
MIN_MS = 60_000


def engine_of(rule: str, lamps: list[Asset]) -> Engine:
    registry = Registry(CATALOG, lamps, centre=(114.3, 30.6))
    return Engine(RuleSet((RULES[rule],), RULES.lighting), registry, Sky(registry, "Asia/Shanghai", RULES.lighting))


def step(engine: Engine, now_ms: int, rows: list[int], **fields: np.ndarray) -> list[tuple[str, Event]]:
    kind = CATALOG["streetlight"]
    values = np.full((len(kind.fields), len(rows)), np.nan)
    for name, column in fields.items():
        values[kind.column(name)] = column
    batch = make_batch(kind, now_ms, [now_ms] * len(rows), rows, values)
    told = engine.step([batch] if rows else [], now_ms)
    return [(t.entity, Event(t.state == ACTIVE, t.at_ms, t.onset_ms)) for t in told]


@pytest.mark.parametrize("seed", range(5))
def test_an_alert_stands_as_its_slow_twin_says_also_when_it_is_saved_on_the_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"device:box-{k}" for k in range(40)]
    columns, twins = Standing(names, 5 * MIN_MS, 7 * MIN_MS), [StandingTwin(5 * MIN_MS, 7 * MIN_MS) for _ in names]
    state, events, now = rng.integers(0, 3, 40), 0, START_MS
    for _ in range(300):
        now += int(rng.integers(1, 4)) * MIN_MS
        state = np.where(rng.random(40) < 0.12, rng.integers(0, 3, 40), state)
        fires, clears = columns.judge(now, state == 0, state == 1)
        for k, twin in enumerate(twins):
            event = twin.look(now, bad=state[k] == 0, good=state[k] == 1)
            assert (k in fires, k in clears) == (
                event is not None and event.active,
                event is not None and not event.active,
            )
            events += event is not None
        assert columns.open() == {names[k]: twin.onset_ms for k, twin in enumerate(twins) if twin.active}
        if rng.random() < 0.1:
            fresh = Standing(names, 5 * MIN_MS, 7 * MIN_MS)
            fresh.load(columns.save())
            columns = fresh
    assert events > 100


@pytest.mark.parametrize("seed", range(3))
def test_a_dark_section_is_found_as_its_slow_twin_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lamps = [
        Asset(f"lamp-{n:03d}", "streetlight", "lamp", lon=114.3, lat=30.6, cabinet="box-1", circuit=str(n // 15),
              pole_index=n % 15 + 1, facts={"rated_power_w": 100.0})
        for n in range(60)
    ]  # fmt: skip
    engine, rule = engine_of("section_out", lamps), RULES["section_out"]
    twins = [StandingTwin(rule.for_ms, rule.keep_ms) for _ in range(4)]
    dark, quiet = np.zeros(60, dtype=bool), np.zeros(60, dtype=bool)
    seen, heard = np.zeros(60, dtype=bool), np.full(60, -1)
    found, expected, now = [], [], START_MS
    for _ in range(80):
        now += 5 * MIN_MS
        if rng.random() < 0.2:
            first = int(rng.integers(0, 56))
            dark[first : first + int(rng.integers(1, 6))] ^= True
            still = int(rng.integers(0, 55))
            quiet[still : still + int(rng.integers(1, 6))] ^= True
        rows = np.flatnonzero(~quiet)
        seen[rows], heard[rows] = dark[rows], now
        found += step(engine, now, rows.tolist(), power_w=np.where(dark[rows], 1.0, 95.0))
        for k, twin in enumerate(twins):
            known = now - heard[15 * k : 15 * k + 15] < 45 * MIN_MS
            poles = [bool(out) if there else None for out, there in zip(seen[15 * k : 15 * k + 15], known, strict=True)]
            row = longest_row(poles, UNKNOWN_MOST)
            event = twin.look(now, bad=row >= 3, good=bool(known.sum() >= 7.5 and row < 2))
            if event is not None:
                expected.append((f"circuit:box-1/{k}", event))
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert found, "sections go dark in a night like this"


@pytest.mark.parametrize("seed", range(3))
def test_what_is_usual_is_the_median_of_past_nights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns, twins = Baselines(6, 1, 5, 3, 4), [UsualTwin(5, 3, 4) for _ in range(6)]
    night, level = np.zeros(6, dtype=np.int64), np.zeros(1, dtype=np.intp)
    for _ in range(600):
        k = int(rng.integers(6))
        night[k] += rng.random() < 0.15
        value = float(rng.normal(100, 10))
        columns.turn(np.array([k]), night[[k]])
        usual = twins[k].turn(int(night[k]))
        assert columns.usual[k, 0] == pytest.approx(np.nan if usual is None else usual, nan_ok=True, rel=1e-6)
        columns.learn(np.array([k]), level, np.array([value]))
        twins[k].learn(value)


@pytest.mark.parametrize("seed", range(3))
def test_changes_are_counted_over_the_window_as_the_slow_twin_counts_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lamps = [Asset(f"lamp-{n}", "streetlight", "lamp", facts={"rated_power_w": 100.0}) for n in range(4)]
    engine, rule = engine_of("lamp_cycling", lamps), RULES["lamp_cycling"]
    judge = engine.judges[0]
    assert isinstance(judge, CycleJudge)
    counts: list[list[tuple[int, float]]] = [[] for _ in lamps]
    counter, now, before = np.zeros(4), START_MS, [False] * 4
    for _ in range(40):
        now += int(rng.integers(2, 18)) * MIN_MS
        rows = np.flatnonzero(rng.random(4) < 0.8)
        rise = np.where(rng.random(4) < 0.2, rng.integers(1, 3, 4), 0)
        counter[rows] += rise[rows]
        fields = {"power_w": np.full(len(rows), 95.0), "voltage_v": np.full(len(rows), 220.0)}
        step(engine, now, rows.tolist(), switch_count=counter[rows], **fields)
        for k in rows.tolist():
            near = before[k] and now - counts[k][-1][0] <= 45 * MIN_MS
            counts[k].append((now, 2.0 * rise[k] if near else 0.0))
            before[k] = True
            total = changes_within(counts[k], now, rule.params.within_ms, SLOTS)
            assert judge.state_of(f"lamp-{k}") == total
