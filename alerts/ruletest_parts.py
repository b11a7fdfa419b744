"""The smaller parts of a rule test: its clock, what is held back, roads and permits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from alerts.ruletest_series import length
from alerts.spans import minute_of_day
from devices.registry import Fence, Permit, Road
from devices.yamlfile import Node

ZONE = "Asia/Shanghai"
PLACE = (121.47, 31.23)  # where an entity stands that does not say: the sun is that of Shanghai


@dataclass(slots=True)
class Clock:
    """When a test begins (epoch ms), between two values, between two looks, where, and how long it goes on after."""

    start_ms: int
    step_ms: int
    tick_ms: int
    zone: str
    after_ms: int


def clock_of(node: Node) -> Clock:
    """Return the clock of a test. Raises ConfigError naming file, line and key."""
    node.only("start", "step", "tick", "zone", "after")
    zone_node, start = node.get("zone"), node.need("start")
    zone = ZONE if zone_node is None else zone_node.text()
    try:
        tz = ZoneInfo(zone)
    except (OSError, ValueError) as trouble:
        raise node.need("zone").error(f"expected a time zone such as {ZONE}; found '{zone}'") from trouble
    moment = start.value
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as trouble:
            raise start.error(f"expected a moment such as \"2026-03-01T20:00:00+08:00\"; found '{moment}'") from trouble
    if not isinstance(moment, datetime):
        raise start.error('expected a moment such as "2026-03-01T20:00:00+08:00"')
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=tz)
    step = length(node.need("step"))
    tick_node, after = node.get("tick"), node.get("after")
    tick = step if tick_node is None else length(tick_node)
    for one, value in ((node.need("step"), step), (tick_node, tick)):
        if one is not None and value < 1:
            raise one.error("expected a length of time above nothing")
    return Clock(round(moment.timestamp() * 1000), step, tick, zone, 0 if after is None else length(after))


def span_of(node: Node) -> tuple[int, int]:
    """Return [from, until] in milliseconds: what is measured in between arrives together at ``until``."""
    pair = [length(one) for one in node.elements()]
    if len(pair) != 2 or pair[0] >= pair[1]:
        raise node.error("expected [from, until]: what is measured from the one up to the other arrives at the other")
    return pair[0], pair[1]


def delay_of(node: Node) -> tuple[int, ...]:
    """Return by how much a device's readings are late; and where a pair is given, up to which time."""
    if not isinstance(node.value, list):
        return (length(node),)
    pair = [length(one) for one in node.elements()]
    if len(pair) != 2:
        raise node.error("expected a delay such as 40s, or [delay, until]: only what is measured before is late")
    return pair[0], pair[1]


def road_of(name: str, node: Node) -> Road:
    """Return a road with its rank: main, secondary or branch."""
    node.only("rank")
    return Road(name, (PLACE, PLACE), node.need("rank").text())


def permit_of(name: str, node: Node) -> Permit:
    """Return a truck's permit: its route, sites, hours and the width of its corridor."""
    node.only("truck", "route", "sites", "hours", "corridor_m")
    hours, corridor = node.get("hours"), node.get("corridor_m")
    minutes = (0, 1440) if hours is None else tuple(int(one.number(low=0, high=1440)) for one in hours.elements())
    if len(minutes) != 2:
        raise node.need("hours").error("expected [from, until] in minutes of the local day")
    sites = tuple(points_of(one) for one in elements_of(node.get("sites")))
    width = 0.0 if corridor is None else corridor.number(low=0)
    return Permit(
        name,
        node.need("truck").text(),
        points_of(node.need("route")),
        sites,
        (minutes[0], minutes[1]),
        corridor_m=width,
    )


def fence_of(name: str, node: Node) -> Fence:
    """Return a forbidden area: its ring, and the hours in which it is closed."""
    node.only("ring", "hours", "kind")
    hours, kind = node.get("hours"), node.get("kind")
    minutes = (0, 1440) if hours is None else tuple(_minute(one) for one in hours.elements())
    if len(minutes) != 2:
        raise node.need("hours").error('expected from and until, such as ["07:00", "19:00"]')
    ring = points_of(node.need("ring"))
    return Fence(name, ring, (minutes[0], minutes[1]), "" if kind is None else kind.text())


def _minute(node: Node) -> int:
    """Return a time of day, written as 07:00 or as minutes of the day."""
    return minute_of_day(node) if isinstance(node.value, str) else int(node.number(low=0, high=1440))


def points_of(node: Node) -> tuple[tuple[float, float], ...]:
    """Return a list of [longitude, latitude] as points."""
    points = []
    for one in node.elements():
        pair = [part.number(low=-180, high=180) for part in one.elements()]
        if len(pair) != 2:
            raise one.error("expected [longitude, latitude]")
        points.append((pair[0], pair[1]))
    return tuple(points)


def elements_of(node: Node | None) -> list[Node]:
    """Return the elements of a list, none where there is no list."""
    return [] if node is None else node.elements()


def items_of(node: Node | None) -> list[tuple[str, Node]]:
    """Return the keys and values of a mapping, none where there is no mapping."""
    return [] if node is None else list(node.items())
