"""Several trucks in the same trouble at one place have one cause: receivers are disturbed there, or the road is closed.

Causes among lamps are read off the lamps; these are read off alerts. What began where is remembered for a while; when
enough trucks have begun the same near each other, the place gets an alert of its own, which explains theirs, those that
are open and those that follow, until nothing has begun there for as long as is looked back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import dist, isnan

import msgspec
import numpy as np
import numpy.typing as npt

from alerts.causes_place_settings import SAME_PLACE, PlaceCause
from alerts.fleet import NEVER_AGAIN
from alerts.rules import LANGUAGES, Rule
from devices.geometry import grid_cell
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition, alert_id

NAME = "places.found"
LONGEST = 4  # windows: who is in trouble for longer without anybody following is so by itself
NAMED = 3  # trucks that a message names one by one
_MORE = {"en": " and {count} more", "zh": " 等"}
_JOIN = {"en": ", ", "zh": "、"}
_OVER = {"en": "Cleared: {title}; lasted {minutes} min", "zh": "【解除】{title}；历时{minutes}分钟"}


@dataclass(slots=True)
class Begun:
    """One alert that began at a place: its id, of which device and name, where (metres), when, and if it is open."""

    alert: str
    entity: str
    names: dict[str, str]
    place: tuple[float, float]
    at_ms: int
    onset_ms: int
    open: bool = True


@dataclass(slots=True)
class Area:
    """A place with a cause.

    Attributes:
        alert: id of the alert that explains the others.
        node: its entity, a 100 m cell.
        place: middle, metres east and north of the city's centre.
        onset_ms: when the first began there.
        at_ms: when the latest did, or ended.
        district: of the first.
        begun_ms: when the latest began.
        members: ids of the alerts that it explains, and whether they are open.
        devices: entities that they are of.
    """

    alert: str
    node: str
    place: tuple[float, float]
    onset_ms: int
    at_ms: int
    district: str
    begun_ms: int
    members: dict[str, bool] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)


class Places:
    """Looks for causes among alerts that begin near each other.

    Args:
        causes: what is looked for.
        rules: by id.
        registry: for the city's metres.
        sky: for local time; None where nobody knows the zone, and nothing is looked for.

    Attributes:
        taken: ids of the alerts that the latest look has put to a place.
    """

    def __init__(
        self, causes: Sequence[PlaceCause], rules: Mapping[str, Rule], registry: Registry, sky: Sky | None
    ) -> None:
        self._causes = tuple(causes) if sky is not None else ()
        self._registry, self._sky = registry, sky
        self._wanted = {
            rule.id: [cause for cause in self._causes if any(one.matches(rule) for one in cause.rules)]
            for rule in rules.values()
        }
        self._begun: dict[str, list[Begun]] = {}
        self._areas: dict[str, list[Area]] = {}
        self._of: dict[str, str] = {}
        self.taken: list[str] = []

    def look(self, told: Iterable[Transition], ended: Iterable[str], now_ms: int) -> list[Transition]:
        """Take in what begins and nothing else explains; return the alerts on places that begin or end now.

        Args:
            told: alerts that begin.
            ended: ids of alerts that are over.
            now_ms: host time.
        """
        self.taken = []
        if not self._causes:
            return []
        out: list[Transition] = []
        fresh = [one for one in told if one.state == ACTIVE and self._wanted.get(one.rule)]
        for one in sorted(fresh, key=lambda one: (one.at_ms, one.rule, one.entity, one.onset_ms)):
            for cause in self._wanted[one.rule]:
                if cause.fits(one.values) and not (isnan(one.lon) or isnan(one.lat)):
                    out += self._take(cause, one)
        for alert in ended:
            self._end(alert, now_ms)
        return [*out, *self._over(now_ms)]

    @property
    def next_ms(self) -> int:
        """Return when a place may be over by the passing of time."""
        windows = {cause.name: cause.window_ms for cause in self._causes}
        return min(
            (_end_ms(area, windows[name]) for name, held in self._areas.items() for area in held), default=NEVER_AGAIN
        )

    def parent(self, alert: str) -> str:
        """Return the alert on the place at which another began; empty where that has no cause of its own."""
        return self._of.get(alert, "")

    def _take(self, cause: PlaceCause, one: Transition) -> Iterator[Transition]:
        left = one.values.get("left_lon", one.lon), one.values.get("left_lat", one.lat)
        east, north = self._registry.projection.to_metres(*left)
        names = {language: words.get("name", "") for language, words in one.words.items()}
        begun = Begun(one.alert_id, one.entity, names, (float(east), float(north)), one.at_ms, one.onset_ms)
        for area in self._areas.get(cause.name, ()):
            if dist(area.place, begun.place) <= cause.within_m:
                self._join(area, begun)
                return
        held = self._begun.setdefault(cause.name, [])
        held[:] = [before for before in held if begun.at_ms - before.at_ms <= cause.window_ms]
        held.append(begun)
        near = [before for before in held if dist(before.place, begun.place) <= cause.within_m]
        if len({before.entity for before in near}) < cause.devices or len(near) < cause.times:
            return
        held[:] = [before for before in held if before not in near]
        yield self._open(cause, near, one)

    def _end(self, alert: str, now_ms: int) -> None:
        for area in (area for held in self._areas.values() for area in held if alert in area.members):
            area.members[alert], area.at_ms = False, now_ms
        for one in (one for held in self._begun.values() for one in held if one.alert == alert):
            one.open = False

    def _join(self, area: Area, begun: Begun) -> None:
        area.members[begun.alert] = begun.open
        area.devices[begun.entity] = None
        area.at_ms = area.begun_ms = max(area.begun_ms, begun.at_ms)
        self._of[begun.alert] = area.alert
        self.taken.append(begun.alert)

    def _open(self, cause: PlaceCause, near: Sequence[Begun], last: Transition) -> Transition:
        middle = np.mean([one.place for one in near], axis=0)
        place = float(middle[0]), float(middle[1])
        node, onset_ms = f"grid:{grid_cell(*place)}", min(one.onset_ms for one in near)
        area = Area(alert_id(SAME_PLACE, node, onset_ms), node, place, onset_ms, last.at_ms, last.district, 0)
        for one in near:
            self._join(area, one)
        self._areas.setdefault(cause.name, []).append(area)
        message = {language: self._text(cause, area, near, language) for language in LANGUAGES}
        return self._tell(cause, area, last.at_ms, message)

    def _text(self, cause: PlaceCause, area: Area, near: Sequence[Begun], language: str) -> str:
        names = list(dict.fromkeys(one.names.get(language) or one.entity.partition(":")[2] for one in near))
        more = _MORE[language].format(count=len(names) - NAMED) if len(names) > NAMED else ""
        about = {"count": len(area.devices), "names": _JOIN[language].join(names[:NAMED]) + more}
        return cause.message[language].format(**about, since=self._since(area))

    def _since(self, area: Area) -> str:
        assert self._sky is not None  # noqa: S101 - without it nothing is looked for
        return f"{self._sky.local_time(area.onset_ms):%Y-%m-%d %H:%M}"

    def _tell(
        self, cause: PlaceCause, area: Area, at_ms: int, message: dict[str, str], over: str = ""
    ) -> Transition:  # fmt: skip
        lon, lat = self._registry.projection.to_degrees(*area.place)
        cell = area.node.partition(":")[2]
        words = {
            language: {
                "rule": cause.title[language], "name": cell, "place": cell, "since": self._since(area),
                "cause": cause.title[language],
            }
            for language in LANGUAGES
        }  # fmt: skip
        return Transition(
            area.alert, SAME_PLACE, area.node, CLEARED if over else ACTIVE, at_ms, area.onset_ms, cause.severity,
            message, {"devices": float(len(area.devices))}, over, "truck", float(lon), float(lat), area.district, words,
        )  # fmt: skip

    def _over(self, now_ms: int) -> Iterator[Transition]:
        """End what nothing has joined for as long as is looked back, and of which all is over, or far longer."""
        for cause in self._causes:
            for area in list(self._areas.get(cause.name, ())):
                area.at_ms, area.begun_ms = min(area.at_ms, now_ms), min(area.begun_ms, now_ms)  # a clock set back
                if now_ms < _end_ms(area, cause.window_ms):
                    continue
                self._areas[cause.name].remove(area)
                for alert in area.members:
                    self._of.pop(alert, None)
                minutes = max(round((now_ms - area.onset_ms) / 60_000), 0)
                message = {one: _OVER[one].format(title=cause.title[one], minutes=minutes) for one in LANGUAGES}
                yield self._tell(cause, area, now_ms, message, "recovered")

    def save(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return everything that is remembered, as one array of bytes."""
        return {NAME: np.frombuffer(msgspec.msgpack.encode((self._begun, self._areas)), dtype=np.uint8).copy()}

    def load(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take over what was saved, of causes that are still looked for."""
        if NAME not in state:
            return
        form = tuple[dict[str, list[Begun]], dict[str, list[Area]]]
        begun, areas = msgspec.msgpack.decode(state[NAME].tobytes(), type=form)
        known = {cause.name for cause in self._causes}
        self._begun = {name: held for name, held in begun.items() if name in known}
        self._areas = {name: held for name, held in areas.items() if name in known}
        self._of = {one: area.alert for held in self._areas.values() for area in held for one in area.members}


def _end_ms(area: Area, window_ms: int) -> int:
    """Return when a place is over: so long after the last is, or four times as long after the last began."""
    last_ms = area.begun_ms + LONGEST * window_ms
    return last_ms if any(area.members.values()) else min(area.at_ms + window_ms, last_ms)
