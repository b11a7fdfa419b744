"""Every case of this folder is played, cut up, restarted and held to the slow twin; README.md says how to write one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules, parse_rules
from alerts.spans import duration_ms
from devices.batch import MARK_LATE, Batch, make_batch
from devices.kinds import Catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.yamlfile import Node, read_yaml
from simulators.oracle import Oracle, Told

HERE = Path(__file__).parent
RULES = HERE.parents[1] / "config" / "rules.yaml"
CASES = sorted(path.parent.name for path in HERE.glob("*/case.yaml"))
TICK_MS = 30_000
AFTER_MS = 3_600_000
NUMBER = r"-?\d+(?:\.\d+)?"
TOKEN = re.compile(rf"^(?:(_)|({NUMBER})(?:([+-])({NUMBER}))?)(?:x(\d+))?$")


@dataclass(frozen=True)
class Reading:
    """One message: who, when it was measured, when it arrives, and its values."""

    device: str
    time_ms: int
    arrives_ms: int
    values: dict[str, float]


@dataclass(frozen=True)
class Case:
    """One scenario, read."""

    rules: RuleSet
    registry: Registry
    sky: Sky
    start_ms: int
    end_ms: int
    readings: tuple[Reading, ...]
    told: list[str]


def series(text: str) -> list[float]:
    """Return the values that a line of the short notation stands for, NaN where there is none."""
    values: list[float] = []
    for word in text.split():
        found = TOKEN.match(word)
        assert found, f"'{word}' is not part of a series"
        gap, first, sign, change, times = found.groups()
        if gap:
            values += [np.nan] * int(times or 1)
        elif sign:
            step = float(change) if sign == "+" else -float(change)
            values += [round(float(first) + step * n, 9) for n in range(int(times or 0) + 1)]
        else:
            values += [float(first)] * int(times or 1)
    return values


def read_case(name: str, catalog: Catalog) -> Case:
    root = read_yaml(HERE / name / "case.yaml")
    root.only("about", "rules", "start", "step", "devices", "series", "held", "told", "after", "lighting")
    rules = rules_of(root, catalog)
    registry = Registry(catalog, [asset(key, node) for key, node in root.need("devices").items()])
    start = round(datetime.fromisoformat(root.need("start").text()).timestamp() * 1000)
    step = duration_ms(root.need("step"))
    table: dict[str, dict[str, list[float]]] = {}
    for key, node in root.need("series").items():
        device, _, field = key.partition(".")
        assert registry.catalog[registry.assets[registry.row[device]].kind].column(field) >= 0
        assert isinstance(node.value, str), f"{key}: put it in quotes: YAML reads 0x20 as a number to base sixteen"
        table.setdefault(device, {})[field] = series(node.value)
    held = {
        key: [duration_ms(one) for one in node.elements()]
        for key, node in (root.get("held") or Node({}, "", 0, "")).items()
    }
    readings = []
    steps = max(len(values) for fields in table.values() for values in fields.values())
    for number in range(steps):
        for device, fields in table.items():
            values = {f: v[number] for f, v in fields.items() if number < len(v) and not np.isnan(v[number])}
            if values:
                time = start + number * step
                since, until = held.get(device, [0, 0])
                late = start + until if start + since <= time < start + until else time
                readings.append(Reading(device, time, late, values))
    after = root.get("after")
    end = start + steps * step + (duration_ms(after) if after else AFTER_MS)
    told = [one.text() for one in root.need("told").elements()]
    sky = Sky(registry, "Asia/Shanghai", rules.lighting)
    return Case(rules, registry, sky, start, end, tuple(readings), told)


def rules_of(root: Node, catalog: Catalog) -> RuleSet:
    listed = root.need("rules")
    if all(isinstance(node.value, str) for node in listed.elements()):
        shipped = load_rules(RULES, catalog)
        return RuleSet(tuple(shipped[node.text()] for node in listed.elements()), shipped.lighting)
    keys = {"rules": listed} | ({"lighting": root.need("lighting")} if root.get("lighting") else {})
    return parse_rules(Node(keys, listed.file, listed.line, ""), catalog)


def asset(device: str, node: Node) -> Asset:
    return Asset(**{"id": device, "lon": 121.47, "lat": 31.23} | node.plain())


def moments(case: Case) -> list[int]:
    """Return the host times of all steps: ticks, and arrivals."""
    ticks = range(case.start_ms, case.end_ms + 1, TICK_MS)
    return sorted({*ticks, *(reading.arrives_ms for reading in case.readings)})


class Arrivals:
    """Hands out a case's readings as they arrive, marked late as the sieve marks them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.newest: dict[str, int] = {}

    def at(self, now_ms: int) -> list[tuple[Reading, bool]]:
        out = []
        for reading in self.case.readings:
            if reading.arrives_ms == now_ms:
                late = reading.time_ms < self.newest.get(reading.device, reading.time_ms)
                self.newest[reading.device] = max(reading.time_ms, self.newest.get(reading.device, reading.time_ms))
                out.append((reading, late))
        return out


def batches(case: Case, arrived: list[tuple[Reading, bool]], now_ms: int, size: int) -> list[Batch]:
    out = []
    for kind in case.registry.catalog:
        chosen = [one for one in arrived if case.registry.assets[case.registry.row[one[0].device]].kind == kind.name]
        for begin in range(0, len(chosen), size):
            part = chosen[begin : begin + size]
            values = np.full((len(kind.fields), len(part)), np.nan)
            for at, (reading, _) in enumerate(part):
                for field, value in reading.values.items():
                    values[kind.column(field), at] = value
            rows = [case.registry.row[reading.device] for reading, _ in part]
            batch = make_batch(kind, now_ms, [reading.time_ms for reading, _ in part], rows, values)
            batch.marks = np.array([MARK_LATE if late else 0 for _, late in part], dtype=np.uint8)
            out.append(batch)
    return out


def play(case: Case, *, size: int = 10_000, restart: bool = False) -> list[Told]:
    engine, arrivals, out = Engine(case.rules, case.registry, case.sky), Arrivals(case), []
    for now in moments(case):
        for c in engine.step(batches(case, arrivals.at(now), now, size), now):
            assert all(text and "–" not in text for text in c.message.values()), c.message
            out.append(Told(c.rule, c.entity, c.state, c.at_ms, c.onset_ms, c.reason))
        if restart and now % (4 * TICK_MS) == 0:
            saved = engine.save()
            engine = Engine(case.rules, case.registry, case.sky)
            engine.load(saved)
    return out


def twin(case: Case) -> list[Told]:
    oracle, arrivals, out = Oracle(case.rules, case.registry, case.sky), Arrivals(case), []
    for now in moments(case):
        oracle.begin(now)
        for reading, late in arrivals.at(now):
            row = case.registry.row[reading.device]
            out += oracle.reading(row, reading.time_ms, reading.values, now, late=late)
        out += oracle.tick(now)
    return out


def shown(case: Case, told: list[Told]) -> list[str]:
    return [
        f"{span(one.at_ms - case.start_ms)} {one.rule} {one.state} {one.entity.removeprefix('device:')} "
        f"since {span(one.onset_ms - case.start_ms)} {one.reason}".strip()
        for one in told
    ]


def span(length_ms: int) -> str:
    """Return a length of time as cases write it: the largest unit that is whole."""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if length_ms % size == 0 and length_ms:
            return f"{length_ms // size}{unit}"
    return f"{length_ms}ms" if length_ms else "0s"


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_told_as_written_however_it_is_played(name: str, catalog: Catalog) -> None:
    case = read_case(name, catalog)
    told = play(case)
    assert shown(case, told) == case.told
    assert sorted(play(case, size=1)) == sorted(told), "one reading a batch"
    assert play(case, restart=True) == told, "restarted"
    if all(rule.kind in ("expression", "offline") for rule in case.rules):
        assert sorted(twin(case)) == sorted(told), "the slow twin"


def test_a_series_is_read_as_the_notation_says() -> None:
    assert series("5 3x2 10+2x3 1-0.5x2") == [5, 3, 3, 10, 12, 14, 16, 1, 0.5, 0]
    assert np.isnan(series("_ _x2")).tolist() == [True] * 3
    with pytest.raises(AssertionError, match="'x3' is not part of a series"):
        series("x3")
