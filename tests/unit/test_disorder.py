"""Messages that come again, and messages that come out of order: what is stored, and what the rules make of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.engine import Engine
from alerts.rules import parse_rules
from devices.batch import MARK_LATE, Batch
from devices.payloads import Decoder
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.topics import up
from devices.transition import Transition
from devices.yamlfile import parse_yaml
from ingest.inbox import Delivery
from ingest.sieve import Sieve
from lamplighter.clock import Clock
from lamplighter.settings import City, Settings
from lamplighter.wiring import House
from storage.operations import Operations
from tests.small_house import CATALOG, CITY, NIGHT_MS, ZONE, Sent

RULES = """
rules:
  - {id: tilted, device: manhole, on: tilt_deg > 10, severity: major, message: {en: "{value}", zh: "{value}"}}
  - id: tilted_thrice
    device: manhole
    on: tilt_deg > 10
    samples: 3
    severity: major
    message: {en: "{value}", zh: "{value}"}
  - id: tilted_long
    device: manhole
    on: tilt_deg > 10
    off: tilt_deg < 5
    for: 40s
    keep: 20s
    severity: critical
    message: {en: "{value}", zh: "{value}"}
"""
COVERS = [Asset(f"cover-000{n}", "manhole", "cover") for n in range(3)]
REGISTRY = Registry(CATALOG, COVERS)
PARSED = parse_rules(parse_yaml(RULES, "rules.yaml"), CATALOG, RULES)
SKY = Sky(REGISTRY, ZONE, PARSED.lighting)
KIND = CATALOG["manhole"]
TILT = KIND.column("tilt_deg")

Row = tuple[int, int, float]  # cover, seconds, degrees


def message(row: Row) -> Sent:
    cover, second, tilt = row
    body = {"ts": NIGHT_MS + 1000 * second, "tilt_deg": tilt}
    return Sent(up(CITY, "manhole", f"cover-000{cover}"), json.dumps(body).encode())


class Chain:
    """Decoder, sieve and engine as the loop joins them, for groups that arrive 61 s after they were measured."""

    def __init__(self) -> None:
        self.decoder = Decoder(REGISTRY, CITY)
        self.sieve = Sieve(len(REGISTRY))
        self.engine = Engine(PARSED, REGISTRY, SKY)
        self.kept: list[tuple[int, int, float, bool]] = []
        self.changes: list[Transition] = []

    def take(self, rows: Sequence[Row], second: int) -> list[Row]:
        """Take one group; return the rows of it that came late."""
        now_ms = NIGHT_MS + 1000 * (second + 61)
        batches = [self.sieve.sift(batch)[0] for batch in self.decoder.decode(list(map(message, rows)), now_ms).batches]
        found = [one for batch in batches for one in plain(batch)]
        self.kept += found
        self.changes += self.engine.step(batches, now_ms)
        return [(cover, second, tilt) for cover, second, tilt, late in found if late]

    def told(self) -> list[tuple[str, str, str, int, int]]:
        return sorted((one.rule, one.entity, one.state, one.onset_ms, one.at_ms) for one in self.changes)


def plain(batch: Batch) -> list[tuple[int, int, float, bool]]:
    seconds = ((batch.time_ms - NIGHT_MS) // 1000).tolist()
    late = ((batch.marks & MARK_LATE) != 0).tolist()
    return list(zip(batch.device.tolist(), seconds, batch.values[TILT].tolist(), late, strict=True))


# Every cover reports once in each ten seconds; what it shows is drawn.
TILTS = st.lists(st.tuples(*[st.sampled_from([0.0, 7.0, 20.0])] * 3), min_size=1, max_size=12)


def stream(tilts: Sequence[Sequence[float]]) -> list[Row]:
    return [(cover, 10 * turn, tilt) for turn, each in enumerate(tilts) for cover, tilt in enumerate(each)]


@settings(max_examples=60, deadline=None)
@given(TILTS, st.data())
def test_within_a_group_the_order_of_arrival_makes_no_difference(
    tilts: list[tuple[float, ...]], data: st.DataObject
) -> None:
    rows = stream(tilts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    sorted_run, shuffled_run = Chain(), Chain()
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        second = rows[end - 1][1] if end else 0
        sorted_run.take(rows[start:end], second)
        late = shuffled_run.take(data.draw(st.permutations(rows[start:end])), second)
        assert late == []
    assert shuffled_run.told() == sorted_run.told()
    assert sorted(shuffled_run.kept) == sorted(sorted_run.kept)


@settings(max_examples=60, deadline=None)
@given(TILTS, st.data())
def test_readings_up_to_a_minute_late_are_stored_and_alerts_are_those_of_the_run_without_them(
    tilts: list[tuple[float, ...]], data: st.DataObject
) -> None:
    rows = stream(tilts)
    delays = data.draw(st.lists(st.sampled_from([0, 0, 0, 15, 30, 60]), min_size=len(rows), max_size=len(rows)))
    arrivals: dict[int, list[Row]] = {}
    for row, delay in zip(rows, delays, strict=True):
        arrivals.setdefault((row[1] + delay) // 10 * 10, []).append(row)
    shuffled, without_late = Chain(), Chain()
    newest: dict[int, int] = {}
    for second in range(0, 10 * len(tilts) + 70, 10):
        group = data.draw(st.permutations(arrivals.get(second, [])))
        late = shuffled.take(group, second)
        assert sorted(late) == sorted(row for row in group if row[1] < newest.get(row[0], -1))
        newest |= {cover: max(newest.get(cover, -1), at) for cover, at, _ in sorted(group)}
        without_late.take([row for row in group if row not in late], second)
    assert shuffled.told() == without_late.told()
    assert sorted(row[:3] for row in shuffled.kept) == sorted(rows), "each reading is stored once, late or not"


@settings(max_examples=40, deadline=None)
@given(TILTS, st.integers(1, 5), st.data())
def test_everything_several_times_in_any_order_gives_the_same_alerts_and_each_reading_once(
    tilts: list[tuple[float, ...]], times: int, data: st.DataObject
) -> None:
    rows = stream(tilts)
    once, often = Chain(), Chain()
    for turn in range(len(tilts)):
        group = rows[3 * turn : 3 * turn + 3]
        once.take(group, 10 * turn)
        again = data.draw(st.lists(st.sampled_from(rows[: 3 * turn + 3]), max_size=6))
        often.take(data.draw(st.permutations([*group * times, *again])), 10 * turn)
    assert often.told() == once.told()
    assert often.kept == once.kept or sorted(often.kept) == sorted(once.kept)


def test_three_readings_are_three_readings_and_not_one_that_came_ten_times() -> None:
    chain = Chain()
    for _ in range(10):
        chain.take([(0, 0, 20.0)], 0)
    assert {one[0] for one in chain.told()} == {"tilted"}
    for second in (10, 20):
        chain.take([(0, second, 20.0)] * 10, second)
    assert {one[0] for one in chain.told()} == {"tilted", "tilted_thrice"}


def test_a_late_reading_neither_opens_nor_closes_an_alert() -> None:
    chain = Chain()
    chain.take([(0, 30, 20.0), (1, 30, 0.0)], 30)
    assert chain.take([(0, 10, 0.0), (1, 10, 20.0)], 40) == [(0, 10, 0.0), (1, 10, 20.0)]
    assert [one[:3] for one in chain.told()] == [("tilted", "device:cover-0000", "active")]


def evening() -> list[list[Delivery]]:
    """Return six groups of a minute each: covers that tilt, and one message that nobody can read."""
    groups = []
    for minute in range(6):
        rows = [(0, 60 * minute, 20.0 * (1 <= minute <= 3)), (1, 60 * minute, 12.0), (2, 60 * minute, 0.0)]
        group = [Delivery(one.topic, one.payload, 1, 0) for one in map(message, rows)]
        groups.append([*group, Delivery(up(CITY, "manhole", "cover-0002"), b"nonsense", 1, 0)])
    return groups


def lived(folder: Path, groups: Callable[[int], list[list[Delivery]]], lives: int) -> tuple[list[Any], Any]:
    """Take groups the whole way, in so many lives of one house; return its alerts and its ledger."""
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    (folder / "data").mkdir()
    wanted = Settings(city=City(id=CITY, timezone=ZONE), data=folder / "data", rules=folder / "rules.yaml")
    operations = Operations(wanted.operations_url())
    operations.import_assets(COVERS)
    operations.close()
    for life in range(lives):
        house = House(wanted, Clock(NIGHT_MS + 400_000, None, 2.0))
        session: Any = house.session
        session.acknowledge = lambda _: None
        house.recover()

        async def walk(house: House = house, life: int = life) -> None:
            for group in groups(life):
                await house.watch.group(group)

        asyncio.run(walk())
        house.journal.sync()
        house.shipper.drain()
        alerts = [(row.rule, row.entity, row.onset_ms, row.state) for row in house.operations.alerts(limit=100)]
        ledger = house.ledger()
        points = house.timeseries.history("manhole", "cover-0000", ["tilt_deg"], 0, NIGHT_MS * 2, 1000)
        house.close()
    assert len(points.time_ms) == 6
    return sorted(alerts), ledger.lines["manhole"]


@pytest.mark.parametrize("lives", [1, 2], ids=["in one life", "with a restart between"])
def test_a_whole_evening_ten_times_over_is_stored_and_judged_once(tmp_path: Path, lives: int) -> None:
    once, line = lived(tmp_path / "once", lambda _: evening(), 1)
    assert (line.received, line.stored, line.quarantined, line.duplicate) == (24, 18, 6, 0)
    often, line = lived(tmp_path / "often", lambda _: [group * (10 // lives) for group in evening()], lives)
    assert often == once
    assert {rule for rule, *_ in once} == {"tilted", "tilted_thrice", "tilted_long"}
    assert (line.received, line.stored, line.pending) == (240, 18, 0)
    assert (line.quarantined, line.duplicate) == (60, 162), "what cannot be read cannot be recognised either"
