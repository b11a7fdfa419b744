"""Rise, sequence, source silent and clock rules against their slow twins, over random devices."""

from pathlib import Path

import numpy as np
import pytest

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from devices.batch import MARK_FUTURE, Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, Transition
from simulators.oracle_events import ClockTwin, RiseTwin, SequenceTwin, SourceTwin
from simulators.oracle_route import Event

CATALOG = load_catalog()
CONFIG = Path(__file__).parents[2] / "config"
START = 1_760_104_800_000
MIN = 60_000


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> RuleSet:
    own = tmp_path_factory.mktemp("rules") / "rules.yaml"
    own.write_text(f"include: [{CONFIG / 'rules/manholes.yaml'}, {CONFIG / 'rules/system.yaml'}]\n", encoding="utf-8")
    return load_rules(own, CATALOG)


def engine_of(rules: RuleSet, rule: str, assets: list[Asset]) -> Engine:
    registry = Registry(CATALOG, assets, centre=(121.0, 31.0))
    return Engine(
        RuleSet((rules[rule],), rules.lighting), registry, Sky(registry, "Asia/Shanghai", rules.lighting), 10**9
    )


def covers(count: int, gateways: int = 1) -> list[Asset]:
    return [
        Asset(
            f"cover-{k}",
            "manhole",
            "cover",
            f"cover-{k}",
            121.0,
            31.0,
            facts={"depth_m": 3.0, "gateway": float(k % gateways)},
        )
        for k in range(count)
    ]


def batch_of(rows: list[tuple[int, int, dict[str, float]]], now: int) -> Batch:
    kind = CATALOG["manhole"]
    values = np.full((len(kind.fields), len(rows)), np.nan)
    for at, (_, _, fields) in enumerate(rows):
        for name, value in fields.items():
            values[kind.column(name), at] = value
    return make_batch(kind, now, [row[1] for row in rows], [row[0] for row in rows], values)


def told(found: list[Transition]) -> list[tuple[str, Event]]:
    return sorted((t.entity, Event(t.state == ACTIVE, t.at_ms, t.onset_ms, t.reason)) for t in found)


def named(row: int, event: Event | None) -> list[tuple[str, Event]]:
    return [] if event is None else [(f"device:cover-{row}", event)]


@pytest.mark.parametrize("seed", range(4))
def test_a_rise_is_what_the_twin_says(rules: RuleSet, seed: int) -> None:
    rng, n = np.random.default_rng(seed), 5
    engine = engine_of(rules, "gas_h2s_rising", covers(n))
    twins = [RiseTwin(5.0, 5.0 / 3, 10 * MIN, 3, 5 * MIN, 10 * MIN) for _ in range(n)]
    level, slope = np.full(n, 2.0), np.zeros(n)
    seen, now = 0, START
    for _ in range(900):
        now += int(rng.choice([MIN, MIN, 3 * MIN, 20 * MIN]))
        slope = np.where(rng.random(n) < 0.1, rng.choice([0.0, 0.0, 1.5, -1.0], n), slope)
        level = np.clip(level + slope, 0.0, 30.0)
        speaking = np.flatnonzero(rng.random(n) < 0.8).tolist()
        found = told(engine.step([batch_of([(k, now, {"h2s_ppm": float(level[k])}) for k in speaking], now)], now))
        wanted = [one for k in speaking for one in named(k, twins[k].reading(now, float(level[k])))]
        assert found == sorted(wanted)
        seen += len(found)
        if rng.random() < 0.1:
            saved = engine.save()
            engine = engine_of(rules, "gas_h2s_rising", covers(n))
            engine.load(saved)
    assert seen > 0


@pytest.mark.parametrize("seed", range(4))
def test_a_sequence_is_what_the_twin_says(rules: RuleSet, seed: int) -> None:
    rng, n = np.random.default_rng(seed), 5
    engine = engine_of(rules, "cover_moved", covers(n))
    twins = [SequenceTwin(10 * MIN, 10 * MIN, 10 * MIN) for _ in range(n)]
    seen, now = 0, START
    for _ in range(400):
        now += MIN
        rows, wanted = [], []
        for k in np.flatnonzero(rng.random(n) < 0.5).tolist() if rng.random() < 0.7 else []:
            shake = float(rng.choice([0.0, 3.0], p=[0.93, 0.07]))
            locked, tilt = float(rng.random() < 0.8), float(rng.choice([1.0, 60.0], p=[0.95, 0.05]))
            rows.append((k, now, {"vibration_g": shake, "locked": locked, "tilt_deg": tilt}))
            first = shake > 1 and locked == 1
            wanted += named(k, twins[k].reading(now, now, first=first, then=tilt > 10, off=tilt < 5))
        wanted += [one for k in range(n) for one in named(k, twins[k].tick(now))]
        found = told(engine.step([batch_of(rows, now)] if rows else [], now))
        assert found == sorted(wanted)
        seen += len(found)
    assert seen > 0


@pytest.mark.parametrize("seed", range(4))
def test_a_silent_source_is_what_the_twin_says(rules: RuleSet, seed: int) -> None:
    rng, n, cells = np.random.default_rng(seed), 120, 3
    engine = engine_of(rules, "source_silent", covers(n, cells))
    sources = {"city:*": [f"{k}" for k in range(n)]}
    sources |= {f"gateway:{g}": [f"{k}" for k in range(n) if k % cells == g] for g in range(cells)}
    twin = SourceTwin({f"{k}": 60 * MIN for k in range(n)}, sources, 20, 0.5, 0.2, 2 * MIN, 30_000, MIN)
    due = START + rng.integers(0, 30 * MIN, n)
    mute = dict.fromkeys(range(cells), (START, START))
    seen, now = 0, START
    for number in range(700):
        now += MIN
        if number % 100 == 60:
            whole = rng.random() < 0.4
            for g in range(cells):
                if whole or rng.random() < 0.5:
                    mute[g] = (now, now + int(rng.integers(70, 200)) * MIN)
        rows = []
        for k in np.flatnonzero(due <= now).tolist():
            due[k] += 30 * MIN
            if not mute[k % cells][0] <= now < mute[k % cells][1]:
                rows.append((k, now, {"tilt_deg": 1.0}))
                twin.seen_ms[f"{k}"] = now
        found = told(engine.step([batch_of(rows, now)] if rows else [], now))
        assert found == sorted(twin.tick(now)), number
        seen += len(found)
        if rng.random() < 0.05:
            saved = engine.save()
            engine = engine_of(rules, "source_silent", covers(n, cells))
            engine.load(saved)
    assert seen > 0


@pytest.mark.parametrize("seed", range(4))
def test_a_wrong_clock_is_what_the_twin_says_also_when_all_it_says_is_late(rules: RuleSet, seed: int) -> None:
    rng, n = np.random.default_rng(seed), 4
    engine = engine_of(rules, "clock_skew", covers(n))
    twins = [ClockTwin(2 * MIN, 10 * MIN, 20, 11) for _ in range(n)]
    offset = np.zeros(n, dtype=np.int64)
    seen, now = 0, START
    for _ in range(400):
        now += MIN
        offset = np.where(rng.random(n) < 0.03, rng.choice([0, 0, 480, -480, 5, -5], n) * MIN, offset)
        wanted, batches = [], []
        for k in np.flatnonzero(rng.random(n) < 0.8).tolist():
            sent = [now + int(offset[k]) - int(back) * MIN for back in range(int(rng.integers(1, 4)))]
            batch = batch_of([(k, now if at > now + 2 * MIN else at, {"tilt_deg": 1.0}) for at in sent], now)
            batch.sent_ms = np.array(sent, dtype=np.int64)
            batch.marks = np.where(batch.sent_ms > now + 2 * MIN, MARK_FUTURE, 0).astype(np.uint8)
            batches += [batch.take(np.array([row])) for row in rng.permutation(len(sent))]
            wanted += named(k, twins[k].step(sent, now))
        found = told(engine.step(batches, now))
        assert found == sorted(wanted)
        seen += len(found)
    assert seen > 0
