"""False route alerts under bad reception: recorded drives with the noise of cities laid over them.

Run as ``python -m bench.reception FOLDER [copies]``; twelve copies of every drive are 684 vehicle hours a table column.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from alerts.reckoning import Fixes
from alerts.route_settings import RouteParams
from alerts.routewatch import RouteWatch
from bench.recorded import plainly, recorded_tracks
from devices.geometry import EARTH_M_PER_DEG
from simulators.recorded import Track

LEFT_OUT = "kubicka-00000002"  # truly leaves its route, see docs/measurements.md
EVERY_S = 15.0
PLACES = {"city": (12.0, 0.95, 0.5), "canyon": (20.0, 0.95, 2.0)}  # metres, correlation in 15 s, bursts an hour
BURST_M, BURST_S = 60.0, 60.0

SHIPPED = RouteParams()
RULES = {
    "dead reckoning": (replace(SHIPPED, far_m=1e9), True),
    "dead reckoning and 15 s beyond 200 m, as shipped": (SHIPPED, True),
    "as shipped, speed and heading not reported": (SHIPPED, False),
}


def doppler(way: Track) -> tuple[np.ndarray, np.ndarray]:
    """Speed (m/s) and heading (radians) at every fix, from the recorded motion within two seconds of it."""
    seconds = way.time_ms / 1000
    scale = EARTH_M_PER_DEG * np.cos(np.radians(way.lat.mean()))
    east, north = way.lon * scale, way.lat * EARTH_M_PER_DEG
    low = np.searchsorted(seconds, seconds - 2)
    high = np.minimum(np.searchsorted(seconds, seconds + 2, side="right") - 1, len(seconds) - 1)
    span = np.maximum(seconds[high] - seconds[low], 1e-3)
    east_v, north_v = (east[high] - east[low]) / span, (north[high] - north[low]) / span
    return np.hypot(east_v, north_v), np.mod(np.arctan2(east_v, north_v), 2 * np.pi)


def errors(seconds: np.ndarray, place: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """Position errors (n, 2) in metres: slow wander, and bursts that shift the position for a while."""
    sigma, correlation, rate = place
    wander = np.empty((len(seconds), 2))
    wander[0] = rng.normal(0, sigma, 2)
    steps = rng.normal(0, sigma * np.sqrt(1 - correlation**2), (len(seconds), 2))
    for at in range(1, len(seconds)):
        wander[at] = correlation * wander[at - 1] + steps[at]
    length = seconds[-1] - seconds[0]
    for _ in range(rng.poisson(rate * length / 3600)):
        begin = seconds[0] + rng.uniform() * length
        hit = (seconds >= begin) & (seconds < begin + rng.exponential(BURST_S))
        wander[hit] += rng.normal(0, BURST_M, 2)
    return wander


def noisy(ways: list[Track], place: tuple[float, float, float], copies: int) -> list[tuple[Track, np.ndarray]]:
    """Every drive so many times, thinned and disturbed, with (n, 2) of speed and heading as a receiver has them."""
    rng = np.random.default_rng(7)
    made = []
    for _ in range(copies):
        for way in ways:
            thin = way.thinned(EVERY_S)
            speed, heading = (column[np.isin(way.time_ms, thin.time_ms)] for column in doppler(way))
            error = errors(thin.time_ms / 1000, place, rng)
            scale = EARTH_M_PER_DEG * np.cos(np.radians(way.lat.mean()))
            moved = replace(thin, lon=thin.lon + error[:, 0] / scale, lat=thin.lat + error[:, 1] / EARTH_M_PER_DEG)
            speed = np.maximum(speed + rng.normal(0, 0.3, len(speed)), 0)
            made.append((moved, np.column_stack([speed, heading + rng.normal(0, 0.05, len(heading))])))
    return made


def alerts(drives: list[tuple[Track, np.ndarray]], params: RouteParams, *, with_speed: bool) -> int:
    """How many alerts the rule raises over all drives, each a vehicle of its own."""
    watch = RouteWatch([way.permits() for way, _ in drives], lambda time: np.zeros(len(time), np.int64), params)
    raised = 0
    for turn in range(max(len(way.time_ms) for way, _ in drives)):
        truck = np.array([k for k, (way, _) in enumerate(drives) if turn < len(way.time_ms)])
        columns = [
            (way.time_ms[turn], way.lon[turn], way.lat[turn], *more[turn]) for way, more in drives if turn < len(more)
        ]
        time, lon, lat, speed, heading = np.array(columns).T
        if not with_speed:
            speed = heading = np.full(len(truck), np.nan)
        east, north = watch.to_metres(truck, lon, lat)
        told = watch.step(Fixes(truck, time.astype(np.int64), east, north, speed, heading))
        raised += sum(verdict.active for verdict in told)
    return raised


def main() -> None:
    folder, copies = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 12
    ways = [way for way in recorded_tracks(folder) if way.device != LEFT_OUT]
    for name, place in PLACES.items():
        drives = noisy(ways, place, copies)
        hours = sum((way.time_ms[-1] - way.time_ms[0]) / 3_600_000 for way, _ in drives)
        print(f"{name}: {hours:.0f} vehicle hours, {sum(len(way.time_ms) for way, _ in drives)} fixes")
        print(f"  the plain rule: {sum(len(plainly(way)) for way, _ in drives)} alerts", flush=True)
        for label, (params, with_speed) in RULES.items():
            print(f"  {label}: {alerts(drives, params, with_speed=with_speed)} alerts", flush=True)


if __name__ == "__main__":
    main()
