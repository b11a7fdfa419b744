"""Positions that cannot be true: a receiver that jumps, rides elsewhere, or stands still while its truck drives.

Speed comes from the Doppler shift or the wheels, position from the ranges; what is said of the one is tested by the
other: step by step, and by dead reckoning over minutes, which finds a position that is led away bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alerts.drift import Drift
from alerts.keys import Keys
from alerts.ownways import OwnWays
from alerts.rules import Rule
from alerts.truckwatch import ALERTED, Floats, Ints, Mask, Sight, TruckJudge
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import Node

VALUES = ("step_m", "driven_m", "repeats")
_LEAST_S = 15.0  # two fixes nearer in time than this say little of speed: a corner's extra report
_KMH = 3.6


@dataclass(frozen=True, slots=True)
class GpsParams:
    """Settings of the rule.

    Attributes:
        wild_kmh: a step that differs so much from the reported speed is a jump,
        jump_m: if it is this long at least; bursts of bias between houses are shorter.
        within_ms: two jumps within so long are trouble.
        far_m, max_kmh: one step this long, and quicker than any truck, is enough where minutes lie between the fixes.
        repeats, driven_m: the very same position so often again while so many metres were driven.
        drift_m: small differences from what speed and heading say come to so much: the position is led away,
        misled_m, misled_ms: or they and leaps together to so much, for so long.
        clean_ms: trouble is over when there was none for so long,
        way_m: and the truck was no farther than this from its own ways and sites meanwhile: a position that is led
            away by a constant distance moves as the truck does, and only the way shows that it is wrong,
        doubt_ms: but not for longer than this after the last that was wrong by itself.
    """

    wild_kmh: float = 60.0
    jump_m: float = 250.0
    within_ms: int = 600_000
    far_m: float = 1_000.0
    max_kmh: float = 160.0
    repeats: int = 3
    driven_m: float = 200.0
    drift_m: float = 180.0
    misled_m: float = 250.0
    misled_ms: int = 120_000
    clean_ms: int = 600_000
    way_m: float = 100.0
    doubt_ms: int = 7_200_000


def parse(own: Node, kind: Kind, role: str | None) -> GpsParams:  # noqa: ARG001 - every kind of rule is asked alike
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    missing = [name for name in ("lon_deg", "lat_deg", "speed_kmh") if name not in kind.field_names()]
    if missing:
        raise own.error(f"{kind.name} reports no {' and no '.join(missing)}: its positions cannot be tested")
    plain = GpsParams()
    keys = Keys(
        own,
        "wild_kmh",
        "jump_m",
        "within",
        "far_m",
        "max_kmh",
        "repeats",
        "driven_m",
        "drift_m",
        "misled_m",
        "misled_for",
        "clean",
        "way_m",
        "doubt",
    )
    params = GpsParams(
        keys.number("wild_kmh", plain.wild_kmh, 1, 1000),
        keys.number("jump_m", plain.jump_m, 1, 100_000),
        keys.length("within", plain.within_ms),
        keys.number("far_m", plain.far_m, 1, 1_000_000),
        keys.number("max_kmh", plain.max_kmh, 10, 2000),
        keys.whole("repeats", plain.repeats, 1, 1000),
        keys.number("driven_m", plain.driven_m, 0, 100_000),
        keys.number("drift_m", plain.drift_m, 1, 100_000),
        keys.number("misled_m", plain.misled_m, 1, 100_000),
        keys.length("misled_for", plain.misled_ms),
        keys.length("clean", plain.clean_ms),
        keys.number("way_m", plain.way_m, 1, 100_000),
        keys.length("doubt", plain.doubt_ms),
    )
    keys.done()
    return params


class GpsJudge(TruckJudge):
    """The rule over all trucks."""

    WANTED: ClassVar[tuple[str, ...]] = ("heading_deg",)
    COLUMNS: ClassVar[dict[str, tuple[type, float]]] = {
        "last_e": (float, np.nan), "last_n": (float, np.nan), "last_kmh": (float, np.nan), "fix_ms": (int, 0),
        "jump_ms": (int, 0), "same": (int, 0), "same_m": (float, 0.0), "event_ms": (int, 0),
        "proof_ms": (int, 0), "far_ms": (int, 0), "good_e": (float, np.nan), "good_n": (float, np.nan),
    }  # fmt: skip

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        super().__init__(rule, registry, sky)
        self.params: GpsParams = rule.params
        self.ways = OwnWays(registry, self.rows, self.params.way_m)
        self._begun_ms: Ints = np.zeros(0, dtype=np.int64)
        self.drift = Drift(len(self.rows))
        self.state.update(self.drift.state)

    def look(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        """Return which trucks' positions cannot be true, and which have been believable for long enough."""
        p, s, truck, now = self.params, self.state, sight.truck, sight.time_ms
        known = ~np.isnan(sight.east) & ~np.isnan(sight.speed)
        before = s["fix_ms"][truck]
        dt = np.where(known & (before > 0), (now - before) / 1000.0, np.nan)
        step_e, step_n = sight.east - s["last_e"][truck], sight.north - s["last_n"][truck]
        step = np.sqrt(step_e**2 + step_n**2)
        driven = (s["last_kmh"][truck] + sight.speed) / 2 / _KMH * dt
        least = np.maximum(dt, _LEAST_S)
        with np.errstate(invalid="ignore"):
            jump = (step > p.jump_m) & (step - driven > p.wild_kmh / _KMH * least) & (dt <= 300.0)
            far = (step > p.far_m) & (step > p.max_kmh / _KMH * least)
            same = known & (step == 0.0) & (sight.speed > 10.0)
        stays = known & (step == 0.0)
        s["same"][truck] = np.where(same, s["same"][truck] + 1, np.where(known & ~stays, 0, s["same"][truck]))
        s["same_m"][truck] = np.where(stays, s["same_m"][truck] + driven, np.where(known, 0.0, s["same_m"][truck]))
        twice = jump & (now - s["jump_ms"][truck] <= p.within_ms)
        first_ms = np.where(twice, s["jump_ms"][truck], now)
        s["jump_ms"][truck[jump]] = now[jump]
        frozen = same & (s["same"][truck] >= p.repeats) & (s["same_m"][truck] >= p.driven_m)
        led = self._led_away(sight, known, dt, (step_e, step_n))
        led_ms = np.where(s["far_ms"][truck] > 0, s["far_ms"][truck], now)
        self._begun_ms = np.where(led, np.minimum(np.minimum(s["calm_ms"][truck], led_ms), first_ms), first_ms)
        holds = (far & ~jump) | twice | frozen | led
        s["event_ms"][truck[holds]] = s["proof_ms"][truck[holds]] = now[holds]
        self._doubt(sight, known & ~holds, stays)
        self._remember(sight, known)
        self._believe(sight, known & ~holds & (now - s["jump_ms"][truck] > p.within_ms))
        over = known & ~holds & (now - s["event_ms"][truck] >= p.clean_ms)
        figures = {
            "value": step, "threshold": np.full(len(sight), p.jump_m), "step_m": step, "driven_m": driven,
            "repeats": s["same"][truck].astype(np.float64),
        }  # fmt: skip
        return holds, over, figures

    def _led_away(self, sight: Sight, known: Mask, dt: Floats, step: tuple[Floats, Floats]) -> Mask:
        """Return where the position has come away from what was driven: bit by bit, or by a leap that stays."""
        p, s, found = self.params, self.state, np.zeros(len(sight), dtype=np.bool_)
        rows = known.nonzero()[0]
        truck, now = sight.truck[rows], sight.time_ms[rows]
        steps = step[0][rows], step[1][rows]
        drift, both = self.drift.add(truck, now, dt[rows], steps, sight.speed[rows], sight.more["heading_deg"][rows])
        beyond = both > p.misled_m
        s["far_ms"][truck] = np.where(beyond, np.where(s["far_ms"][truck] == 0, now, s["far_ms"][truck]), 0)
        found[rows] = (drift > p.drift_m) | (beyond & (now - s["far_ms"][truck] >= p.misled_ms))
        return found

    def _remember(self, sight: Sight, known: Mask) -> None:
        s, rows = self.state, sight.truck[known]
        s["last_e"][rows], s["last_n"][rows] = sight.east[known], sight.north[known]
        s["last_kmh"][rows], s["fix_ms"][rows] = sight.speed[known], sight.time_ms[known]

    def _doubt(self, sight: Sight, known: Mask, stays: Mask) -> None:
        """Keep in trouble whose position stands, or lies off its own ways: nothing shows it to be right yet."""
        p, s, truck, now = self.params, self.state, sight.truck, sight.time_ms
        for k in (known & (s["phase"][truck] == ALERTED) & (now - s["proof_ms"][truck] < p.doubt_ms)).nonzero()[0]:
            if stays[k] or self.ways.away(int(truck[k]), float(sight.east[k]), float(sight.north[k])):
                s["event_ms"][truck[k]] = now[k]

    def _believe(self, sight: Sight, calm: Mask) -> None:
        """Remember where trucks were last beyond doubt: that is the place of what befalls them next."""
        s, truck = self.state, sight.truck
        good = calm & (s["phase"][truck] != ALERTED) & (s["calm_ms"][truck] == sight.time_ms)
        s["good_e"][truck[good]], s["good_n"][truck[good]] = sight.east[good], sight.north[good]

    def begun_ms(self, sight: Sight) -> Ints:  # noqa: ARG002 - found by look
        """Return when what holds now began: with the first of two leaps, or as it began to be led away."""
        return self._begun_ms

    def _tell(
        self, truck: int, active: bool, at_ms: int, figures: Mapping[str, float], reason: str,  # noqa: FBT001 - a state
        where: tuple[float, float] | None,
    ) -> Transition:  # fmt: skip
        east, north = float(self.state["good_e"][truck]), float(self.state["good_n"][truck])
        if active and not np.isnan(east):
            lon, lat = self.registry.projection.to_degrees(east, north)
            where = float(lon), float(lat)
        return super()._tell(truck, active, at_ms, figures, reason, where)
