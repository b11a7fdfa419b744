"""Schedule, loop and deviation rules against their slow twins, over random nights of cabinets and lamps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alerts.cycling import SLOTS
from alerts.engine import Engine
from alerts.rules import Rule, RuleSet, load_rules
from devices.batch import make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE
from simulators.oracle_feeders import BoxSeen, CycleTwin, DeviationTwin, Hours, LampSeen, LoopTwin, ScheduleTwin
from simulators.oracle_lighting import StandingTwin, UsualTwin
from simulators.oracle_route import Event

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules" / "lighting.yaml", CATALOG)
START_MS = 1_760_068_800_000  # 2025-10-10 12:00 in Shanghai
MIN_MS, HOUR_MS = 60_000, 3_600_000
ZONE = "Asia/Shanghai"
BOXES, EACH = 5, 9
RATED = np.tile(np.array([60.0, 100.0, 150.0]), EACH * BOXES // 3)
Told = list[tuple[str, Event]]


def registry() -> Registry:
    boxes = [Asset(f"box-{b}", "streetlight", "cabinet", lon=114.3, lat=30.6) for b in range(BOXES)]
    lamps = [
        Asset(f"lamp-{n:03d}", "streetlight", "lamp", lon=114.3, lat=30.6, cabinet=f"box-{n // EACH}",
              circuit="1", pole_index=n % EACH, facts={"rated_power_w": float(RATED[n])})
        for n in range(BOXES * EACH)
    ]  # fmt: skip
    return Registry(CATALOG, [*boxes, *lamps], centre=(114.3, 30.6))


class House:
    """An engine with one rule, and what the twins may know of what it was told."""

    def __init__(self, rule: Rule) -> None:
        self.known = registry()
        self.sky = Sky(self.known, ZONE, RULES.lighting)
        self.engine = Engine(RuleSet((rule,), RULES.lighting), self.known, self.sky, 10**9)
        self.boxes = [BoxSeen() for _ in range(BOXES)]
        self.lamps = [LampSeen(float(rated)) for rated in RATED]

    def step(self, now: int, rows: list[tuple[int, dict[str, float]]]) -> Told:
        kind = CATALOG["streetlight"]
        values = np.full((len(kind.fields), len(rows)), np.nan)
        for at, (row, fields) in enumerate(rows):
            for name, value in fields.items():
                values[kind.column(name), at] = value
            self._hear(row, fields, now)
        batch = make_batch(kind, now, [now] * len(rows), [row for row, _ in rows], values)
        told = self.engine.step([batch] if rows else [], now)
        return [(t.entity, Event(t.state == ACTIVE, t.at_ms, t.onset_ms)) for t in told]

    def _hear(self, row: int, fields: dict[str, float], now: int) -> None:
        if row < BOXES:
            box = self.boxes[row]
            box.seen_ms = now
            box.contactor = fields.get("contactor_on", box.contactor)
            box.feeder_w = fields.get("feeder_power_w", box.feeder_w)
            return
        lamp = self.lamps[row - BOXES]
        lamp.seen_ms, lamp.time_ms = now, now
        lamp.power_w = fields.get("power_w", lamp.power_w)
        lamp.command = fields.get("command_percent", lamp.command)

    def lamps_of(self, box: int) -> list[LampSeen]:
        return self.lamps[box * EACH : (box + 1) * EACH]

    def restart(self) -> None:
        saved = self.engine.save()
        self.engine = Engine(self.engine.rules, self.known, self.sky, 10**9)
        self.engine.load(saved)

    def hours(self, now: int) -> Hours:
        began, ended, _ = (int(one) for one in self.sky.nights(0, now))
        later = now
        while not (next_began := int(self.sky.nights(0, later)[0])) > now and not began <= now < ended:
            later += 30 * MIN_MS
        return Hours(began, ended, began if began <= now < ended else next_began, float(self.sky.sun_altitude_deg(now)))


def same(found: Told, expected: Told) -> None:
    key = lambda pair: (pair[1].at_ms, pair[0])  # noqa: E731
    assert sorted(found, key=key) == sorted(expected, key=key)
    assert {event.active for _, event in expected} == {True, False}


def fresh_ms(rule: Rule, role: str) -> int:
    kind = CATALOG["streetlight"]
    return int(rule.params.fresh.of(kind.report_s[kind.roles.index(role)]))


@pytest.mark.parametrize(("name", "seed"), [("cabinet_schedule", 0), ("cabinet_schedule", 1), ("cabinet_day_burn", 2)])
def test_a_cabinet_that_keeps_no_hours_is_told_as_its_slow_twin_says(name: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 11])
    rule = replace(RULES[name], keep_ms=90 * MIN_MS)
    house = House(rule)
    twins = [
        ScheduleTwin(
            rule.params, StandingTwin(rule.for_ms, rule.keep_ms), fresh_ms(rule, "cabinet"), fresh_ms(rule, "lamp")
        )
        for _ in range(BOXES)
    ]
    slow_min, forced, obeys = np.zeros(BOXES), np.full(BOXES, np.nan), np.ones(BOXES, dtype=bool)
    quiet, deaf = np.zeros(BOXES, dtype=bool), np.zeros(BOXES, dtype=bool)
    found, expected, now = Told(), Told(), START_MS
    for _ in range(3 * 288):
        now += 5 * MIN_MS
        slow_min = np.where(rng.random(BOXES) < 0.008, rng.choice([0, 25, -25, -80, 90], BOXES), slow_min)
        forced = np.where(rng.random(BOXES) < 0.012, rng.choice([np.nan, np.nan, 0.0, 1.0], BOXES), forced)
        if rng.random() < 0.005:
            forced[:] = rng.choice([np.nan, 1.0])  # somebody has switched the whole city
        obeys = np.where(rng.random(BOXES) < 0.01, ~obeys, obeys)
        quiet = np.where(rng.random(BOXES) < 0.01, ~quiet, quiet) & (rng.random(BOXES) < 0.9)
        deaf = np.where(rng.random(BOXES) < 0.01, ~deaf, deaf) & (rng.random(BOXES) < 0.9)
        rows: list[tuple[int, dict[str, float]]] = []
        for b in range(BOXES):
            shut = (
                bool(house.sky.expected_on(b, now - int(slow_min[b]) * MIN_MS))
                if np.isnan(forced[b])
                else bool(forced[b])
            )
            if not quiet[b]:
                rows.append((b, {"contactor_on": float(shut)} if rng.random() < 0.9 else {"door_open": 0.0}))
            command = 100.0 if shut == bool(obeys[b]) else 0.0
            if not deaf[b] and rng.random() < 0.4:
                rows += [
                    (BOXES + b * EACH + n, {"command_percent": command}) for n in range(EACH) if rng.random() < 0.8
                ]
        found += house.step(now, rows)
        closed = [twin.contactor(box, now) for twin, box in zip(twins, house.boxes, strict=True)]
        here = house.hours(now)
        for b, twin in enumerate(twins):
            rest = [*closed[:b], *closed[b + 1 :]]
            event = twin.look(now, here, house.lamps_of(b), closed=closed[b], others=rest)
            expected += [(f"device:box-{b}", event)] if event is not None else []
        if rng.random() < 0.05:
            house.restart()
    same(found, expected)


@pytest.mark.parametrize("seed", range(2))
def test_a_feeder_is_held_against_its_lamps_as_its_slow_twin_says(seed: int) -> None:
    rng = np.random.default_rng([seed, 12])
    rule = RULES["loop_current"]
    p = rule.params
    house = House(rule)
    twins = [
        LoopTwin(p, StandingTwin(rule.for_ms, rule.keep_ms), UsualTwin(p.nights, p.nights_min, p.readings_min),
                 fresh_ms(rule, "cabinet"), fresh_ms(rule, "lamp"))
        for _ in range(BOXES)
    ]  # fmt: skip
    meter = rng.uniform(0.9, 1.1, BOXES)
    extra, out, quiet = np.zeros(BOXES), np.zeros(BOXES * EACH, dtype=bool), np.zeros(BOXES * EACH, dtype=bool)
    level, silent, contactor = np.full(BOXES, 100.0), np.zeros(BOXES, dtype=bool), np.full(BOXES, np.nan)
    found, expected, now = Told(), Told(), START_MS
    while now < START_MS + 5 * 24 * HOUR_MS:
        on_for, off_for = int(house.sky.switched_on_for_ms(0, now)), int(house.sky.switched_off_for_ms(0, now))
        now += (5 if on_for >= 0 or rng.random() < 0.5 else 40) * MIN_MS
        on_for, off_for = int(house.sky.switched_on_for_ms(0, now)), int(house.sky.switched_off_for_ms(0, now))
        extra = np.where(rng.random(BOXES) < 0.006, rng.choice([0.0, 0.0, 0.3, -0.3, 0.1], BOXES), extra)
        level = np.where(rng.random(BOXES) < 0.004, rng.choice([100.0, 70.0, 40.0], BOXES), level)
        silent = np.where(rng.random(BOXES) < 0.01, ~silent, silent) & (rng.random(BOXES) < 0.9)
        contactor = np.where(rng.random(BOXES) < 0.004, rng.choice([np.nan, 1.0, 0.0], BOXES), contactor)
        out ^= rng.random(len(out)) < 0.0006
        quiet = np.where(rng.random(len(quiet)) < 0.002, ~quiet, quiet)
        burns = on_for >= 0
        draw = np.where(out, 1.0, RATED * np.repeat(level, EACH) / 100.0) * burns
        rows: list[tuple[int, dict[str, float]]] = []
        for b in range(BOXES):
            feeder = float(draw[b * EACH : (b + 1) * EACH].sum())
            feeder = feeder * meter[b] * (1 + extra[b]) + (150.0 if extra[b] == 0.3 else 0.0) + float(rng.normal(0, 5))
            fields = {"feeder_power_w": max(feeder, 0.0)} if rng.random() < 0.95 else {}
            fields |= {} if np.isnan(contactor[b]) else {"contactor_on": float(contactor[b])}
            if not silent[b] and fields:
                rows.append((b, fields))
        for n in np.flatnonzero(~quiet & (rng.random(len(quiet)) < 0.35)).tolist():
            told = {"power_w": float(draw[n])} | ({"command_percent": float(level[n // EACH])} if n % 4 else {})
            rows.append((BOXES + n, told))
        found += house.step(now, rows)
        night = int(house.sky.local_day(np.array([now - 12 * HOUR_MS]))[0])
        for b, twin in enumerate(twins):
            event = twin.look(house.boxes[b], house.lamps_of(b), now, night, on_for, off_for)
            expected += [(f"device:box-{b}", event)] if event is not None else []
        if rng.random() < 0.05:
            house.restart()
    same(found, expected)


@pytest.mark.parametrize("seed", range(2))
def test_a_lamp_is_held_against_its_own_past_nights_as_its_slow_twin_says(seed: int) -> None:
    rng = np.random.default_rng([seed, 13])
    rule, count = RULES["lamp_power"], 6
    house = House(rule)
    hold_ms = int(rule.params.hold.of(CATALOG["streetlight"].report_s[CATALOG["streetlight"].roles.index("lamp")]))
    twins = [DeviationTwin(rule.params, rule.for_ms, rule.keep_ms, hold_ms) for _ in range(count)]
    factor, command, quiet = np.ones(count), np.full(count, np.nan), np.zeros(count, dtype=bool)
    found, expected, now = Told(), Told(), START_MS
    for _ in range(12 * 96):
        now += 15 * MIN_MS
        factor = np.where(rng.random(count) < 0.02, rng.choice([1.0, 1.0, 0.8, 0.6, 1.5], count), factor)
        command = np.where(rng.random(count) < 0.01, rng.choice([np.nan, 100.0, 82.0, 75.0, 50.0], count), command)
        quiet = np.where(rng.random(count) < 0.02, ~quiet, quiet) & (rng.random(count) < 0.95)
        on_for = int(house.sky.switched_on_for_ms(BOXES, now))
        night = int(house.sky.local_day(np.array([now - 12 * HOUR_MS]))[0])
        rows: list[tuple[int, dict[str, float]]] = []
        for n in np.flatnonzero(~quiet & (rng.random(count) < 0.95)).tolist():
            share = 100.0 if np.isnan(command[n]) else float(command[n])
            power = float(RATED[n] * factor[n] * share / 100.0 * (1 + rng.normal(0, 0.03))) if on_for >= 0 else 0.4
            volt = float(rng.choice([220.0, 190.0], p=[0.95, 0.05]))
            fields = {"power_w": power, "voltage_v": volt}
            rows.append((BOXES + n, fields | ({} if np.isnan(command[n]) else {"command_percent": share})))
            judged = on_for > 15 * MIN_MS and volt == 220.0 and power > 0.003 * RATED[n] * share and share >= 70
            event = twins[n].reading(now, night, power, share) if judged else None
            expected += [(f"device:lamp-{n:03d}", event)] if event is not None else []
        found += [
            (entity, replace(event, reason="" if event.active else "recovered"))
            for entity, event in house.step(now, rows)
        ]
        if rng.random() < 0.05:
            house.restart()
    same(found, expected)


@pytest.mark.parametrize("seed", range(2))
def test_a_lamp_that_goes_on_and_off_is_told_as_its_slow_twin_says_and_not_when_its_neighbours_do(seed: int) -> None:
    rng = np.random.default_rng([seed, 14])
    plain = RULES["lamp_cycling"]
    rule = replace(plain, params=replace(plain.params, quiet_ms=2 * HOUR_MS))
    house = House(rule)
    kind = CATALOG["streetlight"]
    hold_ms = int(rule.params.hold.of(kind.report_s[kind.roles.index("lamp")]))
    twins = [CycleTwin(rule.params, rule.for_ms, hold_ms, SLOTS) for _ in range(BOXES * EACH)]
    wild, dips = np.zeros(len(twins)), np.zeros(BOXES)
    counter, quiet = np.zeros(len(twins)), np.zeros(len(twins), dtype=bool)
    found, expected, now = Told(), Told(), START_MS
    while now < START_MS + 30 * HOUR_MS:
        now += int(rng.choice([2, 5, 15])) * MIN_MS
        wild = np.where(rng.random(len(wild)) < 0.004, rng.choice([0.0, 0.0, 0.6], len(wild)), wild)
        dips = np.where(rng.random(BOXES) < 0.02, rng.choice([0.0, 0.5], BOXES, p=[0.7, 0.3]), dips)
        quiet = np.where(rng.random(len(quiet)) < 0.01, ~quiet, quiet)
        share = np.maximum(wild, np.repeat(dips, EACH))
        counter += rng.random(len(wild)) < share
        on_for = int(house.sky.switched_on_for_ms(BOXES, now))
        rows: list[tuple[int, dict[str, float]]] = []
        for n in np.flatnonzero(~quiet & (rng.random(len(quiet)) < 0.5)).tolist():
            power = float(RATED[n]) * (0.05 if rng.random() < share[n] / 2 else 0.95)
            volt = float(rng.choice([220.0, 100.0], p=[0.97, 0.03]))
            rows.append((BOXES + n, {"power_w": power, "voltage_v": volt, "switch_count": float(counter[n] % 65536)}))
            twins[n].reading(
                now, power / float(RATED[n]), float(counter[n]), held=on_for > 15 * MIN_MS and volt == 220.0
            )
        found += house.step(now, rows)
        for n, twin in enumerate(twins):
            box = n // EACH * EACH
            event = twin.end_of_step([one for one in twins[box : box + EACH] if one is not twin])
            expected += [(f"device:lamp-{n:03d}", event)] if event is not None else []
        if rng.random() < 0.05:
            house.restart()
    same(found, expected)
