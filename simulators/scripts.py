"""Scripts of faults: what goes wrong in a demo's minute, and by when each rule must have said it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from alerts.lightgroups import by_grid
from alerts.rules import RuleSet
from devices.kinds import Catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from simulators.city import City
from simulators.cover_faults import RISE_MS
from simulators.covers import ALERTED_S
from simulators.faults import NEVER_MS, Fault
from simulators.haulage import HOURS, Haul, find_detour
from simulators.link import Mishaps
from simulators.names import PLAZA
from simulators.script import MIN_MS, How, Script
from simulators.trucks import LAST_LOAD_MIN
from simulators.weather import DAY_MS
from simulators.world import DEMO, Intervals

LAG_WALL_S = 1.5  # wall seconds from a device's report to the rule's word, on a busy machine
TURN_OFF_MIN = 75  # a truck sets out on its next loaded trip within so many minutes
SEEPAGE_NIGHTS = 3
SEEPAGE_WINDOW_END_MIN = 5 * 60
MAY_MS = NEVER_MS  # due time of what may be said because of a fault, but need not


def first_light(
    city: City,
    catalog: Catalog,
    rules: RuleSet,
    timezone: str,
    start_ms: int,
    *,
    speed: float = 300.0,
    intervals: Intervals = DEMO,
) -> list[Fault]:
    """Return what goes wrong in the demo: every kind of facility, and each of the three rules that the mission names.

    Args:
        city: with at least 4 stations, 5 trucks, 8 covers and 5 cabinets.
        catalog, rules: faults of rules that ``rules`` does not have are left out; due times follow the rules' own.
        timezone: IANA name.
        start_ms: city time at which the run begins. Lamps fail when it is dark and trucks stray when they may drive:
            from about one in the morning on at once, at other hours as soon as it is.
        speed: city seconds a wall second: what the machine may lag on the wall counts so many times in the city.
        intervals: how often devices report.

    Returns:
        faults in the order of their ids; those whose ``due_ms`` is MAY_MS explain an alert without asking for it. Use
        :func:`simulators.faults.due_before` for the ones that a run of some length must show.
    """
    registry = Registry(catalog, city.assets, city.roads, city.permits, city.centre)
    sky = Sky(registry, timezone, rules.lighting)
    script = Script(catalog, rules, intervals, start_ms, round(LAG_WALL_S * speed * 1000))
    _covers(script, city)
    _stations(script, city, sky)
    dark_ms = _first(start_ms, lambda at: _dark(registry, sky, at))
    if dark_ms is not None:
        script.base_ms = dark_ms
        _lamps(script, city, registry, sky)
        _cabinets(script, city)
    script.base_ms = _first(start_ms, lambda at: _may_drive(sky, at)) or start_ms
    _trucks(script, city)
    script.faults.extend(_also_dark(script, registry))
    return script.faults


def first_light_mishaps(start_ms: int) -> Mishaps:
    """Return the demo's mishaps on the way: some loss, repeats and blind zones, and one of each bad message."""
    moments = [start_ms + minutes * MIN_MS for minutes in (48, 71, 95)]
    return Mishaps(0.0005, 0.004, 0.001, (moments[0],), (moments[1],), (moments[2],))


def _first(start_ms: int, suits: Callable[[int], bool]) -> int | None:
    """Return the first quarter of an hour from the start on that suits, within a day."""
    return next((at for at in range(start_ms, start_ms + DAY_MS, 15 * MIN_MS) if suits(at)), None)


def _dark(registry: Registry, sky: Sky, base_ms: int) -> bool:
    """Return whether lamps burn long enough from ``base_ms`` on for their part of the script."""
    times = base_ms + np.array([20, 90, 165]) * MIN_MS
    rows = np.full(len(times), registry.rows_of("streetlight", "cabinet")[0])
    return bool(sky.expected_on(rows, times).all())


def _may_drive(sky: Sky, base_ms: int) -> bool:
    """Return whether trucks may drive long enough from ``base_ms`` on for their part of the script."""
    minutes = sky.local_minute(base_ms + np.array([30, 205 + LAST_LOAD_MIN]) * MIN_MS)
    return bool(((minutes >= HOURS[0]) | (minutes < HOURS[1])).all())


def _of(city: City, role: str, test: Callable[[Asset], bool] = lambda _: True) -> list[Asset]:
    return [asset for asset in city.assets if asset.role == role and test(asset)]


def _lamps(script: Script, city: City, registry: Registry, sky: Sky) -> None:
    """Single lamps, a road with too many lamps out, and a lamp that burns by day."""
    rank = {road.name: road.rank for road in city.roads}
    lamps = _of(city, "lamp")
    road = next(a.road for a in lamps if rank.get(a.road) == "secondary")
    dark = [a.id for a in lamps if a.road == road][1::3][:10]
    how = How(script.intervals.lamp_s)
    span = (script.at(40), script.at(150))
    for lamp in dark:
        script.add("lamp_out", "lamp_out", lamp, span, how)
    many = How(how.report_s, magnitude=len(dark))
    script.add_of(("lamps_out", "lighting_rate", f"road:{road}"), dark, span, many)
    branch = [a.id for a in lamps if rank.get(a.road) == "branch"]
    script.add("lamp_out", "lamp_out", branch[len(branch) // 2], (script.at(50), NEVER_MS), how)
    burning = branch[5]
    off_ms, bright_ms = _dawn(registry, sky, burning, script.base_ms)
    on_ms = off_ms - 10 * MIN_MS
    by_day = How(how.report_s, max(bright_ms - on_ms, 0))
    script.add("day_burn", "day_burn", burning, (on_ms, NEVER_MS), by_day)


def _dawn(registry: Registry, sky: Sky, lamp: str, start_ms: int) -> tuple[int, int]:
    """Return when lamps go dark in the morning, and when the sun stands 3 degrees high."""
    minutes = start_ms + np.arange(1440, dtype=np.int64) * MIN_MS
    off = minutes[~sky.expected_on(np.full(1440, registry.row[lamp]), minutes)]
    bright = minutes[sky.sun_altitude_deg(minutes) > 3.0]
    return int(off[0]) if len(off) else start_ms, int(bright[0]) if len(bright) else NEVER_MS // 2


def _cabinets(script: Script, city: City) -> None:
    """A plaza without light, an open door, a silent cabinet."""
    cabinets = _of(city, "cabinet")
    how = How(script.intervals.cabinet_s)
    plaza = next((a for a in cabinets if a.road == PLAZA), cabinets[0])
    lamps = _of(city, "lamp", lambda a: a.cabinet == plaza.id)
    span = (script.at(60), script.at(135))
    script.add("cabinet_out", "cabinet_dark", plaza.id, span, how)
    script.add("cabinet_out", "feeder_dark", plaza.id, span, how)
    dark = [fault for fault in script.faults if fault.rule == "feeder_dark"]
    for circuit in ("1", "2"):
        script.may(dark, "section_out", f"circuit:{plaza.id}/{circuit}")
    many = How(script.intervals.lamp_s, magnitude=len(lamps))  # told once, of the road: not of cabinet and cell as well
    script.add_of(("cabinet_out", "lighting_rate", f"road:{plaza.road}"), [plaza.id], span, many)
    script.add("door_open", "cabinet_door", cabinets[2].id, (script.at(85), script.at(120)), how)
    script.add("silent", "cabinet_offline", cabinets[3].id, (script.at(110), script.at(140)), how)


def _covers(script: Script, city: City) -> None:
    """A cover gone, one askew, water to the brim, gas, a weak battery."""
    gone, askew, wet, foul, weak = (_of(city, "cover")[k] for k in (1, 2, 4, 5, 7))
    span = (script.at(45), script.at(110))
    script.add("cover_open", "cover_open", gone.id, span, How(ALERTED_S, magnitude=68.0))
    script.add("cover_open", "cover_tilted", askew.id, span, How(ALERTED_S, magnitude=17.0))
    span = (script.at(70), script.at(150))
    flood = How(ALERTED_S, RISE_MS, wet.facts["depth_m"] + 0.3)
    script.add("water_rise", "manhole_water", wet.id, span, flood)
    script.add("water_rise", "manhole_flooded", wet.id, span, flood)
    script.add("gas_rise", "gas_h2s", foul.id, span, How(ALERTED_S, RISE_MS // 3, 45.0))
    gas = [fault for fault in script.faults if fault.rule == "gas_h2s"]
    for rule in ("gas_h2s_high", "gas_h2s_rising"):
        script.may(gas, rule)
    script.may([fault for fault in script.faults if fault.rule == "manhole_flooded"], "manhole_rising")
    slow = How(script.intervals.cover_s)
    script.add("low_battery", "cover_battery", weak.id, (script.at(40), NEVER_MS), slow)


def _stations(script: Script, city: City, sky: Sky) -> None:
    """A tripped pump, a well that fills, lost mains, a silent station, and two stations with new seepage."""
    how = How(script.intervals.station_s)
    metered, worn, filling, unmetered = (station.id for station in _of(city, "station")[:4])
    script.add("pump_fault", "pump_fault", _held(city, worn)[0], (script.at(55), script.at(120)), how)
    script.add("mains_lost", "mains_lost", worn, (script.at(130), script.at(145)), how)
    mute = [worn, *_held(city, worn)]
    script.add_of(("silent", "station_offline", f"device:{worn}"), mute, (script.at(165), script.at(185)), how)
    span = (script.at(70), script.at(200))
    pumps = [a.id for a in _of(city, "pump", lambda a: a.cabinet == filling)]
    for pump in pumps:
        script.add("pump_fault", "pump_fault", pump, span, how)
    rising = How(how.report_s, 110 * MIN_MS)
    script.add_of(("well_high", "well_high", f"device:{filling}"), pumps, span, rising)
    end_ms = _window_end(sky, script.base_ms)  # the rule's window, in which so many nights must lie
    on_ms = end_ms - (SEEPAGE_NIGHTS - 1) * DAY_MS - 210 * MIN_MS
    for station in (metered, unmetered):
        script.add("seepage", "seepage", station, (on_ms, NEVER_MS), How(how.report_s, end_ms - on_ms, 2.2))
    for rule in ("inflow_burst", "seep_cusum"):
        script.may([fault for fault in script.faults if fault.kind == "seepage" and fault.rule == "seepage"], rule)


def _held(city: City, station: str) -> list[str]:
    """Return a station's pumps and wells."""
    return [a.id for a in city.assets if a.kind == "pump" and a.cabinet == station and a.id != station]


def _window_end(sky: Sky, start_ms: int) -> int:
    """Return the next five o'clock in the morning: the end of the night that seepage is judged by."""
    minute = int(sky.local_minute(start_ms))
    return start_ms - start_ms % MIN_MS + (SEEPAGE_WINDOW_END_MIN - minute) % 1440 * MIN_MS


def _trucks(script: Script, city: City) -> None:
    """Two trucks off their way, one uncovered, one silent."""
    astray = [haul.truck for haul in city.hauls if _has_detour(city, haul)][:2]
    soon = How(script.intervals.truck_s, TURN_OFF_MIN * MIN_MS)
    for truck in astray:
        span = (script.at(42), script.at(42 + 2 * TURN_OFF_MIN))
        script.add("detour", "route_deviation", truck, span, soon)
    bare, mute = [haul.truck for haul in city.hauls if haul.truck not in astray][:2]
    script.add("uncovered", "truck_uncovered", bare, (script.at(50), script.at(50 + 2 * TURN_OFF_MIN)), soon)
    script.add("silent", "truck_offline", mute, (script.at(65), script.at(90)), How(script.intervals.truck_s))


def _has_detour(city: City, haul: Haul) -> bool:
    try:
        find_detour(city.network, haul)
    except ValueError:
        return False
    return True


def _also_dark(script: Script, registry: Registry) -> Iterator[Fault]:
    """Yield what the lighting rate may say as well: every other cabinet and grid cell that holds a dark lamp."""
    if "lighting_rate" not in {rule.id for rule in script.rules}:
        return
    params = script.rules["lighting_rate"].params
    rows = registry.rows_of("streetlight", "lamp")
    grid = by_grid(registry, rows, params.grid_least)
    cells = {registry.assets[row].id: grid.member[k] for k, row in enumerate(rows)}
    said = {fault.entity for fault in script.faults if fault.rule == "lighting_rate"}
    for fault in list(script.faults):
        if fault.kind not in ("lamp_out", "cabinet_out"):
            continue
        touched = [registry.assets[row] for row in rows]
        touched = [a for a in touched if a.id in fault.targets or a.cabinet in fault.targets]
        for lamp in touched:
            cell = cells[lamp.id]
            places = [f"road:{lamp.road}", f"cabinet:{lamp.cabinet}", f"grid:{grid.names[cell]}" if cell >= 0 else ""]
            for entity in places:
                if entity and entity not in said:
                    said.add(entity)
                    name = f"{fault.id}-{entity}"
                    span = (fault.on_ms, fault.off_ms)
                    yield Fault(name, fault.kind, "lighting_rate", entity, *span, MAY_MS, 1.0, fault.targets)
