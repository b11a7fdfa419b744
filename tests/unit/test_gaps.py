"""Gaps: what is missing by the devices' own counters, and by their intervals across an absence."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from alerts.fleet import Fleet
from devices.batch import MARK_LATE, Batch, make_batch
from devices.kinds import Catalog, parse_kind
from devices.registry import Asset, Registry
from devices.sky import LightingSchedule, Sky
from devices.yamlfile import ConfigError, parse_yaml
from ingest.gaps import Gaps
from ingest.sieve import Sieve

KINDS = """
kind: {name}
en: Meter
zh: 表
roles: {{meter: 60}}
fields:
  flow_lps: {{unit: l/s, range: [0, 100], en: Flow, zh: 流量}}
  seq: {{type: int, range: [0, {high}], sequence: {sequence}, en: Message counter, zh: 消息流水号}}
"""
MIN_MS = 60_000
START_MS = 1_781_553_600_000


def declared(name: str = "meter", high: int = 65535, sequence: str = "true") -> str:
    text = KINDS.format(name=name, high=high, sequence=sequence)
    return text if sequence else text.replace(", sequence: ,", ",")


class City:
    """Meters with a counter and gauges without one, and the way of a batch up to the gaps."""

    def __init__(self, devices: int = 4, high: int = 65535) -> None:
        texts = [declared(high=high), declared("gauge", sequence="")]
        self.catalog = Catalog(parse_kind(parse_yaml(text, Path("kind.yaml"))) for text in texts)
        names = [("meter", n) for n in range(devices)] + [("gauge", n) for n in range(devices)]
        self.registry = Registry(self.catalog, [Asset(f"{kind}-{n:03d}", kind, "meter") for kind, n in names])
        self.fleet = Fleet(self.registry, Sky(self.registry, "Asia/Shanghai", LightingSchedule()))
        self.gaps, self.sieve = Gaps(self.registry), Sieve(len(self.registry))

    def batch(self, kind: str, rows: list[tuple[int, int, float]]) -> Batch:
        """Return readings of (device number, time, counter)."""
        first = int(self.registry.rows_of(kind)[0])
        values = [[1.0] * len(rows), [row[2] for row in rows]]
        times = [row[1] for row in rows]
        return make_batch(self.catalog[kind], START_MS + 86_400_000, times, [first + row[0] for row in rows], values)

    def take(self, kind: str, *rows: tuple[int, int, float]) -> None:
        batch, _ = self.sieve.sift(self.batch(kind, list(rows)))
        if not len(batch):
            return
        self.gaps.look([batch], self.fleet)
        live = self.fleet.live[kind]
        on_time = (batch.marks & MARK_LATE) == 0
        np.maximum.at(live.time_ms, live.local[batch.device[on_time]], batch.time_ms[on_time])


def at(minutes: float) -> int:
    return START_MS + round(minutes * MIN_MS)


NAN = float("nan")


def test_a_jump_of_a_counter_is_so_many_messages_missing_and_repeats_and_wraps_are_none() -> None:
    city = City(high=255)
    for minute, counter in enumerate((253, 254, 254, 255, 0, 1)):
        city.take("meter", (0, at(minute), counter))
    assert city.gaps.counted == {"meter": 0}
    city.take("meter", (0, at(9), 5))
    assert city.gaps.counted == {"meter": 3}
    city.take("meter", (0, at(10), 6), (1, at(10), 77), (0, at(12), 8))
    assert city.gaps.counted == {"meter": 4}, "within one batch too, and a device's first reading is no gap"


def test_a_reading_that_comes_late_fills_its_gap() -> None:
    city = City()
    for minute, counter in ((0, 10), (1, 11), (5, 15), (2, 12), (4, 14), (4, 14)):
        city.take("meter", (0, at(minute), counter))
    assert city.gaps.counted == {"meter": 1}
    city.take("meter", (0, at(3), 13))
    city.take("meter", (0, at(3.5), 13))
    assert city.gaps.counted == {"meter": 0}, "no more can come late than is missing"


@pytest.mark.parametrize(("before", "after"), [(40_000, 0), (500, 0), (7, 30_000)])
def test_a_counter_that_begins_anew_is_no_gap(before: int, after: int) -> None:
    city = City()
    city.take("meter", (0, at(0), before))
    city.take("meter", (0, at(1), after))
    city.take("meter", (0, at(2), after + 3))
    assert city.gaps.counted == {"meter": 2}
    assert city.gaps.resets == 1


def test_readings_without_the_counter_change_nothing() -> None:
    city = City()
    city.take("meter", (0, at(0), 5), (1, at(0), NAN))
    city.take("meter", (0, at(1), NAN), (1, at(1), NAN))
    city.take("meter", (0, at(2), 8))
    assert city.gaps.counted == {"meter": 2}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_counters_agree_with_a_count_one_by_one_whatever_is_lost_late_or_repeated(seed: int) -> None:
    draw = np.random.default_rng(seed)
    city, devices = City(devices=20, high=63), 20
    sent = [(n, at(minute + draw.uniform(0, 0.5)), minute % 64) for minute in range(200) for n in range(devices)]
    fate = draw.choice(4, len(sent), p=[0.9, 0.04, 0.03, 0.03])
    coming: list[tuple[int, tuple[int, int, int]]] = []
    for place, (reading, chosen) in enumerate(zip(sent, fate, strict=True)):
        edge = reading[1] < at(1) or reading[1] > at(199)
        if chosen != 1 or edge:
            coming.append((place, reading))
        if chosen == 2:
            coming.append((place + int(draw.integers(0, 100)), reading))
        if chosen == 3 and not edge:
            coming[-1] = (place + int(draw.integers(0, 100)), reading)
    coming.sort(key=lambda one: one[0])
    stream = [reading for _, reading in coming]
    for first in range(0, len(stream), 37):
        city.take("meter", *stream[first : first + 37])
    lost = len(set(sent)) - len(set(stream))
    assert lost > 50
    assert city.gaps.counted == {"meter": lost}


def test_nothing_is_estimated_while_nobody_was_away() -> None:
    city = City()
    city.take("gauge", (0, at(0), NAN))
    city.take("gauge", (0, at(30), NAN))
    assert not city.gaps.estimated


def test_an_absence_is_charged_with_the_reports_that_were_due_in_it_and_did_not_come() -> None:
    city = City(devices=5)
    city.take("gauge", *[(n, at(9 + n / 10), NAN) for n in (0, 1, 2)], (3, at(2), NAN))
    city.take("meter", *[(n, at(9.5), 100) for n in (0, 1)])
    absence = city.gaps.away(at(10), at(20))
    city.take("gauge", *[(0, at(minute), NAN) for minute in range(10, 22)])  # the queue had kept these
    city.take("gauge", (1, at(20.1), NAN), (3, at(20.1), NAN), (4, at(20.1), NAN))  # 3 was silent, 4 never heard before
    city.take("gauge", *[(2, at(minute), NAN) for minute in (10.2, 11.2, 12.2, 20.2)])
    assert (absence.counted, absence.estimated, absence.devices) == (0, 10 + 7, 2)
    city.take("meter", (0, at(20.5), 111), (1, at(20.5), 105))
    assert (absence.counted, absence.estimated, absence.devices) == (10 + 4, 17, 4)
    city.take("meter", (1, at(21.5), 109))
    assert absence.counted == 14, "what is missing later is not the absence's"
    assert city.gaps.counted == {"meter": 17}


def test_a_second_absence_lengthens_the_one_that_is_being_counted() -> None:
    city = City()
    city.take("gauge", (0, at(9), NAN), (1, at(9), NAN))
    city.gaps.away(at(10), at(13))
    city.take("gauge", (0, at(14), NAN))
    absence = city.gaps.away(at(16), at(18))
    city.take("gauge", (0, at(19), NAN), (1, at(19), NAN))
    assert (absence.from_ms, absence.until_ms, absence.devices) == (at(10), at(18), 2)
    assert absence.estimated == 3 + 4 + 8
    city.gaps.settle()
    city.take("gauge", (0, at(30), NAN))
    assert absence.estimated == 15


def test_a_restart_goes_on_where_it_was() -> None:
    city, after = City(), City(devices=5)
    city.take("meter", (0, at(0), 5), (1, at(0), 9))
    city.take("meter", (0, at(5), 8))
    city.gaps.away(at(6), at(9))
    after.gaps.load(city.gaps.save())
    after.fleet.live["meter"].time_ms[:2] = [at(5), at(0)]
    assert after.gaps.absence == city.gaps.absence
    after.take("meter", (0, at(10), 12), (1, at(10), 10))
    assert after.gaps.counted == {"meter": 3}
    assert after.gaps.absence is not None
    assert after.gaps.absence.counted == 3


def test_a_kind_says_which_field_is_its_counter_and_mistakes_are_named() -> None:
    def parse(text: str) -> object:
        return parse_kind(parse_yaml(text, Path("kind.yaml"))).sequence

    assert parse(declared()) == 1
    assert parse(declared(sequence="")) is None
    second = "  again: {type: int, range: [0, 255], sequence: true, en: Again, zh: 又}\n"
    for wrong, words in (
        (declared(high=7), "kind.yaml:8: fields.seq.sequence: expected true.*16 numbers or more"),
        (declared().replace("type: int, ", ""), "expected true, on a field of type int"),
        (declared(sequence="false"), "expected true"),
        (declared() + second, "one sequence number at most"),
        (declared(sequence="") + "facts:\n" + second, "the fact 'again' cannot be"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse(wrong)


def test_looking_costs_far_less_than_reading_does() -> None:
    city, count = City(devices=4096), 4096
    batches = [city.batch("meter", [(n, at(minute), minute) for n in range(count)]) for minute in range(40)]
    spent = time.process_time()
    for batch in batches:
        city.gaps.look([batch], city.fleet)
        city.fleet.live["meter"].time_ms[:] = batch.time_ms
    spent = time.process_time() - spent
    print(f"{spent / 40 / count * 1e9:.0f} ns a reading")
    assert spent / 40 / count < 1e-6
