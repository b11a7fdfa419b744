"""Route deviation on recorded drives: against their own roads, against permits that they break, beside the plain rule.

The figures stand in docs/measurements.md, computed by ``python -m bench.recorded``.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import reception
from bench.recorded import delays, judged, named, plainly, recorded_tracks
from devices.geometry import LocalProjection
from devices.transition import ACTIVE
from simulators.detours import Detour, cut, moved_to
from simulators.recorded import Track

pytestmark = pytest.mark.shared_data
WALKER = "kubicka-00000002"  # a walk at 1.3 m/s whose last ten minutes leave the mapped roads by half a kilometre


@pytest.fixture(scope="module")
def ways(shared_data: Path) -> list[Track]:
    return recorded_tracks(shared_data)


def alerts_of(ways: list[Track]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for transition in judged(ways):
        if transition.state == ACTIVE:
            found[transition.entity.removeprefix("device:")].append(transition.at_ms)
    return found


@pytest.mark.parametrize("seconds", [1, 15, 30])
def test_no_vehicle_on_its_own_roads_is_accused_but_the_walker_who_left_them(ways: list[Track], seconds: int) -> None:
    assert set(alerts_of([way.thinned(seconds) for way in ways])) <= {WALKER}


def test_the_walker_is_alerted_where_the_walk_is_hundreds_of_metres_from_any_permitted_road(
    ways: list[Track],
) -> None:
    walk = next(way for way in ways if way.device == WALKER)
    [told] = [t for t in judged([walk]) if t.state == ACTIVE]
    assert told.values["distance_m"] > 250
    assert told.values["outside_m"] > 270
    assert told.at_ms - walk.time_ms[0] > 8_000_000, "the walk is far along before it leaves its roads"
    assert plainly(walk), "the plain rule says the same"


@pytest.fixture(scope="module")
def broken(ways: list[Track]) -> list[tuple[Track, Detour]]:
    """Every drive, reporting every five seconds, against its route led aside by a kilometre over two."""
    cases = [(way, cut(way, 2000.0, aside=True)) for way in ways]
    return [(way.thinned(5), case) for way, case in cases if case is not None]


def ms_to_drive(way: Track, case: Detour, metres: float) -> int:
    """How long after leaving the drive had done so much: no rule that asks for 300 m can tell a slow one sooner."""
    here = (way.time_ms >= case.left_ms) & (way.time_ms <= case.back_ms)
    flat = LocalProjection(float(np.median(way.lon)), float(np.median(way.lat)))
    east, north = flat.to_metres(way.lon[here], way.lat[here])
    done = np.cumsum(np.hypot(np.diff(east), np.diff(north)))
    return int(way.time_ms[here][1:][min(np.searchsorted(done, metres), len(done) - 1)] - case.left_ms)


def test_a_drive_past_a_detour_of_its_permit_is_found_within_150_seconds(broken: list[tuple[Track, Detour]]) -> None:
    assert len(broken) >= 50
    alerts = alerts_of([replace(way, pieces=case.track.pieces) for way, case in broken])
    late = {way.device: delays(alerts[way.device], case) for way, case in broken}
    plain = [delays(plainly(replace(way, pieces=case.track.pieces)), case) for way, case in broken]
    for way, case in broken:
        delay = late[way.device]
        assert delay is not None
        assert delay <= max(150_000, ms_to_drive(way, case, 330.0) + 5_000), (way.device, delay)
    assert sum(delay <= 150_000 for delay in late.values() if delay is not None) >= len(broken) - 2
    assert sum(delay is not None for delay in late.values()) > sum(delay is not None for delay in plain)
    assert np.median([d for d in late.values() if d is not None]) < np.median([d for d in plain if d is not None])


def test_a_drive_on_another_vehicles_permit_is_found(ways: list[Track]) -> None:
    others = [named(moved_to(way, ways[(k + 1) % len(ways)]), "other").thinned(15) for k, way in enumerate(ways)]
    assert set(alerts_of(others)) == {way.device for way in others}


def test_under_the_noise_of_street_canyons_dead_reckoning_spares_most_false_alerts(ways: list[Track]) -> None:
    drives = reception.noisy([way for way in ways if way.device != WALKER], reception.PLACES["canyon"], 8)
    plain = sum(len(plainly(way)) for way, _ in drives)
    shipped = reception.alerts(drives, reception.SHIPPED, with_speed=True)
    assert plain >= 10
    assert shipped * 3 <= plain
