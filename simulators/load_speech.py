"""What devices say when a whole city speaks: values that make sense together, of one width, drawn beforehand by seed.

A pool is a few thousand lines of JSON fields that a frame takes in turn. Numbers are padded with blanks, which JSON
allows, so that every line of a pool, quiet or faulty, has the same number of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Facts = Mapping[str, float]

LINES = 2039  # in a pool; a prime, so that a device does not say the same thing lap after lap
FAULT_LINES = 61
LOOP_POINTS = 64  # places on a truck's round
LOOP_M = 150.0  # radius of the round that a truck drives about its depot
TRUCK_KMH = 30.0


@dataclass(frozen=True, slots=True)
class Pools:
    """What one group of devices may say: (lines, bytes) each, of one width.

    Attributes:
        lit, dark: while the city's lamps are meant to burn, and by day; the same for what does not care.
        fault: what a device with a fault says; a rule must speak of it.
        rule: id of that rule in the shipped rules, empty where there is no fault to tell.
    """

    lit: Bytes
    dark: Bytes
    fault: Bytes
    rule: str


def pools(kind: str, role: str, facts: Facts, seed: int) -> Pools | None:
    """Return what devices of a role say, None for kinds that nobody has taught to speak here.

    Args:
        facts: numbers of the registry that the group shares (``rated_power_w``, ``depth_m``); may be empty.
    """
    if (kind, role) not in _SPEECH:
        return None
    say, rule = _SPEECH[kind, role]
    rng = np.random.default_rng([seed, len(kind), len(role)])
    lit = _lines(say(rng, LINES, facts, lit=True, fault=False))
    dark = _lines(say(rng, LINES, facts, lit=False, fault=False))
    return Pools(lit, dark, _lines(say(rng, FAULT_LINES, facts, lit=True, fault=True)), rule)


def _lines(texts: list[str]) -> Bytes:
    rows = [text.encode() for text in texts]
    width = len(rows[0])
    assert all(len(row) == width for row in rows), "lines of one width"  # noqa: S101
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), width)


def _bool(value: object) -> str:
    return " true" if value else "false"


def _lamp(rng: np.random.Generator, count: int, facts: Facts, *, lit: bool, fault: bool) -> list[str]:
    """A driver under full load by night, asleep by day; at fault its pole carries current."""
    rated = facts.get("rated_power_w", 100.0)
    power = rated * rng.uniform(0.93, 1.03, count) if lit else rng.uniform(0.3, 0.9, count)
    volt = rng.uniform(212.0, 229.0, count)
    factor = np.full(count, 0.95 if lit else 0.35)
    leak = rng.uniform(42.0, 60.0, count) if fault else rng.uniform(0.2, 1.5, count)
    warm = rng.uniform(28.0, 46.0, count) if lit else rng.uniform(12.0, 24.0, count)
    return [
        f'"power_w":{p:6.1f},"voltage_v":{v:5.1f},"current_a":{p / v / f:5.3f},"power_factor":{f:4.2f},'
        f'"dim_percent":{100 if lit else 0:3d},"driver_temp_c":{t:4.1f},"leakage_ma":{e:4.1f},"lamp_failure":false'
        for p, v, f, t, e in zip(power, volt, factor, warm, leak, strict=True)
    ]


def _cabinet(rng: np.random.Generator, count: int, facts: Facts, *, lit: bool, fault: bool) -> list[str]:
    """Three phases at their voltage, the feeder loaded while lamps burn; at fault its door stands open."""
    rated = facts.get("rated_power_w", 6000.0)
    power = rated * rng.uniform(0.95, 1.02, count) if lit else rng.uniform(5.0, 15.0, count)
    volts = rng.uniform(216.0, 228.0, (count, 3))
    return [
        f'"phase_a_v":{v[0]:5.1f},"phase_b_v":{v[1]:5.1f},"phase_c_v":{v[2]:5.1f},'
        f'"phase_a_a":{p / 3 / v[0]:6.2f},"phase_b_a":{p / 3 / v[1]:6.2f},"phase_c_a":{p / 3 / v[2]:6.2f},'
        f'"feeder_power_w":{p:8.1f},"contactor_on":{_bool(lit)},"door_open":{_bool(fault)},"breaker_tripped":false,'
        f'"leakage_ma":{e:5.1f}'
        for p, v, e in zip(power, volts, rng.uniform(20.0, 60.0, count), strict=True)
    ]


def _cover(rng: np.random.Generator, count: int, facts: Facts, *, lit: bool, fault: bool) -> list[str]:
    """A cover at rest over a little water and clean air; at fault it has been lifted off."""
    del lit
    depth = facts.get("depth_m", 3.0)
    tilt = rng.uniform(60.0, 90.0, count) if fault else rng.uniform(0.0, 2.0, count)
    columns = (
        tilt,
        rng.uniform(0.0, 0.08, count),
        rng.uniform(0.02, 0.15, count) * depth,
        rng.uniform(12.0, 20.0, count),
        rng.uniform(0.0, 1.5, count),
        rng.uniform(0.0, 1.2, count),
        rng.uniform(20.5, 20.9, count),
        rng.uniform(55.0, 100.0, count),
        rng.uniform(-108.0, -84.0, count),
    )
    return [
        f'"tilt_deg":{a:4.1f},"vibration_g":{b:4.2f},"cover_open":{_bool(fault)},"water_level_m":{w:5.2f},'
        f'"temperature_c":{t:4.1f},"ch4_lel_percent":{m:3.1f},"h2s_ppm":{h:3.1f},"o2_percent":{o:4.1f},'
        f'"battery_percent":{c:5.1f},"rsrp_dbm":{s:4.0f},"locked":{_bool(not fault)}'
        for a, b, w, t, m, h, o, c, s in zip(*columns, strict=True)
    ]


def _well(rng: np.random.Generator, count: int, facts: Facts, *, lit: bool, fault: bool) -> list[str]:
    """A wet well between its stop and start levels; at fault the station has lost its mains."""
    del lit
    stop, start = facts.get("stop_level_m", 1.0), facts.get("start_level_m", 2.0)
    level = stop + (start - stop) * rng.uniform(0.1, 0.9, count)
    flow = rng.uniform(8.0, 20.0, count)
    return [
        f'"level_m":{h:6.2f},"pumps_on":0,"inflow_lps":{q:5.1f},"velocity_mps":{q / 25:4.2f},"rain_mm":0.0,'
        f'"mains_ok":{_bool(not fault)}'
        for h, q in zip(level, flow, strict=True)
    ]


def _pump(rng: np.random.Generator, count: int, facts: Facts, *, lit: bool, fault: bool) -> list[str]:
    """A pump under its usual load; at fault its starter says so."""
    del lit
    rated = facts.get("rated_current_a", 40.0)
    amps = rated * rng.uniform(0.82, 0.92, count)
    return [
        f'"running":{_bool(not fault)},"fault":{_bool(fault)},"mode":0,"current_a":{a:6.1f},"power_kw":{a * 0.55:6.1f},'
        f'"speed_hz":50.0,"winding_temp_c":{t:4.1f},"bearing_temp_c":{t - 15:4.1f},"seal_leak":false'
        for a, t in zip(np.zeros(count) if fault else amps, rng.uniform(55.0, 75.0, count), strict=True)
    ]


def _truck(rng: np.random.Generator, count: int, facts: Facts, *, lit: bool, fault: bool) -> list[str]:
    """A covered truck on its round; at fault it drives with its bed raised. Where it is, the frame says."""
    del lit, facts
    speed = TRUCK_KMH * rng.uniform(0.95, 1.05, count)
    return [
        f'"speed_kmh":{v:4.1f},"hdop":{h:3.1f},"satellites":{s:2d},"ignition":true,"cover_closed":true,'
        f'"bed_angle_deg":{35.0 if fault else 0.0:4.1f},"load_state":0,"fuel_percent":{f:4.1f}'
        for v, h, s, f in zip(
            speed,
            rng.uniform(0.6, 1.4, count),
            rng.integers(9, 20, count).tolist(),
            rng.uniform(30.0, 95.0, count),
            strict=True,
        )
    ]


_SPEECH: dict[tuple[str, str], tuple[Callable[..., list[str]], str]] = {
    ("streetlight", "lamp"): (_lamp, "pole_leakage"),
    ("streetlight", "cabinet"): (_cabinet, "cabinet_door"),
    ("manhole", "cover"): (_cover, "cover_open"),
    ("pump", "station"): (_well, "mains_lost"),
    ("pump", "well"): (_well, ""),
    ("pump", "pump"): (_pump, "pump_fault"),
    ("truck", "truck"): (_truck, "bed_raised"),
}


def rounds(lon: Floats, lat: Floats) -> Bytes:
    """Return where trucks are on their rounds, as text: (trucks, LOOP_POINTS, bytes) of lon, lat and heading fields.

    Args:
        lon, lat: (trucks,) degrees of their depots.
    """
    turn = 2 * np.pi * np.arange(LOOP_POINTS) / LOOP_POINTS
    metre = 1 / 111_195.0  # degrees of latitude
    north = lat[:, None] + LOOP_M * metre * np.sin(turn)
    east = lon[:, None] + LOOP_M * metre * np.cos(turn) / np.cos(np.radians(lat[:, None]))
    heading = np.degrees(np.arctan2(-np.sin(turn), np.cos(turn))) % 360
    heads = [f',"heading_deg":{min(h, 359.9):5.1f},' for h in heading]
    text = "".join(
        f'"lon_deg":{a:11.6f},"lat_deg":{b:10.6f}{heads[place]}'
        for xs, ys in zip(east.tolist(), north.tolist(), strict=True)
        for place, (a, b) in enumerate(zip(xs, ys, strict=True))
    )
    return np.frombuffer(text.encode(), dtype=np.uint8).reshape(len(lon), LOOP_POINTS, -1)
