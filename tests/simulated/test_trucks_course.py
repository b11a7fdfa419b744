"""The trucks course: every fault shows in what terminals send as it should, and the truth says when."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from alerts.corridor import Corridors
from alerts.fence import Areas
from alerts.rules import load_rules
from devices.batch import Batch
from devices.kinds import load_catalog
from simulators.course import Size
from simulators.courses.trucks import SLEEP, TruckCourse, build
from simulators.faults import Fault
from simulators.injectors.trucks import INJECTORS
from simulators.weather import HOUR_MS
from simulators.world import batches

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules" / "trucks.yaml", CATALOG)
KIND = CATALOG["truck"]


@lru_cache
def played() -> tuple[TruckCourse, Batch]:
    """Return a course of forty trucks and one night with faults, and all that is sent in it."""
    course = build(3, Size(40, 1, 2), CATALOG, RULES)
    told = course.trucks.tick(course.start_ms, course.end_ms)
    return course, batches(told, CATALOG, course.end_ms)[0]


def shown(kind: str) -> Iterator[tuple[Fault, Batch]]:
    """Yield the faults of a kind that were seen, each with what its truck sent from then on, until its end."""
    course, every = played()
    for fault in course.truth():
        if fault.kind == kind and fault.seen_ms:
            row = course.registry.row[fault.targets[0]]
            kept = (every.device == row) & (every.time_ms >= fault.seen_ms) & (every.time_ms < fault.off_ms + HOUR_MS)
            yield fault, every.take(np.flatnonzero(kept))


def column(batch: Batch, name: str) -> np.ndarray:
    return batch.values[KIND.column(name)]


def off_route(batch: Batch, truck: str) -> np.ndarray:
    course, _ = played()
    route = next(p.route for p in course.registry.permits if p.truck == truck)
    metres = course.registry.projection.to_metres
    line = Corridors([metres(*np.array(route).T)])
    east, north = metres(column(batch, "lon_deg"), column(batch, "lat_deg"))
    zero = np.zeros(len(batch), dtype=np.int64)
    return line.nearest(zero, east, north, zero - 1, np.zeros(len(batch)))[0]


def test_the_same_seed_gives_the_same_course_however_time_is_handed_in() -> None:
    course = build(3, Size(40, 1, 2), CATALOG, RULES)
    _, whole = played()
    pieces = []
    for now in range(course.start_ms, course.end_ms, 7 * HOUR_MS):
        told = course.trucks.tick(now, min(now + 7 * HOUR_MS, course.end_ms))
        pieces += batches(told, CATALOG, now)
    assert np.array_equal(np.concatenate([p.time_ms for p in pieces]), whole.time_ms)
    assert np.array_equal(np.concatenate([p.values for p in pieces], axis=1), whole.values, equal_nan=True)


def test_most_kinds_of_fault_are_seen_in_one_night_and_none_before_it_begins() -> None:
    course, _ = played()
    truth = course.truth()
    assert {fault.kind for fault in truth} >= {one.kind for one in INJECTORS if one.confounder}
    seen = {fault.kind for fault in truth if fault.seen_ms}
    assert len([one for one in INJECTORS if not one.confounder and one.kind not in seen]) <= 2
    assert all(fault.seen_ms == 0 or fault.on_ms <= fault.seen_ms for fault in truth)


def test_trucks_at_work_report_every_quarter_of_a_minute_and_sleeping_ones_seldom() -> None:
    course, every = played()
    mine = every.device == course.registry.row["truck-001"]
    steps = np.diff(every.time_ms[mine])
    working = column(every, "ignition")[mine][:-1] > 0
    assert np.median(steps[working]) == 15_000
    assert steps[~working].max() <= SLEEP * 15_000
    assert np.bincount((column(every, "hdop") * 5).astype(np.int64)).astype(bool).sum() > 5  # open sky to canyon


@pytest.mark.parametrize("kind", ["detour", "parallel"])
def test_a_truck_that_strays_is_as_far_from_its_route_as_the_truth_says(kind: str) -> None:
    for fault, sent in shown(kind):
        far = np.percentile(off_route(sent.take(np.arange(40)), fault.targets[0]), 80)
        assert far > (200.0 if kind == "detour" else 0.6 * fault.magnitude)


def test_a_truck_in_a_compound_is_inside_a_fence_of_the_registry() -> None:
    course, _ = played()
    areas = Areas(course.registry, course.registry.fences)
    for _, sent in shown("fence_incursion"):
        east, north = course.registry.projection.to_metres(column(sent, "lon_deg"), column(sent, "lat_deg"))
        assert areas.depth(east[:6], north[:6], sent.time_ms[:6], course.sky.local_minute).max() > 30


def test_what_is_dumped_beside_the_road_is_gone_from_the_load_cell_while_the_bed_is_up() -> None:
    for _, sent in shown("illegal_dump"):
        assert column(sent, "bed_angle_deg")[0] > 20
        assert column(sent, "speed_kmh")[0] == 0
        assert column(sent, "load_t")[0] > 8
        assert column(sent, "load_t")[:12].min() < 2


def test_bits_speeds_and_silence_show_what_the_truth_says() -> None:
    for _, sent in shown("power_pulled"):
        assert int(column(sent, "alarm_bits")[0]) & 1 << 8
        assert column(sent, "ignition")[0] == 1
    for fault, sent in shown("overspeed"):
        assert column(sent, "speed_kmh")[:2].max() > 57 + fault.magnitude
    for fault, sent in shown("plug_pulled"):
        assert sent.time_ms[0] >= fault.off_ms
    for fault, sent in shown("overweight"):
        assert column(sent, "load_t")[0] > 0.93 * fault.magnitude * 18
    for _, sent in shown("gps_frozen"):
        assert len(np.unique(column(sent, "lon_deg")[:8])) == 1
        assert column(sent, "speed_kmh")[0] > 10
